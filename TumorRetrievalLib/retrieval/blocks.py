"""The embedding of a tumor: named blocks, compared one by one.

The similarity of two tumors is the weighted sum of the cosines of their blocks. Every stored block has length one, so
the weights only rescale the query, and one inner product is the whole similarity: search stays exact when a user moves
a slider, and the share of each block explains the result. A block that is unknown for one of the two tumors is all
zeros, and its weight goes to the others.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from TumorRetrievalLib.errors import NothingToCompare
from TumorRetrievalLib.retrieval.kernel_features import (
    EXTENT_FREQUENCIES,
    POSITION_FREQUENCIES,
    extent_features,
    position_features,
)

__all__ = [
    "DEFAULT_LAYOUT",
    "DEFAULT_WEIGHTS",
    "EmbeddingLayout",
    "block_shares",
    "extent_features",
    "position_features",
    "similarities",
]

#: How much each block counts unless the user says otherwise. Chosen on the patients of the bundled index that answer in
#: `evaluate retrieval`, a fifth of them asking the others: less extent makes neighbours of unlike size, less appearance
#: or position of unlike type or place.
DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"appearance": 0.3, "type": 0.2, "position": 0.25, "extent": 0.25}
)

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class EmbeddingLayout:
    """Which blocks an embedding is made of, in which order and how long.

    :param blocks: (name, number of dimensions) of each block, in order.
    """

    blocks: tuple[tuple[str, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks' names, in order."""
        return tuple(name for name, _ in self.blocks)

    @property
    def size(self) -> int:
        """D, the length of an embedding."""
        return sum(size for _, size in self.blocks)

    @property
    def slices(self) -> dict[str, slice]:
        """Name of a block -> where it lies in an embedding."""
        ends = np.cumsum([size for _, size in self.blocks]).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(self.blocks, ends, strict=True)}

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides what a number in an embedding means, apart from the network."""
        tables = {"position": POSITION_FREQUENCIES, "extent": EXTENT_FREQUENCIES}
        content = {
            "blocks": [[name, size] for name, size in self.blocks],
            "frequencies": {name: np.round(tables[name], 6).tolist() for name in self.names if name in tables},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def combine(self, blocks: Mapping[str, np.ndarray | None]) -> np.ndarray:
        """One embedding from its blocks; shape (D,), float32, every known block of length one.

        :param blocks: name -> numbers, shape (at most the block's size,); shorter ones are padded with zeros. A block
            that is absent, None or all zeros is unknown.
        :raises ValueError: if a name is not in the layout, a block is too long, or a number is not finite.
        """
        embedding = np.zeros(self.size)
        slices = self.slices
        for name, values in blocks.items():
            if name not in slices:
                raise ValueError(f"The embedding has no block {name!r}; it has {', '.join(self.names)}.")
            if values is None:
                continue
            values = np.asarray(values, dtype=np.float64)
            part = embedding[slices[name]]
            if values.ndim != 1 or len(values) > len(part) or not np.all(np.isfinite(values)):
                raise ValueError(f"Block {name!r} takes up to {len(part)} finite numbers, not shape {values.shape}.")
            largest = np.abs(values).max(initial=0.0)
            if largest > 0:
                values = values / largest  # so that squares neither overflow nor vanish
                part[: len(values)] = values / np.linalg.norm(values)
        return embedding.astype(np.float32)

    def known_blocks(self, embeddings: np.ndarray) -> np.ndarray:
        """Which blocks each embedding has; shape (n, number of blocks), bool.

        :param embeddings: shape (n, D).
        """
        return np.stack([np.any(embeddings[:, part] != 0, axis=1) for part in self.slices.values()], axis=1)

    def check(self, embeddings: np.ndarray) -> np.ndarray:
        """The embeddings as contiguous float32, shape (n, D), after a look at their shape and their blocks' lengths.

        :raises ValueError: if the shape is wrong or a block is neither of length one nor all zeros.
        """
        embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.size:
            raise ValueError(f"Embeddings must have the shape (n, {self.size}), not {embeddings.shape}.")
        for name, part in self.slices.items():
            length = np.linalg.norm(embeddings[:, part], axis=1)
            wrong = ~((np.abs(length - 1) < _UNIT_TOLERANCE) | (length == 0))
            if wrong.any():
                first = int(wrong.argmax())
                raise ValueError(f"Block {name!r} of embedding {first} has length {length[first]:.4g}, not 1.")
        return embeddings

    def query_vector(self, embedding: np.ndarray, weights: Mapping[str, float] | None = None) -> np.ndarray:
        """The embedding with its blocks rescaled, so that an inner product with another embedding is the similarity.

        The weights of the blocks that the embedding has are divided by their sum.

        :param embedding: shape (D,), as `combine` makes it.
        :param weights: block -> weight >= 0; a block that is not named counts nothing. Default: `DEFAULT_WEIGHTS`.
        :returns: shape (D,), float64.
        :raises NothingToCompare: if no block has both a weight and a value.
        :raises ValueError: if a weight is negative, not finite, or of a block that the layout does not have.
        """
        weights = self._weights(weights)
        known = self.known_blocks(np.asarray(embedding)[None])[0]
        total = float(weights @ known)
        if total <= 0:
            raise NothingToCompare(
                "There is nothing to compare: every block with a weight above zero is unknown for this tumor "
                f"(known: {', '.join(np.array(self.names)[known]) or 'none'}). Give one of the known blocks a weight."
            )
        query = np.asarray(embedding, dtype=np.float64).copy()
        for part, weight in zip(self.slices.values(), weights, strict=True):
            length = np.linalg.norm(query[part])
            query[part] *= weight / total / length if length > 0 else 0.0
        return query

    def counts(self, embeddings: np.ndarray, weights: Mapping[str, float] | None = None) -> np.ndarray:
        """Which embeddings have a block with a weight, so that they can be compared; shape (n,), bool."""
        return self.known_blocks(embeddings) @ self._weights(weights) > 0

    def _weights(self, weights: Mapping[str, float] | None) -> np.ndarray:
        weights = DEFAULT_WEIGHTS if weights is None else weights
        unknown = set(weights) - set(self.names) - (set(DEFAULT_WEIGHTS) if weights is DEFAULT_WEIGHTS else set())
        values = np.array([float(weights.get(name, 0.0)) for name in self.names])
        if unknown or not np.all(np.isfinite(values)) or np.any(values < 0):
            raise ValueError(f"Weights are numbers >= 0 for {', '.join(self.names)}, not {dict(weights)}.")
        return values


#: Position and extent have two numbers (cosine and sine) per frequency; "type" has room for types to come.
DEFAULT_LAYOUT = EmbeddingLayout(
    (
        ("appearance", 32),
        ("type", 8),
        ("position", 2 * len(POSITION_FREQUENCIES)),
        ("extent", 2 * len(EXTENT_FREQUENCIES)),
    )
)


def block_shares(query: np.ndarray, embeddings: np.ndarray, layout: EmbeddingLayout) -> np.ndarray:
    """What each block contributes to the similarity; the sum over the blocks is the similarity.

    :param query: from `query_vector`, shape (D,). The length of each of its blocks is that block's weight.
    :param embeddings: tumors to compare with, shape (n, D).
    :returns: shape (n, number of blocks), float64; NaN where a tumor has none of the blocks that count.
    """
    parts = list(layout.slices.values())
    weights = np.array([np.linalg.norm(query[part]) for part in parts])
    shares = np.stack([(embeddings[:, part] * query[part]).sum(axis=1) for part in parts], axis=1)
    usable = layout.known_blocks(embeddings) @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return shares / np.where(usable > 0, usable, np.nan)[:, None]


def similarities(shares: np.ndarray) -> np.ndarray:
    """The similarity from its shares, shape (n,): always added in the same order, so that equal tumors tie exactly."""
    total = np.zeros(len(shares))
    for column in shares.T:
        total = total + column
    return total
