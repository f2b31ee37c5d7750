"""Masks that are simulated tumors themselves are found again, and the refinement does not lose them."""

import json

import numpy as np
import pytest

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.evaluation import growth as evaluation
from TumorRetrievalLib.evaluation.growth import evaluate_growth
from TumorRetrievalLib.evaluation.growth_table import Query
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, build_database


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Forty tumors on 64^3 voxels."""
    path = tmp_path_factory.mktemp("database") / "forty.growth"
    build_database(path, load_growth_atlas(64), 40, BuildPlan(seed=5))
    return path


@pytest.fixture
def small(monkeypatch):
    """Searches for a database on 64^3 voxels in place of 128^3."""
    # The 64^3 search is the exact one here, and 32^3 samples half of its voxels.
    edges = {64: 32, 32: 16}
    made = evaluation.make_searches.__globals__["DownsampledSearch"]
    monkeypatch.setitem(evaluation.make_searches.__globals__, "DownsampledSearch", lambda s, n: made(s, edges[n]))


def test_simulated_tumors_are_found_again_and_stay_found_when_refined(database, small, tmp_path, monkeypatch):
    def themselves(path, stored, limit):
        tumors = (7, 20)[:limit]
        return [Query(stored.whole.unpack(n, 64), stored.core.unpack(n, 64)) for n in tumors]

    monkeypatch.setattr(evaluation, "real_queries", themselves)
    result = evaluate_growth(tmp_path / "masks.npz", database, limit=2, json_path=tmp_path / "out.json")

    assert json.loads((tmp_path / "out.json").read_text()) == result
    assert (result["database_size"], result["masks"], result["equal_to_brute_force"]) == (40, 2, True)
    assert result["methods"]["exact"]["top1"] == 1.0
    assert {"top1", "top5", "top15", "median_ms", "max_ms"} <= set(result["methods"]["ds32"])
    assert result["combined_dice"]["retrieval"]["mean"] == 2.0
    assert result["combined_dice"]["refined"]["mean"] > 1.97
    assert result["combined_dice"]["refined"]["mean"] == pytest.approx(
        result["combined_dice"]["refined"]["core"] + result["combined_dice"]["refined"]["whole"], abs=2e-4
    )


def test_a_file_that_holds_no_masks_is_refused(database, small, tmp_path):
    np.savez(tmp_path / "other.npz", other=np.zeros(3))

    with pytest.raises(UnreadableFile, match="other.npz"):
        evaluate_growth(tmp_path / "other.npz", database)
