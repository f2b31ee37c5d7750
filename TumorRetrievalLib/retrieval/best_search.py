"""Which exact search is the fastest for a number of vectors, of those that are installed."""

import contextlib

import numpy as np

from TumorRetrievalLib.errors import MissingPackage
from TumorRetrievalLib.retrieval.compact_search import CompactSearch
from TumorRetrievalLib.retrieval.faiss_search import FaissSearch
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch
from TumorRetrievalLib.retrieval.vector_search import VectorSearch

MANY = 100_000
"""From so many vectors on, reading them takes longer than the second pass of a compact search."""


def best_search(vectors: np.ndarray) -> VectorSearch:
    """Vectors made searchable: all kinds of search find the same.

    :param vectors: shape (n, D), float32, contiguous.
    """
    if len(vectors) >= MANY:
        with contextlib.suppress(ImportError):
            import numba  # noqa: F401

            return CompactSearch(vectors)
    try:
        return FaissSearch(vectors)
    except MissingPackage:
        return NumpySearch(vectors)
