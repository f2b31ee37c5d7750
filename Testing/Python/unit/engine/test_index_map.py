"""The map of the index: similar tumors close together, made once, and the patient's tumor placed on it."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.engine import index_map
from TumorRetrievalLib.engine.index_map import as_distances, map_of, positions_of
from TumorRetrievalLib.errors import Cancelled, UnknownCase
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, DEFAULT_WEIGHTS, block_shares, similarities
from TumorRetrievalLib.retrieval.case_index import CaseIndex

KINDS, EACH = 3, 24


def embedding(kind: int, rng) -> np.ndarray:
    """A tumor of one of three kinds that differ in every block."""
    middle = np.random.default_rng(100 + kind)
    blocks = {name: middle.normal(size=size) + 0.3 * rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks}
    return DEFAULT_LAYOUT.combine(blocks)


def make_index(folder) -> CaseIndex:
    rng = np.random.default_rng(0)
    cases, vectors = [], []
    for number in range(KINDS * EACH):
        tumor = Tumor(type=TYPES[number % KINDS], area=None)
        cases.append(Case(f"case-{number:03}", f"patient-{number}", tumors=(tumor,), provenance="made for this test"))
        vectors.append(embedding(number % KINDS, rng)[None])
    index = CaseIndex.create(folder, "m" * 64)
    index.add(cases, vectors)
    return index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with make_index(tmp_path_factory.mktemp("index") / "index") as made:
        yield made


@pytest.fixture(scope="module")
def real_map(index, tmp_path_factory, cache_of_these_tests):
    """Made by t-SNE, in a process of its own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path_factory.mktemp("maps")))
    heard = []
    made = map_of(index, lambda *told: heard.append(told))
    again = map_of(index)
    patch.undo()
    return made, again, heard


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """In place of t-SNE the first two numbers, and a list of how many tumors were drawn each time."""
    drawn = []

    def draw(features, report):
        report(0.5, "drawing")
        drawn.append(len(features))
        return features[:, :2].astype(np.float64)

    monkeypatch.setattr(index_map, "_tsne_elsewhere", draw)
    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path / "cache"))
    return drawn


def test_tumors_of_a_kind_lie_together(real_map):
    known, _, heard = real_map
    kinds = np.array([tumor.type for _, tumor in known.tumors])
    distances = np.linalg.norm(known.points[:, None] - known.points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]

    assert np.mean(kinds[nearest] == kinds[:, None]) > 0.95
    assert known.points.shape == (KINDS * EACH, 2) and np.abs(known.points).max() == pytest.approx(1)
    assert heard[-1] == (1.0, "The map is ready")


def test_a_map_that_was_made_is_kept(real_map):
    made, again, _ = real_map

    assert np.array_equal(made.points, again.points)


def test_the_patients_tumor_is_placed_among_its_like_and_moves_nobody(real_map):
    known, _, _ = real_map
    before = known.points.copy()
    rng = np.random.default_rng(7)
    asked = np.array([embedding(kind, rng) for kind in range(KINDS)])
    asked[1, DEFAULT_LAYOUT.slices["position"]] = 0  # a scan that could not be brought to the atlas

    placed = known.place(asked)

    for kind, point in enumerate(placed):
        nearest = np.argsort(np.linalg.norm(known.points - point, axis=1))[:5]
        assert {known.tumors[number][1].type for number in nearest} == {TYPES[kind]}
    assert np.array_equal(known.points, before)


def test_a_known_tumor_lies_where_its_point_is(real_map, index):
    known, _, _ = real_map

    assert np.allclose(positions_of(index, known, [("case-010", "1"), ("case-000", "1")]), known.points[[10, 0]])
    assert positions_of(index, known, []).shape == (0, 2)
    with pytest.raises(UnknownCase):
        positions_of(index, known, [("nobody", "1")])


def test_distances_on_the_map_are_those_of_the_similarity(index):
    rng = np.random.default_rng(3)
    tumors = np.array([embedding(kind, rng) for kind in (0, 0, 1)])
    query = DEFAULT_LAYOUT.query_vector(tumors[0], DEFAULT_WEIGHTS)
    alike = similarities(block_shares(query, tumors, DEFAULT_LAYOUT))

    features = as_distances(tumors, DEFAULT_LAYOUT)

    assert np.allclose(((features - features[0]) ** 2).sum(axis=1), 2 - 2 * alike, atol=1e-5)


def test_the_map_is_made_anew_when_the_index_has_changed_and_not_before(quick, tmp_path):
    with make_index(tmp_path / "index") as index:
        map_of(index)
        map_of(index)
        assert quick == [72]

        index.remove(["case-003"])
        assert len(map_of(index).points) == 71 and quick == [72, 71]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_map_is_made_again(quick, index, tmp_path, content):
    map_of(index)
    (path,) = (tmp_path / "cache").glob("map-*.npy")
    path.write_bytes(content)

    assert len(map_of(index).points) == 72 and len(quick) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(quick, index, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path / "file"))

    assert len(map_of(index).points) == 72


def test_of_a_large_index_some_cases_are_drawn_and_the_others_can_be_placed(quick, index, monkeypatch):
    monkeypatch.setattr(index_map, "MOST_TUMORS", 30)

    known = map_of(index)
    left_out = next(name for name in index.case_ids() if name not in {case for case, _ in known.tumors})

    assert quick == [30] and len(known.tumors) == 30
    assert [case for case, _ in known.tumors] == [case for case, _ in map_of(index).tumors]
    place = positions_of(index, known, [(left_out, "1")])[0]
    assert np.abs(place).max() <= 1


def test_an_index_of_few_tumors_has_a_map_too(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(index_map, "_tsne_elsewhere", lambda features, report: index_map.tsne(features))
    rng = np.random.default_rng(0)
    with CaseIndex.create(tmp_path / "small", "m" * 64) as small:
        assert map_of(small).points.shape == (0, 2)
        for number in range(2):
            small.add([Case(f"c{number}", f"p{number}", tumors=(Tumor(),))], [embedding(0, rng)[None]])
        assert np.isfinite(map_of(small).points).all()
        assert map_of(small).place(embedding(0, rng)[None]).shape == (1, 2)


def test_a_map_that_was_stopped_leaves_no_process_and_no_file(index, tmp_path, monkeypatch):
    import multiprocessing

    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path))

    def stop(fraction, message):
        if "Drawing" in message:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        map_of(index, stop)

    assert multiprocessing.active_children() == [] and not list(tmp_path.iterdir())
