"""Talks to a worker process and keeps one alive: for 3D Slicer's own process, or any other, without Qt.

Requests are answered in the order in which they were made. If the worker ends by itself or has to be killed, only the
request that it was doing is lost: those behind it are done by a new worker, and results lie in the caller's folders.
"""

import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from TumorRetrievalLib import errors
from TumorRetrievalLib.errors import Cancelled, TumorRetrievalError, WorkerFailed
from TumorRetrievalLib.worker.process import WorkerProcess, worker_command
from TumorRetrievalLib.worker.protocol import PROTOCOL

_HELLO = 0
_LOOK_S = 0.05


@dataclass(eq=False)
class Call:
    """A request on its way.

    :ivar future: its result, as a dict, or its error; safe to use from any thread.
    """

    id: int
    task: str
    arguments: dict
    on_progress: Callable[[float, str], None] | None
    future: Future = field(default_factory=Future)
    sent: bool = False
    started_at: float | None = None
    cancelled_at: float | None = None

    def request(self) -> dict:
        """As it goes through the pipe."""
        return {"id": self.id, "task": self.task, "arguments": self.arguments}


@dataclass(frozen=True)
class Patience:
    """How long a client waits, in seconds.

    :param start: for a new worker's first word; on a cold disk Python alone takes seconds.
    :param silence: for a word from a task that runs, before it counts as hung.
    :param cancel: for a cancelled task to stop by itself, before it is killed.
    """

    start: float = 60.0
    silence: float = 300.0
    cancel: float = 3.0


