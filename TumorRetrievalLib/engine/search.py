"""How a user may ask for similar cases besides drawing a box: filters, weights, examples, mirrored, look-alikes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from TumorRetrievalLib.engine.rerank import block_weights, embedding_of, moved
from TumorRetrievalLib.errors import UnknownCase
from TumorRetrievalLib.retrieval.blocks import block_shares, similarities
from TumorRetrievalLib.retrieval.case_index import CaseIndex, Hit
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.mirror import mirrored
from TumorRetrievalLib.retrieval.ranking import look_alikes, nearest_tumors
from TumorRetrievalLib.retrieval.together import CaseHit, nearest_cases

Example = tuple[str, str | None]
"""Id of a case and of a tumor in it; None: that tumor of the case that is most similar to the one asked about."""


@dataclass(frozen=True)
class Wishes:
    """What is to be found.

    :param filters: which tumors may be found.
    :param factors: block -> factor on its default weight.
    :param liked: :param disliked: examples of which the user wants more, or fewer.
    :param mirrored: ignore the side: of the tumor and its mirror image in the atlas the better match counts.
    :param look_alikes: find tumors whose verified type is another than that of the best match.
    :param one_per: one of `retrieval.ranking.ONE_PER`, what the list shows once.
    """

    filters: Filters = field(default_factory=Filters)
    factors: Mapping[str, float] = field(default_factory=dict)
    liked: tuple[Example, ...] = ()
    disliked: tuple[Example, ...] = ()
    mirrored: bool = False
    look_alikes: bool = False
    one_per: str = "patient"

    @property
    def weights(self) -> dict[str, float]:
        """Block -> weight."""
        return block_weights(self.factors)


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found.

    :param hits: the most similar first.
    :param look_alikes_of: where look-alikes were asked for, the type that was left out.
    """

    hits: list[Hit]
    look_alikes_of: str | None = None


def search(index: CaseIndex, embedding: np.ndarray, k: int, wishes: Wishes) -> Answer:
    """The k tumors of the index that are most similar to one, as the user wishes.

    :param embedding: shape (D,).
    :raises UnknownCase: if an example is not in the index.
    :raises NothingToCompare: if no block has a weight and a value.
    """
    options = {"filters": wishes.filters, "weights": wishes.weights, "one_per": wishes.one_per}
    images = _images(index, embedding, wishes)
    if wishes.look_alikes:
        left_out, hits = look_alikes(index, images, k, **options)
        return Answer(hits, left_out)
    return Answer(nearest_tumors(index, images, k, **options))


def search_together(index: CaseIndex, embeddings: np.ndarray, k: int, wishes: Wishes) -> list[CaseHit]:
    """The k scans whose tumors, as a set, are most similar to several of one scan; see `retrieval.together`.

    In the mirror all tumors change sides. Look-alikes of a set are not defined: that wish is not looked at.

    :param embeddings: shape (n, D). Errors as in `search`.
    """
    images = np.stack([_images(index, embedding, wishes) for embedding in embeddings], axis=1)
    options = {"filters": wishes.filters, "weights": wishes.weights, "one_per": wishes.one_per}
    found = [hit for image in images for hit in nearest_cases(index, image, k, **options)]
    best: dict[str, CaseHit] = {}
    for hit in sorted(found, key=lambda hit: (-hit.score, hit.case)):
        best.setdefault(hit.patient if wishes.one_per == "patient" else hit.case, hit)
    return list(best.values())[:k]


def example_of(index: CaseIndex, text: str) -> Example:
    """What `CASE` or `CASE/TUMOR` names; an id may itself contain slashes.

    :raises UnknownCase: if the index has no such case or tumor.
    """
    if text in index:
        return text, None
    for cut in (place for place, letter in enumerate(text) if letter == "/"):
        case, tumor = text[:cut], text[cut + 1 :]
        if case in index and tumor in {one.id for one in index.get(case).tumors}:
            return case, tumor
    raise UnknownCase(f"The index {index.folder} has no case, or tumor of a case, {text!r}.")


def _images(index: CaseIndex, embedding: np.ndarray, wishes: Wishes) -> np.ndarray:
    """The tumor, moved towards and away from the examples, and on request its mirror image; shape (1 or 2, D)."""
    liked, disliked = (
        [_named(index, embedding, one, wishes.weights) for one in examples]
        for examples in (wishes.liked, wishes.disliked)
    )
    image = moved(index, embedding, liked, disliked)
    if not wishes.mirrored:
        return image[None]
    # A mean of places is no place, so the mirror image of the mean is the mean of the mirror images.
    flipped = moved(_Mirrored(index), mirrored(embedding, index.layout), liked, disliked)
    return np.stack([image, flipped])


class _Mirrored:
    """An index in which every tumor is on the other side, as far as `moved` looks at it."""

    def __init__(self, index: CaseIndex):
        self._index, self.layout, self.folder, self.get = index, index.layout, index.folder, index.get

    def vectors_of(self, case_id: str) -> np.ndarray:
        return np.stack([mirrored(vector, self.layout) for vector in self._index.vectors_of(case_id)])


def _named(index: CaseIndex, embedding: np.ndarray, example: Example, weights: Mapping[str, float]) -> tuple[str, str]:
    case_id, tumor = example
    if tumor is not None:
        embedding_of(index, case_id, tumor)  # that it exists is said before anything is searched
        return case_id, tumor
    tumors = index.get(case_id).tumors
    if not tumors:
        raise UnknownCase(f"The case {case_id} of {index.folder} has no tumors to be an example.")
    query = index.layout.query_vector(embedding, weights)
    scores = similarities(block_shares(query, index.vectors_of(case_id), index.layout))
    return case_id, tumors[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))].id
