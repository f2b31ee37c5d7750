"""Boxes without a tumor are made as they say, and the table counts what is said of each kind."""

import json

import numpy as np
import pytest

from TumorRetrievalLib.evaluation.familiarity import evaluate_familiarity
from TumorRetrievalLib.evaluation.nonsense import clouds_like, healthy_box, noise_like, trunk
from TumorRetrievalLib.imaging.volume import Grid, Volume

GRID = Grid(
    (40, 44, 36), np.diag([-2.0, 2.0, 2.5, 1.0]) + np.array([[0, 0, 0, 40], [0, 0, 0, -40], [0, 0, 0, -30], [0] * 4])
)


def head() -> np.ndarray:
    return (np.linalg.norm(GRID.voxel_centres() - GRID.centre(), axis=1) < 36).reshape(GRID.shape)


def test_a_healthy_box_lies_in_the_brain_and_touches_no_tumor():
    brain = head()
    tumor = brain & (GRID.voxel_centres()[:, 0] > 0).reshape(GRID.shape)

    for seed in range(5):
        box = healthy_box(brain, tumor, GRID, np.array((12, 12, 12)), np.random.default_rng(seed))
        hull = box.voxel_hull(GRID)
        assert brain[hull].mean() > 0.85 and not tumor[hull].any() and box.center[0] < 0


def test_a_brain_full_of_tumor_has_no_healthy_place():
    assert healthy_box(head(), head(), GRID, np.array((12, 12, 12)), np.random.default_rng(0)) is None


@pytest.mark.parametrize("like", [noise_like, clouds_like])
def test_noise_fills_exactly_what_had_signal_and_its_seed_makes_it_again(like):
    image = Volume(head() * (100.0 + np.arange(GRID.shape[2])), GRID.affine)

    one, again, other = (like(image, np.random.default_rng(seed)).data for seed in (1, 1, 2))

    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert not one[~head()].any() and (one[head()] >= 0).all() and one[head()].std() > 0.01


def test_a_trunk_is_wider_than_deep_with_a_dark_spine_behind():
    image = trunk(Grid.around((0, 0, 0), 4.0, (60, 60, 40)), np.random.default_rng(0)).data > 0.15

    width, depth = (int(image.any(axis=(1 - axis, 2)).sum()) for axis in (0, 1))
    assert width > depth > 20


def test_each_kind_of_box_has_its_row_and_the_counts_add_up(tmp_path):
    result = evaluate_familiarity(patients=1, json_path=tmp_path / "table.json")

    assert json.loads((tmp_path / "table.json").read_text()) == result
    table = result["table"]
    assert {kind: row["boxes"] for kind, row in table.items()} == {
        "synthetic tumor": 1, "synthetic tumor, distorted box": 1, "healthy place beside a synthetic tumor": 2,
        "noise in place of a synthetic scan": 1, "clouds in place of a synthetic scan": 1,
        "trunk with organs, T1 alone": 1,
    }  # fmt: skip
    for row in table.values():
        larger, both = max(row["by the index"], row["by the model"]), row["by the index"] + row["by the model"]
        assert larger <= row["by either"] <= min(both, row["boxes"])
    assert table["noise in place of a synthetic scan"]["by the model"] == 1
    assert table["synthetic tumor"]["by either"] == 0
