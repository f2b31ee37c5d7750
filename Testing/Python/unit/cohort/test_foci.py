"""A segmentation taken apart: what counts as one tumor, and whose oedema is whose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from TumorRetrievalLib.cohort.case import MaskLabels
from TumorRetrievalLib.cohort.foci import find_foci, masks_of
from TumorRetrievalLib.imaging.volume import LabelMap


def labels_of(*blocks, shape=(60, 40, 40), spacing=(1.0, 1.0, 1.0)):
    """A segmentation with cuboids (label, low corner, high corner), later ones over earlier ones."""
    data = np.zeros(shape, np.uint8)
    for label, low, high in blocks:
        data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = label
    return LabelMap(data, np.diag([*spacing, 1.0]))


def foci_of(*blocks, **grid):
    labels = labels_of(*blocks, **grid)
    return find_foci(*masks_of(labels, MaskLabels((1,), (1, 2), "core 1, oedema 2")))


def test_parts_that_nearly_touch_are_one_tumor_and_distant_ones_are_two():
    first, near, far = (1, (5, 5, 5), (15, 15, 15)), (1, (19, 5, 5), (25, 15, 15)), (1, (40, 5, 5), (45, 15, 15))

    assert [focus.core_ml for focus in foci_of(first, near)] == pytest.approx([1.6])
    assert [focus.core_ml for focus in foci_of(first, near, far)] == pytest.approx([1.6, 0.5])
    assert len(foci_of(first, near, spacing=(3, 1, 1))) == 2, "millimetres count, not voxels"


def test_the_box_encloses_the_core_and_not_the_oedema():
    (focus,) = foci_of((2, (2, 2, 2), (30, 30, 30)), (1, (10, 12, 14), (20, 20, 20)))

    assert focus.size.box.size == pytest.approx([10, 8, 6])
    assert (focus.core_ml, focus.whole_ml) == pytest.approx((0.48, 28**3 / 1000))


def test_shared_oedema_goes_to_the_nearest_core_and_distant_oedema_to_none():
    shared = (2, (0, 10, 10), (50, 20, 20))
    large, small = (1, (0, 10, 10), (10, 20, 20)), (1, (40, 10, 10), (45, 20, 20))
    lost = (2, (55, 30, 30), (60, 35, 35))

    first, second = foci_of(shared, large, small, lost)

    assert first.whole_ml + second.whole_ml == pytest.approx(5.0), "all of what they share, and not the distant part"
    assert first.whole_ml == pytest.approx(2.45, abs=0.1) and second.whole_ml == pytest.approx(2.55, abs=0.1)


def test_where_only_oedema_is_drawn_it_is_the_tumor_without_a_core():
    (focus,) = foci_of((2, (5, 5, 5), (15, 15, 15)))

    assert (focus.around, focus.core_ml, focus.linear_size_mm) == ("whole", 0.0, None)
    assert focus.whole_ml == pytest.approx(1.0)


def test_slips_of_the_pen_are_left_out_unless_nothing_else_is_there():
    slip, tumor = (1, (50, 30, 30), (52, 32, 32)), (1, (5, 5, 5), (15, 15, 15))

    assert len(foci_of(slip, tumor)) == 1
    assert [focus.core_ml for focus in foci_of(slip)] == pytest.approx([0.008])


def test_labels_that_mean_no_tumor_are_none_and_unsaid_ones_are_all_core():
    labels = labels_of((1, (0, 0, 0), (5, 5, 5)), (2, (10, 0, 0), (15, 5, 5)), (4, (20, 0, 0), (25, 5, 5)))

    core, whole = masks_of(labels, MaskLabels((1,), (1, 2), "4 is a cavity"))
    assert (core.data.sum(), whole.data.sum()) == (125, 250)
    core, whole = masks_of(labels, None)
    assert core.data.sum() == whole.data.sum() == 375


@given(arrays.arrays(np.uint8, (9, 8, 7), elements=st.sampled_from([0, 0, 0, 0, 1, 2])))
def test_any_mask_gives_tumors_whose_volumes_fit_into_it(data):
    labels = LabelMap(data, np.diag([4.0, 4.0, 4.0, 1.0]))
    core, whole = masks_of(labels, MaskLabels((1,), (1, 2), ""))

    foci = find_foci(core, whole, smallest_ml=0)

    assert bool(foci) == bool(data.any())
    drawn = core if core.data.any() else whole
    assert sum(focus.size.volume_ml for focus in foci) == pytest.approx(drawn.volume_ml())
    assert sum(focus.whole_ml for focus in foci) <= whole.volume_ml() + 1e-9
    assert all(focus.core_ml <= focus.whole_ml + 1e-9 for focus in foci)
