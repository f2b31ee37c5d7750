"""From the most similar tumors to a list worth reading."""

from collections.abc import Mapping

import numpy as np

from TumorRetrievalLib.retrieval.case_index import CaseIndex, Hit
from TumorRetrievalLib.retrieval.filters import Filters

_MORE = 4


def nearest_tumors(
    index: CaseIndex,
    embedding: np.ndarray,
    k: int,
    *,
    filters: Filters | None = None,
    weights: Mapping[str, float] | None = None,
    one_per_case: bool = True,
) -> list[Hit]:
    """The k most similar tumors, the most similar first; equal ones in the order of their ids.

    :param embedding: of the tumor that is asked about, shape (D,).
    :param filters: which tumors may be found; None: all.
    :param weights: how much each block counts; None: `DEFAULT_WEIGHTS`.
    :param one_per_case: show of each case only its best tumor, so that a scan with thirty metastases fills one row.
    :returns: at most k; fewer if the index has no more that match.
    """
    wanted = k
    while True:
        hits = index.search(np.asarray(embedding)[None], wanted, filters, weights)[0]
        shown = best_of_each_case(hits) if one_per_case else hits
        if len(shown) >= k or len(hits) < wanted:
            return shown[:k]
        wanted *= _MORE


def best_of_each_case(hits: list[Hit]) -> list[Hit]:
    """The first hit of each case, in their order."""
    first = {}
    for hit in hits:
        first.setdefault(hit.case, hit)
    return list(first.values())