class WorkerClient:
    """Starts a worker when there is something to do, and a new one when that fails.

    :param command: how to start it; `worker_command()` when None.
    :param deliver: called with a function that tells the caller of progress, a result or an error; by default that is
        called at once, in a thread of this client. A GUI gives one that runs it in its own thread later.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        deliver: Callable[[Callable[[], None]], None] | None = None,
        patience: Patience | None = None,
    ):
        self._command = list(command or worker_command())
        self._deliver = deliver or (lambda tell: tell())
        self._patience = patience or Patience()
        self._lock = threading.RLock()
        self._calls: dict[int, Call] = {}
        self._numbers = itertools.count(_HELLO + 1)
        self._process: WorkerProcess | None = None
        self._ready = False
        self._verdict: TumorRetrievalError | None = None
        self._closed = threading.Event()
        self._folder: tempfile.TemporaryDirectory | None = None
        threading.Thread(target=self._watch, name="worker watch", daemon=True).start()

    def submit(
        self, task: str, arguments: dict | None = None, on_progress: Callable[[float, str], None] | None = None
    ) -> Call:
        """Ask for a task; returns at once. A worker that cannot be started is told through the call, too."""
        with self._lock:
            if self._closed.is_set():
                raise WorkerFailed("The connection to the worker was closed.")
            call = Call(next(self._numbers), task, arguments or {}, on_progress)
            # From here on only `cancel` ends it early.
            call.future.set_running_or_notify_cancel()
            self._calls[call.id] = call
            self._send_or_start()
        return call

    def cancel(self, call: Call) -> None:
        """Stop a request, whether it waits or runs; its future ends with `Cancelled`, or with a result that was faster.

        A task that does not stop by itself is killed with its worker.
        """
        with self._lock:
            if call.id not in self._calls or call.cancelled_at is not None:
                return
            call.cancelled_at = time.monotonic()
            if call.sent:
                self._process.send({"id": next(self._numbers), "task": "cancel", "arguments": {"id": call.id}})
            else:
                self._finish(call, error=Cancelled("Stopped before it began."))

    def new_folder(self) -> Path:
        """An empty folder for files that come and go with this client."""
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="tumor-retrieval-", ignore_cleanup_errors=True)
            return Path(tempfile.mkdtemp(dir=self._folder.name))

    def last_log(self) -> str:
        """The end of the present worker's log."""
        with self._lock:
            return "" if self._process is None else self._process.last_words()

    def close(self) -> None:
        """End the worker; what is still to be done ends with `Cancelled`, and the client's folders are removed."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            process, self._process = self._process, None
            for call in list(self._calls.values()):
                self._finish(call, error=Cancelled("The connection to the worker was closed."))
        if process is not None:
            process.end(self._patience.cancel)
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> "WorkerClient":
        return self

    def __exit__(self, *_):
        self.close()

    # All below with the lock held, unless it says otherwise.

    def _send_or_start(self) -> None:
        if self._process is None:
            try:
                self._process = WorkerProcess(self._command, self._hear, self._lost)
            except WorkerFailed as error:
                self._finish_all(error)
                return
            self._ready, self._verdict = False, None
            self._process.send({"id": _HELLO, "task": "hello", "arguments": {"protocol": PROTOCOL}})
        elif self._ready:
            for call in self._calls.values():
                if not call.sent:
                    call.sent = True
                    self._process.send(call.request())

    def _finish(self, call: Call, result: dict | None = None, error: Exception | None = None) -> None:
        self._calls.pop(call.id, None)

        def tell() -> None:
            if error is None:
                call.future.set_result(result)
            else:
                call.future.set_exception(error)

        self._deliver(tell)

    def _finish_all(self, error: TumorRetrievalError) -> None:
        for call in list(self._calls.values()):
            self._finish(call, error=error)

    def _hear(self, process: WorkerProcess, message: dict) -> None:
        """A message came; called without the lock, in the process' thread."""
        with self._lock:
            if process is not self._process:
                return
            event, call = message.get("event"), self._calls.get(message.get("id"))
            if message.get("id") == _HELLO:
                self._greeted(message)
            elif call is None:
                return
            elif event == "started":
                call.started_at = time.monotonic()
            elif event == "progress" and call.on_progress is not None:
                fraction, words = message.get("fraction"), message.get("message")
                self._deliver(lambda: call.on_progress(fraction, words))
            elif event == "result":
                self._finish(call, result=message.get("result"))
            elif event == "error":
                self._finish(call, error=_as_exception(message.get("error")))

    def _greeted(self, message: dict) -> None:
        if message.get("event") == "error":
            self._verdict = _as_exception(message.get("error"))
            self._finish_all(self._verdict)
            self._process.end()
            return
        self._ready = True
        self._send_or_start()

    def _lost(self, process: WorkerProcess) -> None:
        """The process has ended; called without the lock, in its thread."""
        with self._lock:
            if process is not self._process:
                return
            self._process = None
            if not self._ready:
                self._finish_all(self._verdict or self._failure(process, "could not be started"))
                return
            for call in list(self._calls.values()):
                if call.cancelled_at is not None:
                    self._finish(call, error=Cancelled("Stopped."))
                elif call.started_at is not None:
                    self._finish(call, error=self._verdict or self._failure(process, "ended unexpectedly"))
                else:
                    call.sent = False
            if self._calls:
                self._send_or_start()

    @staticmethod
    def _failure(process: WorkerProcess, what: str) -> WorkerFailed:
        code, words = process.exit_code(), process.last_words()
        log = f" The end of its log:\n{words}" if words else " It left no log."
        return WorkerFailed(f"The worker process {what} (exit code {code}). Try again; it is started anew.{log}")

    def _watch(self) -> None:
        """Ends a worker that does not answer; a thread of its own, without the lock."""
        while not self._closed.wait(_LOOK_S):
            with self._lock:
                process = self._process
                if process is None:
                    continue
                self._verdict = self._verdict or self._judged(process, time.monotonic())
                hopeless = self._verdict is not None
            if hopeless:
                process.end()

    def _judged(self, process: WorkerProcess, now: float) -> TumorRetrievalError | None:
        """Why the process has to be ended, or None."""
        silence, patience = now - process.heard_at, self._patience
        if not self._ready:
            if silence <= patience.start:
                return None
            return WorkerFailed(
                f"The worker process said nothing for {patience.start:.0f} s after its start and was ended. "
                f"The end of its log:\n{process.last_words()}"
            )
        running = [call for call in self._calls.values() if call.started_at is not None]
        if any(call.cancelled_at is not None and now - call.cancelled_at > patience.cancel for call in running):
            return Cancelled("Stopped.")
        if running and silence > patience.silence:
            return WorkerFailed(
                f"The worker process said nothing for {patience.silence:.0f} s during the task {running[0].task!r} and "
                "was ended. Try again with a smaller part of the scan, or with the CPU if it ran on the GPU."
            )
        return None


def _as_exception(told: dict | None) -> TumorRetrievalError:
    """The worker's error as the exception that it was there."""
    told = told if isinstance(told, dict) else {}
    kind = getattr(errors, str(told.get("kind")), None)
    known = isinstance(kind, type) and issubclass(kind, TumorRetrievalError)
    error = (kind if known else WorkerFailed)(str(told.get("message")))
    error.traceback = told.get("traceback")
    return error
