"""Masks of DICOM studies, as SEG objects or NIfTI: they land on the scan's voxels, and mean what they say."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap


def reasons(archive) -> str:
    return " | ".join(problem.reason for problem in archive.problems)


@pytest.mark.parametrize("rotation", [(0, 0, 0), (0.3, -0.4, 0.2), (1.2, 0.1, -0.9)])
@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_segmentation_lands_on_the_voxels_it_was_drawn_on(dicom_folder, imported, rotation, flip, kind):
    """Also on an oblique series, and on one whose axes are left-handed."""
    axes = Rotation.from_rotvec(rotation).as_matrix() * (1, 1, flip)
    drawn_on = dicom_folder.series("a", axes=axes, **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, dicom_folder.segments(), kind=kind)

    (case,) = imported().cases
    scan, mask = read_volume(case.t1c), read_labels(case.mask)

    assert mask.grid.same_as(scan.grid)
    assert set(case.mask_labels.core) == {1}
    drawn = np.stack([data.pixel_array for data in drawn_on])
    for label, voxels in ((1, dicom_folder.CORE), (2, dicom_folder.OEDEMA)):
        assert sorted(scan.data[mask.data == label]) == sorted(float(drawn[voxel]) for voxel in voxels)


@pytest.mark.parametrize(
    ("label", "code", "found"),
    [
        ("x", "Necrosis", {1}),
        ("x", "Edema", {2}),
        ("whole tumor", "Neoplasm", {2}),
        ("Tumor", "Neoplasm", {1}),
        ("enhancing", "Mass", {1}),
        ("Enhancing tumor", ("1", "99OWN", "own"), {1}),
        ("oedema", ("1", "99OWN", "own"), {2}),
    ],
)
def test_a_segment_means_what_its_code_says_and_else_its_name(dicom_folder, imported, label, code, found):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, [(label, code, dicom_folder.marked(*dicom_folder.CORE))])

    (case,) = imported().cases

    assert set(np.unique(read_labels(case.mask).data)) == {0, *found}


@pytest.mark.parametrize(
    ("label", "code", "reason"),
    [("Segment 1", ("1", "99OWN", "own"), "neither code nor name"), ("brain", "Brain", "marks no tumor")],
)
def test_a_segment_of_unknown_meaning_or_of_no_tumor_is_a_problem(dicom_folder, imported, label, code, reason):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, [(label, code, dicom_folder.marked(*dicom_folder.CORE))])

    archive = imported()

    assert archive.cases == ()
    assert reason in reasons(archive)


@pytest.mark.parametrize(("algorithm", "origin"), [("MANUAL", "expert"), ("AUTOMATIC", "network")])
def test_who_drew_a_segmentation_is_kept(dicom_folder, imported, algorithm, origin):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, dicom_folder.segments(), algorithm=algorithm)

    assert imported().cases[0].mask_origin == origin


def test_a_segmentation_of_another_series_in_another_space_is_not_used(dicom_folder, imported):
    dicom_folder.series("a", **dicom_folder.T1C)
    stranger = dicom_folder.series("b", frame="1.2.3.10", SeriesDescription="T2 tse")
    dicom_folder.seg("b/seg.dcm", stranger, dicom_folder.segments())

    archive = imported()

    assert archive.cases[0].mask is None
    assert "drawn on another series" in reasons(archive)


def test_two_segmentations_of_one_study_are_a_problem(dicom_folder, imported):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    for name in ("first.dcm", "second.dcm"):
        dicom_folder.seg(f"a/{name}", drawn_on, dicom_folder.segments())

    archive = imported()

    assert archive.cases == ()
    assert "several masks: first.dcm, second.dcm" in reasons(archive)


def test_a_nifti_mask_beside_a_study_is_taken_also_when_its_axes_run_the_other_way(dicom_folder, imported):
    dicom_folder.series("a/t1c", **dicom_folder.T1C)
    grid = read_volume(dicom_folder.path / "a" / "t1c").grid
    labels = np.random.default_rng(0).integers(0, 3, grid.shape).astype(np.uint8)
    turned = grid.affine @ np.array([[0, -1, 0, grid.shape[0] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    shape = (grid.shape[1], grid.shape[0], grid.shape[2])
    mask = resample_labels(LabelMap(labels, grid.affine), Grid(shape, turned))
    write_labels(dicom_folder.path / "a" / "tumor_seg.nii.gz", mask)

    (case,) = imported().cases

    assert np.array_equal(read_labels(case.mask).data, labels)
    assert case.mask_labels.whole[:2] == (1, 2)


def test_a_nifti_mask_on_another_grid_is_a_problem(dicom_folder, imported):
    dicom_folder.series("a", **dicom_folder.T1C)
    grid = read_volume(dicom_folder.path / "a").grid
    shifted = grid.affine.copy()
    shifted[:3, 3] += 0.3
    write_labels(dicom_folder.path / "a" / "seg.nii.gz", LabelMap(np.ones(grid.shape, np.uint8), shifted))

    archive = imported()

    assert archive.cases == ()
    assert "does not lie on the voxels" in reasons(archive)


def test_a_nifti_mask_among_several_studies_belongs_to_none(dicom_folder, imported):
    for study in ("1", "2"):
        dicom_folder.series(study, study=study, **dicom_folder.T1C)
    write_labels(dicom_folder.path / "seg.nii.gz", LabelMap(np.ones((2, 2, 2), np.uint8), np.eye(4)))

    archive = imported()

    assert [case.mask for case in archive.cases] == [None, None]
    assert "2 studies lie beside it" in reasons(archive)
