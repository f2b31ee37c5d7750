"""The studies in an archive of DICOM files: which series each holds, wherever their files lie."""

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.cohort.importers.findings import Problem
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.stored import open_image

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_DIRECTORY = "1.2.840.10008.1.3.10"

_TEXTS = {
    "sop": "SOPInstanceUID", "sop_class": "SOPClassUID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID",
    "patient": "PatientID", "issuer": "IssuerOfPatientID", "description": "SeriesDescription",
    "protocol": "ProtocolName", "number": "SeriesNumber", "contrast": "ContrastBolusAgent",
    "acquisition": "MRAcquisitionType", "burned_in": "BurnedInAnnotation", "frame": "FrameOfReferenceUID",
}  # fmt: skip
_LISTS = {"image_type": "ImageType", "scanning": "ScanningSequence"}
_TIMES = {"echo_ms": "EchoTime", "repetition_ms": "RepetitionTime", "inversion_ms": "InversionTime"}


@dataclass(frozen=True)
class Header:
    """What one file says about itself; "" and None where it says nothing."""

    path: Path
    sop: str
    sop_class: str
    study: str
    series: str
    patient: str
    issuer: str
    description: str
    protocol: str
    number: str
    contrast: str
    acquisition: str
    burned_in: str
    frame: str
    image_type: frozenset[str]
    scanning: frozenset[str]
    echo_ms: float | None
    repetition_ms: float | None
    inversion_ms: float | None
    referenced: frozenset[str]


@dataclass(frozen=True)
class Series:
    """A series: the header of its first file, and all files, each instance once."""

    header: Header
    files: tuple[Path, ...]
    burned_in: bool

    @property
    def title(self) -> str:
        """For a reader on the hospital's own screen; may hold what identifies a patient."""
        return f"{self.header.number or '?'}: {self.header.description or self.header.protocol or 'without a name'}"


@dataclass(frozen=True)
class Study:
    """One examination.

    :param folder: the deepest that holds all its files.
    """

    uid: str
    patient: str
    folder: Path
    series: tuple[Series, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; a damaged or unreadable one does not."""
    try:
        with open_image(path) as file:
            return file.read(132)[128:] == b"DICM"
    except UnreadableFile:
        return False


def find_studies(paths: Iterable[Path], problems: list[Problem]) -> list[Study]:
    """Groups DICOM files by what they say of themselves: folders may mix studies, and studies span folders."""
    instances: dict[str, Header] = {}
    for path in paths:
        try:
            header = _read_header(path)
        except UnreadableFile as error:
            problems.append(Problem(path, str(error)))
            continue
        if header is not None:
            instances.setdefault(header.sop, header)  # a copy of an instance elsewhere is passed over
    by_study: dict[str, dict[str, list[Header]]] = defaultdict(lambda: defaultdict(list))
    for header in instances.values():
        by_study[header.study][header.series].append(header)
    studies = []
    for uid, by_series in by_study.items():
        study = _study(uid, by_series)
        (problems if isinstance(study, Problem) else studies).append(study)
    return studies


def _study(uid: str, by_series: dict[str, list[Header]]) -> Study | Problem:
    headers = [header for series in by_series.values() for header in series]
    folder = Path(os.path.commonpath([header.path.parent for header in headers]))
    patients = {(header.patient, header.issuer) for header in headers}
    if len(patients) > 1:
        return Problem(folder, f"One study (StudyInstanceUID {uid}) is said to be of {len(patients)} patients.")
    ((patient, issuer),) = patients
    series = tuple(
        Series(
            header=members[0],
            files=tuple(header.path for header in members),
            burned_in=any(header.burned_in.upper() == "YES" for header in members),
        )
        for members in by_series.values()
    )
    # Nothing else tells whose study without a patient's id is, so it is a patient of its own.
    return Study(uid, f"{issuer}\n{patient}" if patient else f"study {uid}", folder, series)


def _read_header(path: Path) -> Header | None:
    """The header of an instance; None for a directory of files (DICOMDIR)."""
    import pydicom

    tags = [*_TEXTS.values(), *_LISTS.values(), *_TIMES.values(), "ContrastBolusAgentSequence"]
    with open_image(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about private tags and odd values, which are of no concern here
        try:
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[*tags, "ReferencedSeriesSequence"])
            if data.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY:
                return None
            header = _header(path, data)
        except Exception as error:
            # A damaged file makes pydicom raise whatever its parts raise.
            raise UnreadableFile(f"{path} is a damaged DICOM file ({error}). Export it again.") from error
    missing = [_TEXTS[name] for name in ("sop", "sop_class", "study", "series") if not getattr(header, name)]
    if missing:
        raise UnreadableFile(f"{path} lacks {missing[0]}, so nobody can tell what it belongs to. Export it again.")
    return header


def _header(path: Path, data) -> Header:
    texts = {name: str(data.get(tag) or "").strip() for name, tag in _TEXTS.items()}
    if not texts["contrast"] and data.get("ContrastBolusAgentSequence"):
        texts["contrast"] = "coded"
    lists = {name: frozenset(str(word).upper() for word in _values(data.get(tag))) for name, tag in _LISTS.items()}
    times = {name: None if data.get(tag) in (None, "") else float(data.get(tag)) for name, tag in _TIMES.items()}
    referenced = frozenset(str(item.SeriesInstanceUID) for item in data.get("ReferencedSeriesSequence") or ())
    return Header(path=path, **texts, **lists, **times, referenced=referenced)


def _values(value) -> list:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
