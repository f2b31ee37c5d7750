"""The search among the latent vectors of an autoencoder (Rosier 2022, sections 3.4.2 and 3.4.3), with FAISS.

Both masks of every simulated tumor become vectors of length one, as in the author's public program; a tumor is as far
from the query as the distance of the whole tumors' vectors plus that of the cores'. What is near here need not overlap
best, which is what the thesis' Table 1 is about: `OverlapSearch` finds what does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch

from TumorRetrievalLib.errors import InvalidTumorMask, WeightsError
from TumorRetrievalLib.growth.brick_kernels import count_shared
from TumorRetrievalLib.growth.bricks import SparseMasks, pack
from TumorRetrievalLib.growth.database import SimulationDatabase
from TumorRetrievalLib.networks.autoencoder import MaskAutoencoder, coarsened
from TumorRetrievalLib.networks.weights import LoadedModel, load_model

MASKS = ("whole", "core")
_BATCH = 16
_FIRST_FETCH = 64
# FAISS computes squared distances in float32; of vectors of length one they are off by less than this.
_ROUNDING = 1e-5

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class LatentMatches:
    """The nearest tumors, nearest first.

    :param indices: their places in the database, int64 (k,).
    :param distances: of the whole tumors' vectors plus of the cores', float64 (k,), 0 to 4.
    """

    indices: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True, eq=False)
class LatentModels:
    """A pair of autoencoders of one kind: for the whole tumors and for their cores.

    :param whole: :param core: as they were loaded, in that order.
    """

    whole: LoadedModel
    core: LoadedModel

    @classmethod
    def load(cls, folder: Path | str, device: str | None = None) -> "LatentModels":
        """The pair that a training left in `folder`.

        :raises WeightsError: if one is missing, damaged, no autoencoder, or the two are not of one kind.
        """
        pair = [load_model(Path(folder) / mask / "model", device) for mask in MASKS]
        for mask, model in zip(MASKS, pair, strict=True):
            if not isinstance(model.network, MaskAutoencoder) or model.contract.get("mask") != mask:
                raise WeightsError(f"The model in {Path(folder) / mask} is no autoencoder of {mask} tumor masks.")
        if pair[0].contract["arguments"] != pair[1].contract["arguments"]:
            raise WeightsError(f"The two autoencoders in {folder} are of different kinds. Train them together.")
        return cls(*pair)

    def encode(self, name: str, masks: np.ndarray) -> np.ndarray:
        """Vectors of length one, float32 (n, latent), for masks (n, m, m, m).

        :param name: which of the two masks they are: "whole" or "core".
        :raises InvalidTumorMask: if m does not fit the autoencoder's grid.
        """
        model: LoadedModel = getattr(self, name)
        edge = model.network.edge
        if masks.shape[1:] != (masks.shape[-1],) * 3 or masks.shape[-1] % edge:
            raise InvalidTumorMask(f"The autoencoder needs masks on cubes of {edge} voxels or a multiple of it.")
        with torch.inference_mode():
            stacked = torch.from_numpy(np.ascontiguousarray(masks)[:, None] != 0).to(model.device)
            vectors = model.network.encode(coarsened(stacked, edge)).cpu().numpy()
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


class LatentSearch:
    """Simulated tumors that can be searched by their latent vectors.

    :param database: the tumors.
    :param models: what makes vectors of their masks.
    :param vectors: those of the whole tumors and of the cores, each float32 (n, latent); made here if None.
    """

    def __init__(
        self,
        database: SimulationDatabase,
        models: LatentModels,
        vectors: tuple[np.ndarray, np.ndarray] | None = None,
        progress: Progress | None = None,
    ):
        self.database, self.models = database, models
        self.vectors = encode_database(database, models, progress) if vectors is None else vectors
        self._indexes = []
        for part in self.vectors:
            index = faiss.IndexFlatL2(part.shape[1])
            index.add(np.ascontiguousarray(part, np.float32))
            self._indexes.append(index)

    def __len__(self) -> int:
        return len(self.database)

    def search(self, whole: np.ndarray, core: np.ndarray, k: int = 15) -> LatentMatches:
        """The nearest `k` tumors for two masks on the simulation grid.

        :raises InvalidTumorMask: if a mask is empty or does not fit the autoencoder's grid.
        """
        queries = []
        for name, mask in zip(MASKS, (whole, core), strict=True):
            if not mask.any():
                raise InvalidTumorMask(f"The mask of the {name} tumor is empty: there is nothing to search for.")
            queries.append(self.models.encode(name, mask[None])[0])
        return self.nearest(*queries, k)

    def search_and_rerank(self, whole: np.ndarray, core: np.ndarray, k: int = 15, candidates: int = 100) -> np.ndarray:
        """The best `k` of the nearest `candidates` by the sum of both Dice coefficients: indices, best first."""
        nearest = np.sort(self.search(whole, core, max(k, candidates)).indices)
        scores = np.zeros(len(nearest))
        for name, mask in zip(MASKS, (whole, core), strict=True):
            stored, asked = getattr(self.database, name), pack(mask)
            shared = count_shared(stored.bricks, stored.bits.reshape(-1), stored.offsets, asked.bits, nearest)
            scores += 2.0 * shared / (stored.voxels[nearest] + asked.voxels)
        return nearest[np.argsort(-scores, kind="stable")[:k]]

    def nearest(self, whole: np.ndarray, core: np.ndarray, k: int) -> LatentMatches:
        """The exact nearest `k` for two latent vectors of length one; of equal ones the first in the database.

        FAISS gives the nearest by each vector alone. A tumor in neither list is farther than the last of the one plus
        the last of the other, so the lists grow until the k-th best sum is below that.
        """
        queries = [np.ascontiguousarray(query, np.float32) for query in (whole, core)]
        k, fetched = min(k, len(self)), min(max(_FIRST_FETCH, 4 * k), len(self))
        while True:
            lists = [index.search(query[None], fetched) for index, query in zip(self._indexes, queries, strict=True)]
            candidates = np.unique(np.concatenate([indices[0] for _, indices in lists]))
            distances = self._distances(queries, candidates)
            best = np.lexsort((candidates, distances))[:k]
            beyond = sum(np.sqrt(max(float(squared[0, -1]) - _ROUNDING, 0.0)) for squared, _ in lists)
            if fetched == len(self) or distances[best[-1]] < beyond:
                return LatentMatches(candidates[best].astype(np.int64), distances[best])
            fetched = min(4 * fetched, len(self))

    def nearest_of_all(self, whole: np.ndarray, core: np.ndarray, k: int) -> LatentMatches:
        """The same by comparing with every vector: the oracle that `nearest` is tested against."""
        everything = np.arange(len(self))
        distances = self._distances([np.asarray(whole, np.float32), np.asarray(core, np.float32)], everything)
        best = np.lexsort((everything, distances))[:k]
        return LatentMatches(best, distances[best])

    def _distances(self, queries: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
        pairs = zip(self.vectors, queries, strict=True)
        return sum(np.linalg.norm(part[indices].astype(np.float64) - query, axis=1) for part, query in pairs)


def encode_database(
    database: SimulationDatabase, models: LatentModels, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The latent vectors of all whole tumors and of all cores, each float32 (n, latent)."""

    def encode_all(number: int, name: str) -> np.ndarray:
        masks: SparseMasks = getattr(database, name)
        vectors = []
        for start in range(0, len(masks), _BATCH):
            some = range(start, min(start + _BATCH, len(masks)))
            cubes = np.stack([masks.unpack(index, database.grid.shape[0]) for index in some])
            vectors.append(models.encode(name, cubes))
            if progress is not None:
                progress((number + some[-1] / len(masks)) / 2, f"Encoding the {name} tumors")
        return np.concatenate(vectors)

    return encode_all(0, "whole"), encode_all(1, "core")
