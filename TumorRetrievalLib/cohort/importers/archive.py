"""What lies in a folder or a file that a user names: the kind is told by its content, and stated."""

from pathlib import Path

from TumorRetrievalLib.cohort.importers.brats import list_brats
from TumorRetrievalLib.cohort.importers.findings import Archive, Progress
from TumorRetrievalLib.cohort.importers.manifest_archive import list_manifest
from TumorRetrievalLib.cohort.manifest import REQUIRED
from TumorRetrievalLib.errors import UnreadableFile


def list_archive(path: Path, *, progress: Progress | None = None) -> Archive:
    """The cases of an archive, each of whose files has been read once, and whatever is wrong with the others.

    :param path: a CSV manifest, a folder that holds one, or a folder with cases in the manner of BraTS, or of one
        such case.
    :param progress: called with (fraction, message).
    :raises UnreadableFile: if there is no archive at all.
    :raises ManifestError: if the manifest is no table.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return list_manifest(path, progress=progress)
    if not path.is_dir():
        raise UnreadableFile(f"{path} is no archive. Name a CSV manifest, or the folder that holds the cases.")
    manifests = [file for file in sorted(path.glob("*.csv")) if _is_manifest(file)]
    if len(manifests) > 1:
        names = ", ".join(file.name for file in manifests)
        raise UnreadableFile(f"{path} holds several manifests: {names}. Name the one that you mean.")
    if manifests:
        return list_manifest(manifests[0], progress=progress)
    archive = list_brats(path, progress=progress)
    if not archive.cases and not archive.problems:
        raise UnreadableFile(f"{path} holds no cases: no file is called t1c or t1ce (.nii or .nii.gz).")
    return archive


def _is_manifest(path: Path) -> bool:
    """Whether the first row names the columns that a manifest must have: archives hold other tables too."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            columns = {cell.strip().strip('"') for cell in file.readline(10_000).split(",")}
    except OSError:
        return False
    return columns >= set(REQUIRED)
