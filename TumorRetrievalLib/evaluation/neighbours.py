"""What the nearest neighbours of a tumor say about it."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from TumorRetrievalLib.retrieval.blocks import EmbeddingLayout

K = 5
"""Neighbours that vote, as in Pisov et al. 2018."""

LABELS = ("area", "front_rear", "left_right", "upper_lower", "type")


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
