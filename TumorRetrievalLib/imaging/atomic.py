"""Files that change as a whole: others see the old one or the new one, never a part of either, and can tell which."""

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from TumorRetrievalLib.errors import CannotWrite, UnreadableFile

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than this system allows; free some space or choose another folder",
    errno.EACCES: "there is no permission to write; choose another folder",
    errno.EPERM: "there is no permission to write; choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOENT: "the folder does not exist; create it or choose another",
    errno.ENOTDIR: "the folder is not a folder; choose another",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.EEXIST: "a file of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


# File systems take 255 bytes for a name, and a character has up to 4 of them.
_LONGEST_NAME = 240
_TAIL = 50


@contextlib.contextmanager
def atomic_file(path) -> Iterator[Path]:
    """A temporary file that becomes `path` when the block ends well, and is gone when it does not.

    The temporary file lies in the same folder and ends in the same name, so that the final rename is atomic and
    writers that look at the suffix do the right thing. Its content is on the disk before the rename.

    :param path: the file to make or to replace.
    :returns: the path to write to (an empty file; open it by name).
    :raises CannotWrite: on any error of the operating system; `path` is then what it was before.
    """
    path = Path(path)
    # Where the name is as long as a name may be, the temporary one ends like it.
    name = path.name if len(os.fsencode(path.name)) <= _LONGEST_NAME else path.name[-_TAIL:]
    temporary = path.with_name(f".tmp-{secrets.token_hex(4)}-{name}")
    try:
        # Unlike tempfile's private files, this one is to be read by whomever the umask allows.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _flush_to_disk(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if os.name == "posix":
            # The rename itself survives a power cut only with its folder; some network disks cannot do that.
            with contextlib.suppress(OSError):
                _flush_to_disk(path.parent, os.O_RDONLY)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {_reason(error)}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """A folder with all those above it; one that is there is kept.

    :raises CannotWrite: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"The folder {folder} cannot be made: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno, error.strerror or str(error))


def sha256_of(path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits.

    :raises UnreadableFile: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def file_state(path: Path) -> tuple[int, int, int, int] | None:
    """Another value whenever a file is another one or may have changed; None if it is not there.

    For what is kept in memory as long as its file stays what it was. Times are compared for being equal, never for
    being later, so a clock that was set back does no harm; the time of the last change of status and the number of the
    file show what was given an old time on purpose, as copying and unpacking do.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _flush_to_disk(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
