"""A worker process: started, spoken to, listened to, and ended for good."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from TumorRetrievalLib.errors import WorkerFailed
from TumorRetrievalLib.worker.protocol import decode, encode

_LOG_LINES = 200
_ENDING_S = 1.0


class WorkerProcess:
    """One run of the worker.

    :param command: program and arguments.
    :param on_message: called for every message, in a thread of this process.
    :param on_end: called once, after the last message, when the process has ended or closed its pipe.
    :raises WorkerFailed: if it cannot be started.
    :ivar log: the last lines it wrote to stderr, and whatever came through the pipe and was no message.
    :ivar heard_at: `time.monotonic()` of the last message, or of the start.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_message: Callable[["WorkerProcess", dict], None],
        on_end: Callable[["WorkerProcess"], None],
    ):
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.heard_at = time.monotonic()
        self._on_message, self._on_end = on_message, on_end
        self._writing = threading.Lock()
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                **_apart(),
            )
        except OSError as error:
            raise WorkerFailed(f"{command[0]} cannot be started: {error.strerror or error}. Check the path.") from error
        self._log_reader = threading.Thread(target=self._read_log, name="worker log", daemon=True)
        self._log_reader.start()
        threading.Thread(target=self._read_messages, name="worker messages", daemon=True).start()

    def send(self, message: dict) -> None:
        """Say something; a process that is gone does not hear it, and `on_end` tells so."""
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()

    def last_words(self, lines: int = 25) -> str:
        """The end of the log, for an error message."""
        return "\n".join(list(self.log)[-lines:])

    def exit_code(self) -> int | None:
        """What it ended with; None while it runs. Negative: the signal that ended it."""
        return self._process.poll()

    def end(self, patience_s: float = 0.0) -> None:
        """Close its stdin, which asks it to leave, and kill it and its children if that takes longer than `patience_s`.

        A launcher such as PythonSlicer only starts another process: killing the launcher alone would leave that one.
        """
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
            return
        _kill(self._process)

    def _read_messages(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stdout:
                message = decode(line)
                if message is None:
                    self.log.append(line.decode(errors="replace").rstrip()[:2000])
                    continue
                self.heard_at = time.monotonic()
                self._on_message(self, message)
        self.end(_ENDING_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)
        self._log_reader.join(_ENDING_S)
        self._process.stdout.close()
        self._on_end(self)

    def _read_log(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._process.stderr as stderr:
            for line in stderr:
                self.log.append(line.decode(errors="replace").rstrip()[:2000])


def worker_command(python: str | None = None, *arguments: str) -> list[str]:
    """How to start the worker.

    :param python: the interpreter, such as Slicer's PythonSlicer; the running one when None.
    """
    return [python or sys.executable, "-m", "TumorRetrievalLib.worker", *arguments]


def _environment() -> dict[str, str]:
    """Ours, in which the worker finds this very library and speaks UTF-8."""
    library = str(Path(__file__).resolve().parents[2])
    places = [library, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def _apart() -> dict:
    """Options that make the process the head of a group of its own, without a window."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _kill(process: subprocess.Popen) -> None:
    if os.name == "nt":
        tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(tree, capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
