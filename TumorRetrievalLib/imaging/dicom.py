"""A DICOM series: a folder of slices becomes one volume.

pydicom checks every slice's header before SimpleITK unpacks the pixels, because a series reader left alone drops what
it cannot read, and closes the gap that a missing slice leaves.
"""

import os
import warnings
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, UnreadableFile
from TumorRetrievalLib.imaging.stored import StoredImage, open_image, three_dimensional

_TAGS = [
    "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames",
    "BitsAllocated", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
]  # fmt: skip
_SUFFIXES = ("", ".dcm", ".dicom", ".ima")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Scanners round positions to a hundredth of a millimetre or so.
_POSITION_TOLERANCE_MM = 0.1


def read_dicom_series(folder: Path) -> StoredImage:
    """The one series in `folder` (folders inside are not searched).

    :raises UnreadableFile: if there is none or more than one, or if a slice is missing, damaged or of another size.
    :raises InvalidImage: if it is not a 3D stack of gray slices with a place in the patient.
    """
    slices = [(path, _read_header(path)) for path in _dicom_files(folder)]
    _require_one_series(folder, [header for _, header in slices])
    for path, header in slices:
        _require_gray_slice(path, header)
    slices, affine = _in_order(folder, slices)
    first = slices[0][1]
    shape = three_dimensional(folder, [int(first.Columns), int(first.Rows), len(slices)])
    data = _read_pixels(folder, [path for path, _ in slices])
    if data.shape != shape:
        raise UnreadableFile(f"{folder} is damaged: its pixels do not match its headers. Export the series again.")
    return StoredImage(data, affine)


def _dicom_files(folder: Path) -> list[Path]:
    """Every file that is DICOM; what only claims to be, by its name, is an error and not a missing slice."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise UnreadableFile(f"{folder} cannot be read: {error.strerror or error}.") from error
    found = []
    for path in paths:
        with open_image(path) as file:
            is_dicom = file.read(132)[128:] == b"DICM"
        if is_dicom and path.name.upper() != "DICOMDIR":
            found.append(path)
        elif not is_dicom and (path.suffix.lower() in _SUFFIXES or path.suffix[1:].isdigit()):
            raise UnreadableFile(f"{path} is damaged or not DICOM. Remove it if it is no slice; else export it again.")
    if not found:
        raise UnreadableFile(f"{folder} holds no DICOM files. Give the folder that holds the slices of one series.")
    return found


def _read_header(path: Path):
    import pydicom

    with open_image(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about private tags and odd dates, which are of no concern here
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            {tag: header.get(tag) for tag in _TAGS}  # values are decoded when they are first looked at
            pixels_need = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8
            compressed = header.file_meta.TransferSyntaxUID.is_compressed
        except Exception as error:
            # A damaged file makes pydicom raise whatever its parts raise.
            raise UnreadableFile(f"{path} is a damaged DICOM file, or no image ({error}). Export it again.") from error
        if not compressed and pixels_need > os.fstat(file.fileno()).st_size - file.tell():
            raise UnreadableFile(f"{path} is truncated: its pixels need {pixels_need} bytes. Export it again.")
    return header


def _require_one_series(folder: Path, headers: list) -> None:
    series = {}
    for header in headers:
        series.setdefault(header.get("SeriesInstanceUID"), []).append(header)
    if len(series) > 1:
        names = sorted(
            f"{group[0].get('SeriesNumber', '?')}: {group[0].get('SeriesDescription', 'without a name')} "
            f"({len(group)} files)"
            for group in series.values()
        )
        raise UnreadableFile(
            f"{folder} holds {len(series)} series. Move the one that you want into a folder of its own: "
            + "; ".join(names[:10])
        )


def _require_gray_slice(path: Path, header) -> None:
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InvalidImage(f"{path} is a colour image; export the series' intensities.")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise InvalidImage(f"{path} holds many frames in one file; convert the series to .nii.gz (e.g. with dcm2niix).")
    for tag, count in (("PixelSpacing", 2), ("ImageOrientationPatient", 6), ("ImagePositionPatient", 3)):
        value = header.get(tag)
        if value is None or len(value) != count or not np.all(np.isfinite(np.asarray(value, float))):
            raise InvalidImage(f"{path} does not say where it lies in the patient ({tag}). Export the series again.")


def _in_order(folder: Path, slices: list) -> tuple[list, np.ndarray]:
    """The slices along their normal, and the affine voxel -> RAS mm.

    :raises UnreadableFile: if one is missing or differs in size.
    :raises InvalidImage: if they are not one stack.
    """
    first = slices[0][1]
    directions = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*directions)
    for path, header in slices:
        if (header.Rows, header.Columns) != (first.Rows, first.Columns) or not np.allclose(
            np.array(header.PixelSpacing, float), np.array(first.PixelSpacing, float), rtol=1e-3
        ):
            raise UnreadableFile(f"{path} has another size than the other slices. Export the series again.")
        if not np.allclose(np.array(header.ImageOrientationPatient, float).reshape(2, 3), directions, atol=1e-3):
            raise InvalidImage(f"{path} lies at an angle to the other slices: {folder} is not one stack.")
    slices = sorted(slices, key=lambda entry: float(normal @ np.array(entry[1].ImagePositionPatient, float)))
    positions = np.array([header.ImagePositionPatient for _, header in slices], float)
    if len(slices) < 2:
        raise InvalidImage(f"{folder} holds a single slice, not a scan. Export the whole series.")
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    gaps = np.diff(positions @ normal)
    if gaps.min() < _POSITION_TOLERANCE_MM:
        raise InvalidImage(f"{folder} has several images at one place (time points or echoes?); keep one of each.")
    expected = positions[0] + np.arange(len(slices))[:, None] * step
    if np.abs(positions - expected).max() > _POSITION_TOLERANCE_MM:
        widest = int(np.argmax(gaps))
        raise UnreadableFile(
            f"{folder} lacks slices: {gaps[widest]:.2f} mm lie between {slices[widest][0].name} and "
            f"{slices[widest + 1][0].name}, and {np.median(gaps):.2f} mm between others. Export the whole series."
        )
    row_mm, column_mm = (float(value) for value in first.PixelSpacing)
    lps = np.eye(4)
    lps[:3] = np.array([directions[0] * column_mm, directions[1] * row_mm, step, positions[0]]).T
    return slices, _LPS_TO_RAS @ lps


def _read_pixels(folder: Path, paths: list[Path]) -> np.ndarray:
    """(i, j, k), float32, with each slice's own intensity scale applied."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        damaged = next((path for path in paths if str(path) in str(error)), folder)
        raise UnreadableFile(f"{damaged} is damaged: its pixels cannot be read. Export the series again.") from error
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
