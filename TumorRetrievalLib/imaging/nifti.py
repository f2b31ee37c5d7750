"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz): nibabel knows the header, `stored` reads the voxels."""

import gzip
import os
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, UnreadableFile
from TumorRetrievalLib.imaging.stored import StoredImage, open_image, read_voxels, three_dimensional

_MOST_HEADER_BYTES = 2**24
_MILLIMETRE_OR_UNSAID = (0, 2)


def read_nifti(path: Path) -> StoredImage:
    """A 3D image; compressed or not is seen from the content, because names lie.

    :raises UnreadableFile: if it is not a single-file NIfTI, truncated, or lies about its size.
    :raises InvalidImage: if it is not 3D, not of real numbers, or does not say where the patient's left is.
    """
    with open_image(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if compressed else file
        header = _read_header(path, stream)
        shape = three_dimensional(path, header["dim"][1 : 1 + int(header["dim"][0])].tolist())
        dtype = _real_type(path, header)
        affine = _affine(path, header)
        slope, intercept = _scaling(path, header)
        offset = _skip_to_voxels(path, stream, header)
        bytes_on_disk = os.fstat(file.fileno()).st_size - (0 if compressed else offset)
        data = read_voxels(path, stream, bytes_on_disk, shape, dtype)
    return StoredImage(data, affine, slope, intercept)


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray, *, compressed: bool) -> None:
    """Write (i, j, k) numbers with their affine voxel -> RAS mm, as both sform and qform."""
    from nibabel.nifti1 import Nifti1Header

    header = Nifti1Header()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    if not np.allclose(header.get_qform(), affine, atol=1e-3):
        # A qform cannot hold a shear: better none than one that says something else.
        header["qform_code"] = 0
    header["magic"], header["vox_offset"] = b"n+1", 352
    with open(path, "wb") as file:
        # Level 1 takes a quarter of the time of level 6 for a tenth more bytes; no time stamp: same data, same file.
        stream = gzip.GzipFile("", "wb", 1, file, mtime=0) if compressed else file
        stream.write(header.binaryblock + b"\0\0\0\0")
        for k in range(data.shape[2]):
            stream.write(data[:, :, k].tobytes(order="F"))
        stream.close()


def _read_header(path: Path, stream):
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = stream.read(348)
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} if len(start) == 348 else set()
    if 348 in sizes and start[344:348] in (b"n+1\0", b"ni1\0"):
        header = Nifti1Header(start, check=False)
    elif 540 in sizes and len(start := start + stream.read(192)) == 540 and start[4:8] in (b"n+2\0", b"ni2\0"):
        header = Nifti2Header(start, check=False)
    else:
        raise UnreadableFile(f"{path} is not a NIfTI file, or is cut off inside its header. Export it again.")
    if bytes(header["magic"].tobytes())[:2] == b"ni":
        raise UnreadableFile(f"{path} is half of a .hdr/.img pair. Save the image as one .nii.gz file.")
    if not 1 <= header["dim"][0] <= 7:
        raise UnreadableFile(f"{path} is damaged: its header says it has {header['dim'][0]} axes. Export it again.")
    return header


def _real_type(path: Path, header) -> np.dtype:
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise UnreadableFile(f"{path} holds voxels of the unknown type {header['datatype']}.") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InvalidImage(f"{path} holds {dtype} voxels (colours or complex numbers); export its intensities.")
    return dtype


def _affine(path: Path, header) -> np.ndarray:
    from nibabel.spatialimages import HeaderDataError

    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        # Programs guess here, and not all guess the same side.
        raise InvalidImage(
            f"{path} does not say which side is the patient's left (no sform and no qform). "
            f"Convert it again from DICOM, or set its orientation in 3D Slicer and save it."
        )
    if int(header["xyzt_units"]) & 7 not in _MILLIMETRE_OR_UNSAID:
        raise InvalidImage(f"{path} measures in metres or micrometres; save it in millimetres.")
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # the standard says that 0 means 1 here
    try:
        return header.get_best_affine()
    except (HeaderDataError, ValueError) as error:
        raise InvalidImage(f"{path} has an invalid orientation (qform: {error}). Export it again.") from error


def _scaling(path: Path, header) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise InvalidImage(f"{path} has an invalid intensity scale ({error}). Export it again.") from error
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def _skip_to_voxels(path: Path, stream, header) -> int:
    offset = float(header["vox_offset"])
    read = int(header["sizeof_hdr"])
    if not read <= offset <= _MOST_HEADER_BYTES:
        raise UnreadableFile(f"{path} is damaged: its header says the voxels begin at byte {offset}. Export it again.")
    stream.read(int(offset) - read)
    return int(offset)
