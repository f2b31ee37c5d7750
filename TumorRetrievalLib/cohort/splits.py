"""Dividing a cohort so that no patient is on both sides."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from TumorRetrievalLib.cohort.case import Case


def split_by_patient(cases: Iterable[Case], fractions: Mapping[str, float], seed: int) -> dict[str, list[Case]]:
    """Divides cases into named parts, patient by patient, with each tumor type in its share.

    A patient counts for the type that most of their tumors have. Who goes where depends on the seed and on the names
    and types of the patients, not on the order of the cases.

    :param fractions: name of the part -> its share of the patients; the shares add up to 1.
    :returns: name of the part -> its cases, in the order given.
    :raises ValueError: if a share is not above 0 or they do not add up to 1.
    """
    if not fractions or min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1.0) > 1e-9:
        raise ValueError(f"The shares of the parts must be above 0 and add up to 1, not {dict(fractions)}.")
    cases = list(cases)
    part_of = _part_of_patients(_patients_by_type(cases), fractions, random.Random(seed))
    parts: dict[str, list[Case]] = {name: [] for name in fractions}
    for case in cases:
        parts[part_of[case.patient]].append(case)
    return parts


def _patients_by_type(cases: list[Case]) -> dict[str, list[str]]:
    types: dict[str, Counter] = defaultdict(Counter)
    for case in cases:
        types[case.patient].update(tumor.type for tumor in case.tumors if tumor.type is not None)
    strata: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(types):
        # The name of the type breaks a tie, so that the order of the cases does not.
        most = max(sorted(types[patient].items()), key=lambda item: item[1], default=("", 0))
        strata[most[0]].append(patient)
    return dict(sorted(strata.items()))


def _part_of_patients(
    strata: dict[str, list[str]], fractions: Mapping[str, float], rng: random.Random
) -> dict[str, str]:
    """Goes through the patients type by type and gives each to the part that lacks most.

    The parts then alternate as regularly as their shares allow, so that any run of patients, and with it every type, is
    divided like the whole to within one patient or so.
    """
    part_of: dict[str, str] = {}
    given = dict.fromkeys(fractions, 0)
    for patients in strata.values():
        rng.shuffle(patients)
        for patient in patients:
            total = len(part_of) + 1
            lacking = {name: round(share * total - given[name], 9) for name, share in fractions.items()}
            part_of[patient] = max(lacking, key=lacking.get)
            given[part_of[patient]] += 1
    return part_of
