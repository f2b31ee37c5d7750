"""Voxels as they lie in a file, read with a limit.

A header can say anything, and a few kilobytes of gzip can unpack to terabytes. So the size that a header promises is
held against the file and against a cap before memory is asked for, and reading stops where the promise ends.
"""

import contextlib
import gzip
import math
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, UnreadableFile

# The finest brain scans in use (0.4 mm, whole head) have about 130 million voxels. Twice that is 1 GiB as float32.
MOST_VOXELS = 2**28
# Some programs pad their files; more than this behind the last voxel means that the header is wrong.
_MOST_TRAILING_BYTES = 2**20
# Deflate cannot shrink further than this (zlib's technical notes: 1032 to 1).
_MOST_DEFLATE_RATIO = 1032
_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class StoredImage:
    """What a file holds, before its numbers are given a meaning.

    :param data: (i, j, k), in the type and byte order of the file.
    :param affine: voxel index -> RAS mm, shape (4, 4), unchecked.
    :param slope: a voxel's value is `slope * stored + intercept`.
    :param intercept: see `slope`.
    """

    data: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from the stored numbers."""
        return (self.slope, self.intercept) != (1.0, 0.0)


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[BinaryIO]:
    """A regular file, opened for reading; every way that can fail, also in the block, names the file.

    :raises UnreadableFile: if it is missing, not a regular file, not readable, or damaged inside.
    """
    if "\0" in str(path):
        raise UnreadableFile(f"{str(path)!r} is no name of a file: it holds a null character.")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            # Opening a pipe would wait for ever.
            raise UnreadableFile(f"{path} is not a file.")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise UnreadableFile(f"{path} does not exist.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(f"{path} is truncated or damaged ({error}). Copy or export it again.") from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}.") from error


def three_dimensional(path: Path, sizes: list[int]) -> tuple[int, int, int]:
    """The shape of a 3D image; axes of length 1 behind the third are dropped.

    :raises UnreadableFile: if a size is impossible or the image is beyond every scanner.
    :raises InvalidImage: if it is not three-dimensional.
    """
    if any(n < 1 for n in sizes):
        raise UnreadableFile(f"{path} is damaged: its header says {_times(sizes)} voxels. Export it again.")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) != 3:
        raise InvalidImage(
            f"{path} has {len(sizes)} dimensions ({_times(sizes)}), and a scan needs 3. "
            f"Export one series, one time point, and no colours."
        )
    if math.prod(sizes) > MOST_VOXELS:
        raise UnreadableFile(
            f"{path} says it has {_times(sizes)} voxels; at most {MOST_VOXELS / 1e6:.0f} million are read. "
            f"If that is true, resample the scan to coarser voxels first."
        )
    return tuple(sizes)


def read_voxels(path: Path, stream: BinaryIO, bytes_on_disk: int, shape: tuple, dtype: np.dtype) -> np.ndarray:
    """The voxels that `stream` (plain, or a gzip.GzipFile) holds from here to its end, the first axis fastest.

    :param bytes_on_disk: what the file holds from here on, as stored.
    :returns: shape `shape`, dtype `dtype`, Fortran order.
    :raises UnreadableFile: if there are fewer bytes than `shape` needs, or far more.
    """
    needed = math.prod(shape) * dtype.itemsize
    if needed > bytes_on_disk * (_MOST_DEFLATE_RATIO if isinstance(stream, gzip.GzipFile) else 1):
        raise UnreadableFile(
            f"{path} is truncated or its header is wrong: {_times(shape)} voxels of {dtype.name} need {needed} bytes, "
            f"and it has {bytes_on_disk} for them. Copy or export it again."
        )
    # The memory is only lent: a page is taken when data arrives for it.
    buffer = np.empty(needed, np.uint8)
    view, filled = memoryview(buffer), 0
    while filled < needed:
        count = stream.readinto(view[filled : filled + _CHUNK])
        if not count:
            raise UnreadableFile(
                f"{path} is truncated: it ends after {filled} of {needed} bytes of {_times(shape)} voxels. "
                f"Copy or export it again."
            )
        filled += count
    _read_to_the_end(path, stream)
    return buffer.view(dtype).reshape(shape, order="F")


def _read_to_the_end(path: Path, stream: BinaryIO) -> None:
    """Reading on makes gzip compare its checksum; a bomb is left after a megabyte."""
    trailing = 0
    while chunk := stream.read(2**16):
        trailing += len(chunk)
        if trailing > _MOST_TRAILING_BYTES:
            raise UnreadableFile(f"{path} holds far more than its header says. Export it again.")


def _times(sizes) -> str:
    return " x ".join(str(n) for n in sizes)
