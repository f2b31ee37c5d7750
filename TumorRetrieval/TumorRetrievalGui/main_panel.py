"""All panels of the module and how they work together."""

from collections.abc import Callable

import qt

from TumorRetrievalGui.compare_logic import MOST, CompareLogic
from TumorRetrievalGui.compare_panel import ComparePanel
from TumorRetrievalGui.log import Log
from TumorRetrievalGui.parameters import QueryParameters, guessScans
from TumorRetrievalGui.query_logic import QueryLogic
from TumorRetrievalGui.query_panel import QueryPanel
from TumorRetrievalGui.results_logic import ResultsLogic
from TumorRetrievalGui.results_panel import ResultsPanel
from TumorRetrievalGui.scan_files import ScanFiles
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.settings_panel import SettingsPanel
from TumorRetrievalGui.tasks import Tasks, Worker
from TumorRetrievalGui.translation import _


class MainPanel:
    """Makes the logic objects, gives each its panel, and passes on what one has for another.

    :param layout: the layout of the module's widget.
    :param parameters: the query of the present scene.
    :param startWorker: makes the worker from the settings.
    :param ensureInstalled: installs what is missing, or raises `query_logic.NotPossible`.
    """

    def __init__(
        self,
        layout,
        parameters: QueryParameters,
        startWorker: Callable[[Settings], Worker],
        ensureInstalled: Callable[[], None],
    ):
        self.log = Log()
        self.settings = Settings()
        self.files = ScanFiles()
        self.tasks = Tasks(startWorker(self.settings))
        self.query = QueryLogic(parameters, self.tasks, self.files, ensureInstalled)
        self.results = ResultsLogic(parameters, self.tasks)
        self.compare = CompareLogic(parameters, self.tasks)
        self.queryPanel = QueryPanel(layout, self.query)
        self.resultsPanel = ResultsPanel(layout, self.results, MOST)
        self.comparePanel = ComparePanel(layout, self.compare)
        self.settingsPanel = SettingsPanel(layout, self.settings, self.log)
        note = qt.QLabel(_("For research use only: similar cases inform a reader and decide nothing."))
        note.setWordWrap(True)
        note.setEnabled(False)
        layout.addWidget(note)
        layout.addStretch(1)
        self.query.found.connect(self._showAnswer)
        self.resultsPanel.compareWanted.connect(self.compare.open)
        for logic in (self.query, self.results, self.compare):
            logic.changed.connect(lambda logic=logic: self._note(logic))
        self._noted = None
        self._refreshing = False

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to the query of another scene."""
        for logic in (self.query, self.results, self.compare):
            logic.setParameters(parameters)

    def sceneChanged(self) -> None:
        """Nodes came or went: choose a scan if none is chosen, and show the state once the scene is settled."""
        if not self._refreshing:
            self._refreshing = True
            qt.QTimer.singleShot(0, self._refresh)

    def cancel(self) -> None:
        """Stop everything that is under way."""
        self.query.cancel()
        self.compare.cancel()

    def cleanup(self) -> None:
        """Let go of the scene and end the worker."""
        self.tasks.shutDown()
        self.queryPanel.cleanup()
        self.compare.cleanup()
        self.files.close()
        self._refreshing = True  # nothing to refresh any more

    def _refresh(self) -> None:
        if not self._refreshing or self.query.parameters.scene is None:
            return
        self._refreshing = False
        guessScans(self.query.parameters)
        self.queryPanel.refresh()
        self.comparePanel.refresh()

    def _showAnswer(self) -> None:
        self.results.failure = None
        self.results.changed.emit()
        self.compare.open(self.resultsPanel.openFirst())

    def _note(self, logic) -> None:
        failure = logic.failure
        if failure is not None and failure is not self._noted and not failure.cancelled:
            self._noted = failure
            self.log.add(failure.message, failure.details)
