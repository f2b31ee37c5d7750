"""Scans and segmentations on disk: NIfTI, NRRD and DICOM in, NIfTI and NRRD out.

Whatever frame a file speaks, what comes out of this module is RAS millimetres.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, UnreadableFile
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.dicom import read_dicom_series
from TumorRetrievalLib.imaging.nifti import read_nifti, write_nifti
from TumorRetrievalLib.imaging.nrrd import read_nrrd, write_nrrd
from TumorRetrievalLib.imaging.stored import StoredImage
from TumorRetrievalLib.imaging.volume import LabelMap, Volume


def read_volume(path, notes: list[str] | None = None) -> Volume:
    """A scan from a .nii, .nii.gz, .nrrd or .nhdr file, or from a folder with one DICOM series.

    :param notes: receives a sentence about what lies in the folder besides and was passed over.
    :raises UnreadableFile: if the file is missing, truncated, of another kind, or lies about its size.
    :raises InvalidImage: if the scan is not 3D, is of complex numbers or colours, holds NaN or infinity, is the same
        everywhere, or does not say validly where it lies in the patient.
    """
    path = Path(path)
    stored = _read(path, notes)
    with _naming(path), np.errstate(over="ignore"):
        data = np.ascontiguousarray(stored.data, dtype=np.float32)
        if stored.is_scaled:
            data *= np.float32(stored.slope)
            data += np.float32(stored.intercept)
        volume = Volume(data, stored.affine)
        if min(volume.shape) < 2:
            raise InvalidImage(f"it is a single slice, not a scan ({' x '.join(map(str, volume.shape))} voxels).")
        if data.min() == data.max():
            raise InvalidImage(f"it shows nothing: every voxel is {data.min():g}. Was it exported whole?")
    return volume


def read_labels(path) -> LabelMap:
    """A segmentation from a .nii, .nii.gz, .nrrd or .nhdr file.

    A file of any integer type keeps its type; one of floating-point numbers is read if all of them are whole.

    :raises UnreadableFile: if the file is missing, truncated, of another kind, or lies about its size.
    :raises InvalidImage: if it is not 3D, holds fractions, or does not say validly where it lies in the patient.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise UnreadableFile(f"{path} is a folder. Segmentations are read from NIfTI or NRRD files.")
    stored = _read(path)
    with _naming(path):
        return LabelMap(_whole_numbers(stored), stored.affine)


def write_volume(path, volume: Volume) -> None:
    """Write a scan as .nii, .nii.gz or .nrrd (float32), whole or not at all.

    :raises CannotWrite: if the disk is full or there is no permission.
    :raises ValueError: if the name has another suffix.
    """
    _write(Path(path), volume.data, volume.affine)


def write_labels(path, labels: LabelMap) -> None:
    """Write a segmentation as .nii, .nii.gz or .nrrd (uint8; int32 where a label is above 255), whole or not at all.

    :raises CannotWrite: if the disk is full or there is no permission.
    :raises ValueError: if the name has another suffix.
    """
    small = labels.data.min() >= 0 and labels.data.max() <= 255
    _write(Path(path), labels.data.astype(np.uint8 if small else np.int32, copy=False), labels.affine)


def _read(path: Path, notes: list[str] | None = None) -> StoredImage:
    name = path.name.lower()
    if os.path.isdir(path):  # unlike Path.is_dir, this takes a name that is too long for an answer
        return read_dicom_series(path, notes)
    if name.endswith((".nii", ".nii.gz")):
        return read_nifti(path)
    if name.endswith((".nrrd", ".nhdr")):
        return read_nrrd(path)
    raise UnreadableFile(f"{path} is of a kind that is not read: give a .nii.gz or .nrrd file, or a DICOM folder.")


def _write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz", ".nrrd")):
        raise ValueError(f"{path}: images are written as .nii.gz, .nii or .nrrd.")
    with atomic_file(path) as temporary:
        if name.endswith(".nrrd"):
            write_nrrd(temporary, data, affine)
        else:
            write_nifti(temporary, data, affine, compressed=name.endswith(".gz"))


def _whole_numbers(stored: StoredImage) -> np.ndarray:
    if stored.data.dtype.kind in "iu" and not stored.is_scaled:
        return np.ascontiguousarray(stored.data, dtype=stored.data.dtype.newbyteorder("="))
    with np.errstate(invalid="ignore"):  # some NaN of a damaged file cannot even be copied quietly
        values = stored.data.astype(np.float64, order="C") * stored.slope + stored.intercept
    # In this order NaN fails the first test, infinity the second, and neither is subtracted from itself.
    if not (values.min() >= -(2**31) and values.max() < 2**31 and np.abs(values - np.rint(values)).max() < 1e-4):
        raise InvalidImage("a segmentation holds whole numbers, and this is not one (a scan or a probability map?).")
    return np.rint(values).astype(np.int32)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except InvalidImage as error:
        raise InvalidImage(f"{path} cannot be used: {error}") from error
