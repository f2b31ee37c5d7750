"""All panels of the module and how they work together."""

from typing import Protocol

import qt

from TumorRetrievalGui.case_loader import CaseLoader, PictureQueue
from TumorRetrievalGui.compare_logic import MOST, CompareLogic
from TumorRetrievalGui.compare_panel import ComparePanel
from TumorRetrievalGui.growth_logic import GrowthLogic
from TumorRetrievalGui.growth_panel import GrowthPanel
from TumorRetrievalGui.index_logic import IndexLogic
from TumorRetrievalGui.index_panel import IndexPanel
from TumorRetrievalGui.log import Log
from TumorRetrievalGui.map_logic import MapLogic
from TumorRetrievalGui.map_panel import MapPanel
from TumorRetrievalGui.parameters import QueryParameters, guessScans
from TumorRetrievalGui.query_logic import QueryLogic
from TumorRetrievalGui.query_panel import QueryPanel
from TumorRetrievalGui.results_logic import ResultsLogic
from TumorRetrievalGui.results_panel import ResultsPanel
from TumorRetrievalGui.scan_files import ScanFiles
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.settings_panel import SettingsPanel
from TumorRetrievalGui.stability_logic import StabilityLogic
from TumorRetrievalGui.tasks import Failure, Tasks, Worker
from TumorRetrievalGui.translation import _


class Dependencies(Protocol):
    """The Python packages that the worker needs."""

    def areInstalled(self) -> bool:
        """Whether nothing is missing; asks and changes nothing."""

    def ensureInstalled(self) -> None:
        """Install what is missing, after asking. :raises NotPossible: (of `query_logic`) if that does not work out."""


class MainPanel:
    """Makes the logic objects, gives each its panel, and passes on what one has for another.

    :param layout: the layout of the module's widget.
    :param parameters: the query of the present scene.
    :param worker: the process that computes.
    :param dependencies: the packages that it needs.
    """

    def __init__(
        self,
        layout,
        parameters: QueryParameters,
        worker: Worker,
        dependencies: Dependencies,
    ):
        self.log = Log()
        self.settings = Settings()
        self.files = ScanFiles()
        self.tasks = Tasks(worker)
        self._dependencies = dependencies
        self._isWarm = False
        self.query = QueryLogic(parameters, self.tasks, self.files, self.settings, dependencies.ensureInstalled)
        self.results = ResultsLogic(parameters, self.tasks, self.files)
        self.stability = StabilityLogic(self.results, self.tasks, self.files, self.settings)
        loader = CaseLoader(self.tasks, self.files, self.settings)
        self.pictures = PictureQueue(loader)
        self.compare = CompareLogic(parameters, loader)
        self.map = MapLogic(self.results, self.tasks, self.settings)
        self.growth = GrowthLogic(parameters, self.tasks, self.files, self.settings, dependencies.ensureInstalled)
        self.index = IndexLogic(parameters, self.tasks, self.files, self.settings, dependencies.ensureInstalled)
        self.queryPanel = QueryPanel(layout, self.query)
        self.resultsPanel = ResultsPanel(layout, self.results, self.stability, MOST)
        self.comparePanel = ComparePanel(layout, self.compare)
        self.mapPanel = MapPanel(layout, self.map)
        self.growthPanel = GrowthPanel(layout, self.growth)
        self.indexPanel = IndexPanel(layout, self.index)
        self.settingsPanel = SettingsPanel(layout, self.settings, self.log)
        note = qt.QLabel(_("For research use only: similar cases inform a reader and decide nothing."))
        note.setWordWrap(True)
        layout.addWidget(note)
        layout.addStretch(1)
        self.query.found.connect(self._showAnswer)
        self.resultsPanel.compareWanted.connect(self.compare.open)
        self.mapPanel.chosen.connect(self.resultsPanel.openBeside)
        loader.pictured.connect(self.resultsPanel.table.setPicture)
        self.resultsPanel.searchWanted.connect(self.query.find)
        self.resultsPanel.partWanted.connect(self.query.part)
        self.resultsPanel.table.changed.connect(lambda: self.indexPanel.suggestRemoval(self.resultsPanel.table.chosen))
        self.query.changed.connect(self._followQuery)
        self.index.indexChanged.connect(self._useOtherCases)
        self.results.changed.connect(self._openFirst)
        self.results.changed.connect(self._allowPart)
        self.results.changed.connect(self.growthPanel.refresh)
        self.compare.shown.connect(self.growth.layOver)
        for logic in (self.results, self.compare):
            logic.changed.connect(self._fetchPictures)
        for logic in (self.query, self.results, self.compare, self.stability, self.map, self.growth, self.index):
            logic.changed.connect(lambda logic=logic: self._note(logic))
        self._noted = None
        self._opensFirst = False
        self._refreshing = False

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to the query of another scene."""
        for logic in (self.query, self.results, self.compare, self.growth, self.index):
            logic.setParameters(parameters)

    def warmUp(self) -> None:
        """Start the worker in the background, so that the first search does not wait for it."""
        # Without its packages it could not start; the first search asks the user for them.
        if not self._isWarm and self._dependencies.areInstalled():
            self._isWarm = True
            chosen = self.settings.arguments("index", "model", "device")
            self.tasks.ask("warm_up", chosen, done=self.settingsPanel.showReady, failed=self._notReady)

    def _notReady(self, failure: Failure) -> None:
        self._isWarm = False
        if not failure.cancelled:
            self.log.add(failure.message, failure.details)

    def sceneChanged(self) -> None:
        """Nodes came or went: choose a scan if none is chosen, and show the state once the scene is settled."""
        if not self._refreshing:
            self._refreshing = True
            qt.QTimer.singleShot(0, self._refresh)

    def cancel(self) -> None:
        """Stop everything that is under way."""
        self.query.cancel()
        self.stability.cancel()
        self.map.cancel()
        self.compare.cancel()
        self.growth.cancel()
        self.pictures.clear()

    def cleanup(self) -> None:
        """Let go of the scene and end the worker."""
        self.pictures.clear()
        self.index.cleanup()
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
        self.growthPanel.refresh()
        self.indexPanel.refresh()

    def _followQuery(self) -> None:
        """Say in the other panels too what can be done with the present scan and boxes."""
        if self.query.parameters.scene is not None:
            self.resultsPanel.allowSearch(self.query.whyNotFind())
            self._allowPart()
            self.indexPanel.refresh()

    def _allowPart(self) -> None:
        if self.results.tumor is not None:
            self.resultsPanel.allowPart(self.query.whyNotPart(self.results.tumor))

    def _useOtherCases(self) -> None:
        self.results.noteIndex(changed=True)
        self.map.forget()

    def _showAnswer(self) -> None:
        if self.results.indexChanged:
            self.pictures.forget()
            self.results.noteIndex(changed=False)
        self._opensFirst = True
        self.results.rank()

    def _openFirst(self) -> None:
        """Put the first few cases beside the patient once the list of a new search is there."""
        if self._opensFirst and self.results.hits and not self.results.isRanking:
            self._opensFirst = False
            self.compare.open(self.resultsPanel.openFirst())

    def _fetchPictures(self) -> None:
        """The cases that are being opened bring their pictures with them; the others come after them."""
        if not self.compare.isLoading and not self._opensFirst:
            self.pictures.want(self.results.hits)

    def _note(self, logic) -> None:
        failure = logic.failure
        if failure is not None and failure is not self._noted and not failure.cancelled:
            self._noted = failure
            self.log.add(failure.message, failure.details)
