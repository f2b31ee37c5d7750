"""What every exact search over vectors offers, so that FAISS and NumPy (or a server) can stand in for each other.

A search works in float32 and answers with candidates: a few more rows than asked for, among them for certain the best
ones. The case index then scores those again in float64 and breaks ties by name. So all searches give the same result,
whatever the order in which each one adds its products.
"""

from typing import Any, Protocol

import numpy as np

#: A subset up to this part of all vectors is copied once into one contiguous block: reading scattered rows costs more
#: than the arithmetic on them, and a reader tries many weights under one filter.
LARGEST_COPIED_PART = 0.25


class VectorSearch(Protocol):
    """Inner product search over a fixed set of vectors."""

    name: str
    vectors: np.ndarray

    def __init__(self, vectors: np.ndarray):
        """Make vectors searchable; they keep their row numbers.

        :param vectors: shape (n, D), float32, contiguous.
        """

    def subset(self, rows: np.ndarray) -> Any:
        """Prepare a search among some rows only; to be passed to `candidates`, as often as wanted.

        :param rows: ascending row numbers, shape (m,), int64.
        """

    def candidates(self, queries: np.ndarray, k: int, subset: Any = None) -> list[np.ndarray]:
        """Rows that certainly contain the k best of each query, and all others that tie with the last of them.

        :param queries: shape (q, D), float32.
        :param k: at least 1; may be larger than the number of rows.
        :param subset: from `subset`; None searches all rows.
        :returns: for each query the row numbers, shape (at least k unless there are fewer,), int64, in any order.
        """


def rounding_margin(dimensions: int) -> float:
    """How far two float32 inner products may be from the order of the exact ones.

    An inner product of D terms is off by at most about D * 2^-24 times the sum of the terms' sizes, which is at most
    one for a query vector whose weights sum to one. Both the k-th best and its rival may be off.
    """
    return 2 * (dimensions + 2) * 2.0**-24


def at_least_kth(scores: np.ndarray, k: int, dimensions: int) -> np.ndarray:
    """Positions of all scores that may be among the k largest, given the rounding of float32; shape (m,), int64."""
    if k >= len(scores):
        return np.arange(len(scores))
    kth = float(np.partition(scores, len(scores) - k)[len(scores) - k])
    return np.flatnonzero(scores >= np.float32(kth - rounding_margin(dimensions)))
