"""Positions get the words that a neuroradiologist would use."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.labels import (
    ALLOWED,
    AREAS,
    FRONT_REAR,
    SIDES,
    TYPES,
    UPPER_LOWER,
    describe_position,
    require_known,
)
from TumorRetrievalLib.errors import UnknownLabel

# MNI coordinates as published: regions of Dosenbach et al. 2010 (Science 329, table S6) and structures of textbooks.
# None of them is one of the points that define the areas.
LANDMARKS = [
    ("dorsolateral prefrontal cortex", (40, 36, 29), "frontal lobe"),
    ("anterior prefrontal cortex", (-29, 57, 10), "frontal lobe"),
    ("ventromedial prefrontal cortex", (6, 64, 3), "frontal lobe"),
    ("supplementary motor area", (0, -1, 52), "frontal lobe"),
    ("precentral gyrus", (-44, -6, 49), "frontal lobe"),
    ("hand area of the primary motor cortex", (-37, -21, 58), "frontal lobe"),
    ("primary somatosensory cortex", (-41, -30, 54), "parietal lobe"),
    ("intraparietal sulcus", (32, -59, 41), "parietal lobe"),
    ("angular gyrus", (51, -59, 34), "parietal lobe"),
    ("precuneus", (5, -50, 33), "parietal lobe"),
    ("inferior temporal gyrus", (-59, -25, -15), "temporal lobe"),
    ("superior temporal gyrus", (59, -13, 8), "temporal lobe"),
    ("hippocampus", (-28, -22, -14), "temporal lobe"),
    ("posterior occipital cortex", (-29, -88, 8), "occipital lobe"),
    ("primary visual cortex", (10, -90, 2), "occipital lobe"),
    ("anterior insula", (38, 21, -1), "insula"),
    ("middle insula", (-42, -3, 5), "insula"),
    ("thalamus", (-12, -12, 6), "basal ganglia and thalamus"),
    ("putamen", (-26, 2, 0), "basal ganglia and thalamus"),
    ("caudate", (14, 14, 7), "basal ganglia and thalamus"),
    ("genu of the corpus callosum", (-2, 26, 5), "ventricles and corpus callosum"),
    ("splenium of the corpus callosum", (2, -37, 12), "ventricles and corpus callosum"),
    ("body of the lateral ventricle", (-10, -12, 24), "ventricles and corpus callosum"),
    ("red nucleus", (5, -21, -10), "brainstem"),
    ("pons", (-3, -27, -30), "brainstem"),
    ("medulla oblongata", (0, -40, -55), "brainstem"),
    ("inferior cerebellum", (-37, -54, -37), "cerebellum"),
    ("medial cerebellum", (14, -75, -21), "cerebellum"),
    ("dentate nucleus", (-15, -58, -36), "cerebellum"),
    ("cerebellopontine cistern", (-20, -31, -37), "cerebellopontine angle"),
    ("pituitary gland", (1, 2, -32), "sellar region"),
    ("optic chiasm", (0, 1, -17), "sellar region"),
]


@pytest.mark.parametrize(("structure", "mni", "area"), LANDMARKS)
def test_known_structures_lie_in_the_area_of_the_textbook_on_both_sides(structure, mni, area):
    mirrored = np.multiply(mni, (-1, 1, 1))

    assert (describe_position(mni).area, describe_position(mirrored).area) == (area, area), structure


def test_every_area_is_met_by_a_landmark():
    assert {area for _, _, area in LANDMARKS} == set(AREAS)
    assert len(AREAS) == 11


@pytest.mark.parametrize(
    ("mni", "sides"),
    [
        ((-40, 30, 30), ("left", "front", "upper")),
        ((40, 30, 30), ("right", "front", "upper")),
        ((-30, -80, 10), ("left", "rear", "upper")),
        ((25, -60, -40), ("right", "rear", "lower")),
    ],
)
def test_negative_x_is_the_left_of_the_patient(mni, sides):
    position = describe_position(mni)

    assert (position.left_right, position.front_rear, position.upper_lower) == sides


def test_the_planes_between_the_sides_are_where_the_documentation_puts_them():
    def sides(mni):
        position = describe_position(mni)
        return position.left_right, position.front_rear, position.upper_lower

    assert sides((0, -17, 5)) == ("right", "front", "upper")
    assert sides((-0.01, -17.01, 4.99)) == ("left", "rear", "lower")


def test_a_position_only_uses_labels_that_are_allowed():
    for point in np.random.default_rng(0).uniform((-70, -105, -70), (70, 70, 80), (500, 3)):
        position = describe_position(point)
        for label in ("area", "left_right", "front_rear", "upper_lower"):
            require_known(label, getattr(position, label))


@pytest.mark.parametrize("nonsense", [(1, 2), (np.nan, 0, 0), (np.inf, 0, 0), [[0, 0, 0]]])
def test_what_is_no_position_is_refused(nonsense):
    with pytest.raises(ValueError, match="three finite numbers"):
        describe_position(nonsense)


def test_an_unknown_label_is_refused_with_the_allowed_ones():
    with pytest.raises(UnknownLabel, match="'lymphoma' is not a known type. Allowed: glioma, meningioma"):
        require_known("type", "lymphoma")
    require_known("type", None)


def test_the_lists_hold_no_duplicates():
    for values in (TYPES, AREAS, SIDES, FRONT_REAR, UPPER_LOWER):
        assert len(set(values)) == len(values)
    assert ALLOWED["left_right"] == SIDES
