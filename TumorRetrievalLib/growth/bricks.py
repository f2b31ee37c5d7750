"""Masks as bits, in bricks of 8 x 8 x 8 voxels.

A brick is 512 bits: eight words of 64, one cache line. The word is the voxel's place along i, the bit 8 * place along j
+ place along k. Bricks are numbered along k first. A tumor fills a few dozen of a cube's thousands of bricks, and only
those are kept.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.growth.brick_kernels import count_bricks, pack_rows

BRICK = 8
WORDS = 8  # of a brick
BRICK_VOXELS = BRICK**3
# Bricks and bits that one voxel's step along i, j, k is worth.
_BIT_STEPS = np.array((64, 8, 1))


@dataclass(frozen=True, eq=False)
class PackedMask:
    """One mask with all the bricks of its cube.

    :param bits: uint64, eight words for each brick.
    :param counts: marked voxels of each brick, uint16.
    :param voxels: marked voxels altogether.
    """

    bits: np.ndarray
    counts: np.ndarray
    voxels: int


@dataclass(frozen=True, eq=False)
class SparseMasks:
    """Many masks, each with only those bricks that hold something.

    :param offsets: int64 (n + 1,); the bricks of mask m are those from offsets[m] to offsets[m + 1].
    :param bricks: number of each brick in its cube, uint16, ascending within a mask.
    :param counts: marked voxels of each brick, uint16.
    :param bits: uint64 (bricks, 8).
    :param voxels: marked voxels of each mask, int64 (n,).
    """

    offsets: np.ndarray
    bricks: np.ndarray
    counts: np.ndarray
    bits: np.ndarray
    voxels: np.ndarray

    def __len__(self) -> int:
        return len(self.voxels)

    def first(self, count: int) -> "SparseMasks":
        """The first `count` masks."""
        end = self.offsets[count]
        arrays = (self.bricks[:end], self.counts[:end], self.bits[:end])
        return SparseMasks(self.offsets[: count + 1], *arrays, self.voxels[:count])

    def unpack(self, index: int, edge: int) -> np.ndarray:
        """One mask as bool (edge, edge, edge)."""
        part = slice(*self.offsets[index : index + 2])
        cube = np.zeros(((edge // BRICK) ** 3, BRICK_VOXELS), bool)
        cube[self.bricks[part]] = np.unpackbits(self.bits[part].view(np.uint8), axis=1, bitorder="little")
        side = edge // BRICK
        return cube.reshape(side, side, side, 8, 8, 8).transpose(0, 3, 1, 4, 2, 5).reshape(edge, edge, edge)


def pack(mask: np.ndarray) -> PackedMask:
    """A mask of a cube whose edge is a multiple of 8, whatever order its axes have in memory.

    :param mask: (n, n, n), bool or integer; what is not 0 is marked.
    :raises InvalidTumorMask: if it has another shape or type.
    """
    edge = mask.shape[0] if mask.ndim == 3 else 0
    if mask.shape != (edge,) * 3 or edge == 0 or edge % BRICK or edge > 320 or mask.dtype.kind not in "biu":
        raise InvalidTumorMask(
            f"The search needs masks of the simulation grid (a cube, 0 and 1), not {mask.dtype} {mask.shape}."
        )
    side = edge // BRICK
    if mask.dtype.itemsize != 1:
        mask = mask != 0
    # The rows are read as they lie in memory; to bring them into another order would take longer than the search.
    order = np.argsort([-stride for stride in mask.strides], kind="stable")
    rows = np.ascontiguousarray(mask.transpose(order)).view(np.uint64).reshape(edge, edge, side)
    bits = np.zeros(side**3 * WORDS, np.uint64)
    pack_rows(rows, np.array((side * side, side, 1))[order], _BIT_STEPS[order], bits)
    counts = np.empty(side**3, np.uint16)
    return PackedMask(bits, counts, int(count_bricks(bits, counts)))


def gather(masks: list[PackedMask]) -> SparseMasks:
    """Several packed masks, without their empty bricks."""
    present = [np.flatnonzero(mask.counts) for mask in masks]
    offsets = np.concatenate(([0], np.cumsum([len(bricks) for bricks in present]))).astype(np.int64)
    if not masks:
        empty = np.empty(0, np.uint16)
        return SparseMasks(offsets, empty, empty, np.empty((0, WORDS), np.uint64), np.empty(0, np.int64))
    return SparseMasks(
        offsets,
        np.concatenate(present).astype(np.uint16),
        np.concatenate([mask.counts[bricks] for mask, bricks in zip(masks, present, strict=True)]),
        np.concatenate([mask.bits.reshape(-1, WORDS)[bricks] for mask, bricks in zip(masks, present, strict=True)]),
        np.array([mask.voxels for mask in masks], np.int64),
    )
