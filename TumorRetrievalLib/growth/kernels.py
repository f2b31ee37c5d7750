"""The inner loops of the growth solver, compiled by numba on first use and kept in its cache.

Arrays are flat, in the layout of `Tissue`: axis k in runs of 16 voxels, with a border of empty voxels all around. A box
is six integers: the rows along i, the rows along j and the runs along k that are looked at. Indices are unsigned,
because only then does the compiler turn a run into vector instructions.
"""

from typing import NamedTuple

import numba
import numpy as np

RUN = 16
_U = numba.uint64
# No reassociation: a sum is the same on every machine with fused multiply-add, however wide its vectors are.
_MATH = {"contract", "nsz", "arcp"}


class Layout(NamedTuple):
    """What the loops have to know of a `Tissue`.

    :param face_i: conductance between a voxel and the next along i, flat float32; `face_j` and `face_k` likewise.
    :param first_run: first run with tissue in each row (i, j).
    :param end_run: one behind the last.
    :param limits: the largest box.
    :param stride_i: distance of neighbours along i in a flat array; `stride_j` likewise.
    """

    face_i: np.ndarray
    face_j: np.ndarray
    face_k: np.ndarray
    first_run: np.ndarray
    end_run: np.ndarray
    limits: np.ndarray
    stride_i: int
    stride_j: int


@numba.njit(inline="always")
def _rows_and_runs(layout, box, i, j):
    row = _U(i) * _U(layout.stride_i) + _U(j) * _U(layout.stride_j)
    return row, max(box[4], layout.first_run[i, j]), min(box[5], layout.end_run[i, j])


@numba.njit(inline="always")
def _inflow(u, face_i, face_j, face_k, p, si, sj):
    here, sk = u[p], _U(1)
    flow = face_i[p] * (u[p + si] - here) + face_i[p - si] * (u[p - si] - here)
    flow += face_j[p] * (u[p + sj] - here) + face_j[p - sj] * (u[p - sj] - here)
    return flow + face_k[p] * (u[p + sk] - here) + face_k[p - sk] * (u[p - sk] - here)


@numba.njit(fastmath=_MATH, error_model="numpy", cache=True, nogil=True)
def diffuse(start, slope, out, weight, layout, box):
    """out = start + weight * div(c grad slope)."""
    face_i, face_j, face_k = layout.face_i, layout.face_j, layout.face_k
    si, sj = _U(layout.stride_i), _U(layout.stride_j)
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            row, first, end = _rows_and_runs(layout, box, i, j)
            for run in range(first, end):
                for step in range(RUN):
                    p = row + _U(run) * _U(RUN) + _U(step)
                    out[p] = start[p] + weight * _inflow(slope, face_i, face_j, face_k, p, si, sj)


@numba.njit(fastmath=_MATH, error_model="numpy", cache=True, nogil=True)
def diffuse_and_react(start, slope, out, weight, growth, layout, box):
    """The same, followed by logistic growth in the same pass: u -> u (1 + growth) / (1 + u growth)."""
    face_i, face_j, face_k = layout.face_i, layout.face_j, layout.face_k
    si, sj = _U(layout.stride_i), _U(layout.stride_j)
    one, tiny, zero = np.float32(1), np.float32(1e-20), np.float32(0)
    factor = one + growth
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            row, first, end = _rows_and_runs(layout, box, i, j)
            for run in range(first, end):
                for step in range(RUN):
                    p = row + _U(run) * _U(RUN) + _U(step)
                    u = start[p] + weight * _inflow(slope, face_i, face_j, face_k, p, si, sj)
                    u = u * factor / (one + u * growth)
                    # Denormal numbers ahead of the front would slow everything down a hundred times.
                    out[p] = u if u > tiny else zero


@numba.njit(fastmath=_MATH, error_model="numpy", cache=True, nogil=True)
def react(u, growth, layout, box):
    """Logistic growth in place; backwards where `growth` is negative."""
    one = np.float32(1)
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            row, first, end = _rows_and_runs(layout, box, i, j)
            for run in range(first, end):
                for step in range(RUN):
                    p = row + _U(run) * _U(RUN) + _U(step)
                    u[p] = u[p] * (one + growth) / (one + u[p] * growth)


@numba.njit(cache=True, nogil=True)
def count_from(u, low, high, layout, box):
    """How many voxels reach the lower and the higher of two thresholds."""
    count_low = count_high = 0
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            row, first, end = _rows_and_runs(layout, box, i, j)
            for run in range(first, end):
                in_low = in_high = numba.int32(0)
                for step in range(RUN):
                    value = u[row + _U(run) * _U(RUN) + _U(step)]
                    in_low += numba.int32(value >= low)
                    in_high += numba.int32(value >= high)
                count_low += in_low
                count_high += in_high
    return count_low, count_high


@numba.njit(cache=True, nogil=True)
def count_overlap(u, low, high, masks, layout, box):
    """The voxels from `low` that bit 1 of `masks` marks, and the voxels from `high` that bit 2 does."""
    both_low = both_high = 0
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            row, first, end = _rows_and_runs(layout, box, i, j)
            for run in range(first, end):
                in_low = in_high = numba.int32(0)
                for step in range(RUN):
                    p = row + _U(run) * _U(RUN) + _U(step)
                    in_low += numba.int32((u[p] >= low) & ((masks[p] & 1) != 0))
                    in_high += numba.int32((u[p] >= high) & ((masks[p] & 2) != 0))
                both_low += in_low
                both_high += in_high
    return both_low, both_high


@numba.njit(cache=True, nogil=True)
def _anything_above(u, threshold, layout, box):
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            row, first, end = _rows_and_runs(layout, box, i, j)
            for run in range(first, end):
                largest = numba.float32(0)
                for step in range(RUN):
                    largest = max(largest, u[row + _U(run) * _U(RUN) + _U(step)])
                if largest > threshold:
                    return True
    return False


@numba.njit(cache=True, nogil=True)
def widen(u, threshold, reach, layout, box):
    """Moves a side of the box outwards by `reach` voxels wherever the front has come that close to it."""
    for axis in range(3):
        step = 1 if axis == 2 else reach
        for side in range(2):
            slab = box.copy()
            if side == 0:
                slab[2 * axis + 1] = min(box[2 * axis] + step, box[2 * axis + 1])
            else:
                slab[2 * axis] = max(box[2 * axis + 1] - step, box[2 * axis])
            if _anything_above(u, threshold, layout, slab):
                if side == 0:
                    box[2 * axis] = max(layout.limits[2 * axis], box[2 * axis] - step)
                else:
                    box[2 * axis + 1] = min(layout.limits[2 * axis + 1], box[2 * axis + 1] + step)
