"""Several tumors of one scan as one question: which known scans have tumors like these?

The similarity of two scans is the soft Dice coefficient of their sets of tumors. The tumors are paired one to one, so
that the sum of the pairs' similarities is the largest possible (pairs below zero are left out), and

    similarity = 2 * (sum over the pairs) / (tumors asked about + tumors of the case).

It is 1 if and only if the sets are the same, and tumors that one scan has more than the other lower it: ten metastases
are not one. Each pair's blocks share it out as they do for single tumors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.retrieval.blocks import block_shares, similarities
from TumorRetrievalLib.retrieval.case_index import CaseIndex, Hit
from TumorRetrievalLib.retrieval.filters import Filters

_FIRST, _MORE = 256, 4
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class CaseHit:
    """A known scan whose tumors, as a set, are similar to those asked about.

    :param case: its id.
    :param patient: its patient.
    :param score: similarity of the two sets, at most 1; the sum of `blocks`.
    :param blocks: name of a block -> its share of the score.
    :param pairs: number of a tumor asked about -> the tumor of the case that it is paired with; unpaired ones are
        absent.
    """

    case: str
    patient: str
    score: float
    blocks: dict[str, float]
    pairs: dict[int, Hit]


def nearest_cases(
    index: CaseIndex,
    embeddings: np.ndarray,
    k: int,
    *,
    filters: Filters | None = None,
    weights: Mapping[str, float] | None = None,
    one_per: str = "patient",
) -> list[CaseHit]:
    """The k scans whose tumors are most similar to several tumors together: exact; equal ones in the order of ids.

    Fagin's threshold algorithm: the index lists the most similar tumors of each query, a scan that is in no list can
    only be as good as the lists' ends allow, and the lists grow until that is worse than the k found.

    :param embeddings: of the tumors asked about, shape (n, D).
    :param filters: tumors that do not pass are treated as if the index did not have them.
    :param weights: how much each block counts; None: `DEFAULT_WEIGHTS`.
    :param one_per: "patient": of each patient the best scan; else every scan.
    :returns: at most k; scans without a pair of positive similarity are never found.
    """
    filters = filters or Filters()
    known: dict[str, CaseHit] = {}
    wanted = _FIRST
    while True:
        found = index.search(embeddings, wanted, filters, weights)
        ends = [hits[-1].score if len(hits) == wanted else 0.0 for hits in found]
        best = _best_of(index, found, ends, known, k, embeddings, filters, weights, one_per)
        kth = best[k - 1].score if len(best) >= k else 0.0
        if not any(end > 0 for end in ends) or kth > _most_of_unseen(ends) + _ROUNDING:
            return best
        wanted *= _MORE


def _best_of(index, found, ends, known, k, embeddings, filters, weights, one_per) -> list[CaseHit]:
    """The k best of the scans in the lists; those that cannot be among them are not looked at.

    :param ends: for each query an upper bound of the similarity of tumors that are not in its list.
    :param known: scans that were looked at already; this call adds to it.
    """
    bounds = _upper_bounds(found, ends)
    for case, bound in sorted(bounds.items(), key=lambda item: -item[1]):
        best = _shown(known.values(), k, one_per)
        if len(best) >= k and bound < best[-1].score - _ROUNDING:
            break
        if case not in known:
            known[case] = _compared(index, case, embeddings, filters, weights)
    return _shown(known.values(), k, one_per)


def _upper_bounds(found: list[list[Hit]], ends: list[float]) -> dict[str, float]:
    """Case -> at most how similar it is: every tumor asked about gets its best partner, several the same one."""
    partners: dict[str, list[float]] = {}
    seen: dict[str, set[int]] = {}
    for number, hits in enumerate(found):
        for hit in hits:
            best = partners.setdefault(hit.case, [max(end, 0.0) for end in ends])
            best[number] = max(best[number], hit.score)
            seen.setdefault(hit.case, set()).add(hit.place)
    asked = len(found)
    return {
        # Of few tumors of the case that were seen, others may exist: those only raise the divisor beyond `asked`.
        case: max(
            2 * sum(sorted(best, reverse=True)[:paired]) / (asked + max(paired, len(seen[case])))
            for paired in range(1, asked + 1)
        )
        for case, best in partners.items()
    }


def _most_of_unseen(ends: list[float]) -> float:
    """At most how similar a scan is that is in no list."""
    best = sorted((max(end, 0.0) for end in ends), reverse=True)
    return max(2 * sum(best[:paired]) / (len(best) + paired) for paired in range(1, len(best) + 1))


def _shown(hits, k: int, one_per: str) -> list[CaseHit]:
    ordered = sorted((hit for hit in hits if hit.score > 0), key=lambda hit: (-hit.score, hit.case))
    first: dict[str, CaseHit] = {}
    for hit in ordered:
        first.setdefault(hit.patient if one_per == "patient" else hit.case, hit)
    return list(first.values())[:k]


def _compared(index: CaseIndex, case_id: str, embeddings, filters: Filters, weights) -> CaseHit:
    """A scan with its best pairing."""
    from scipy.optimize import linear_sum_assignment

    case = index.get(case_id)
    places = [place for place, tumor in enumerate(case.tumors) if filters.accept(case, tumor)]
    vectors = index.vectors_of(case_id)[places]
    queries = [index.layout.query_vector(embedding, weights) for embedding in embeddings]
    shares = np.stack([block_shares(query, vectors, index.layout) for query in queries])
    scores = np.stack([similarities(one) for one in shares])
    gain = np.where(np.isfinite(scores), np.maximum(scores, 0.0), 0.0)
    total, pairs = np.zeros(len(index.layout.names)), {}
    for number, column in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
        if gain[number, column] <= 0:
            continue
        mine = shares[number, column]
        total += mine
        blocks = dict(zip(index.layout.names, mine.tolist(), strict=True))
        place, score = places[column], float(scores[number, column])
        pairs[int(number)] = Hit(case.id, score, blocks, case.patient, place, case.tumors[place])
    total *= 2 / (len(embeddings) + len(places)) if places else 0.0
    score = float(similarities(total[None])[0])
    return CaseHit(case.id, case.patient, score, dict(zip(index.layout.names, total.tolist(), strict=True)), pairs)
