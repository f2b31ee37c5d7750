"""Looks again for the tumors of an earlier search: other weights, other filters, "more like this".

What was found out about a tumor is kept beside its result, so asking again takes milliseconds, also after a restart.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidBox, UnknownCase, UnreadableFile
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.blocks import DEFAULT_WEIGHTS
from TumorRetrievalLib.retrieval.case_index import CaseIndex, Hit
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.ranking import nearest_tumors

QUERY_FILE = "query.json"

_LIKED, _DISLIKED = 0.75, 0.25
"""How much the mean of the liked, and of the disliked, tumors counts beside the one asked about: the usual values of
Rocchio's formula (Manning et al. 2008, "Introduction to Information Retrieval", section 9.1.1: 0.75 and 0.15), the
second a little higher because a reader shows few examples."""

TumorId = tuple[str, str]
"""Id of a case, and id of a tumor in it."""


@dataclass(frozen=True, eq=False)
class Query:
    """The tumors of one search.

    :param embeddings: one row for each box, shape (n, D), float32.
    :param index: folder of the index that was searched.
    :param model: identity of the model that made the embeddings (`retrieval.embedding.model_identity`).
    :param boxes: the drawn boxes, RAS mm; empty for a search that was kept before they were.
    :param around: "core" or "whole", what they enclose.
    :param patient_to_atlas: patient RAS mm -> MNI152 mm, shape (4, 4); None if that is not known.
    """

    embeddings: np.ndarray
    index: Path
    model: str
    boxes: Sequence[Box] = ()
    around: str = "core"
    patient_to_atlas: np.ndarray | None = None

    def keep(self, folder: Path) -> None:
        """Write it into a result's folder.

        :raises CannotWrite: if that is not possible.
        """
        content = {
            "index": str(self.index),
            "model": self.model,
            "embeddings": self.embeddings.tolist(),
            "boxes": [[part.tolist() for part in (box.center, box.size, box.axes)] for box in self.boxes],
            "around": self.around,
            "patient_to_atlas": None if self.patient_to_atlas is None else self.patient_to_atlas.tolist(),
        }
        with atomic_file(folder / QUERY_FILE) as temporary:
            temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def kept(cls, folder: Path) -> "Query":
        """Read it from a result's folder.

        :raises UnreadableFile: if there is none, or it is damaged.
        """
        path = Path(folder) / QUERY_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            embeddings = np.array(content["embeddings"], dtype=np.float32)
            if embeddings.ndim != 2 or not np.isfinite(embeddings).all():
                raise ValueError("embeddings are rows of finite numbers")
            to_atlas = content.get("patient_to_atlas")
            return cls(
                embeddings,
                Path(content["index"]),
                str(content["model"]),
                [Box(*parts) for parts in content.get("boxes", [])],
                str(content.get("around", "core")),
                None if to_atlas is None else np.array(to_atlas, dtype=float).reshape(4, 4),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidBox) as error:
            raise UnreadableFile(f"{path} does not hold an earlier search ({error}). Search again.") from error


def block_weights(factors: Mapping[str, float]) -> dict[str, float]:
    """The blocks' weights when a user turns them up or down: factors on `DEFAULT_WEIGHTS`, 1 where none is given."""
    return {name: weight * factors.get(name, 1.0) for name, weight in DEFAULT_WEIGHTS.items()}


def rerank(
    index: CaseIndex,
    embedding: np.ndarray,
    k: int,
    *,
    filters: Filters | None = None,
    factors: Mapping[str, float] | None = None,
    liked: Sequence[TumorId] = (),
    disliked: Sequence[TumorId] = (),
) -> list[Hit]:
    """The k most similar tumors again.

    :param embedding: from `Query`, shape (D,).
    :param factors: block -> factor on its default weight.
    :param liked: tumors of the index of which the user wants more.
    :param disliked: tumors of the index of which the user wants fewer.
    :raises UnknownCase: if one of those is not in the index.
    :raises NothingToCompare: if no block has a weight and a value.
    """
    wanted = moved(index, embedding, liked, disliked)
    return nearest_tumors(index, wanted, k, filters=filters, weights=block_weights(factors or {}))


def moved(index: CaseIndex, embedding: np.ndarray, liked: Sequence[TumorId], disliked: Sequence[TumorId]) -> np.ndarray:
    """The embedding, moved towards the liked tumors and away from the disliked ones, block by block.

    Each block keeps its length of one, so that the scores stay the sums of the shown shares. A block that is not known
    for the tumor asked about stays unknown.

    :returns: shape (D,), float32.
    """
    target = np.asarray(embedding, dtype=np.float64).copy()
    for examples, share in ((liked, _LIKED), (disliked, -_DISLIKED)):
        if examples:
            target += share * np.mean([embedding_of(index, *example) for example in examples], axis=0)
    for part in index.layout.slices.values():
        length = np.linalg.norm(target[part])
        known = np.any(embedding[part] != 0) and length > 0
        target[part] = target[part] / length if known else 0.0
    return target.astype(np.float32)


def embedding_of(index: CaseIndex, case_id: str, tumor_id: str) -> np.ndarray:
    """The embedding of a tumor of the index, shape (D,).

    :raises UnknownCase: if it is not there.
    """
    numbers = {tumor.id: number for number, tumor in enumerate(index.get(case_id).tumors)}
    if tumor_id not in numbers:
        raise UnknownCase(f"The case {case_id} of {index.folder} has no tumor {tumor_id!r}.")
    return index.vectors_of(case_id)[numbers[tumor_id]]
