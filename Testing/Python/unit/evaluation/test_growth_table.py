import json

import numpy as np
import pytest
import torch

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.evaluation import growth_table
from TumorRetrievalLib.evaluation.growth_table import Query, compare, evaluate_growth_table, load_all, score_of
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.bricks import gather, pack
from TumorRetrievalLib.growth.build import BuildPlan, simulate_shard
from TumorRetrievalLib.growth.database import write_database
from TumorRetrievalLib.growth.overlap_search import Matches, OverlapSearch
from TumorRetrievalLib.networks.autoencoder import MaskAutoencoder
from TumorRetrievalLib.networks.weights import save_model

TUMORS = 30


def ball(number, shrink=1.0):
    """Tumor number n: a ball whose place and size depend on n."""
    rng = np.random.default_rng(number)
    center, radius = rng.uniform(10, 22, 3), rng.uniform(5, 9)
    return ((np.indices((32, 32, 32)).T - center) ** 2).sum(axis=-1) < (shrink * radius) ** 2


def nobody(fraction, message):
    """Progress that nobody looks at."""


@pytest.fixture(scope="module")
def truth():
    return OverlapSearch(*(gather([pack(ball(n, s)) for n in range(TUMORS)]) for s in (1.0, 0.6)), 32)


@pytest.fixture(scope="module")
def queries():
    return [Query(ball(n), ball(n, 0.6)) for n in range(100, 104)]


@pytest.fixture
def vae8(tmp_path):
    """The folder of a training that took no time."""
    for seed, mask in enumerate(("whole", "core")):
        torch.manual_seed(seed)
        contract = {"mask": mask, "edge": 32, "training": {"steps": 7, "minutes": 0.5}, "trained_on": "nothing"}
        save_model(tmp_path / "run" / mask / "model", MaskAutoencoder(32, 8, True, channels=2), contract)
    return tmp_path / "run"


def ranking(*scores):
    """Tumors 0, 1, 2... with these scores, as comparing with everything lists them."""
    scores = np.array(scores, float)
    order = np.argsort(-scores, kind="stable")
    return Matches(order, scores[order], scores[order] / 2, scores[order] / 2)


def test_a_search_is_scored_by_the_rank_and_by_the_dice_of_its_best_match():
    rankings = [ranking(1.0, 0.8, 0.5), ranking(0.5, 1.5, 1.2, 1.1, 1.0, 0.9, 0.8)]

    score = score_of([0, 0], rankings, [3.0, 5.0])

    assert (score["top1"], score["top5"], score["top15"]) == (0.5, 0.5, 1.0)
    assert score["dice"] == 0.75
    assert score["relative_mean"] == score["relative_median"] == pytest.approx((1 + 1 / 3) / 2, abs=1e-4)
    assert (score["median_ms"], score["max_ms"]) == (4.0, 5.0)


def test_a_tumor_as_good_as_the_best_counts_as_the_best():
    assert score_of([1], [ranking(1.0, 1.0)], [1.0])["top1"] == 1.0


def test_the_exact_search_keeps_every_match_and_a_blind_one_does_not(truth, queries):
    searches = {
        "exact": lambda whole, core: int(truth.search(whole, core, 1).indices[0]),
        "blind": lambda whole, core: 0,
    }

    table = compare(truth, searches, queries, nobody)

    assert table["equal_to_brute_force"] is True and table["masks"] == 4
    assert table["methods"]["exact"]["top1"] == table["methods"]["baseline"]["top1"] == 1.0
    assert table["methods"]["exact"]["relative_mean"] == 1.0
    assert table["methods"]["blind"]["relative_mean"] < 0.9 and table["methods"]["blind"]["top1"] < 1
    retrieval = table["combined_dice"]["retrieval"]
    assert retrieval["mean"] == pytest.approx(retrieval["whole"] + retrieval["core"], abs=1e-3)
    assert retrieval["mean"] == table["methods"]["baseline"]["dice"]


def test_a_search_that_is_not_exact_is_noticed(truth, queries):
    class Sloppy(OverlapSearch):
        def search(self, whole, core, k=15, **weights):
            right = super().search(whole, core, k, **weights)
            return Matches(right.indices[::-1], right.scores[::-1], right.whole_dice[::-1], right.core_dice[::-1])

    sloppy = Sloppy(truth.whole, truth.core, 32)

    assert compare(sloppy, {}, queries, nobody)["equal_to_brute_force"] is False


def test_the_table_lists_what_was_run_what_it_was_trained_on_and_what_was_not_run(tmp_path, vae8, monkeypatch):
    atlas = load_growth_atlas(64)
    monkeypatch.setattr(growth_table, "QUERY_PLAN", BuildPlan(seed=62, snapshots=1, shard=8))
    write_database(tmp_path / "small.growth", simulate_shard(atlas, BuildPlan(shard=6), 0), level=1)

    table = evaluate_growth_table(
        tmp_path / "small.growth", models=[vae8], limit=2, tumors=5, json_path=tmp_path / "table.json"
    )

    assert json.loads((tmp_path / "table.json").read_text()) == table
    assert table["database_size"] == table["baseline_scaled_up_from"] == 5
    assert list(table["synthetic"]["methods"]) == ["baseline", "exact", "ds64", "ds32", "vae8"]
    assert table["synthetic"]["masks"] == 2 and table["synthetic"]["equal_to_brute_force"] is True
    assert set(table["not_run"]) == {"ae", "vae1024"} and "growth-ae" in table["not_run"]["ae"]
    assert table["trained"]["vae8"]["core"] == {"edge": 32, "trained_on": "nothing", "steps": 7, "minutes": 0.5}
    assert table["published"]["methods"]["vae8"]["top1"] == 0.193


def test_two_trainings_of_one_kind_are_refused(vae8):
    with pytest.raises(WeightsError, match="second vae8"):
        load_all([vae8, vae8])


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no model"):
        load_all([tmp_path])
