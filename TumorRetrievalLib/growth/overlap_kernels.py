"""The exact search itself: bounds first, bits only where the bounds leave a doubt. Compiled on first use and cached."""

import numba
import numpy as np

from TumorRetrievalLib.growth.brick_kernels import bound_by_blocks, bound_by_bricks, score, shared_voxels

_CHUNK = 4096  # so many sums stay in the first-level cache
_BINS = 512
# More than the rounding of the handful of float32 operations that a bound is made of.
_ROUNDING = np.float32(1.00001)


# Divisions by zero do not occur (stored masks are never empty); checks for them would keep the loop from vectors.
@numba.njit(error_model="numpy", cache=True, nogil=True)
def bound_all(whole, core, query, blocks_scale, bounds):
    """An upper bound of every stored tumor's score, from the counts of its blocks and its two volumes.

    :param whole: (blocks, voxels) of the stored whole tumors; `core` of their cores.
    :param query: for each of the two masks (asked blocks, their counts, voxels, weight).
    :param blocks_scale: voxels that one unit of a block's count stands for.
    """
    whole_blocks, whole_voxels = whole
    core_blocks, core_voxels = core
    (whole_asked, whole_counts, whole_query, whole_weight), (core_asked, core_counts, core_query, core_weight) = query
    sums_w, sums_c = np.empty(_CHUNK, np.uint16), np.empty(_CHUNK, np.uint16)
    scale, two = np.float32(blocks_scale), np.float32(2)
    query_w, query_c = np.float32(whole_query), np.float32(core_query)
    weight_w, weight_c = np.float32(whole_weight) * _ROUNDING, np.float32(core_weight) * _ROUNDING
    for first in range(0, bounds.size, _CHUNK):
        n = min(_CHUNK, bounds.size - first)
        bound_by_blocks(whole_blocks, whole_asked, whole_counts, first, sums_w[:n])
        bound_by_blocks(core_blocks, core_asked, core_counts, first, sums_c[:n])
        for k in range(n):
            stored_w, stored_c = whole_voxels[first + k], core_voxels[first + k]
            shared_w = min(np.float32(sums_w[k]) * scale, min(stored_w, query_w))
            shared_c = min(np.float32(sums_c[k]) * scale, min(stored_c, query_c))
            bound = weight_w * (two * shared_w / (stored_w + query_w))
            bounds[first + k] = bound + weight_c * (two * shared_c / (stored_c + query_c))


@numba.njit(cache=True, nogil=True)
def threshold_of_best(bounds, count, highest):
    """A value that at least `count` of the bounds reach, and not many more."""
    bins = np.zeros(_BINS + 1, np.int64)
    scale = np.float32(_BINS / highest)
    for k in range(bounds.size):
        bins[min(_BINS, int(bounds[k] * scale))] += 1
    left, b = count, _BINS
    while b > 0 and bins[b] < left:
        left -= bins[b]
        b -= 1
    # The bins are cut in float32: one bin lower is safe.
    return max(b - 1, 0) / scale


@numba.njit(cache=True, nogil=True)
def _insert(indices, scores, filled, index, value):
    """Keeps the best by score, then by index; returns how many there are."""
    k = scores.size
    if filled == k and (value < scores[k - 1] or (value == scores[k - 1] and index > indices[k - 1])):
        return filled
    place = filled if filled < k else k - 1
    while place > 0 and (scores[place - 1] < value or (scores[place - 1] == value and indices[place - 1] > index)):
        scores[place], indices[place] = scores[place - 1], indices[place - 1]
        place -= 1
    scores[place], indices[place] = value, index
    return min(filled + 1, k)


@numba.njit(cache=True, nogil=True)
def examine(bounds, low, high, whole, core, query, indices, scores, filled):
    """Looks at the tumors whose bound lies in [low, high), and keeps the best.

    :param whole: (offsets, bricks, counts, bits, voxels) of the stored whole tumors; `core` of their cores.
    :param query: for each of the two masks (bits, counts of its bricks, voxels, weight).
    :returns: how many are kept, and how many were compared bit by bit.
    """
    w_offsets, w_bricks, w_counts, w_bits, w_voxels = whole
    c_offsets, c_bricks, c_counts, c_bits, c_voxels = core
    (qw_bits, qw_counts, qw_voxels, w_weight), (qc_bits, qc_counts, qc_voxels, c_weight) = query
    k, compared = scores.size, 0
    for m in range(bounds.size):
        if not (low <= bounds[m] < high):
            continue
        worst = scores[k - 1] if filled == k else -1.0
        if bounds[m] < worst:
            continue
        sum_w, sum_c = w_voxels[m] + qw_voxels, c_voxels[m] + qc_voxels
        w_start, w_end, c_start, c_end = w_offsets[m], w_offsets[m + 1], c_offsets[m], c_offsets[m + 1]
        at_most_w = bound_by_bricks(w_bricks, w_counts, w_start, w_end, qw_counts)
        at_most_c = bound_by_bricks(c_bricks, c_counts, c_start, c_end, qc_counts)
        if score(at_most_w, sum_w, at_most_c, sum_c, w_weight, c_weight) < worst:
            continue
        shared_w = shared_voxels(w_bricks, w_bits, w_start, w_end, qw_bits)
        shared_c = shared_voxels(c_bricks, c_bits, c_start, c_end, qc_bits)
        value = score(shared_w, sum_w, shared_c, sum_c, w_weight, c_weight)
        compared += 1
        filled = _insert(indices, scores, filled, m, value)
    return filled, compared
