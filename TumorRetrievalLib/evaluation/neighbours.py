"""What the nearest neighbours of a tumor say about it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.retrieval.blocks import EmbeddingLayout

K = 5
"""Neighbours that vote, as in Pisov et al. 2018."""

LABELS = ("area", "front_rear", "left_right", "upper_lower", "type")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Tumors with their embeddings: vectors of shape (n, D), labels as columns; sizes are largest diameters in mm.

    A label that is not known is None, a size NaN.
    """

    vectors: np.ndarray
    labels: dict[str, np.ndarray]
    sizes: np.ndarray

    def only(self, rows: np.ndarray) -> "Labelled":
        """Some of them; rows as numbers or as bool (n,)."""
        labels = {label: values[rows] for label, values in self.labels.items()}
        return Labelled(self.vectors[rows], labels, self.sizes[rows])


def similarity_matrix(
    asking: np.ndarray, gallery: np.ndarray, layout: EmbeddingLayout, weights: Mapping[str, float] | None = None
) -> np.ndarray:
    """The similarity of each of some tumors to each of others, shape (asking, gallery), float64.

    A block that one of two tumors lacks leaves its weight to the others; -inf where they share none that counts.

    :param asking: :param gallery: embeddings, shape (n, D).
    :param weights: as in `EmbeddingLayout.query_vector`.
    :raises NothingToCompare: if a tumor that asks has no block with a weight.
    """
    queries = np.stack([layout.query_vector(vector, weights) for vector in asking])
    lengths = np.stack([np.linalg.norm(queries[:, part], axis=1) for part in layout.slices.values()], axis=1)
    usable = lengths @ layout.known_blocks(gallery).T
    similarity = queries @ gallery.T.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(usable > 0, similarity / usable, -np.inf)


def vote(labels: np.ndarray) -> str | None:
    """The most frequent label; of equally frequent ones that of the nearest neighbour; None where none is known."""
    counts = Counter(labels[_known(labels)].tolist())
    return max(counts, key=counts.get, default=None)


def nearest(similarity: np.ndarray, k: int = K) -> np.ndarray:
    """Of each row of a matrix of similarities, the k most similar columns, best first."""
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def score_neighbours(neighbours: np.ndarray, asking: Labelled, gallery: Labelled) -> dict[str, float]:
    """How often the neighbours' vote is right, label by label, and the error of their mean size.

    Tumors whose label is not known do not ask for it; what nobody can ask or answer has no score.

    :param neighbours: for each tumor that asks its nearest ones in the gallery, best first, shape (n, k).
    """
    scores = {}
    for label in LABELS:
        rows = np.flatnonzero(_known(asking.labels[label]))
        if len(rows) and _known(gallery.labels[label]).any():
            votes = [vote(gallery.labels[label][neighbours[row]]) for row in rows]
            right = [said == true for said, true in zip(votes, asking.labels[label][rows], strict=True)]
            scores[label] = round(float(np.mean(right)), 3)
    known = np.isfinite(gallery.sizes[neighbours])
    sums = np.where(known, gallery.sizes[neighbours], 0).sum(axis=1)
    means = np.divide(sums, known.sum(axis=1), out=np.full(len(sums), np.nan), where=known.any(axis=1))
    return {**scores, **_error_of(means - asking.sizes)}


def chance(asking: Labelled, gallery: Labelled) -> dict[str, float]:
    """What the most frequent label and the mean size would score."""
    scores = {}
    for label in LABELS:
        true, known = asking.labels[label][_known(asking.labels[label])], gallery.labels[label]
        counts = Counter(known[_known(known)].tolist())
        if len(true) and counts:
            scores[label] = round(float(np.mean(true == counts.most_common(1)[0][0])), 3)
    sizes = gallery.sizes[np.isfinite(gallery.sizes)]
    return {**scores, **(_error_of(sizes.mean() - asking.sizes) if len(sizes) else {})}


def _known(labels: np.ndarray) -> np.ndarray:
    return np.array([label is not None for label in labels], bool)


def _error_of(errors: np.ndarray) -> dict[str, float]:
    """The root mean square of those that are known."""
    errors = errors[np.isfinite(errors)]
    return {"linear_size_rmse_mm": round(float(np.sqrt(np.mean(errors**2))), 2)} if len(errors) else {}
