import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidTumorMask, WeightsError
from TumorRetrievalLib.growth.bricks import gather, pack
from TumorRetrievalLib.growth.database import SimulationDatabase
from TumorRetrievalLib.growth.latent_search import LatentModels, LatentSearch, encode_database
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.networks.autoencoder import MaskAutoencoder
from TumorRetrievalLib.networks.weights import save_model

EDGE, TUMORS = 32, 40


def ball(number, shrink=1.0):
    """Tumor number n: a ball whose place and size depend on n."""
    rng = np.random.default_rng(number)
    center, radius = rng.uniform(10, 22, 3), rng.uniform(5, 9)
    return ((np.indices((EDGE,) * 3).T - center) ** 2).sum(axis=-1) < (shrink * radius) ** 2


def masks_of(number):
    """The whole tumor and its core."""
    return ball(number), ball(number, 0.6)


@pytest.fixture(scope="module")
def database():
    whole, core = (gather([pack(masks_of(n)[part]) for n in range(TUMORS)]) for part in (0, 1))
    parameters = np.ones((TUMORS, 5), np.float32)
    return SimulationDatabase(parameters, whole, core, Grid((EDGE,) * 3, np.eye(4)), "none", {})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a training, as far as the search looks at it."""
    folder = tmp_path_factory.mktemp("run")
    for seed, mask in enumerate(("whole", "core")):
        torch.manual_seed(seed)
        save_model(folder / mask / "model", MaskAutoencoder(EDGE, 8, variational=True, channels=2), {"mask": mask})
    return folder


@pytest.fixture(scope="module")
def search(database, run):
    return LatentSearch(database, LatentModels.load(run, "cpu"))


@pytest.fixture(scope="module")
def crowd(database, run):
    """Two hundred tumors in random places of a latent space of three dimensions, some of them twice."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(2):
        part = rng.normal(size=(TUMORS * 5, 3)).astype(np.float32)
        part[50:60] = part[:10]
        parts.append(part / np.linalg.norm(part, axis=1, keepdims=True))
    many = np.tile(np.arange(TUMORS), 5)
    whole, core = (gather([pack(masks_of(n)[part]) for n in many]) for part in (0, 1))
    parameters = np.ones((len(many), 5), np.float32)
    return LatentSearch(
        SimulationDatabase(parameters, whole, core, database.grid, "none", {}), LatentModels.load(run, "cpu"), parts
    )


def test_a_tumor_of_the_database_finds_itself(search):
    for number in range(0, TUMORS, 7):
        matches = search.search(*masks_of(number), k=3)

        assert matches.indices[0] == number and matches.distances[0] < 1e-3
        assert matches.distances[1] > matches.distances[0]


def test_vectors_have_the_latent_length_and_length_one(search):
    for part in search.vectors:
        assert part.shape == (TUMORS, 8) and np.allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)


def test_the_whole_tumor_and_its_core_have_an_autoencoder_of_their_own(search):
    same = ball(3)[None]

    assert not np.allclose(search.models.encode("whole", same), search.models.encode("core", same), atol=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.booleans())
def test_the_nearest_are_those_that_comparing_with_everything_gives(crowd, seed, k, among_them):
    rng = np.random.default_rng(seed)
    if among_them:
        query = [part[seed % len(part)] for part in crowd.vectors]
    else:
        query = [v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)).astype(np.float32)]

    found, expected = crowd.nearest(*query, k), crowd.nearest_of_all(*query, k)

    assert found.indices.tolist() == expected.indices.tolist()
    assert np.array_equal(found.distances, expected.distances)


def test_a_tumor_that_is_fairly_near_in_both_masks_is_found_behind_many_that_are_near_in_one(crowd):
    near, far, fair = (np.array([np.cos(angle), np.sin(angle), 0], np.float32) for angle in (0.0, np.pi, 0.9))
    whole = np.array([near if n % 2 else far for n in range(len(crowd))])
    core = np.array([far if n % 2 else near for n in range(len(crowd))])
    whole[123], core[123] = fair, fair
    search = LatentSearch(crowd.database, crowd.models, (whole, core))

    assert search.nearest(near, near, 1).indices.tolist() == [123]


def test_of_two_equal_tumors_the_first_in_the_database_comes_first(crowd):
    found = crowd.nearest(*(part[55] for part in crowd.vectors), 2)

    assert found.indices.tolist() == [5, 55]


def test_asking_for_more_tumors_than_there_are_gives_all_of_them(search):
    assert sorted(search.search(*masks_of(0), k=1000).indices) == list(range(TUMORS))


def test_reranked_by_overlap_all_candidates_give_the_exact_search(search, database):
    query = ball(1000), ball(1000, 0.6)

    reranked = search.search_and_rerank(*query, k=5, candidates=TUMORS)

    assert reranked.tolist() == database.search.search(*query, k=5).indices.tolist()


def test_encoding_reports_progress_and_can_be_stopped(database, search):
    class Stopped(Exception):
        pass

    fractions = []

    def progress(fraction, message):
        fractions.append(fraction)
        if fraction > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        encode_database(database, search.models, progress)
    assert fractions == sorted(fractions) and fractions[0] < 0.5


def test_an_empty_mask_or_one_of_another_grid_is_refused(search):
    whole, core = masks_of(0)

    with pytest.raises(InvalidTumorMask, match="core"):
        search.search(whole, np.zeros_like(core))
    with pytest.raises(InvalidTumorMask, match="32"):
        search.search(whole[:20, :20, :20], core[:20, :20, :20])


def test_a_run_whose_halves_were_exchanged_is_refused(run, tmp_path):
    for mask, other in (("whole", "core"), ("core", "whole")):
        (tmp_path / mask).mkdir()
        (tmp_path / mask / "model").symlink_to(run / other / "model")

    with pytest.raises(WeightsError, match="no autoencoder of whole"):
        LatentModels.load(tmp_path, "cpu")


def test_a_run_with_two_kinds_of_autoencoders_or_with_half_of_one_is_refused(tmp_path):
    save_model(tmp_path / "whole" / "model", MaskAutoencoder(EDGE, 8, channels=2), {"mask": "whole"})
    with pytest.raises(WeightsError, match="no model"):
        LatentModels.load(tmp_path, "cpu")

    save_model(tmp_path / "core" / "model", MaskAutoencoder(EDGE, 4, channels=2), {"mask": "core"})
    with pytest.raises(WeightsError, match="different kinds"):
        LatentModels.load(tmp_path, "cpu")


def test_tampered_weights_are_refused(tmp_path):
    for mask in ("whole", "core"):
        save_model(tmp_path / mask / "model", MaskAutoencoder(EDGE, 8, channels=2), {"mask": mask})
    contract = tmp_path / "core" / "model" / "model.json"
    contract.write_text(json.dumps(json.loads(contract.read_text()) | {"architecture": "os.system"}))

    with pytest.raises(WeightsError, match="unknown architecture"):
        LatentModels.load(tmp_path, "cpu")
