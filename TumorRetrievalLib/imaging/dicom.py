"""A DICOM series: a folder of slices becomes one volume.

pydicom checks every slice's header before SimpleITK unpacks the pixels, because a series reader left alone drops what
it cannot read, and closes the gap that a missing slice leaves.
"""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.stored import StoredImage, open_image, three_dimensional

# Bytes of an element that is not read: what is asked of a header is shorter.
_LONG = 1024
_PIXEL_DATA = 0x7FE00010
_UNDEFINED_LENGTH = 0xFFFFFFFF
_SUFFIXES = ("", ".dcm", ".dicom", ".ima")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What lies beside the slices of an examination and is no scan: presentation states, registrations and segmentations,
# reports, documents, plans and structures of radiotherapy. Beginnings of SOP classes, after STORAGE.
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_SCANS = ("9.", "11.", "66", "67", "88.", "104.", "481.")
# Positions are rounded on the way through several systems.
_POSITION_TOLERANCE_MM = 0.1


@dataclass(frozen=True, eq=False)
class _Slice:
    """What the header of one file says; places and directions in LPS mm, as DICOM has them."""

    path: Path
    series: str
    series_name: str
    rows: int
    columns: int
    spacing: np.ndarray
    directions: np.ndarray
    position: np.ndarray


def read_dicom_series(folder: Path, notes: list[str] | None = None) -> StoredImage:
    """The one series in `folder` (folders inside are not searched).

    Objects that are no images, such as segmentations and reports, are passed over.

    :param notes: receives a sentence about them.
    :raises UnreadableFile: if there is none or more than one, or if a slice is missing, damaged or of another size.
    :raises InvalidImage: if it is not a 3D stack of gray slices with a place in the patient.
    """
    paths = _dicom_files(folder)
    kinds = {path: _kind_if_no_scan(path) for path in paths}
    counts = Counter(kind for kind in kinds.values() if kind)
    others = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
    slices = [path for path in paths if not kinds[path]]
    if not slices:
        raise UnreadableFile(f"{folder} holds no scan, only: {others}. Give the folder that holds the slices.")
    if others and notes is not None:
        notes.append(f"Beside the slices in {folder.name} lies what is no scan, and was passed over: {others}.")
    return read_dicom_slices(folder, slices)


def read_dicom_slices(folder: Path, paths: Sequence[Path]) -> StoredImage:
    """The one series that some files make up.

    :param folder: what an error that is about no single file names.
    :raises UnreadableFile: if they are of several series, or if a slice is missing, damaged or of another size.
    :raises InvalidImage: if it is not a 3D stack of gray slices with a place in the patient.
    """
    slices = [_read_header(path) for path in paths]
    _require_one_series(folder, slices)
    slices = _in_order(folder, slices)
    affine = _affine(folder, slices)
    shape = three_dimensional(folder, [slices[0].columns, slices[0].rows, len(slices)])
    data = _read_pixels([each.path for each in slices])
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


