"""Where the scans of an index lie: relative to it, so that both can move together, or be told that one of them has."""

import os
from collections.abc import Iterable
from pathlib import Path


def common_folder(files: Iterable[Path]) -> Path:
    """The deepest folder that holds all files.

    :raises ValueError: if there is no file, or they lie on different drives.
    """
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]))


def stored_root(root: Path, folder: Path) -> str:
    """The root of an archive as an index in `folder` keeps it: relative, unless it is on another drive."""
    # Links are resolved, because "the folder above" means another one on either side of a link.
    real = os.path.realpath(root)
    try:
        return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
    except ValueError:
        return Path(real).as_posix()


def root_on_disk(stored: str, folder: Path) -> Path:
    """The root of an archive that an index in `folder` has kept."""
    return Path(os.path.normpath(os.path.join(os.path.realpath(folder), stored)))


def relative_file(file: Path, root: Path) -> str:
    """A file's path below its archive's root, with slashes.

    :raises ValueError: if it does not lie below the root.
    """
    return Path(os.path.abspath(file)).relative_to(os.path.abspath(root)).as_posix()
