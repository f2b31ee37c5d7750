"""What lies in a folder or a file that a user names: the kind is told by its content, and stated."""

from pathlib import Path

from TumorRetrievalLib.cohort.importers.brats import list_brats
from TumorRetrievalLib.cohort.importers.brats_names import parse_file_name
from TumorRetrievalLib.cohort.importers.dicom_archive import import_dicom, list_dicom
from TumorRetrievalLib.cohort.importers.dicom_studies import is_dicom
from TumorRetrievalLib.cohort.importers.findings import Archive, Progress
from TumorRetrievalLib.cohort.importers.folders import Walk
from TumorRetrievalLib.cohort.importers.manifest_archive import list_manifest
from TumorRetrievalLib.cohort.manifest import REQUIRED
from TumorRetrievalLib.errors import UnreadableFile


def list_archive(path: Path, *, progress: Progress | None = None) -> Archive:
    """The cases of an archive, each of whose files has been read once, and whatever is wrong with the others.

    Of DICOM studies this is a dry run: `import_archive` makes cases of them that can be indexed.

    :param path: a CSV manifest, a folder that holds one, a folder with cases in the manner of BraTS, or of one such
        case, or a folder with DICOM studies.
    :param progress: called with (fraction, message).
    :raises UnreadableFile: if there is no archive at all.
    :raises ManifestError: if the manifest is no table.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return list_manifest(path, progress=progress)
    if not path.is_dir():
        raise UnreadableFile(f"{path} is no archive. Name a CSV manifest, or the folder that holds the cases.")
    manifests = _manifests(path)
    if len(manifests) > 1:
        names = ", ".join(file.name for file in manifests)
        raise UnreadableFile(f"{path} holds several manifests: {names}. Name the one that you mean.")
    if manifests:
        return list_manifest(manifests[0], progress=progress)
    return list_dicom(path, progress=progress) if _is_of_dicom(path) else list_brats(path, progress=progress)


def import_archive(path: Path, into: Path, *, salt_file: Path, progress: Progress | None = None) -> Archive:
    """The cases of an archive, ready to be indexed.

    Cases of a manifest or in the manner of BraTS stay where they are, and nothing is written. DICOM studies are copied
    without what identifies the patient.

    :param into: the folder for those copies, outside the archive.
    :param salt_file: the secret that names are hashed with; made on first use. It must not leave the hospital.
    :raises UnreadableFile: if there is no archive at all, or the salt is damaged.
    :raises ManifestError: if the manifest is no table.
    :raises CannotWrite: if the copies cannot be written.
    """
    path = Path(path)
    if path.is_dir() and not _manifests(path) and _is_of_dicom(path):
        return import_dicom(path, into, salt_file=salt_file, progress=progress)
    return list_archive(path, progress=progress)


def _is_of_dicom(path: Path) -> bool:
    """Whether a folder holds DICOM studies; one that has a T1 with contrast as NIfTI does not need them.

    :raises UnreadableFile: if it holds neither.
    """
    dicom = False
    for _, files in Walk(path):
        names = [name for file in files if (name := parse_file_name(file.name)) is not None]
        if any(name.role == "t1c" for name in names):
            return False
        dicom = dicom or any(is_dicom(file) for file in files)
    if not dicom:
        raise UnreadableFile(
            f"{path} holds no cases: no scan is called t1c or t1ce (.nii or .nii.gz), there are no DICOM files, and no "
            f"CSV manifest has the columns {', '.join(REQUIRED)}."
        )
    return True


def _manifests(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.csv")) if _is_manifest(file)]


def _is_manifest(path: Path) -> bool:
    """Whether the first row names the columns that a manifest must have: archives hold other tables too."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            columns = {cell.strip().strip('"') for cell in file.readline(10_000).split(",")}
    except OSError:
        return False
    return columns >= set(REQUIRED)
