"""The inner loops of the compact search, compiled by numba on first use and kept in its cache.

Products of an int8 code and an int16 query are added in int32, which the compiler turns into the processor's vector
instructions; whoever calls sees to it that the sums fit.
"""

import numba
import numpy as np

_LEAST = np.int32(-(2**31))


@numba.njit(nogil=True, cache=True)
def best_of_blocks(codes, query, block, first, last, best):
    """The largest inner product in each block of rows.

    :param codes: shape (n, D), int8.
    :param query: shape (D,), int16.
    :param block: rows in a block.
    :param first: :param last: which blocks, half-open.
    :param best: shape (blocks,), int32; written from `first` to `last`.
    """
    rows, size = codes.shape
    for number in range(first, last):
        largest = _LEAST
        for row in range(number * block, min((number + 1) * block, rows)):
            total = np.int32(0)
            for i in range(size):
                total += np.int32(codes[row, i]) * np.int32(query[i])
            largest = max(largest, total)
        best[number] = largest


@numba.njit(nogil=True, cache=True)
def best_of_blocks_among(codes, chosen, query, block, first, last, best):
    """Likewise among some rows; the blocks are of `chosen`, shape (m,), int32 or int64, row numbers."""
    size = codes.shape[1]
    for number in range(first, last):
        largest = _LEAST
        for place in range(number * block, min((number + 1) * block, len(chosen))):
            row = chosen[place]
            total = np.int32(0)
            for i in range(size):
                total += np.int32(codes[row, i]) * np.int32(query[i])
            largest = max(largest, total)
        best[number] = largest
