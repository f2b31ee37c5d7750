"""Exact search that reads a quarter of the memory: a first pass over int8 codes, then the vectors of a few rows.

Reading the vectors from memory is what an exact search of many of them costs. Here each number of a vector has a code
of one byte, v = s c + e with |e| <= s / 2, s being 1/127 of the largest number of its dimension. For a query q

    q.v  =  sum of (q s) c  +  q.e,        |q.e|  <=  sum over the blocks of dimensions of |q_b| |e|_b,

and the largest |e|_b of all vectors is measured when the codes are made, so the bound is proven, not estimated. The
first sum is taken in integers with q s rounded to int16, whose error is bounded likewise. So a row whose first sum is
smaller than the k-th largest by more than twice the bounds is none of the k best, and only the others are candidates.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.retrieval.vector_search import LARGEST_COPIED_PART, rounding_margin

_BLOCK = 128
"""Rows of which only the best is remembered in the first pass."""
_ROW_BYTES = 32
"""Codes are filled up with zeros to whole vector registers, or else the loop's rest takes as long as the loop."""
_CODED_AT_ONCE = 1 << 16
_ERROR_PART = 16
"""Dimensions in a part whose errors are bounded together: smaller parts bound a query with few blocks more tightly."""


@dataclass(frozen=True, eq=False)
class _Subset:
    rows: np.ndarray
    codes: np.ndarray | None


class CompactSearch:
    """See `VectorSearch`. For many vectors: with few, FAISS needs no second pass, and is as fast.

    :param vectors: they are not copied, and may lie in a file that is mapped to memory: only candidates are read.
    """

    name = "compact"

    def __init__(self, vectors: np.ndarray):
        self.vectors = vectors
        count, size = vectors.shape
        self._scale = _scale_of(vectors)
        self._codes = np.zeros((count, -(-size // _ROW_BYTES) * _ROW_BYTES), dtype=np.int8)
        self._errors = np.zeros(-(-size // _ERROR_PART))
        for start in range(0, count, _CODED_AT_ONCE):
            self._encode(slice(start, min(start + _CODED_AT_ONCE, count)))
        self._threads = os.cpu_count() or 1

    def _encode(self, rows: slice) -> None:
        part = self.vectors[rows]
        codes = np.rint(part / self._scale)
        self._codes[rows, : part.shape[1]] = codes
        error = np.square(part.astype(np.float64) - codes * self._scale)
        lengths = np.sqrt(np.add.reduceat(error, np.arange(0, part.shape[1], _ERROR_PART), axis=1).max(axis=0))
        self._errors = np.maximum(self._errors, lengths)

    def subset(self, rows: np.ndarray) -> _Subset:
        few = len(rows) <= LARGEST_COPIED_PART * len(self.vectors)
        return _Subset(rows, self._codes.take(rows, axis=0) if few else None)

    def candidates(self, queries: np.ndarray, k: int, subset: _Subset | None = None) -> list[np.ndarray]:
        count = len(self.vectors) if subset is None else len(subset.rows)
        if k * _BLOCK >= count:
            everything = np.arange(count) if subset is None else subset.rows
            return [everything] * len(queries)
        return [self._candidates(np.asarray(query, np.float64), k, subset) for query in queries]

    def _candidates(self, query: np.ndarray, k: int, subset: _Subset | None) -> np.ndarray:
        whole, unit, bound = self._rounded(query)
        best = self._best_of_blocks(whole, subset)
        # k blocks have a row at least as good as this, so the k-th best row is, too.
        kth = np.partition(best, len(best) - k)[len(best) - k]
        least = int(kth) - int(np.ceil((2 * bound + rounding_margin(len(query))) / unit)) - 1
        rows = _rows_of(np.flatnonzero(best >= least), len(self.vectors) if subset is None else len(subset.rows))
        rows = rows if subset is None else subset.rows[rows]
        return rows[self._codes[rows].astype(np.int32) @ whole.astype(np.int32) >= least]

    def _rounded(self, query: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The query for the codes, int16; what one is worth; and how far its inner products may be from the truth."""
        scaled = np.zeros(self._codes.shape[1])
        scaled[: len(query)] = query * self._scale
        # The sums must fit into int32, and the numbers into int16.
        unit = max(np.abs(scaled).max() / (2**15 - 1), np.abs(scaled).sum() * 127 / (2**31 - 2**16), 1e-30)
        whole = np.rint(scaled / unit)
        by_query = 127 * np.abs(whole * unit - scaled).sum()
        parts = np.sqrt(np.add.reduceat(np.square(query), np.arange(0, len(query), _ERROR_PART)))
        return whole.astype(np.int16), unit, float(by_query + parts @ self._errors)

    def _best_of_blocks(self, query: np.ndarray, subset: _Subset | None) -> np.ndarray:
        from TumorRetrievalLib.retrieval.code_kernels import best_of_blocks, best_of_blocks_among

        count = len(self.vectors) if subset is None else len(subset.rows)
        best = np.empty(-(-count // _BLOCK), dtype=np.int32)

        def work(first: int, last: int) -> None:
            if subset is None or subset.codes is not None:
                best_of_blocks(self._codes if subset is None else subset.codes, query, _BLOCK, first, last, best)
            else:
                best_of_blocks_among(self._codes, subset.rows, query, _BLOCK, first, last, best)

        cuts = np.linspace(0, len(best), self._threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(work, cuts[:-1], cuts[1:]))
        return best


def _scale_of(vectors: np.ndarray) -> np.ndarray:
    """What a code of one is worth in each dimension, shape (D,), float64."""
    largest = np.zeros(vectors.shape[1])
    for start in range(0, len(vectors), _CODED_AT_ONCE):
        largest = np.maximum(largest, np.abs(vectors[start : start + _CODED_AT_ONCE]).max(axis=0, initial=0.0))
    return np.where(largest > 0, largest / 127, 1.0)


def _rows_of(blocks: np.ndarray, count: int) -> np.ndarray:
    """The numbers of all rows in some blocks, ascending."""
    rows = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
    return rows[rows < count]
