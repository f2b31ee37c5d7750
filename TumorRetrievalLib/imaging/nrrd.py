"""NRRD files (.nrrd, and .nhdr with its data file beside it), as 3D Slicer and ITK write them.

The fields are those of https://teem.sourceforge.net/nrrd/format.html. The header is text that may name another file
to read; only a file in the same folder is followed.
"""

import gzip
import os
import re
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, UnreadableFile
from TumorRetrievalLib.imaging.stored import StoredImage, open_image, read_voxels, three_dimensional

_MOST_HEADER_BYTES = 2**20
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPE_OF_NAME = {name: code for code, names in _TYPES.items() for name in names}
# Signs that bring a space to RAS.
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}


def read_nrrd(path: Path) -> StoredImage:
    """A 3D image with raw or gzip encoding.

    :raises UnreadableFile: if it is not NRRD, truncated, lies about its size, or names a file elsewhere.
    :raises InvalidImage: if it is not 3D, not of numbers, or does not say where the patient's left is.
    """
    with open_image(path) as file:
        fields = _read_fields(path, file)
        shape = three_dimensional(path, _integers(path, fields, "sizes"))
        dtype = _type(path, fields)
        affine = _affine(path, fields)
        if "data file" not in fields:
            data = _read_data(path, file, fields, shape, dtype)
        else:
            with open_image(_file_beside(path, fields["data file"])) as data_file:
                data = _read_data(path, data_file, fields, shape, dtype)
    return StoredImage(data, affine)


def write_nrrd(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    """Write (i, j, k) numbers with their affine voxel -> RAS mm, gzip-compressed."""
    code = data.dtype.str[1:]
    vectors = ["(" + ",".join(repr(float(x)) for x in column) + ")" for column in affine[:3].T]
    header = (
        f"NRRD0004\ntype: {_TYPES[code][0]}\ndimension: 3\nspace: right-anterior-superior\n"
        f"sizes: {' '.join(map(str, data.shape))}\nspace directions: {' '.join(vectors[:3])}\n"
        f"kinds: domain domain domain\nendian: little\nencoding: gzip\nspace origin: {vectors[3]}\n\n"
    )
    with open(path, "wb") as file:
        file.write(header.encode("ascii"))
        with gzip.GzipFile("", "wb", 1, file, mtime=0) as stream:
            for k in range(data.shape[2]):
                stream.write(data[:, :, k].astype(data.dtype.newbyteorder("<")).tobytes(order="F"))


def _read_fields(path: Path, file) -> dict[str, str]:
    """The header's fields by lower-case name; leaves `file` at the first byte behind the blank line."""
    if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(16)):
        raise UnreadableFile(f"{path} is not a NRRD file. Export it again.")
    fields = {}
    while (line := file.readline(_MOST_HEADER_BYTES)).strip(b"\r\n"):
        if file.tell() > _MOST_HEADER_BYTES:
            raise UnreadableFile(f"{path} has a NRRD header without an end. Export it again.")
        text = line.decode("utf-8", errors="replace").strip()
        name, colon, value = text.partition(":")
        if text.startswith("#") or value.startswith("="):
            continue  # a comment, or a key of the application's own
        name = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}.get(
            name.strip().lower(), name.strip().lower()
        )
        if not colon or name in fields:
            raise UnreadableFile(f"{path} has a damaged NRRD header at the line {text[:60]!r}. Export it again.")
        fields[name] = value.strip()
    return fields


def _field(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise UnreadableFile(f"{path} is damaged: its NRRD header has no field {name!r}. Export it again.")
    return fields[name]


def _integers(path: Path, fields: dict[str, str], name: str) -> list[int]:
    words = _field(path, fields, name).split()
    if not all(re.fullmatch(r"-?\d{1,18}", word) for word in words):
        raise UnreadableFile(f"{path} is damaged: its NRRD field {name!r} is {fields[name][:60]!r}. Export it again.")
    if name == "sizes" and [len(words)] != _integers(path, fields, "dimension"):
        raise UnreadableFile(f"{path} is damaged: {len(words)} sizes for {fields['dimension']} dimensions.")
    return [int(word) for word in words]


def _type(path: Path, fields: dict[str, str]) -> np.dtype:
    name = _field(path, fields, "type").lower()
    if name not in _TYPE_OF_NAME:
        raise InvalidImage(f"{path} holds voxels of the type {name[:60]!r}, which are not numbers that we know.")
    dtype = np.dtype(_TYPE_OF_NAME[name])
    if dtype.itemsize == 1:
        return dtype
    endian = _field(path, fields, "endian").lower()
    if endian not in ("little", "big"):
        raise UnreadableFile(f"{path} is damaged: its byte order is {endian[:60]!r}. Export it again.")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _affine(path: Path, fields: dict[str, str]) -> np.ndarray:
    space = fields.get("space", "").lower().removesuffix("-time")
    vectors = [_vector(word) for word in re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))]
    origin = _vector(fields.get("space origin", ""))
    if space not in _SPACES or len(vectors) < 3 or origin is None or any(v is None for v in vectors[:3]):
        raise InvalidImage(
            f"{path} does not say where it lies in the patient, left and right included (space {space[:60]!r}). "
            f"Convert it again from DICOM, or set its orientation in 3D Slicer and save it."
        )
    if not set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) <= {"mm", ""}:
        raise InvalidImage(f"{path} measures in {fields['space units'][:60]}; save it in millimetres.")
    affine = np.eye(4)
    affine[:3] = np.array([*vectors[:3], origin]).T * np.array(_SPACES[space])[:, None]
    return affine


def _vector(text: str) -> list[float] | None:
    try:
        numbers = [float(word) for word in text.strip().removeprefix("(").removesuffix(")").split(",")]
    except ValueError:
        return None
    return numbers if len(numbers) == 3 else None


def _file_beside(path: Path, name: str) -> Path:
    """The data file of a detached header, which must lie in the same folder."""
    if name.split()[:1] == ["LIST"] or "%" in name:
        raise UnreadableFile(f"{path} is spread over several data files. Save the image as one .nrrd file.")
    beside = path.parent / name
    if re.search(r"[/\\:\0]", name) or beside.resolve().parent != path.parent.resolve() or beside == path:
        raise UnreadableFile(
            f"{path} names the data file {name[:60]!r}, which is not beside it. Save the image as one .nrrd file."
        )
    return beside


def _read_data(path: Path, file, fields: dict[str, str], shape: tuple, dtype: np.dtype) -> np.ndarray:
    encoding = _field(path, fields, "encoding").lower()
    skips = {fields.get(name, "0") for name in ("line skip", "byte skip")}
    if encoding not in ("raw", "gzip", "gz") or skips != {"0"}:
        raise UnreadableFile(
            f"{path} has the encoding {encoding[:60]!r} or skips bytes; raw and gzip are read. "
            f"Save it again in 3D Slicer."
        )
    bytes_on_disk = os.fstat(file.fileno()).st_size - file.tell()
    stream = file if encoding == "raw" else gzip.GzipFile(fileobj=file)
    return read_voxels(path, stream, bytes_on_disk, shape, dtype)
