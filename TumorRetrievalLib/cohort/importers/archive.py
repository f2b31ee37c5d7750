"""What lies in a folder or a file that a user names: the kind is told by its content, and stated."""

from pathlib import Path

from TumorRetrievalLib.cohort.importers.brats import list_brats
from TumorRetrievalLib.cohort.importers.findings import Archive, Progress
from TumorRetrievalLib.errors import UnreadableFile


def list_archive(path: Path, *, progress: Progress | None = None) -> Archive:
    """The cases of an archive, each of whose files has been read once, and whatever is wrong with the others.

    :param path: a folder with cases in the manner of BraTS, or of one such case.
    :param progress: called with (fraction, message).
    :raises UnreadableFile: if there is no archive at all.
    """
    path = Path(path)
    if not path.is_dir():
        raise UnreadableFile(f"{path} is not a folder. Name the folder that holds the cases.")
    archive = list_brats(path, progress=progress)
    if not archive.cases and not archive.problems:
        raise UnreadableFile(f"{path} holds no cases: no file is called t1c or t1ce (.nii or .nii.gz).")
    return archive
