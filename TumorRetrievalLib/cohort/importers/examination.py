"""Reading every file of a case once, so that what is listed can be indexed."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.files import read_labels, read_volume

T, R = TypeVar("T"), TypeVar("R")


def examine(case: Case) -> tuple[int, ...]:
    """Reads the scans and the mask of a case.

    :returns: the labels in its mask, without 0; empty where it has none.
    :raises UnreadableFile: :raises InvalidImage: if a file cannot be used, or the mask is empty.
    :raises GeometryMismatch: if the mask does not lie on the grid of the T1c.
    """
    t1c = read_volume(case.t1c)
    if case.flair is not None:
        read_volume(case.flair)
    if case.mask is None:
        return ()
    mask = read_labels(case.mask)
    t1c.require_same_grid(mask, f"The mask {case.mask}")
    labels = tuple(int(label) for label in np.unique(mask.data) if label != 0)
    if not labels:
        raise InvalidImage(f"{case.mask} marks nothing: every voxel is 0. Draw the tumor, or remove the file.")
    return labels


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of `work` in order; a few at a time, because unpacking files releases Python's lock."""
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
