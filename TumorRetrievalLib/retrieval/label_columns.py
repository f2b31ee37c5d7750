"""The labels of all tumors of an index in memory, so that a filter never seen before takes milliseconds, not seconds.

The five labels of a tumor are the digits of one number. A filter is then a table of the numbers that it lets through,
and one look into that table per tumor.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.retrieval.filters import COLUMNS, Filters

RADIX: dict[str, int] = {label: len(ALLOWED[label]) + 1 for label in COLUMNS.values()}
"""Label -> number of its digits: 0 where it is unknown, then its values in the order of `ALLOWED`."""


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """Row r is that of vector r.

    :param numbers: the labels of each tumor, shape (n,), uint16; the first label of `RADIX` is the last digit.
    :param core_ml: volume of each tumor's core, shape (n,), NaN where it is unknown.
    """

    numbers: np.ndarray
    core_ml: np.ndarray

    def matching(self, filters: Filters) -> np.ndarray:
        """Which tumors have the wanted labels and sizes, shape (n,), bool; patients and cases are not looked at."""
        keep = _allowed_numbers(filters)[self.numbers]
        # A size that is unknown is NaN, and no comparison with that is true.
        if filters.smallest_ml is not None:
            keep &= self.core_ml >= filters.smallest_ml
        if filters.largest_ml is not None:
            keep &= self.core_ml <= filters.largest_ml
        return keep


def _allowed_numbers(filters: Filters) -> np.ndarray:
    """Which numbers a filter lets through, shape (all numbers,), bool."""
    allowed = np.ones(1, dtype=bool)
    for name, label in COLUMNS.items():
        wanted = getattr(filters, name)
        digits = np.array([not wanted, *(not wanted or value in wanted for value in ALLOWED[label])])
        # Later labels are higher digits.
        allowed = (digits[:, None] & allowed).ravel()
    return allowed
