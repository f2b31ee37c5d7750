"""Counting and comparing bits: the inner loops of the overlap search, compiled by numba on first use and cached."""

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_U = numba.uint64
BLOCK_VOXELS = 16**3


@intrinsic
def popcount(typing_context, word):
    """The set bits of a uint64, as the processor's own instruction (numba has no name for it)."""

    def generate(context, builder, signature, arguments):
        word_to_word = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
        return builder.call(cgutils.get_or_insert_function(builder.module, word_to_word, "llvm.ctpop.i64"), arguments)

    return types.uint64(types.uint64), generate


@numba.njit(cache=True, nogil=True)
def pack_rows(rows, brick_steps, bit_steps, bits):
    """Sets the bits of a mask, read eight voxels (one word) at a time in the order in which they lie in memory.

    :param rows: uint64 (n, n, n / 8), bytes of which those that are not 0 are marked.
    :param brick_steps: how far one brick along each of the three axes is in the brick's number.
    :param bit_steps: how far one voxel along each of them is in the brick's bits.
    :param bits: uint64, zeros; eight words for each brick.
    """
    n, _, words = rows.shape
    for a in range(n):
        for b in range(n):
            anything = _U(0)
            for w in range(words):
                anything |= rows[a, b, w]
            if anything == 0:
                continue
            first_brick = (a >> 3) * brick_steps[0] + (b >> 3) * brick_steps[1]
            first_bit = (a & 7) * bit_steps[0] + (b & 7) * bit_steps[1]
            for w in range(words):
                word = rows[a, b, w]
                if word == 0:
                    continue
                start = (first_brick + w * brick_steps[2]) * 8
                for c in range(8):
                    if (word >> _U(8 * c)) & _U(0xFF):
                        bit = first_bit + c * bit_steps[2]
                        bits[start + (bit >> 6)] |= _U(1) << _U(bit & 63)


@numba.njit(cache=True, nogil=True)
def count_bricks(bits, counts):
    """Fills in the marked voxels of each brick; returns their sum."""
    total = _U(0)
    for brick in range(counts.size):
        count = _U(0)
        for word in range(8):
            count += popcount(bits[_U(brick) * _U(8) + _U(word)])
        counts[brick] = count
        total += count
    return total


@numba.njit(inline="always")
def shared_voxels(bricks, bits, start, end, query_bits):
    """Marked voxels that a stored mask (its bricks from `start` to `end`) and the query have in common."""
    shared = _U(0)
    for b in range(start, end):
        stored, asked = _U(b) * _U(8), _U(bricks[b]) * _U(8)
        for word in range(8):
            shared += popcount(bits[stored + _U(word)] & query_bits[asked + _U(word)])
    return numba.int64(shared)


@numba.njit(cache=True, nogil=True)
def count_shared(bricks, bits, offsets, query_bits, indices):
    """The voxels that the stored masks of those indices have in common with the query, int64."""
    shared = np.empty(indices.size, np.int64)
    for n in range(indices.size):
        m = indices[n]
        shared[n] = shared_voxels(bricks, bits, offsets[m], offsets[m + 1], query_bits)
    return shared


@numba.njit(inline="always")
def round_up(count):
    """A count of a block's 4096 voxels in a byte: rounded up, so that it stays an upper bound."""
    return numba.uint8((numba.int64(count) * 255 + BLOCK_VOXELS - 1) // BLOCK_VOXELS)


@numba.njit(cache=True, nogil=True)
def count_blocks(bricks, counts, offsets, block_of_brick, blocks):
    """Fills in the rounded counts of each mask within blocks of 2 x 2 x 2 bricks: `blocks` (block, mask), uint8.

    :returns: the largest sum of one mask.
    """
    sums = np.zeros(blocks.shape[0], np.int64)
    largest = 0
    for m in range(offsets.size - 1):
        sums[:] = 0
        for b in range(offsets[m], offsets[m + 1]):
            sums[block_of_brick[bricks[b]]] += counts[b]
        total = 0
        for block in range(sums.size):
            blocks[block, m] = round_up(sums[block])
            total += blocks[block, m]
        largest = max(largest, total)
    return largest


@numba.njit(cache=True, nogil=True)
def asked_blocks(counts, block_of_brick, blocks):
    """The blocks in which the query has voxels, and their rounded counts; filled up to a multiple of four by zeros."""
    sums = np.zeros(blocks, np.int64)
    for brick in range(counts.size):
        sums[block_of_brick[brick]] += counts[brick]
    present = np.flatnonzero(sums)
    size = (present.size + 3) // 4 * 4
    asked, rounded = np.zeros(size, np.int64), np.zeros(size, np.uint8)
    for n in range(present.size):
        asked[n], rounded[n] = present[n], round_up(sums[present[n]])
    return asked, rounded


@numba.njit(cache=True, nogil=True)
def bound_by_blocks(blocks, asked_blocks, asked, first, sums):
    """The sums, over the blocks of the query, of the smaller of both counts; for the masks from `first` on."""
    end = first + sums.size
    sums[:] = 0
    # Four rows at a time, so that the sums are read and written a quarter as often.
    for a in range(0, asked_blocks.size, 4):
        r0, r1 = blocks[asked_blocks[a], first:end], blocks[asked_blocks[a + 1], first:end]
        r2, r3 = blocks[asked_blocks[a + 2], first:end], blocks[asked_blocks[a + 3], first:end]
        a0, a1, a2, a3 = asked[a], asked[a + 1], asked[a + 2], asked[a + 3]
        for k in range(sums.size):
            both = numba.uint16(min(r0[k], a0)) + numba.uint16(min(r1[k], a1))
            sums[k] += numba.uint16(both + numba.uint16(min(r2[k], a2)) + numba.uint16(min(r3[k], a3)))


@numba.njit(inline="always")
def bound_by_bricks(bricks, counts, start, end, query_counts):
    """No more voxels than this can be in common: the sum, over the bricks, of the smaller of both counts."""
    bound = 0
    for b in range(start, end):
        bound += min(numba.int64(counts[b]), numba.int64(query_counts[bricks[b]]))
    return bound


@numba.njit(inline="always")
def score(whole_shared, whole_sum, core_shared, core_sum, whole_weight, core_weight):
    """The weighted sum of both Dice coefficients; the sums are the voxels of both masks together."""
    total = 0.0
    if whole_sum > 0:
        total += whole_weight * (2.0 * whole_shared / whole_sum)
    if core_sum > 0:
        total += core_weight * (2.0 * core_shared / core_sum)
    return total
