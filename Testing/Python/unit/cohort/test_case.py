"""Cases hold only what can be true."""

import math

import pytest

from TumorRetrievalLib.cohort.case import Case, MaskLabels, Tumor
from TumorRetrievalLib.errors import UnknownLabel


def test_any_label_of_a_tumor_may_be_unknown():
    tumor = Tumor()

    assert tumor.box is None
    assert tumor.type is None
    assert tumor.atlas_mm is None


@pytest.mark.parametrize("label", ["type", "area", "left_right", "front_rear", "upper_lower"])
def test_a_label_outside_the_lists_is_refused(label):
    with pytest.raises(UnknownLabel, match=f"'nonsense' is not a known {label}"):
        Tumor(**{label: "nonsense"})


@pytest.mark.parametrize("size", ["linear_size_mm", "core_ml", "whole_ml"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_size_is_a_number_of_at_least_zero(size, value):
    with pytest.raises(ValueError, match=size):
        Tumor(**{size: value})


@pytest.mark.parametrize("position", [(1, 2), (1, 2, math.nan)])
def test_a_position_is_three_finite_numbers(position):
    with pytest.raises(ValueError, match="atlas_mm needs three finite numbers"):
        Tumor(atlas_mm=position)


@pytest.mark.parametrize("names", [{"id": " ", "patient": "p"}, {"id": "c", "patient": ""}])
def test_a_case_names_itself_and_its_patient(names):
    with pytest.raises(ValueError, match="A case needs a"):
        Case(**names)


def test_two_tumors_of_a_case_cannot_share_an_id():
    with pytest.raises(ValueError, match="each tumor needs an id of its own"):
        Case(id="c", patient="p", tumors=[Tumor(id="1"), Tumor(id="1")])


@pytest.mark.parametrize(
    ("core", "whole", "says"), [((1,), (), "from 1 on"), ((0,), (0, 1), "from 1 on"), ((3,), (1, 2), "must be among")]
)
def test_the_core_is_a_part_of_the_whole_tumor(core, whole, says):
    with pytest.raises(ValueError, match=says):
        MaskLabels(core, whole, "ours")


def test_a_mask_is_drawn_by_somebody_known():
    with pytest.raises(ValueError, match="expert, network"):
        Case(id="c", patient="p", mask_origin="me")
