"""Filters say which tumors may be found."""

import pytest

from TumorRetrievalLib.cohort.case import Tumor
from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.retrieval.filters import Filters

from .conftest import Cohort


def found(index, filters):
    query = Cohort(60).vectors[0][:1]
    return [(index.get(hit.case), hit.record) for hit in index.search(query, 1000, filters)[0]]


def test_each_condition_lets_through_what_it_names_and_nothing_else(filled):
    everything = found(filled, Filters())
    for filters, keep in [
        (Filters(types=("glioma", "meningioma")), lambda case, tumor: tumor.type in ("glioma", "meningioma")),
        (Filters(areas=(everything[0][1].area,)), lambda case, tumor: tumor.area == everything[0][1].area),
        (Filters(left_right=("right",)), lambda case, tumor: tumor.left_right == "right"),
        (Filters(smallest_ml=10, largest_ml=20), lambda case, tumor: 10 <= tumor.core_ml <= 20),
        (Filters(exclude_patients=("patient 1",)), lambda case, tumor: case.patient != "patient 1"),
        (Filters(exclude_cases=("case-0004",)), lambda case, tumor: case.id != "case-0004"),
    ]:
        expected = {(case.id, tumor.id) for case, tumor in everything if keep(case, tumor)}
        assert {(case.id, tumor.id) for case, tumor in everything if filters.accept(case, tumor)} == expected
        assert {(case.id, tumor.id) for case, tumor in found(filled, filters)} == expected
        assert 0 < len(expected) < len(everything)


def test_a_missing_label_matches_no_condition_on_it(filled):
    # No tumor of this cohort is known to be in front or rear, upper or lower.
    assert found(filled, Filters(front_rear=("front", "rear"))) == []
    assert found(filled, Filters(upper_lower=("upper", "lower"))) == []
    case = filled.get("case-0000")
    assert not Filters(front_rear=("front", "rear")).accept(case, case.tumors[0])
    assert not Filters(smallest_ml=0.0).accept(case, Tumor(type="glioma"))


def test_the_bounds_of_a_size_belong_to_it(filled):
    size = found(filled, Filters())[0][1].core_ml

    (only,) = found(filled, Filters(smallest_ml=size, largest_ml=size))
    assert only[1].core_ml == size


def test_any_number_of_patients_can_be_left_out(filled):
    everybody_else = tuple(f"patient {i}" for i in range(1, 100_000))

    assert {case.patient for case, _ in found(filled, Filters(exclude_patients=everybody_else))} == {"patient 0"}


def test_names_with_quotes_are_names_and_not_sql(filled):
    assert len(found(filled, Filters(exclude_cases=("x'); DROP TABLE cases; --", '"')))) == len(filled)


def test_filters_that_say_the_same_are_the_same():
    assert Filters(types=("glioma", "meningioma")) == Filters(types=("meningioma", "glioma", "glioma"))


@pytest.mark.parametrize("labels", [{"types": ("Glioma",)}, {"areas": ("moon",)}, {"left_right": ("middle",)}])
def test_an_unknown_label_is_refused_instead_of_matching_nothing(labels):
    with pytest.raises(UnknownLabel):
        Filters(**labels)


def test_one_name_without_a_tuple_is_refused():
    with pytest.raises(TypeError, match="several names"):
        Filters(types="glioma")
