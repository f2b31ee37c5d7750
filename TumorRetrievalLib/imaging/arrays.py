"""Files of arrays (.npy, .npz), read as if by somebody who means harm.

NumPy believes what such a file says about itself: damage ends in errors of a dozen kinds or in arrays that are none,
and a header of a few bytes asks for any amount of memory. Here the sizes that a header promises are held against the
file before memory is asked for, nothing is ever unpickled, and there is one kind of error.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.stored import open_image

_SUFFIX = ".npy"
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_KINDS = "biufU"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(path, way_out: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file, by name; of numbers or texts.

    :param way_out: what the user can do when that fails, as a sentence.
    :raises UnreadableFile: if it is missing, truncated, damaged, or holds anything else.
    """
    arrays = {}
    with _trouble_with(path, way_out), open_image(Path(path)) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(_SUFFIX) or member.compress_type not in _PLAIN:
                raise ValueError(f"{member.filename[:60]!r} is no array")
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(_SUFFIX)] = _read(stream, member.file_size)
    return arrays


def read_array(path, way_out: str) -> np.ndarray:
    """The array of an .npy file; see `read_arrays`."""
    with _trouble_with(path, way_out), open_image(Path(path)) as file:
        return _read(file, Path(path).stat().st_size)


def _read(stream: BinaryIO, size: int) -> np.ndarray:
    """The array that a stream of so many bytes holds."""
    read_header = _HEADERS[npy.read_magic(stream)]
    shape, by_column, dtype = read_header(stream)
    needed = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or needed != size - stream.tell():
        raise ValueError(f"an array {dtype} {shape} does not fit its {size} bytes")
    # The memory is only lent: a page is taken when data arrives for it.
    content = np.empty(needed, np.uint8)
    if stream.readinto(content.data) != needed or stream.read(1):
        raise ValueError("it ends too early")
    return content.view(dtype).reshape(shape, order="F" if by_column else "C")


@contextmanager
def _trouble_with(path, way_out: str) -> Iterator[None]:
    try:
        yield
    except UnreadableFile:
        raise
    except Exception as error:  # damaged archives and headers raise many kinds
        raise UnreadableFile(f"{path} is damaged, or no such file ({error}). {way_out}") from error
