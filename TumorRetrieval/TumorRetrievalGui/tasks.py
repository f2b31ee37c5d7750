"""Long work without a frozen window: what the worker process and background threads do, told to the main thread.

A timer asks every few milliseconds what is new; nothing here waits. Every callback runs on the main thread.
"""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import qt

from TumorRetrievalGui.translation import _
from TumorRetrievalLib.errors import TumorRetrievalError

_POLL_MS = 25
# Slicer's main thread keeps Python's lock between two calls of Python code, so threads run only while it sleeps here.
_LOCK_RELEASE_S = 0.002


@dataclass(frozen=True)
class Failure:
    """Why a task ended without a result.

    :param message: what was wrong and what to do, for the user.
    :param details: a traceback or the end of a log, for whoever mends it.
    :param cancelled: whether the user wanted it.
    """

    message: str
    details: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class Event:
    """Something new from the worker.

    :param request: the number that `Worker.submit` gave.
    :param fraction: :param message: how far it is, for progress.
    :param result: what came out; None until then.
    :param failure: why nothing will come out; None if that is not so.
    """

    request: int
    fraction: float = 0.0
    message: str = ""
    result: dict | None = None
    failure: Failure | None = None


class Worker(Protocol):
    """The process that computes. Nothing here blocks."""

    def submit(self, task: str, arguments: dict) -> int:
        """Ask for something; the process is started if it does not run. :returns: the request's number."""

    def cancel(self, request: int) -> None:
        """Give up a request: its failure follows."""

    def poll(self) -> list[Event]:
        """What is new since the last call."""

    def close(self) -> None:
        """End the process."""


@dataclass(eq=False)
class Task:
    """One piece of work under way. Once it has ended or was cancelled, none of its callbacks is called again."""

    done: Callable[[Any], None]
    failed: Callable[[Failure], None]
    progress: Callable[[float, str], None] = lambda fraction, message: None
    stop: Callable[[], None] = lambda: None
    running: bool = True

    def cancel(self) -> None:
        """Give up; `failed` is called at once, whatever the worker does."""
        if self.running:
            self.stop()
            self.end(self.failed, Failure("", cancelled=True))

    def end(self, callback: Callable, *arguments) -> None:
        """Call the last callback, once."""
        if self.running:
            self.running = False
            callback(*arguments)


@dataclass(eq=False)
class _Background:
    """A function in a thread, and what came of it."""

    task: Task
    function: Callable[[], Any]
    outcome: list = field(default_factory=list)

    def run(self) -> None:
        try:
            self.outcome.append((True, self.function()))
        except Exception as error:  # a thread has no one else to tell
            self.outcome.append((False, error))


class Tasks:
    """Starts tasks and tells what becomes of them.

    :param worker: who does what is asked; it is started with the first request.
    """

    def __init__(self, worker: Worker):
        self._worker = worker
        self._requests: dict[int, Task] = {}
        self._threads: list[_Background] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self.poll)

    def ask(self, name: str, arguments: dict, *, done, failed, progress=lambda fraction, message: None) -> Task:
        """Let the worker do something.

        :param done: called with the result.
        :param failed: called with a `Failure`.
        :param progress: called with a fraction and a message.
        """
        request = self._worker.submit(name, arguments)
        self._timer.start()
        task = Task(done, failed, progress, stop=lambda: self._worker.cancel(request))
        self._requests[request] = task
        return task

    def inBackground(self, function: Callable[[], Any], *, done, failed) -> Task:
        """Call a function in a thread. It must not touch the scene or a widget, and cannot be interrupted.

        :param done: called with what it returns.
        :param failed: called with a `Failure` of what it raises.
        """
        background = _Background(Task(done, failed), function)
        self._threads.append(background)
        threading.Thread(target=background.run, daemon=True).start()
        self._timer.start()
        return background.task

    def poll(self) -> None:
        """Tell what is new; the timer calls it."""
        time.sleep(_LOCK_RELEASE_S)
        for background in [thread for thread in self._threads if thread.outcome]:
            self._threads.remove(background)
            succeeded, value = background.outcome[0]
            if succeeded:
                background.task.end(background.task.done, value)
            else:
                background.task.end(background.task.failed, failureOf(value))
        for event in self._worker.poll():
            self._tell(event)

    def _tell(self, event: Event) -> None:
        task = self._requests.get(event.request)
        if task is None:
            return
        if event.result is None and event.failure is None:
            if task.running:
                task.progress(event.fraction, event.message)
            return
        del self._requests[event.request]
        if event.failure is not None:
            task.end(task.failed, event.failure)
        else:
            task.end(task.done, event.result)

    def shutDown(self) -> None:
        """Cancel everything and end the worker; the panel is going away."""
        self._timer.stop()
        for task in [*self._requests.values(), *(thread.task for thread in self._threads)]:
            task.running = False
        self._requests, self._threads = {}, []
        self._worker.close()


def failureOf(error: Exception) -> Failure:
    """An exception as a failure: its own words if it is one of ours, else a bug with its traceback."""
    if isinstance(error, TumorRetrievalError):
        return Failure(str(error))
    details = "".join(traceback.format_exception(error))
    return Failure(_("Something went wrong inside the tool: {error}").format(error=error), details)
