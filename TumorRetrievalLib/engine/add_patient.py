"""The patient of the moment becomes a known case: their scan and outlines are copied into the index's own folder."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case, MaskLabels, Tumor
from TumorRetrievalLib.cohort.manifest import write_manifest
from TumorRetrievalLib.engine.archive import ReadWith, build_archive_index
from TumorRetrievalLib.engine.copied_scans import problem_with_id, require_own_scans, scans_folder
from TumorRetrievalLib.errors import CannotWrite, CaseAlreadyIndexed, InvalidRequest
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels, write_volume
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.index_manifest import MANIFEST

Progress = Callable[[float, str], None]

OUTLINES = MaskLabels(core=(1,), whole=(1, 2), scheme="outlined in 3D Slicer: 1 core, 2 oedema")
"""The meaning of the labels in a patient's mask."""

_COPIED = 0.2


@dataclass(frozen=True)
class NewCase:
    """A patient as a user hands them over.

    :param id: names the case, and its folder in the index: letters, digits, "-", "_" and ".".
    :param patient: names the patient.
    :param mask: outlines on the T1c's grid, labels as in `OUTLINES`.
    :param type: one of `labels.TYPES`, or None where it is not known.
    :param mask_origin: "expert" if a person has drawn or checked the outlines, else "network".
    """

    id: str
    patient: str
    t1c: Path
    mask: Path
    flair: Path | None = None
    type: str | None = None
    mask_origin: str = "network"


def add_patient(index: Path, new: NewCase, using: ReadWith | None = None, progress: Progress | None = None) -> dict:
    """Copy a patient's files into an index and add them as a case; the index is made if its folder holds none.

    The copies hold voxels and their place and no text of the given files. They go with the case when it is removed,
    and at once if it cannot be added.

    :returns: as `engine.archive.build_archive_index`; where `added` is empty, `problems` says why.
    :raises CaseAlreadyIndexed: if there is a case of that id, also where only capital letters differ.
    :raises InvalidRequest: if the id cannot be used, or the patient has none.
    :raises TumorRetrievalError: as `engine.archive.build_archive_index`.
    """
    report = progress or (lambda fraction, message: None)
    if problem := problem_with_id(new.id) or ("" if new.patient.strip() else "Say who the patient is."):
        raise InvalidRequest(problem)
    index = Path(index)
    _require_free(index, new.id)
    report(0.0, "Copying the scan")
    folder = scans_folder(index) / new.id
    try:
        _copy(new, folder, lambda f: report(_COPIED * f, "Copying the scan"))
        result = build_archive_index(folder, index, using, lambda f, m: report(_COPIED + (1 - _COPIED) * f, m))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not result["added"]:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _require_free(index: Path, case_id: str) -> None:
    # An id is also the name of a folder, and some file systems know no capital letters.
    if (index / MANIFEST).exists():
        with CaseIndex.open(index) as known:
            twin = next((one for one in known.case_ids() if one.casefold() == case_id.casefold()), None)
        if twin is not None:
            raise CaseAlreadyIndexed(f"There is a case {twin} in {index} already. Choose another id, or remove it.")
    else:
        require_own_scans(index)


def _copy(new: NewCase, folder: Path, report: Callable[[float], None]) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)  # what an attempt that was killed has left
        folder.mkdir(parents=True)
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be made: {error.strerror or error}. Choose another folder.") from error
    copies = {"t1c": folder / "t1c.nii.gz"}
    write_volume(copies["t1c"], read_volume(new.t1c))
    report(0.5)
    if new.flair is not None:
        copies["flair"] = folder / "flair.nii.gz"
        write_volume(copies["flair"], read_volume(new.flair))
    report(0.9)
    copies["mask"] = folder / "mask.nii.gz"
    write_labels(copies["mask"], read_labels(new.mask))
    tumors = (Tumor(type=new.type),) if new.type else ()
    case = Case(new.id, new.patient, **copies, tumors=tumors, mask_labels=OUTLINES, mask_origin=new.mask_origin)
    write_manifest(folder / "manifest.csv", [case])
