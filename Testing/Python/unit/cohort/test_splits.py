"""No patient is on both sides, and every type is on each."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.cohort.splits import split_by_patient

HALVES = {"train": 0.8, "test": 0.2}


def cohort(patients: int, seed: int = 0) -> list[Case]:
    """Patients with one to three scans each, of types of very unequal frequency; some without any label."""
    rng = random.Random(seed)
    cases = []
    for patient in range(patients):
        tumor_type = rng.choices([*TYPES, None], weights=[40, 25, 20, 10, 3, 2])[0]
        for scan in range(rng.randint(1, 3)):
            tumors = [Tumor(type=tumor_type)] if tumor_type else []
            cases.append(Case(id=f"{patient}-{scan}", patient=f"patient {patient}", tumors=tumors))
    return cases


def ids(parts):
    return {name: [case.id for case in cases] for name, cases in parts.items()}


@given(st.integers(0, 80), st.integers(0, 1000))
def test_every_case_is_in_one_part_and_no_patient_is_in_two(patients, seed):
    cases = cohort(patients, seed)

    parts = split_by_patient(cases, {"train": 0.7, "validation": 0.1, "test": 0.2}, seed)

    assert sorted(case.id for part in parts.values() for case in part) == sorted(case.id for case in cases)
    where = {(case.patient, name) for name, part in parts.items() for case in part}
    assert len(where) == len({patient for patient, _ in where})


def test_each_type_is_divided_in_the_same_proportion():
    cases = cohort(600)

    parts = split_by_patient(cases, HALVES, seed=3)

    def patients(part):
        return Counter(
            tumor_type
            for _, tumor_type in {(case.patient, case.tumors[0].type if case.tumors else None) for case in part}
        )

    everyone, tested = patients(cases), patients(parts["test"])
    for tumor_type, number in everyone.items():
        assert abs(tested[tumor_type] - 0.2 * number) < 2, tumor_type


def test_the_same_seed_gives_the_same_split_whatever_the_order_of_the_cases():
    cases = cohort(60)
    shuffled = random.Random(1).sample(cases, len(cases))

    one, other = split_by_patient(cases, HALVES, seed=5), split_by_patient(shuffled, HALVES, seed=5)

    assert {name: sorted(part) for name, part in ids(one).items()} == {
        name: sorted(part) for name, part in ids(other).items()
    }


def test_another_seed_gives_another_split():
    cases = cohort(60)

    assert ids(split_by_patient(cases, HALVES, seed=5)) != ids(split_by_patient(cases, HALVES, seed=6))


def test_types_with_a_single_patient_do_not_all_end_up_in_the_larger_part():
    cases = [Case(id=name, patient=name, tumors=[Tumor(type=name)]) for name in TYPES]

    parts = split_by_patient(cases, {"train": 0.6, "test": 0.4}, seed=0)

    assert (len(parts["train"]), len(parts["test"])) == (3, 2)


def test_the_majority_of_a_patients_tumors_gives_the_type_that_is_stratified():
    def mixed(name):
        tumors = [Tumor(id="1", type="glioma"), Tumor(id="2", type="metastasis"), Tumor(id="3", type="metastasis")]
        return Case(id=name, patient=name, tumors=tumors)

    cases = [mixed(f"mixed {n}") for n in range(10)]
    cases += [Case(id=f"glioma {n}", patient=f"g{n}", tumors=[Tumor(type="glioma")]) for n in range(10)]

    tested = split_by_patient(cases, {"train": 0.5, "test": 0.5}, seed=0)["test"]

    assert Counter(case.id.split()[0] for case in tested) == {"mixed": 5, "glioma": 5}


@pytest.mark.parametrize("fractions", [{}, {"train": 1.2, "test": -0.2}, {"train": 0.5, "test": 0.4}, {"train": 0.0}])
def test_shares_that_do_not_make_a_whole_are_refused(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split_by_patient([], fractions, seed=0)
