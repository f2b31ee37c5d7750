"""Exact search with NumPy alone: the fallback where there is no FAISS, and the oracle that FAISS is tested against."""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.retrieval.vector_search import LARGEST_COPIED_PART, at_least_kth

_SCORES_AT_ONCE = 1 << 26


@dataclass(frozen=True, eq=False)
class _Subset:
    rows: np.ndarray
    block: np.ndarray | None


class NumpySearch:
    """See `VectorSearch`. One matrix product, then a partial sort."""

    name = "numpy"

    def __init__(self, vectors: np.ndarray):
        self.vectors = vectors

    def subset(self, rows: np.ndarray) -> _Subset:
        few = len(rows) <= LARGEST_COPIED_PART * len(self.vectors)
        return _Subset(rows, self.vectors.take(rows, axis=0) if few else None)

    def candidates(self, queries: np.ndarray, k: int, subset: _Subset | None = None) -> list[np.ndarray]:
        block = self.vectors if subset is None or subset.block is None else subset.block
        found = []
        step = max(1, _SCORES_AT_ONCE // max(1, len(block)))
        for start in range(0, len(queries), step):
            for scores in queries[start : start + step] @ block.T:
                if subset is not None and subset.block is None:
                    scores = scores[subset.rows]
                best = at_least_kth(scores, k, queries.shape[1])
                found.append(best if subset is None else subset.rows[best])
        return found
