"""Which tumors of an index may be found: by type, place, size, and by leaving patients out."""

import math
from dataclasses import dataclass

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.labels import require_known

COLUMNS = {
    "types": "type",
    "areas": "area",
    "left_right": "left_right",
    "front_rear": "front_rear",
    "upper_lower": "upper_lower",
}
"""Field of `Filters` -> the label that it is about."""


@dataclass(frozen=True)
class Filters:
    """Conditions that all have to hold. An empty one asks for nothing.

    A tumor whose label is missing never matches a condition on that label.

    :param types: tumor types, any of them.
    :param areas: anatomical areas, any of them.
    :param left_right: "left" or "right", any of them; likewise `front_rear` and `upper_lower`.
    :param smallest_ml: lower bound of the tumor core's volume in ml, itself included.
    :param largest_ml: upper bound of the tumor core's volume in ml, itself included.
    :param exclude_patients: patients none of whose tumors may be found.
    :param exclude_cases: cases none of whose tumors may be found.
    :raises UnknownLabel: if a label is none of ours: it would match nothing, silently.
    """

    types: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    left_right: tuple[str, ...] = ()
    front_rear: tuple[str, ...] = ()
    upper_lower: tuple[str, ...] = ()
    smallest_ml: float | None = None
    largest_ml: float | None = None
    exclude_patients: tuple[str, ...] = ()
    exclude_cases: tuple[str, ...] = ()

    def __post_init__(self):
        for name in (*COLUMNS, "exclude_patients", "exclude_cases"):
            values = getattr(self, name)
            if isinstance(values, str):
                raise TypeError(f"{name} takes several names, not the text {values!r}.")
            # Sorted, so that the same filter is the same key of a cache however it was put together.
            object.__setattr__(self, name, tuple(sorted(set(values))))
        for name, label in COLUMNS.items():
            for value in getattr(self, name):
                require_known(label, value)

    def accept(self, case: Case, tumor: Tumor) -> bool:
        """Whether a tumor of a case may be found."""
        if any(wanted and getattr(tumor, COLUMNS[name]) not in wanted for name, wanted in self._wanted_labels()):
            return False
        if (self.smallest_ml, self.largest_ml) != (None, None):
            low = -math.inf if self.smallest_ml is None else self.smallest_ml
            high = math.inf if self.largest_ml is None else self.largest_ml
            if tumor.core_ml is None or not low <= tumor.core_ml <= high:
                return False
        return case.patient not in self.exclude_patients and case.id not in self.exclude_cases

    def _wanted_labels(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(name, getattr(self, name)) for name in COLUMNS]
