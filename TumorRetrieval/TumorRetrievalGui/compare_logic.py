"""Opens cases beside the patient, in linked views, and closes them again."""

from collections.abc import Iterator

import numpy as np
import qt
import slicer.util

from TumorRetrievalGui.case_loader import CaseLoader, Loading
from TumorRetrievalGui.case_nodes import CaseImages, addCase, alignCase, hasPlace, keyOf, placeOf, setPlace, tumorOf
from TumorRetrievalGui.parameters import Alignment, Plane, QueryParameters
from TumorRetrievalGui.query_logic import folderOf
from TumorRetrievalGui.results_logic import Hit
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure
from TumorRetrievalGui.translation import _
from TumorRetrievalGui.words import isSynthetic
from TumorRetrievalLib.scene import comparison
from TumorRetrievalLib.scene.comparison import Shown
from TumorRetrievalLib.scene.folders import put_into
from TumorRetrievalLib.scene.views import COLUMNS, MOST_CASES, register_layouts

MOST = MOST_CASES
FIELD_MM = 190.0
"""How much of the head a view shows from top to bottom."""


class CompareLogic:
    """What the panel of the comparison does.

    :param parameters: the scene's query; `setParameters` changes it.
    """

    def __init__(self, parameters: QueryParameters, loader: CaseLoader):
        self.parameters = parameters
        self._loader = loader
        self._pending: list[Loading] = []
        self._wanted: list[Hit] = []
        self._growing: Iterator[None] | None = None
        self._columnsMade: dict[Plane, int] = {}
        self.message = ""
        self.failure: Failure | None = None
        self.linked = True
        #: Anything that the panel shows has changed.
        self.changed = Signal()
        #: Other views are shown now; they have their sizes only after the events that are due.
        self.shown = Signal()
        register_layouts(self._scene)
        self._guard = comparison.ColumnGuard(self._scene)

    @property
    def _scene(self):
        return self.parameters.scene

    @property
    def isOpen(self) -> bool:
        """Whether the comparison is what the user sees."""
        return comparison.is_shown(self._scene)

    @property
    def isLoading(self) -> bool:
        """Whether cases are on their way, or their columns are being made."""
        return bool(self._pending) or self._growing is not None

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to another query (another scene)."""
        self.cancel()
        self.parameters, self.message, self.failure = parameters, "", None
        self.changed.emit()

    def cleanup(self) -> None:
        """Let go of the scene."""
        self.cancel()
        self._guard.stop()

    def cancel(self) -> None:
        """Forget cases that are on their way."""
        self._growing = None
        pending, self._pending = self._pending, []
        for loading in pending:
            loading.cancel()

    def open(self, hits: list[Hit]) -> None:
        """Show these cases beside the patient. Cases that are in the scene already are not loaded again."""
        self.cancel()
        self.failure = None
        if self.parameters.t1c is None or not hits:
            return
        self._wanted = hits[:MOST]
        known = [keyOf(node) for node in self._loaded()]
        missing = [hit for hit in self._wanted if hit.key not in known]
        for hit in missing:
            self._load(hit)
        self.message = _("Opening {count} cases ...").format(count=len(missing)) if missing else ""
        if missing:
            self.changed.emit()
        else:
            self._arrange()

    def _load(self, hit: Hit) -> None:
        def arrived(images: CaseImages) -> None:
            self._pending.remove(loading)
            self._add(hit, images)
            if not self._pending:
                self._arrange()

        def failed(failure: Failure) -> None:
            self._pending.remove(loading)
            self.failure = failure
            self._wanted = [other for other in self._wanted if other is not hit]
            if not self._pending:
                self._arrange()

        loading = self._loader.load(hit, done=arrived, failed=failed)
        self._pending.append(loading)

    def _add(self, hit: Hit, images: CaseImages) -> None:
        folder = folderOf(self.parameters)
        if folder is None:
            return
        origin = _("synthetic") if isSynthetic(images.provenance) else ""
        name = ", ".join(part for part in (hit.case, hit.kind, hit.area, origin) if part)
        with slicer.util.RenderBlocker():
            put_into(self._scene, folder, *addCase(self._scene, hit.key, name, images))

    def _loaded(self) -> list:
        """The volumes of all cases in the scene."""
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        nodes = [self._scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode") for i in range(count)]
        return [node for node in nodes if keyOf(node)]

    def _arrange(self) -> None:
        """Everything that was wanted is in the scene: show it."""
        self.message = ""
        parameters = self.parameters
        loaded = {tuple(keyOf(node)): node for node in self._loaded()}
        parameters.cases = [loaded[tuple(hit.key)] for hit in self._wanted if tuple(hit.key) in loaded]
        if parameters.t1c is not None and parameters.cases:
            self.alignCases()
            self.show()
            self._findPlaces()
        self.changed.emit()

    def show(self) -> None:
        """Show the opened cases side by side, again or in other planes."""
        parameters = self.parameters
        if parameters.t1c is None or not parameters.cases:
            return
        cases = [Shown(node, tumorOf(node)) for node in parameters.cases]
        patient = Shown(parameters.t1c, parameters.segmentation)
        made = self._columnsMade.get(parameters.plane, 0)
        self._growing = comparison.growing_comparison(self._scene, patient, cases, parameters.plane.value, columns=made)
        self._columnsMade[parameters.plane] = max(made, len(cases) + 1)
        if made > len(cases):
            self._grow(self._growing)
        else:
            self._growLater(self._growing)

    def _grow(self, growing: Iterator[None]) -> None:
        """Make one column after the other, and let events happen in between."""
        if growing is not self._growing or self.parameters.t1c is None:
            return
        try:
            next(growing)
        except StopIteration:
            self._growing = None
            self._showFinished()
        else:
            self._growLater(growing)

    def _growLater(self, growing: Iterator[None]) -> None:
        qt.QTimer.singleShot(0, lambda: self._grow(growing))

    def _showFinished(self) -> None:
        """All columns are there."""
        parameters = self.parameters
        comparison.set_linked(self._scene, self.linked)
        shownIds = {node.GetID() for node in parameters.cases}
        for node in self._loaded():
            if (tumor := tumorOf(node)) is not None:
                tumor.SetDisplayVisibility(node.GetID() in shownIds)
        for box in parameters.boxes:
            comparison.confine(self._scene, box, COLUMNS[0])
        self.shown.emit()
        self.changed.emit()

    def centre(self) -> None:
        """Bring the tumor into the middle of every view."""
        if self._scene is not None and self.isOpen and (center := self._center()) is not None:
            comparison.show_at(self._scene, center, FIELD_MM)

    def alignCases(self) -> None:
        """Bring the opened cases to the patient: lesion on lesion, or each place of the brain on the same place."""
        center = self._center()
        toAtlas = self._patientToAtlas() if self.parameters.alignment is Alignment.BRAIN else None
        for node in self.parameters.cases if center is not None else ():
            alignCase(node, center, toAtlas)

    def whyNotBrain(self) -> str:
        """Why brains cannot be laid on each other; "" if they can."""
        if self._patientToAtlas() is None:
            return _("The scan could not be brought to the atlas, so cases can only be laid lesion on lesion.")
        return ""

    def setAlignment(self, alignment: Alignment) -> None:
        """Lay cases on the patient in another way."""
        self.parameters.alignment = alignment
        self.message = ""
        self.alignCases()
        self._findPlaces()
        self.changed.emit()

    def _findPlaces(self) -> None:
        """Find out where the opened cases lie in the atlas, if that is wanted and not known yet."""
        if self.parameters.alignment is not Alignment.BRAIN or self.whyNotBrain():
            return
        for node in self.parameters.cases:
            if not hasPlace(node):
                self._findPlace(node)
        if self._pending:
            self.message = _("Finding the place of {count} cases in the brain ...").format(count=len(self._pending))

    def _findPlace(self, node) -> None:
        def found(toAtlas: list | None) -> None:
            setPlace(node, toAtlas)
            told()

        def failed(failure: Failure) -> None:
            self.failure = failure
            told()

        def told() -> None:
            self._pending.remove(loading)
            if not self._pending:
                self.message = self._withoutPlace()
                self.alignCases()
            self.changed.emit()

        loading = self._loader.findPlace(keyOf(node)[0], done=found, failed=failed)
        self._pending.append(loading)

    def _withoutPlace(self) -> str:
        """Which of the opened cases cannot be laid brain on brain."""
        names = [keyOf(node)[0] for node in self.parameters.cases if placeOf(node) is None]
        if not names:
            return ""
        return _("Their place in the brain is unknown, so these lie lesion on lesion: {names}.").format(
            names=", ".join(names)
        )

    def _patientToAtlas(self):
        """Patient RAS mm -> MNI152 mm, 4 x 4; None if that is unknown."""
        return (self.parameters.answer or {}).get("patient_to_atlas")

    def _center(self):
        """The middle of the box that is looked up, RAS mm; None before there is one."""
        answer, number = self.parameters.answer, self.parameters.tumor
        tumors = answer["tumors"] if answer else []
        return np.array(tumors[number]["box"]["center_ras"]) if number < len(tumors) else None

    def setPlane(self, plane: Plane) -> None:
        """Show another plane in the second row."""
        self.parameters.plane = plane
        if self.isOpen:
            self.show()

    def setLinked(self, linked: bool) -> None:
        """Move all columns together, or each alone."""
        self.linked = linked
        comparison.set_linked(self._scene, linked)

    def close(self) -> None:
        """Back to the layout before; the cases stay in the scene."""
        self.cancel()
        comparison.leave_comparison(self._scene)
        self.changed.emit()
