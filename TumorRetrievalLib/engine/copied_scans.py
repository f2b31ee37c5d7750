"""The copies of DICOM studies, without the patient's identity, that an index keeps in its own folder."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from TumorRetrievalLib.errors import CannotWrite


def scans_folder(index: Path) -> Path:
    """Where the copies of an index lie: one folder for each case, named by its id."""
    return Path(index) / "scans"


def forget_scans(index: Path, *, keep: Iterable[str]) -> None:
    """Remove the copies of all cases but some.

    :raises CannotWrite: if that is not possible.
    """
    folder, kept = scans_folder(index), set(keep)
    if not folder.is_dir():
        return
    try:
        for copied in folder.iterdir():
            if copied.name not in kept:
                shutil.rmtree(copied) if copied.is_dir() else copied.unlink()
        if not kept:
            folder.rmdir()
    except OSError as error:
        raise CannotWrite(f"{error.filename} cannot be removed: {error.strerror or error}. Remove it.") from error
