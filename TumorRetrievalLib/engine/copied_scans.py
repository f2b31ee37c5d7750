"""The copies of scans that an index keeps in its own folder: of DICOM studies, and of patients added one by one."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from TumorRetrievalLib.errors import CannotWrite

LONGEST_ID = 80
_SIGNS = "-_."


def scans_folder(index: Path) -> Path:
    """Where the copies of an index lie: one folder for each case, named by its id."""
    return Path(index) / "scans"


def problem_with_id(case_id: str) -> str:
    """Why a case of this id could not have a folder of its own; "" if it can."""
    if not case_id.strip():
        return "Give the case an id."
    odd = sorted({letter for letter in case_id if not (letter.isalnum() or letter in _SIGNS)})
    if odd or case_id.startswith(".") or case_id.endswith(".") or len(case_id) > LONGEST_ID:
        return (
            f"The case id may have up to {LONGEST_ID} letters, digits and the signs - _ and . between them; "
            f"{case_id[:LONGEST_ID]!r} cannot be used."
        )
    return ""


def require_own_scans(index: Path, *, besides: Iterable[Path] = ()) -> None:
    """Refuse a folder for a new index in which somebody else's files lie where it keeps, and removes, its copies.

    :param besides: folders there that are known.
    :raises CannotWrite: if there are others.
    """
    folder = scans_folder(index)
    if folder.is_dir() and not {path.resolve() for path in folder.iterdir()} <= {path.resolve() for path in besides}:
        raise CannotWrite(
            f"{folder} holds files already, and a new index in {index} would take them for its own copies and remove "
            f"them. Choose an empty folder for the index."
        )


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
