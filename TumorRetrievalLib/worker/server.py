"""The worker's side of the pipe: reads requests, does them one after the other, and never stops listening."""

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from TumorRetrievalLib import __version__
from TumorRetrievalLib.errors import Cancelled, InvalidRequest, NotEnoughMemory, TumorRetrievalError, WorkerOutdated
from TumorRetrievalLib.worker.protocol import PROTOCOL, decode, encode
from TumorRetrievalLib.worker.tasks import Task

GRACE_S = 3.0
"""How long a task may take to stop once there is nobody left to work for."""

_PROGRESS_S = 0.05
"""Progress is told at most this often, unless the message changes."""


@dataclass(eq=False)
class _Job:
    """A request that waits or runs."""

    id: object
    task: str
    arguments: dict
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: bool = False


class Server:
    """Does requests from a pipe.

    :param load_tasks: gives the tasks by name; called once, while the server already listens, because it takes seconds.
    :param requests: one JSON object per line; its end is the end of the server.
    :param answers: where messages go; nothing else may write to it.
    """

    def __init__(self, load_tasks: Callable[[], dict[str, Task]], requests: BinaryIO, answers: BinaryIO):
        self._load_tasks = load_tasks
        self._requests, self._answers = requests, answers
        self._speaking = threading.Lock()
        self._jobs: dict[object, _Job] = {}
        self._jobs_lock = threading.Lock()
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until the pipe closes or `shutdown` is asked for. To be called in the main thread."""
        threading.Thread(target=self._listen, name="requests", daemon=True).start()
        tasks, trouble = {}, None
        try:
            tasks = self._load_tasks()
        except TumorRetrievalError as error:
            trouble = error
        while (job := self._waiting.get()) is not None:
            with self._jobs_lock:
                job.started = True
                if job.id not in self._jobs:
                    continue
            self._do(job, tasks, trouble)

    # In the thread that listens

    def _listen(self) -> None:
        try:
            for line in self._requests:
                # After `shutdown` nothing may wait for stdin: Python cannot end while a thread does.
                if line.strip() and not self._hear(decode(line)):
                    break
        finally:
            self._leave()

    def _hear(self, request: dict | None) -> bool:
        """Deal with a request; False if it was the last."""
        answer_to = None if request is None else request.get("id")
        if not isinstance(answer_to, int | str):
            answer_to = None  # what is no id cannot be repeated either: it may hold what JSON cannot say
        try:
            task, arguments = self._understood(request)
            if task == "hello":
                self._say(answer_to, "result", result=_introduction(arguments))
            elif task == "cancel":
                number = arguments.get("id")
                if isinstance(number, int | str):
                    self._cancel(number)
                self._say(answer_to, "result", result={})
            elif task == "shutdown":
                self._say(answer_to, "result", result={})
                return False
            else:
                self._take(_Job(answer_to, task, arguments))
        except TumorRetrievalError as error:
            self._say(answer_to, "error", error=_described(error))
        return True

    @staticmethod
    def _understood(request: dict | None) -> tuple[str, dict]:
        if request is None:
            raise InvalidRequest("A request is one JSON object per line; this line is none.")
        task, arguments, number = request.get("task"), request.get("arguments", {}), request.get("id")
        if not isinstance(task, str) or not isinstance(arguments, dict) or not isinstance(number, int | str):
            raise InvalidRequest("A request has an `id`, the name of a `task` and, as an object, its `arguments`.")
        return task, arguments

    def _take(self, job: _Job) -> None:
        with self._jobs_lock:
            if job.id in self._jobs:
                raise InvalidRequest(f"There is a request with the id {job.id!r} already.")
            self._jobs[job.id] = job
        self._waiting.put(job)

    def _cancel(self, number: int | str) -> None:
        """Stop a request: at its next report of progress if it runs, at once if it waits; one that is over, stays."""
        with self._jobs_lock:
            job = self._jobs.get(number)
            if job is None:
                return
            job.cancelled.set()
            if job.started:
                return
            del self._jobs[number]
        self._say(number, "error", error=_described(Cancelled("Stopped before it began.")))

    def _leave(self) -> None:
        """Nobody is listening any more: stop what runs, and end the process even if that does not stop."""
        with self._jobs_lock:
            for job in self._jobs.values():
                job.cancelled.set()
            self._jobs = {number: job for number, job in self._jobs.items() if job.started}
        self._waiting.put(None)
        timer = threading.Timer(GRACE_S, os._exit, args=(0,))
        timer.daemon = True
        timer.start()

    # In the main thread

    def _do(self, job: _Job, tasks: dict[str, Task], trouble: TumorRetrievalError | None) -> None:
        self._say(job.id, "started")
        try:
            if trouble is not None:
                raise trouble
            if job.task not in tasks:
                raise InvalidRequest(f"There is no task {job.task!r}; there are {', '.join(sorted(tasks))}.")
            answer = {"result": tasks[job.task](job.arguments, self._progress_of(job))}
            encode(answer)
        except (Exception, SystemExit) as error:
            answer = {"error": _described(error)}
        with self._jobs_lock:
            del self._jobs[job.id]
        self._say(job.id, *answer, **answer)

    def _progress_of(self, job: _Job) -> Callable[[float, str], None]:
        last_time, last_message = 0.0, None

        def progress(fraction: float, message: str = "") -> None:
            nonlocal last_time, last_message
            if job.cancelled.is_set():
                raise Cancelled("Stopped.")
            now = time.monotonic()
            if now - last_time >= _PROGRESS_S or message != last_message:
                last_time, last_message = now, message
                self._say(job.id, "progress", fraction=round(float(fraction), 4), message=str(message))

        return progress

    def _say(self, number: object, event: str, **content) -> None:
        line = encode({"id": number, "event": event, **content})
        try:
            with self._speaking:
                self._answers.write(line)
                self._answers.flush()
        except OSError:
            # The client is gone, and stdin will say so too.
            self._leave()


def _introduction(arguments: dict) -> dict:
    """The answer to `hello`, which says what the client speaks."""
    if arguments.get("protocol") != PROTOCOL:
        raise WorkerOutdated(
            f"The client speaks version {arguments.get('protocol')} of the worker's language, and the worker version "
            f"{PROTOCOL}: two versions of the extension are mixed. Restart the application, or install it again."
        )
    return {"protocol": PROTOCOL, "version": __version__, "pid": os.getpid()}


def _described(error: BaseException) -> dict:
    """An error as it is told to the client: what was wrong and what to do."""
    if isinstance(error, TumorRetrievalError):
        return {"kind": type(error).__name__, "message": str(error)}
    if _is_about_memory(error):
        message = "There was not enough memory. Close other programs, or choose the CPU if this ran on the GPU."
        return {"kind": NotEnoughMemory.__name__, "message": message, "traceback": _trace(error)}
    message = f"Something unexpected went wrong ({type(error).__name__}: {error}). Please report it with the log."
    return {"kind": "Unexpected", "message": message, "traceback": _trace(error)}


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _is_about_memory(error: BaseException) -> bool:
    # PyTorch's errors are recognised without importing it: of the GPU by their class, of the CPU by their text.
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, MemoryError) or "OutOfMemoryError" in names or "can't allocate memory" in str(error)
