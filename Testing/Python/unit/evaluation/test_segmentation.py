"""The segmentation scores, on cases whose answer is known."""

import json

import nibabel
import numpy as np
import pytest

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.evaluation.segmentation import SCORES, dice, drawn_box, evaluate_segmentation, otsu_threshold
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.scan import synthesize


def test_dice_of_known_overlaps():
    one, two = np.zeros(10, bool), np.zeros(10, bool)
    one[:4], two[2:6] = True, True

    assert dice(one, two) == 0.5
    assert dice(one, one) == 1.0 and dice(one, ~one) == 0.0
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


def test_otsu_finds_the_valley_between_two_classes():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(10, 1, 3000), rng.normal(20, 1, 1000)])

    assert 12 < otsu_threshold(values) < 18


def test_the_drawn_box_holds_the_mask_and_a_margin():
    mask = np.zeros((10, 12, 14), bool)
    mask[2:5, 3:9, 7:8] = True
    grid = Grid(mask.shape, np.diag([1.0, 2.0, 3.0, 1.0]))

    box, exact = drawn_box(mask, grid, 0.1), drawn_box(mask, grid, 0.0)

    np.testing.assert_allclose(exact.size, (3, 12, 3))
    np.testing.assert_allclose(box.size, 1.1 * exact.size)
    np.testing.assert_allclose(box.center, exact.center)
    assert exact.voxel_hull(grid) == (slice(2, 5), slice(3, 9), slice(7, 8))
    assert drawn_box(np.zeros_like(mask), grid) is None


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A folder with one synthetic case in the layout of BraTS, and one case without a segmentation."""
    folder = tmp_path_factory.mktemp("cases")
    scan = synthesize(7, "glioma")
    (folder / "one").mkdir()
    (folder / "bare").mkdir()
    for name, data in (("t1c", scan.t1c.data), ("flair", scan.flair.data)):
        nibabel.save(nibabel.Nifti1Image(data, scan.t1c.affine), folder / "one" / f"{name}.nii.gz")
    labels = np.where(scan.core.data > 0, 4, np.where(scan.whole.data > 0, 2, 0)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, scan.t1c.affine), folder / "one" / "seg.nii.gz")
    return folder


def test_every_score_is_there_for_every_case_with_a_mask(cases, tiny_model, tmp_path):
    result = evaluate_segmentation(cases, tmp_path / "scores.json", tiny_model, "cpu")

    assert set(result["cases"]) == {"one"}
    assert set(result["cases"]["one"]) == set(SCORES) == set(result["mean"])
    assert all(0 <= value <= 1 for score, value in result["mean"].items() if score != "false_boxes")
    assert result["mean"]["false_boxes"] == int(result["mean"]["false_boxes"]) >= 0 and result["margin"] == 0.1
    # The box of a round tumor is filled by its ellipsoid to about pi / 6, so the ellipsoid is a strong baseline.
    assert result["mean"]["ellipsoid_core_in_box"] > 0.5
    assert json.loads((tmp_path / "scores.json").read_text()) == result


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match=r"seg\.nii\.gz"):
        evaluate_segmentation(tmp_path)