def _kind_if_no_scan(path: Path) -> str:
    """What an object is that is no image, in words; "" for anything else, a damaged file too."""
    import pydicom

    with open_image(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            uid = pydicom.uid.UID(str(header.get("SOPClassUID", "")))
        except Exception:
            return ""  # whatever pydicom raises: the file is read in full as a slice, and named there
    is_other = uid.removeprefix(_STORAGE).startswith(_NO_SCANS) and uid.startswith(_STORAGE)
    return uid.name.removesuffix(" Storage") if is_other else ""


def _read_header(path: Path) -> _Slice:
    import pydicom

    with open_image(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about private tags and odd dates, which are of no concern here
        try:
            header = pydicom.dcmread(file, defer_size=_LONG)
            syntax = header.file_meta.TransferSyntaxUID
            if not syntax.is_deflated:
                _require_all_inside(path, header, os.fstat(file.fileno()).st_size, syntax.is_compressed)
            return _slice(path, header)
        except TumorRetrievalError:
            raise
        except Exception as error:
            # A damaged file makes pydicom raise whatever its parts raise.
            raise UnreadableFile(f"{path} is a damaged DICOM file, or no image ({error}). Export it again.") from error


def _require_all_inside(path: Path, header, size: int, compressed: bool) -> None:
    """Every element has to end inside the file: SimpleITK takes memory for what it reads before it looks.

    In the group that says how to read the rest, it also takes an element of an unknown kind for a huge one.
    """
    import pydicom

    strange = {str(element.VR) for element in header.file_meta.values()} - {vr.value for vr in pydicom.valuerep.VR}
    if strange:
        raise UnreadableFile(
            f"{path} is damaged: its header holds elements of the kind {strange.pop()!r}. Export it again."
        )
    # Not `get_item`: that reads the pixels of all but the smallest slices, and forgets where in the file they begin.
    pixels = next((element for element in header.values() if element.tag == _PIXEL_DATA), None)
    need = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8
    if pixels is None or (not compressed and need > size - pixels.value_tell):
        raise UnreadableFile(f"{path} is truncated: its pixels need {need} bytes. Export it again.")
    for element in header.values():
        of_known_length = isinstance(element, pydicom.dataelem.RawDataElement) and element.length != _UNDEFINED_LENGTH
        if of_known_length and element.value_tell + element.length > size:
            raise UnreadableFile(f"{path} is damaged: {element.tag} reaches beyond its end. Export it again.")


def _slice(path: Path, header) -> _Slice:
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InvalidImage(f"{path} is a colour image; export the series' intensities.")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise InvalidImage(f"{path} holds many frames in one file; convert the series to .nii.gz (e.g. with dcm2niix).")
    place = {}
    for tag, count in (("PixelSpacing", 2), ("ImageOrientationPatient", 6), ("ImagePositionPatient", 3)):
        place[tag] = np.array(header.get(tag), float)
        if place[tag].shape != (count,) or not np.all(np.isfinite(place[tag])):
            raise InvalidImage(f"{path} does not say where it lies in the patient ({tag}). Export the series again.")
    return _Slice(
        path=path,
        series=str(header.get("SeriesInstanceUID")),
        series_name=f"{header.get('SeriesNumber', '?')}: {header.get('SeriesDescription', 'without a name')}",
        rows=int(header.Rows),
        columns=int(header.Columns),
        spacing=place["PixelSpacing"],
        directions=place["ImageOrientationPatient"].reshape(2, 3),
        position=place["ImagePositionPatient"],
    )


def _require_one_series(folder: Path, slices: list[_Slice]) -> None:
    series = {}
    for each in slices:
        series.setdefault(each.series, []).append(each.series_name)
    if len(series) > 1:
        names = sorted(f"{names[0]} ({len(names)} files)" for names in series.values())
        raise UnreadableFile(
            f"{folder} holds {len(series)} series. Move the one that you want into a folder of its own: "
            + "; ".join(names[:10])
        )


def _in_order(folder: Path, slices: list[_Slice]) -> list[_Slice]:
    """The slices along their normal.

    :raises UnreadableFile: if one differs in size.
    :raises InvalidImage: if they are not parallel, or only one.
    """
    if len(slices) < 2:
        raise InvalidImage(f"{folder} holds a single slice, not a scan. Export the whole series.")
    first = slices[0]
    for each in slices:
        if (each.rows, each.columns) != (first.rows, first.columns) or not np.allclose(
            each.spacing, first.spacing, rtol=1e-3
        ):
            raise UnreadableFile(f"{each.path} has another size than the other slices. Export the series again.")
        if not np.allclose(each.directions, first.directions, atol=1e-3):
            raise InvalidImage(f"{each.path} lies at an angle to the other slices: {folder} is not one stack.")
    normal = np.cross(*first.directions)
    return sorted(slices, key=lambda each: float(normal @ each.position))


def _affine(folder: Path, slices: list[_Slice]) -> np.ndarray:
    """Voxel -> RAS mm of slices in order.

    :raises UnreadableFile: if a slice is missing between two others.
    :raises InvalidImage: if two are at one place, or they do not lie on a line.
    """
    first = slices[0]
    positions = np.array([each.position for each in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    gaps = np.diff(positions @ np.cross(*first.directions))
    if gaps.min() < _POSITION_TOLERANCE_MM:
        raise InvalidImage(f"{folder} has several images at one place (time points or echoes?); keep one of each.")
    if np.ptp(gaps) > 2 * _POSITION_TOLERANCE_MM:
        widest = int(np.argmax(gaps))
        raise UnreadableFile(
            f"{folder} lacks slices: {gaps[widest]:.2f} mm lie between {slices[widest].path.name} and "
            f"{slices[widest + 1].path.name}, and {np.median(gaps):.2f} mm between others. Export the whole series."
        )
    if np.abs(positions - positions[0] - np.arange(len(slices))[:, None] * step).max() > 1.0:
        raise InvalidImage(f"{folder} is not one stack: its slices are shifted against each other.")
    lps = np.eye(4)
    # PixelSpacing is (between rows, between columns); the first direction runs along a row, from column to column.
    (along_row, along_column), (row_mm, column_mm) = first.directions, first.spacing
    lps[:3] = np.array([along_row * column_mm, along_column * row_mm, step, positions[0]]).T
    return _LPS_TO_RAS @ lps


def _read_pixels(paths: list[Path]) -> np.ndarray:
    """(i, j, k), float32, with each slice's own intensity scale applied."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        damaged = next((path for path in paths if not _has_pixels(path)), paths[0].parent)
        raise UnreadableFile(f"{damaged} is damaged: its pixels cannot be read. Export the series again.") from error
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)


def _has_pixels(path: Path) -> bool:
    import SimpleITK

    try:
        SimpleITK.ReadImage(str(path))
    except RuntimeError:
        return False
    return True
