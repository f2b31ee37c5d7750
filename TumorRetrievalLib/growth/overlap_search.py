"""The simulated tumors that overlap best with two masks: exact, and fast enough to follow a slider.

The measure is that of Rosier (2022, section 3.3), Dice of the whole tumors plus Dice of the cores, or any weighted sum
of the two. Dice of bits needs only counts of bits, and no two masks share more than, block by block, the smaller of
their counts. Such bounds rule out nearly all of the database; the few that are left are compared bit by bit. The
result is the one that comparing everything would give, ties in the order of the database.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.growth.brick_kernels import BLOCK_VOXELS, asked_blocks, count_blocks, count_shared
from TumorRetrievalLib.growth.bricks import BRICK, PackedMask, SparseMasks, pack
from TumorRetrievalLib.growth.overlap_kernels import bound_all, examine, threshold_of_best

_LARGEST_SUM = np.iinfo(np.uint16).max
# So many of the most promising tumors are compared first: their scores rule out most others.
_PROBE = 32


@dataclass(frozen=True, eq=False)
class Matches:
    """The best tumors, best first.

    :param indices: their places in the database, int64 (k,).
    :param scores: weighted sums of both Dice coefficients, float64 (k,).
    :param whole_dice: Dice of the whole tumors, float64 (k,).
    :param core_dice: Dice of the cores, float64 (k,).
    """

    indices: np.ndarray
    scores: np.ndarray
    whole_dice: np.ndarray
    core_dice: np.ndarray


class OverlapSearch:
    """A searchable set of tumors, each with a whole and a core mask on the same cube.

    :param whole: masks of the whole tumors.
    :param core: masks of their cores, in the same order.
    :param edge: voxels along an edge of the cube, a multiple of 16.
    """

    def __init__(self, whole: SparseMasks, core: SparseMasks, edge: int):
        self.whole, self.core, self.edge = whole, core, edge
        side = edge // BRICK
        i, j, k = np.unravel_index(np.arange(side**3), (side,) * 3)
        self._block_of_brick = ((i // 2) * (side // 2) + j // 2) * (side // 2) + k // 2
        self._blocks = [self._bounding_counts(masks) for masks in (whole, core)]
        self._stored = [
            (masks.offsets, masks.bricks, masks.counts, masks.bits.reshape(-1), masks.voxels) for masks in (whole, core)
        ]
        self._voxels = [masks.voxels.astype(np.float32) for masks in (whole, core)]

    def __len__(self) -> int:
        return len(self.whole)

    def search(
        self, whole: np.ndarray, core: np.ndarray, k: int = 15, *, whole_weight: float = 1.0, core_weight: float = 1.0
    ) -> Matches:
        """The exact best `k` tumors for two masks on the simulation grid, in any memory order.

        :param whole: (edge, edge, edge), not 0 where the whole tumor is.
        :param core: the same for its core.
        :param whole_weight: weight of the Dice of the whole tumors; 0 to search by the core alone.
        :param core_weight: weight of the Dice of the cores.
        :raises InvalidTumorMask: if a mask that counts is empty, has another shape, or the weights are unusable.
        """
        masks = self._pack_query(whole, core, whole_weight, core_weight)
        weights = (float(whole_weight), float(core_weight))
        asked = tuple(
            (*asked_blocks(mask.counts, self._block_of_brick, len(self._blocks[0])), mask.voxels, weight)
            for mask, weight in zip(masks, weights, strict=True)
        )
        bounds = np.empty(len(self), np.float32)
        stored_blocks = zip(self._blocks, self._voxels, strict=True)
        bound_all(*stored_blocks, asked, BLOCK_VOXELS / 255, bounds)

        k = min(k, len(self))
        indices, scores = np.empty(k, np.int64), np.empty(k)
        query = tuple((m.bits, m.counts, m.voxels, weight) for m, weight in zip(masks, weights, strict=True))
        split = threshold_of_best(bounds, max(_PROBE, k), sum(weights))
        filled, _ = examine(bounds, split, np.inf, *self._stored, query, indices, scores, 0)
        filled, _ = examine(bounds, -1.0, split, *self._stored, query, indices, scores, filled)
        return self._matches(indices, masks, weights)

    def search_everything(
        self, whole: np.ndarray, core: np.ndarray, k: int = 15, *, whole_weight: float = 1.0, core_weight: float = 1.0
    ) -> Matches:
        """The same by comparing with every tumor: the oracle that `search` is tested against."""
        masks = self._pack_query(whole, core, whole_weight, core_weight)
        weights = (float(whole_weight), float(core_weight))
        everything = self._matches(np.arange(len(self)), masks, weights)
        best = np.lexsort((everything.indices, -everything.scores))[:k]
        return Matches(*(column[best] for column in vars(everything).values()))

    def _pack_query(self, whole, core, whole_weight, core_weight) -> list[PackedMask]:
        weights = (whole_weight, core_weight)
        if not all(np.isfinite(weights)) or min(weights) < 0 or max(weights) == 0:
            raise InvalidTumorMask("The weights of the two Dice coefficients must not be negative, nor both zero.")
        masks = []
        for name, mask, weight in (("whole tumor", whole, whole_weight), ("tumor core", core, core_weight)):
            if mask.shape != (self.edge,) * 3:
                raise InvalidTumorMask(f"The mask of the {name} is {mask.shape}, not {self.edge}^3 voxels.")
            masks.append(pack(mask))
            if weight > 0 and masks[-1].voxels == 0:
                raise InvalidTumorMask(f"The mask of the {name} is empty: there is nothing to search for.")
        return masks

    def _bounding_counts(self, masks: SparseMasks) -> np.ndarray:
        blocks = np.empty((int(self._block_of_brick.max()) + 1, len(masks)), np.uint8)
        largest = count_blocks(masks.bricks, masks.counts, masks.offsets, self._block_of_brick, blocks)
        if largest > _LARGEST_SUM:
            raise InvalidTumorMask("A stored tumor fills half of the simulation cube: that is no tumor.")
        return blocks

    def _matches(self, indices: np.ndarray, masks: list[PackedMask], weights) -> Matches:
        dice = []
        for stored, mask in zip(self._stored, masks, strict=True):
            offsets, bricks, _, bits, voxels = stored
            shared = count_shared(bricks, bits, offsets, mask.bits, indices)
            dice.append(_dice_of(shared, voxels[indices], mask.voxels))
        return Matches(indices, weights[0] * dice[0] + weights[1] * dice[1], *dice)


def _dice_of(shared: np.ndarray, stored: np.ndarray, asked: int) -> np.ndarray:
    total = stored + asked
    return np.where(total > 0, 2.0 * shared / np.maximum(total, 1), 0.0)
