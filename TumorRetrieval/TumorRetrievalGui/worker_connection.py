"""The worker process, as the tasks of the panels want it: asked and polled, never waited for."""

import shutil
from collections import deque
from collections.abc import Callable

from TumorRetrievalGui.tasks import Event, Failure, failureOf
from TumorRetrievalLib.errors import Cancelled
from TumorRetrievalLib.worker.client import Call, WorkerClient
from TumorRetrievalLib.worker.process import worker_command

_LOG_FOLLOWS = "The end of its log:"


class WorkerConnection:
    """A `tasks.Worker` that is a process of its own. It is started with the first request, and again after a crash."""

    def __init__(self):
        self._news: deque[Callable[[], None]] = deque()
        self._events: list[Event] = []
        self._calls: dict[int, Call] = {}
        # Slicer's own interpreter is the application; PythonSlicer is its Python as a program.
        self._client = WorkerClient(worker_command(shutil.which("PythonSlicer")), deliver=self._news.append)

    def submit(self, task: str, arguments: dict) -> int:
        """Ask for something. :returns: the request's number."""
        number: list[int] = []

        def progress(fraction: float, message: str) -> None:
            self._events.append(Event(number[0], fraction, message))

        call = self._client.submit(task, arguments, progress)
        number.append(call.id)
        self._calls[call.id] = call
        call.future.add_done_callback(lambda future: self._events.append(_ended(call.id, future)))
        return call.id

    def cancel(self, request: int) -> None:
        """Give up a request."""
        if (call := self._calls.get(request)) is not None:
            self._client.cancel(call)

    def poll(self) -> list[Event]:
        """What is new since the last call."""
        # The client's threads leave their news here; what comes of them happens in this thread.
        while self._news:
            self._news.popleft()()
        events, self._events = self._events, []
        for event in events:
            if event.result is not None or event.failure is not None:
                self._calls.pop(event.request, None)
        return events

    def close(self) -> None:
        """End the process."""
        self._client.close()


def _ended(request: int, future) -> Event:
    """The last event of a request."""
    error = future.exception()
    if error is None:
        return Event(request, result=future.result() or {})
    if isinstance(error, Cancelled):
        return Event(request, failure=Failure("", cancelled=True))
    failure = failureOf(error)
    message, _, log = failure.message.partition(_LOG_FOLLOWS)
    details = "\n".join(part for part in (log.strip(), getattr(error, "traceback", None) or failure.details) if part)
    return Event(request, failure=Failure(message.strip(), details))
