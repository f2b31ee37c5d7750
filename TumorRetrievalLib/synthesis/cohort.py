"""The synthetic cohort that the bundled index shows: the composition of Pisov et al. 2018, Table 1, plus gliomas."""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.synthesis.lesions import draw_lesion_count

FIRST_SEED = 100_000
"""Seeds below are for the samples; training draws its patients from 1,000,000 on, so no case here was trained on."""

COMPOSITION = {
    "metastasis": (399, 1636),
    "meningioma": (339, 414),
    "schwannoma": (251, 258),
    "glioma": (250, 250),
}
"""Tumor type -> (scans, tumors)."""

_SHORT = {"metastasis": "MET", "meningioma": "MEN", "schwannoma": "SCH", "glioma": "GLI"}


@dataclass(frozen=True)
class CaseRecipe:
    """All that is kept of a synthetic case: the scan is made again from it.

    :param case_id: such as SYN-MET-0001.
    """

    case_id: str
    seed: int
    tumor_type: str
    lesion_count: int


def bundled_cohort() -> list[CaseRecipe]:
    """The recipes of the 1,239 cases, always the same."""
    rng = np.random.default_rng(2018)
    recipes = []
    for tumor_type, (scans, tumors) in COMPOSITION.items():
        for number, count in enumerate(_counts(tumor_type, scans, tumors, rng), start=1):
            case_id = f"SYN-{_SHORT[tumor_type]}-{number:04d}"
            recipes.append(CaseRecipe(case_id, FIRST_SEED + len(recipes), tumor_type, count))
    return recipes


def _counts(tumor_type: str, scans: int, tumors: int, rng: np.random.Generator) -> list[int]:
    """How many tumors each scan has: drawn, then moved by single tumors until the sum is right."""
    counts = np.array([draw_lesion_count(tumor_type, rng) for _ in range(scans)])
    while counts.sum() != tumors:
        step = 1 if counts.sum() < tumors else -1
        movable = np.flatnonzero(counts < 20 if step > 0 else counts > 1)
        counts[rng.choice(movable)] += step
    return counts.tolist()
