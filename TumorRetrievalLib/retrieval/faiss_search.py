"""Exact search with FAISS: an IndexFlatIP, built in memory from the vectors and never read from a file."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from TumorRetrievalLib.errors import MissingPackage
from TumorRetrievalLib.retrieval.vector_search import LARGEST_COPIED_PART, at_least_kth, rounding_margin

# How many more rows than asked for are fetched. More than that within rounding of the last one is rare: then all rows
# are scored.
_SPARE = 16


@dataclass(frozen=True, eq=False)
class _Subset:
    rows: np.ndarray
    block: np.ndarray | None
    parameters: object = None
    kept_alive: tuple = field(default=())


class FaissSearch:
    """See `VectorSearch`.

    FAISS keeps the only copy of the vectors; `vectors` is a view of its memory.

    :raises MissingPackage: if faiss is not installed.
    """

    name = "faiss"

    def __init__(self, vectors: np.ndarray):
        try:
            import faiss
        except ImportError as error:
            raise MissingPackage("The package faiss-cpu is not installed; NumPy's search works without.") from error
        self._faiss = faiss
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        self.vectors = np.zeros(vectors.shape, dtype=np.float32)
        if len(vectors):
            self.vectors = faiss.rev_swig_ptr(self._index.get_xb(), vectors.size).reshape(vectors.shape)

    def subset(self, rows: np.ndarray) -> _Subset:
        if len(rows) <= LARGEST_COPIED_PART * len(self.vectors):
            return _Subset(rows, self.vectors.take(rows, axis=0))
        wanted = np.zeros(len(self.vectors), dtype=bool)
        wanted[rows] = True
        bits = np.packbits(wanted, bitorder="little")
        # FAISS keeps only a pointer to the bits and to the selector.
        selector = self._faiss.IDSelectorBitmap(bits)
        return _Subset(rows, None, self._faiss.SearchParameters(sel=selector), (bits, selector))

    def candidates(self, queries: np.ndarray, k: int, subset: _Subset | None = None) -> list[np.ndarray]:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        count = len(self.vectors) if subset is None else len(subset.rows)
        if k + _SPARE >= count or len(queries) == 0:
            everything = np.arange(count) if subset is None else subset.rows
            return [everything] * len(queries)
        with self._threads_for(len(queries)):
            scores, rows = self._best(queries, k + _SPARE, subset)
        margin = rounding_margin(queries.shape[1])
        found = []
        for query, its_scores, its_rows in zip(queries, scores, rows, strict=True):
            near_enough = its_scores >= np.float32(its_scores[k - 1] - margin)
            found.append(self._score_all(query, k, subset) if near_enough[-1] else its_rows[near_enough])
        return found

    @contextlib.contextmanager
    def _threads_for(self, queries: int) -> Iterator[None]:
        """FAISS shares out queries, not vectors: for one query more threads only wait for each other."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(min(before, queries))
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)

    def _best(self, queries: np.ndarray, k: int, subset: _Subset | None) -> tuple[np.ndarray, np.ndarray]:
        if subset is None:
            return self._index.search(queries, k)
        if subset.block is None:
            return self._index.search(queries, k, params=subset.parameters)
        scores, positions = self._faiss.knn(queries, subset.block, k, metric=self._faiss.METRIC_INNER_PRODUCT)
        return scores, subset.rows[positions]

    def _score_all(self, query: np.ndarray, k: int, subset: _Subset | None) -> np.ndarray:
        if subset is None:
            return at_least_kth(self.vectors @ query, k, len(query))
        block = subset.block if subset.block is not None else self.vectors[subset.rows]
        return subset.rows[at_least_kth(block @ query, k, len(query))]
