"""Draws the box again, a little differently, to see which similar cases stay in the list."""

from TumorRetrievalGui.results_logic import ResultsLogic
from TumorRetrievalGui.scan_files import ScanFiles
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.errors import TumorRetrievalError

BOXES = 10
"""How often the box is drawn again."""


class StabilityLogic:
    """Checks the list of a `ResultsLogic`; a list that is ranked anew meanwhile ends the check."""

    def __init__(self, results: ResultsLogic, tasks: Tasks, files: ScanFiles, settings: Settings):
        self._results = results
        self._tasks, self._files, self._settings = tasks, files, settings
        self._task: Task | None = None
        self._asked: list = []
        self.message = ""
        self.failure: Failure | None = None
        #: Whether it runs, how far it is, or why it failed has changed.
        self.changed = Signal()
        results.changed.connect(self._listChanged)

    @property
    def isRunning(self) -> bool:
        """Whether boxes are being drawn."""
        return self._task is not None

    def whyNot(self) -> str:
        """Why the list cannot be checked now; "" if it can."""
        if not self._results.hits:
            return _("Find similar cases first.")
        if self._results.parameters.t1c is None:
            return _("The scan is no longer there: load it again.")
        if self._results.isRanking:
            return _("Wait until the list is ranked.")
        return ""

    def start(self) -> None:
        """Draw the boxes."""
        if self.isRunning or self.whyNot():
            return
        self.failure, self._asked = None, self._listed()
        parameters = self._results.parameters
        scans = {"t1c": parameters.t1c, "flair": parameters.flair}
        scans = {name: node for name, node in scans.items() if node is not None}
        try:
            write = self._files.writer(list(scans.values()))
        except TumorRetrievalError as error:
            self._failed(Failure(str(error)))
            return

        def ask(paths: list) -> None:
            files = {name: str(path) for name, path in zip(scans, paths, strict=True)}
            arguments = {**self._results.wishes(), **files, **self._settings.arguments("model", "device")}
            self._task = self._tasks.ask(
                "stability", {**arguments, "boxes": BOXES}, done=self._done, failed=self._failed, progress=self._tell
            )

        self.message = _("Reading the scan")
        self._task = self._tasks.inBackground(write, done=ask, failed=self._failed)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop it."""
        if self._task is not None:
            self._task.cancel()

    def _tell(self, _fraction: float, message: str) -> None:
        self.message = message
        self.changed.emit()

    def _done(self, answer: dict) -> None:
        self._task = None
        self._results.showStability(answer["hits"])
        self.changed.emit()

    def _failed(self, failure: Failure) -> None:
        self._task = None
        self.failure = None if failure.cancelled else failure
        self.changed.emit()

    def _listChanged(self) -> None:
        if self._results.isRanking or self._listed() != self._asked:
            self.failure = None
            self.cancel()

    def _listed(self) -> list:
        return [hit.key for hit in self._results.hits]
