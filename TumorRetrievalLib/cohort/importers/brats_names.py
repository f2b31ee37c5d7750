"""How the BraTS collections name cases and files, and what a name states: the patient, and at times the tumor."""

import re
from dataclasses import dataclass

from TumorRetrievalLib.cohort.case import MaskLabels
from TumorRetrievalLib.cohort.label_schemes import (
    ADULT,
    CAVITY_IS_4,
    ENHANCING_IS_3,
    ENHANCING_IS_4,
    FOUR_LABELS,
    GROSS_TUMOR,
    PEDIATRIC,
)


@dataclass(frozen=True)
class Collection:
    """A naming.

    :param title: for a reader.
    :param pattern: of a case's name; its group `patient` names the patient.
    :param schemes: that its masks may be in, the likeliest first.
    :param type: of all its tumors, where the name says so.
    """

    title: str
    pattern: str
    schemes: tuple[MaskLabels, ...]
    type: str | None = None


COLLECTIONS = (
    Collection("BraTS 2012-2016", r"(?P<patient>brats_?(2013|tcia)_pat\d+)(_\d+)?", (FOUR_LABELS, ENHANCING_IS_4)),
    Collection("BraTS 2017-2019", r"(?P<patient>brats1[789]_.+)_\d+", (ENHANCING_IS_4,)),
    Collection("BraTS 2020", r"(?P<patient>brats20_[a-z]+_\d+)", (ENHANCING_IS_4,)),
    Collection("BraTS 2021", r"(?P<patient>brats2021_\d+)", (ENHANCING_IS_4, ENHANCING_IS_3)),
    Collection("BraTS-GLI", r"(?P<patient>brats-gli-\d+)-\d+", (ENHANCING_IS_3, CAVITY_IS_4), "glioma"),
    Collection("BraTS-MEN-RT", r"(?P<patient>brats-men-rt-\d+)-\d+", (GROSS_TUMOR,), "meningioma"),
    Collection("BraTS-MEN", r"(?P<patient>brats-men-\d+)-\d+", (ENHANCING_IS_3,), "meningioma"),
    Collection("BraTS-MET", r"(?P<patient>brats-met-\d+)-\d+", (ENHANCING_IS_3, CAVITY_IS_4), "metastasis"),
    Collection("BraTS-PED", r"(?P<patient>brats-peds?-\d+)-\d+", (ENHANCING_IS_3, PEDIATRIC)),
    Collection("BraTS-SSA", r"(?P<patient>brats-ssa-\d+)-\d+", (ENHANCING_IS_3,)),
    Collection("BraTSReg", r"(?P<patient>bratsreg_\d+)_.+", (ENHANCING_IS_4,)),
    Collection("TCGA", r"(?P<patient>tcga-\w{2}-\w{4})(_.+)?", (ENHANCING_IS_3, ENHANCING_IS_4, FOUR_LABELS)),
)

UNNAMED = Collection("no known collection", "(?P<patient>.+)", ADULT)
"""What a case belongs to whose name says nothing: it is a patient of its own."""

_ROLES = {
    "t1c": ("t1c", "t1ce", "t1gd"),
    "flair": ("flair", "t2f"),
    "mask": ("seg", "segm", "segmentation", "gtv"),
    None: ("t1", "t1n", "t2", "t2w"),
}
_FILE = re.compile(r"(?:(?P<case>.+)[-_.])?(?P<ending>[a-z0-9]+)\.nii(?:\.gz)?", re.IGNORECASE | re.DOTALL)
_ROLE_OF = {ending: role for role, endings in _ROLES.items() for ending in endings}


@dataclass(frozen=True)
class FileName:
    """What the name of an image says.

    :param case: what stands before the role; "" where there is nothing.
    :param role: "t1c", "flair", "mask", or None for a sequence that is not used.
    """

    case: str
    role: str | None


def parse_file_name(name: str) -> FileName | None:
    """The parts of `BraTS-GLI-00000-000-t1c.nii.gz`, `Brats18_2013_2_1_t1ce.nii` or `seg.nii.gz`; None for others."""
    found = _FILE.fullmatch(name)
    if found is None or name.startswith(".") or found["ending"].lower() not in _ROLE_OF:
        return None
    return FileName(found["case"] or "", _ROLE_OF[found["ending"].lower()])


def collection_of(case_name: str) -> Collection:
    """The collection whose naming a case follows; `UNNAMED` if none."""
    for collection in COLLECTIONS:
        if re.fullmatch(collection.pattern, case_name, re.IGNORECASE):
            return collection
    return UNNAMED


def patient_of(case_name: str) -> str:
    """The patient's name; follow-ups of one patient share it."""
    return re.fullmatch(collection_of(case_name).pattern, case_name, re.IGNORECASE | re.DOTALL)["patient"]
