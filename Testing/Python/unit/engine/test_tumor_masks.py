"""Two masks are understood, or refused with the reason, before anything is computed."""

import nibabel
import numpy as np
import pytest

from TumorRetrievalLib.engine.tumor_masks import check_masks, read_masks, require_brain
from TumorRetrievalLib.errors import GeometryMismatch, InvalidImage, InvalidTumorMask, UnreadableFile
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

SHAPE = (40, 40, 40)
AFFINE = np.diag((-1.0, -1.0, 1.0, 1.0))
EVERYWHERE = np.ones(SHAPE, bool)


def mask(*blocks) -> LabelMap:
    """Cubes, each as (first index along all axes, edge)."""
    data = np.zeros(SHAPE, np.uint8)
    for first, edge in blocks:
        data[(slice(first, first + edge),) * 3] = 1
    return LabelMap(data, AFFINE)


def test_a_core_inside_its_tumor_is_taken_as_it_is():
    masks = check_masks(mask((12, 6)), mask((10, 10)), EVERYWHERE)

    assert masks.core.data.sum() == 6**3 and masks.whole.data.sum() == 10**3
    assert masks.notes == []


@pytest.mark.parametrize(
    ("core", "whole", "says"),
    [
        (mask(), mask((10, 10)), "core is empty"),
        (mask((10, 10)), mask(), "whole tumor is empty"),
        (mask((5, 5)), mask((20, 8)), "100%.*outside the whole tumor"),
        (mask((10, 10)), mask((12, 6)), "mistaken for each other"),
    ],
    ids=["no core", "no tumor", "disjoint", "swapped"],
)
def test_masks_that_contradict_each_other_are_refused_with_the_reason(core, whole, says):
    with pytest.raises(InvalidTumorMask, match=says):
        check_masks(core, whole, EVERYWHERE)


def test_a_core_that_pokes_out_belongs_to_the_tumor_and_the_reader_is_told():
    masks = check_masks(mask((9, 6)), mask((10, 10)), EVERYWHERE)

    assert (masks.whole.data >= masks.core.data).all()
    assert "added to it" in masks.notes[0]


def test_of_several_foci_the_largest_with_a_core_is_fitted_and_none_is_looked_at_by_the_registration():
    masks = check_masks(mask((3, 4), (20, 3)), mask((2, 9), (18, 7), (28, 10)), EVERYWHERE)

    assert masks.whole.data.sum() == 9**3 and masks.core.data.sum() == 4**3
    assert masks.lesion.data.sum() == 9**3 + 7**3 + 10**3
    assert "several foci" in masks.notes[0] and "1.3 ml" in masks.notes[0]


def test_a_speck_beside_the_tumor_is_not_worth_a_word():
    assert check_masks(mask((12, 6)), mask((10, 10), (30, 2)), EVERYWHERE).notes == []


def test_a_tumor_at_the_border_of_the_scan_is_fitted_with_a_note():
    assert "border of the scan" in check_masks(mask((2, 4)), mask((0, 10)), EVERYWHERE).notes[0]


def test_masks_of_another_patient_lie_where_the_scan_shows_nothing():
    signal = EVERYWHERE.copy()
    signal[:15] = False

    with pytest.raises(InvalidTumorMask, match="another patient"):
        check_masks(mask((6, 4)), mask((5, 10)), signal)


def test_a_tumor_outside_the_brain_is_refused():
    masks = check_masks(mask((12, 6)), mask((10, 10)), EVERYWHERE)

    require_brain(masks, mask((10, 8)))
    with pytest.raises(InvalidTumorMask, match="outside the brain"):
        require_brain(masks, mask((14, 20)))


def test_files_on_another_grid_or_of_another_kind_are_refused(tmp_path):
    scan = Volume(np.random.default_rng(0).random(SHAPE), AFFINE)
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("good", "moved", "scan")}
    nibabel.save(nibabel.Nifti1Image(mask((10, 10)).data, AFFINE), paths["good"])
    moved = AFFINE.copy()
    moved[0, 3] = 30.0
    nibabel.save(nibabel.Nifti1Image(mask((10, 10)).data, moved), paths["moved"])
    nibabel.save(nibabel.Nifti1Image(scan.data, AFFINE), paths["scan"])

    assert [m.data.sum() for m in read_masks(paths["good"], paths["good"], scan)] == [1000, 1000]
    with pytest.raises(GeometryMismatch, match="moved.nii.gz"):
        read_masks(paths["good"], paths["moved"], scan)
    with pytest.raises(InvalidImage, match="scan.nii.gz"):
        read_masks(paths["scan"], paths["good"], scan)
    with pytest.raises(UnreadableFile):
        read_masks(paths["good"], tmp_path / "missing.nii.gz", scan)
