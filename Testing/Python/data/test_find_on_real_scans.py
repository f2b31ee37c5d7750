"""The bundled model and index on every real scan: sensible answers in the right place."""

import json
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.engine.find import FindRequest, find_similar
from TumorRetrievalLib.evaluation.segmentation import dice, drawn_box, evaluate_segmentation
from TumorRetrievalLib.imaging.box import Box, boxes_around_components
from TumorRetrievalLib.imaging.files import read_labels, read_volume

WITH_MASK = [
    "BRATS2013_pat0001",
    "BRATS2013_pat0002",
    "BRATS2013_pat0003",
    "BRATS2013_pat0004",
    "BraTS-GLI-00000-000",
    "BraTS-GLI-00001-000",
    "Brats18_2013_2_1",
    "TCGA-DU-7294",
]
WITHOUT_MASK = ["BraTSReg_002_pre", "BraTSReg_002_post", "BraTS-MET-00110-000"]


def find(t1c: Path, out: Path, box: Box, flair: Path | None = None, around: str = "core") -> dict:
    return find_similar(FindRequest(t1c=t1c, flair=flair, boxes=[box], around=around, k=2, out=out))


def main_box(labels) -> Box:
    return boxes_around_components(labels)[0]


@pytest.mark.parametrize("name", WITH_MASK)
def test_a_tumor_with_an_expert_mask_is_outlined_where_the_expert_saw_it(real_data, name, tmp_path):
    folder = real_data / "brats3d" / name
    truth = read_labels(folder / "seg.nii.gz")
    box = main_box(truth)

    result = find(folder / "t1c.nii.gz", tmp_path, box, folder / "flair.nii.gz", around="whole")

    whole = read_labels(tmp_path / "whole_tumor.nii.gz")
    assert whole.grid.same_as(truth.grid)
    hull = box.voxel_hull(truth.grid)
    ours, theirs = whole.data[hull] > 0, truth.data[hull] > 0
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.6
    centre = truth.grid.to_world(np.argwhere(truth.data)).mean(axis=0)
    ours_centre = whole.grid.to_world(np.argwhere(whole.data)).mean(axis=0)
    assert np.linalg.norm(centre - ours_centre) < 12
    (tumor,) = result["tumors"]
    assert tumor["atlas_mm"] is not None, "a BraTS scan can be brought to the atlas"
    midline = read_volume(folder / "t1c.nii.gz").grid.centre()[0]
    if abs(box.center[0] - midline) > 15:
        assert np.sign(tumor["atlas_mm"][0]) == np.sign(box.center[0] - midline), "left stays left"
    assert len(tumor["hits"]) == 2


def test_two_tumors_in_one_box_are_outlined_each_by_itself(real_data, tmp_path):
    folder = real_data / "clinical_t1c"
    truth = read_labels(folder / "brain1_label.nrrd")
    box = drawn_box(truth.data > 0, truth.grid)

    result = find(folder / "brain1_image.nrrd", tmp_path, box)

    core = read_labels(tmp_path / "tumor_core.nii.gz").data > 0
    assert len(result["tumors"][0]["boxes_inside"]) == 2
    assert dice(core, truth.data > 0) > 0.58, "0.53 where the space between them is filled"
    assert any("draw a box around each" in note for note in result["notes"])


@pytest.mark.parametrize("name", WITHOUT_MASK)
def test_a_scan_without_a_mask_is_answered_too(real_data, name, tmp_path):
    folder = real_data / "brats3d" / name
    scan = read_volume(folder / "t1c.nii.gz")
    bright = scan.data > np.percentile(scan.data[scan.data > 0], 99.7)
    box = Box.aligned(scan.grid.to_world(np.argwhere(bright)).mean(axis=0), (30, 30, 30))

    result = find(folder / "t1c.nii.gz", tmp_path, box, folder / "flair.nii.gz")

    assert result["tumors"][0]["atlas_mm"] is not None
    assert json.loads((tmp_path / "result.json").read_text()) == result


def test_a_clinical_scan_with_skull_and_thick_slices_keeps_its_tumor_on_its_side(real_data, tmp_path):
    folder = real_data / "clinical_t1c"
    truth = read_labels(folder / "brain1_label.nrrd")
    box = main_box(truth)

    result = find(folder / "brain1_image.nrrd", tmp_path, box)

    core = read_labels(tmp_path / "tumor_core.nii.gz")
    assert core.grid.same_as(truth.grid)
    hull = box.voxel_hull(truth.grid)
    ours, theirs = core.data[hull] > 0, truth.data[hull] > 0
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.5
    (tumor,) = result["tumors"]
    assert tumor["atlas_mm"][0] < -20, "the tumor is on the patient's left"


def test_the_shipped_weights_beat_what_needs_no_network(real_data, tmp_path):
    result = evaluate_segmentation(real_data / "brats3d", tmp_path / "scores.json")

    mean = result["mean"]
    assert mean["core_in_box"] > mean["ellipsoid_core_in_box"]
    assert mean["core_in_box"] > mean["otsu_core_in_box"]
    assert mean["whole_in_box"] > mean["otsu_whole_in_box"]
    assert mean["whole_in_box"] > mean["ellipsoid_whole_in_box"]
    assert json.loads((tmp_path / "scores.json").read_text())["mean"] == mean
    assert len(result["cases"]) == 8
