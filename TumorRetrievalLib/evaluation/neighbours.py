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
    """Tumors with their embeddings: vectors of shape (n, D), labels as columns; sizes are largest diameters in mm."""

    vectors: np.ndarray
    labels: dict[str, np.ndarray]
    sizes: np.ndarray


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


def vote(labels: np.ndarray) -> str:
    """The most frequent label; of equally frequent ones that of the nearest neighbour."""
    counts = Counter(labels.tolist())
    return max(counts, key=counts.get)


def nearest(similarity: np.ndarray, k: int = K) -> np.ndarray:
    """Of each row of a matrix of similarities, the k most similar columns, best first."""
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def score_neighbours(neighbours: np.ndarray, asking: Labelled, gallery: Labelled) -> dict[str, float]:
    """How often the neighbours' vote is right, label by label, and the error of their mean size.

    :param neighbours: for each tumor that asks its nearest ones in the gallery, best first, shape (n, k).
    """
    votes = {label: np.array([vote(gallery.labels[label][row]) for row in neighbours]) for label in LABELS}
    scores = {label: round(float(np.mean(votes[label] == asking.labels[label])), 3) for label in LABELS}
    error = gallery.sizes[neighbours].mean(axis=1) - asking.sizes
    return {**scores, "linear_size_rmse_mm": round(float(np.sqrt(np.mean(error**2))), 2)}


def chance(asking: Labelled, gallery: Labelled) -> dict[str, float]:
    """What the most frequent label and the mean size would score."""
    most = {label: Counter(gallery.labels[label].tolist()).most_common(1)[0][0] for label in LABELS}
    scores = {label: round(float(np.mean(asking.labels[label] == most[label])), 3) for label in LABELS}
    error = gallery.sizes.mean() - asking.sizes
    return {**scores, "linear_size_rmse_mm": round(float(np.sqrt(np.mean(error**2))), 2)}
