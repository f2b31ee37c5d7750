"""The neighbours' labels as predictions: scores with known answers, and the whole command on a small index."""

import json

import numpy as np
import pytest

from TumorRetrievalLib.engine.build_index import build_bundled_index
from TumorRetrievalLib.evaluation.neighbours import (
    LABELS,
    Labelled,
    chance,
    nearest,
    score_neighbours,
    similarity_matrix,
    vote,
)
from TumorRetrievalLib.evaluation.retrieval import evaluate_retrieval
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT as LAYOUT


def labelled(appearances: list, names: list[str], sizes: list[float]) -> Labelled:
    vectors = np.array([LAYOUT.combine({"appearance": np.array(one, float)}) for one in appearances])
    return Labelled(vectors, {label: np.array(names) for label in LABELS}, np.array(sizes, float))


def test_five_neighbours_vote_and_their_mean_size_is_the_prediction():
    near, far = [[1, 0.01 * n] for n in range(5)], [[0, 1]] * 9
    gallery = labelled([*near, *far], ["a", "a", "a", "b", "b"] + ["c"] * 9, [10] * 14)
    asking = labelled([[1, 0], [1, 0]], ["a", "b"], [13, 7])

    score = score_neighbours(nearest(similarity_matrix(asking.vectors, gallery.vectors, LAYOUT)), asking, gallery)

    assert score["type"] == 0.5, "both are taken for a: three of five neighbours are"
    assert score["linear_size_rmse_mm"] == 3.0


def test_of_equally_frequent_labels_the_nearest_wins():
    assert vote(np.array(["b", "a", "a", "b", "c"])) == "b"


def test_chance_is_the_most_frequent_label():
    gallery = labelled([[1, 0]] * 4, ["a", "a", "a", "b"], [10, 10, 10, 10])
    asking = labelled([[1, 0]] * 4, ["a", "b", "b", "b"], [12, 8, 12, 8])

    assert chance(asking, gallery) == {**dict.fromkeys(LABELS, 0.25), "linear_size_rmse_mm": 2.0}


@pytest.mark.slow
def test_the_command_compares_ours_each_block_chance_and_the_paper(tiny_model, tmp_path):
    build_bundled_index(tmp_path / "index", tiny_model, workers=2, limit=8)

    result = evaluate_retrieval(tmp_path / "index", tiny_model, tmp_path / "table.json")

    assert json.loads((tmp_path / "table.json").read_text()) == result
    for name in ("ours", "appearance alone", "type alone", "position alone", "extent alone"):
        assert set(result[name]) == {"exact boxes", "distorted boxes"}
    position = result["position alone"]["exact boxes"]
    assert position["left_right"] > 0.8, "neighbours in space are on the same side"
    assert result["gallery_tumors"] > result["held_out_tumors"] > 0
