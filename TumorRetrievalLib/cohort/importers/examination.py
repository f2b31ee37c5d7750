"""Reading every file of a case once, so that what is listed can be indexed."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.cohort.importers.findings import Problem, Progress
from TumorRetrievalLib.errors import InvalidImage, TumorRetrievalError
from TumorRetrievalLib.imaging.files import read_labels, read_volume

T, R = TypeVar("T"), TypeVar("R")


@dataclass(frozen=True)
class Examined:
    """A case whose files have all been read.

    :param labels: that occur in its mask, without 0; empty where it has none.
    """

    case: Case
    labels: tuple[int, ...]


def examine_all(cases: list[Case], problems: list[Problem], progress: Progress | None) -> list[Examined]:
    """The cases whose files can be used; the others go to `problems`."""
    usable = []
    for number, result in enumerate(_side_by_side(_examined, cases), start=1):
        (problems if isinstance(result, Problem) else usable).append(result)
        if progress is not None:
            progress(number / len(cases), f"{number} of {len(cases)} cases read")
    return usable


def examine(case: Case) -> Examined:
    """Reads the scans and the mask of a case.

    :raises UnreadableFile: :raises InvalidImage: if a file cannot be used, or the mask is empty.
    :raises GeometryMismatch: if the mask does not lie on the grid of the T1c, or the FLAIR elsewhere.
    """
    t1c = read_volume(case.t1c)
    if case.flair is not None:
        t1c.require_overlap(read_volume(case.flair), str(case.flair), str(case.t1c))
    if case.mask is None:
        return Examined(case, ())
    mask = read_labels(case.mask)
    t1c.require_same_grid(mask, f"The mask {case.mask}")
    labels = tuple(int(label) for label in np.unique(mask.data) if label != 0)
    if not labels:
        raise InvalidImage(f"{case.mask} marks nothing: every voxel is 0. Draw the tumor, or remove the file.")
    return Examined(case, labels)


def _examined(case: Case) -> Examined | Problem:
    try:
        return examine(case)
    except TumorRetrievalError as error:
        return Problem(_file_of(case, str(error)), str(error))


def _file_of(case: Case, message: str) -> Path:
    """The file that an error is about: the first of the case's that it names."""
    named = [path for path in (case.t1c, case.flair, case.mask) if path is not None and str(path) in message]
    return min(named, key=lambda path: message.index(str(path)), default=case.t1c)


def _side_by_side(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of `work` in order; a few at a time, because unpacking files releases Python's lock."""
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
