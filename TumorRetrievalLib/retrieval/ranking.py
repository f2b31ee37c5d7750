"""From the most similar tumors to a list worth reading."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.retrieval.case_index import CaseIndex, Hit
from TumorRetrievalLib.retrieval.filters import Filters

ONE_PER: dict[str, Callable[[Hit], object]] = {
    "patient": lambda hit: hit.patient,
    "case": lambda hit: hit.case,
    "tumor": lambda hit: (hit.case, hit.place),
}
"""What a list shows once, by its best tumor: a patient with all scans, a scan with all tumors, or a tumor."""

_MORE = 4


def nearest_tumors(
    index: CaseIndex,
    embedding: np.ndarray,
    k: int,
    *,
    filters: Filters | None = None,
    weights: Mapping[str, float] | None = None,
    one_per: str = "patient",
) -> list[Hit]:
    """The k most similar tumors, the most similar first; equal ones in the order of their ids.

    :param embedding: of the tumor that is asked about, shape (D,); or several images of it, shape (n, D), of which for
        each tumor of the index the most similar one counts.
    :param filters: which tumors may be found; None: all.
    :param weights: how much each block counts; None: `DEFAULT_WEIGHTS`.
    :param one_per: one of `ONE_PER`. By patient, so that neither a scan with thirty metastases nor a patient with
        thirty scans fills the list.
    :returns: at most k; fewer if the index has no more that match.
    """
    images = np.atleast_2d(embedding)
    wanted = k
    while True:
        found = index.search(images, wanted, filters, weights)
        shown = first_of_each(best_of_images(found)[:wanted], one_per)
        if len(shown) >= k or all(len(hits) < wanted for hits in found):
            return shown[:k]
        wanted *= _MORE


def best_of_images(found: list[list[Hit]]) -> list[Hit]:
    """Each tumor once, with the score of the image that it resembles most; the most similar first.

    Of n hits for each image the first n of the result are exact: a tumor that is missing in the list of the image that
    it resembles most has at least n before it there.
    """
    if len(found) == 1:
        return found[0]
    best = {}
    for hit in sorted((hit for hits in found for hit in hits), key=lambda hit: (-hit.score, hit.case, hit.place)):
        best.setdefault((hit.case, hit.place), hit)
    return list(best.values())


def first_of_each(hits: list[Hit], one_per: str) -> list[Hit]:
    """The first hit of each patient, case or tumor, in their order."""
    first = {}
    for hit in hits:
        first.setdefault(ONE_PER[one_per](hit), hit)
    return list(first.values())


def look_alikes(
    index: CaseIndex,
    embedding: np.ndarray,
    k: int,
    *,
    filters: Filters | None = None,
    weights: Mapping[str, float] | None = None,
    one_per: str = "patient",
) -> tuple[str | None, list[Hit]]:
    """The most similar tumors whose verified type is another than that of the best match: what else looks like this.

    The best match is the most similar tumor whose type is known. Arguments as in `nearest_tumors`; a filter by type
    holds for the look-alikes only. Tumors of unknown type are none.

    :returns: the type that was left out (None if nothing was found at all), and the hits.
    """
    filters = filters or Filters()
    best = nearest_tumors(index, embedding, 1, filters=replace(filters, types=TYPES), weights=weights)
    if not best:
        return None, []
    left_out = best[0].record.type
    others = tuple(name for name in filters.types or TYPES if name != left_out)
    if not others:
        return left_out, []
    allowed = replace(filters, types=others)
    return left_out, nearest_tumors(index, embedding, k, filters=allowed, weights=weights, one_per=one_per)
