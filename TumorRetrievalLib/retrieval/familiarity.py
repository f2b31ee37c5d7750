"""Whether anything in an index is similar to a tumor at all, or only less unlike than the rest.

A similarity of 0.9 means little by itself: how high the best match of a tumor usually scores depends on the index, the
weights, and which blocks are known. So the tumors of the index are asked first: each looks for its best match among the
other patients, and those scores are the scale on which a new tumor's best match is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.ranking import nearest_tumors

SAMPLE = 300
"""How many tumors of the index are asked, one of each case, spread evenly over the cases in the order of their ids."""
FEWEST = 30
"""Of fewer patients no percentile is told."""
RARE_PERCENT = 2.0
"""A best match below this percentile is called no match: so many in a hundred true tumors are called so, too."""

_HITS, _MORE = 8, 8


@dataclass(frozen=True)
class BestMatch:
    """How a tumor's best match compares with those of the index's own tumors among other patients.

    :param score: similarity of the best match; None in an empty index.
    :param percentile: percent of the index's tumors whose best match scores no higher; None where the index is too
        small to tell.
    """

    score: float | None
    percentile: float | None

    @property
    def rare(self) -> bool:
        """Whether the best match is so poor that hardly any tumor of the index has such a one."""
        return self.score is None or (self.percentile is not None and self.percentile < RARE_PERCENT)


def best_match(
    index: CaseIndex, embedding: np.ndarray, weights: Mapping[str, float] | None = None, filters: Filters | None = None
) -> BestMatch:
    """The best match of a tumor in the whole index, and how good that is as best matches go.

    :param embedding: shape (D,).
    :param weights: as in `CaseIndex.search`.
    :param filters: of these only the patients and cases that are left out count: whether the index knows anything like
        this does not depend on what part of it is shown.
    """
    filters = filters or Filters()
    allowed = Filters(exclude_patients=filters.exclude_patients, exclude_cases=filters.exclude_cases)
    hits = nearest_tumors(index, embedding, 1, filters=allowed, weights=weights)
    if not hits:
        return BestMatch(None, None)
    usual = usual_scores(index, index.layout.known_blocks(np.asarray(embedding)[None])[0], weights)
    if len(usual) < FEWEST:
        return BestMatch(hits[0].score, None)
    return BestMatch(hits[0].score, round(100 * float(np.mean(usual <= hits[0].score)), 1))


def usual_scores(index: CaseIndex, known: np.ndarray, weights: Mapping[str, float] | None = None) -> np.ndarray:
    """The best scores of the index's own tumors among the other patients, shape (at most `SAMPLE`,), unsorted.

    :param known: which blocks the tumors are compared by, shape (number of blocks,), bool: those that are known of the
        tumor that is asked about.
    """
    patients, vectors = _asked(index, known, weights)
    scores, wanted = [], _HITS
    while len(vectors):
        found = index.search(vectors, wanted, None, weights)
        others = [
            next((hit.score for hit in hits if hit.patient != patient), None)
            for hits, patient in zip(found, patients, strict=True)
        ]
        scores += [score for score in others if score is not None]
        # Who has found nobody else has seen only its own patient's tumors so far, or there is nobody else.
        again = [i for i, score in enumerate(others) if score is None and len(found[i]) == wanted]
        patients, vectors, wanted = [patients[i] for i in again], vectors[again], wanted * _MORE
    return np.array(scores)


def _asked(index: CaseIndex, known: np.ndarray, weights) -> tuple[list[str], np.ndarray]:
    """The patients and the vectors of the tumors that are asked; blocks that are not to be compared are zero."""
    ids = index.case_ids()
    chosen = sorted({int(place) for place in np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids)))})
    patients, vectors = [], [np.zeros((0, index.layout.size), np.float32)]
    for number, place in enumerate(chosen):
        its = index.vectors_of(ids[place])
        if len(its):
            patients.append(index.get(ids[place]).patient)
            vectors.append(its[number % len(its)][None])
    block = np.concatenate(vectors)
    for part, is_known in zip(index.layout.slices.values(), known, strict=True):
        block[:, part] *= is_known
    counted = index.layout.counts(block, weights)
    return [patient for patient, does in zip(patients, counted, strict=True) if does], block[counted]
