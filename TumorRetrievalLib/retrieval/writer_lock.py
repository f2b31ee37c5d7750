"""One writer at a time: a lock of the operating system on a file, which ends with its process, however that ends."""

import contextlib
import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path

from TumorRetrievalLib.errors import CannotWrite, IndexBusy

# Windows forbids others to read the locked bytes, so what is locked lies behind the text that names the holder.
_LOCKED_BYTE = 1 << 20


class WriterLock:
    """Held from the start to `release`, or to the end of the process.

    :param path: the lock file; it stays when the lock is released.
    :raises IndexBusy: if another process (or another index in this process) holds it; the message says which.
    :raises CannotWrite: if the file cannot be made.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise CannotWrite(f"{self.path.parent} cannot be written: {error.strerror}.") from error
        try:
            _lock(self._file)
        except OSError as error:
            holder = self._holder()
            os.close(self._file)
            raise IndexBusy(
                f"The index {self.path.parent} is being written by {holder}. Wait until it has finished, or end it."
            ) from error
        who = {
            "process": os.getpid(),
            "computer": socket.gethostname(),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        # On a full disk the lock still holds, only nobody can read by whom.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.write(self._file, json.dumps(who).encode())

    def release(self) -> None:
        """Let the next writer in; releasing twice does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _holder(self) -> str:
        try:
            who = json.loads(os.pread(self._file, 4096, 0) if hasattr(os, "pread") else os.read(self._file, 4096))
            return f"process {who['process']} on {who['computer']} since {who['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
