"""The panel in which a search is put together: scans, boxes, and the one button that matters."""

import slicer

from TumorRetrievalGui import box_logic
from TumorRetrievalGui.panel import Quiet, allow, loadPanel
from TumorRetrievalGui.parameters import Around
from TumorRetrievalGui.query_logic import QueryLogic
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.scene.rois import is_placed

_ERROR = "color: #c0392b"
_PROGRESS_STEPS = 1000


class QueryPanel:
    """Shows a `QueryLogic`.

    :param layout: the layout to which the panel is added.
    """

    def __init__(self, layout, logic: QueryLogic):
        self.logic = logic
        self._quiet = Quiet()
        self._observed: list[tuple] = []
        self.widget, self.ui = loadPanel("QueryPanel", layout)
        self.widget.setMRMLScene(slicer.mrmlScene)
        ui = self.ui
        ui.t1cSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._chooseT1c)
        ui.flairSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._chooseFlair)
        ui.coreButton.connect("toggled(bool)", self._chooseAround)
        ui.boxList.connect("currentRowChanged(int)", self._showBox)
        ui.drawButton.connect("clicked()", self._drawBox)
        ui.suggestButton.connect("clicked()", logic.suggest)
        ui.removeButton.connect("clicked()", self._removeBox)
        ui.findButton.connect("clicked()", logic.find)
        ui.cancelButton.connect("clicked()", logic.cancel)
        logic.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        ui, logic, parameters = self.ui, self.logic, self.logic.parameters
        if parameters.scene is None:
            return
        with self._quiet:
            ui.t1cSelector.setCurrentNode(parameters.t1c)
            ui.flairSelector.setCurrentNode(parameters.flair)
            ui.coreButton.checked = parameters.around is Around.CORE
            ui.wholeButton.checked = parameters.around is Around.WHOLE
            self._listBoxes()
        whyNoBox = "" if parameters.t1c else _("Choose the T1 with contrast first.")
        allow(ui.drawButton, whyNoBox, _("Then click on two opposite corners around the tumor in a slice."))
        allow(ui.suggestButton, logic.whyNotSuggest(), _("Look for tumors in the whole brain: half a minute."))
        whyNotRemove = "" if self._chosenBox() else _("Choose a box in the list first.")
        allow(ui.removeButton, whyNotRemove, _("Remove the box that is chosen in the list."))
        allow(ui.findButton, logic.whyNotFind(), _("Outline the tumor in each box and show the most similar cases."))
        ui.progressBar.visible = ui.cancelButton.visible = logic.isRunning
        ui.progressBar.value = round(logic.fraction * _PROGRESS_STEPS)
        ui.messageLabel.text = logic.message or ("" if ui.findButton.enabled else ui.findButton.toolTip)
        failed = logic.failure is not None and not logic.failure.cancelled
        ui.messageLabel.styleSheet = _ERROR if failed else ""

    def cleanup(self) -> None:
        """Let go of the scene."""
        self._quiet.forEver()
        self._observe([])
        self.widget.setMRMLScene(None)

    def _listBoxes(self) -> None:
        boxes, chosen = self.logic.parameters.boxes, self._chosenBox()
        boxList = self.ui.boxList
        texts = [box_logic.describe(node) for node in boxes]
        if texts != [boxList.item(i).text() for i in range(boxList.count)]:
            boxList.clear()
            boxList.addItems(texts)
        boxList.setCurrentRow(boxes.index(chosen) if chosen in boxes else -1)
        self._observe(boxes)

    def _observe(self, boxes: list) -> None:
        """Follow the boxes: once after each drag, not at each of its steps."""
        if [node for node, _ in self._observed] == boxes:
            return
        for node, tags in self._observed:
            for tag in tags:
                node.RemoveObserver(tag)
        events = ("PointPositionDefinedEvent", "PointEndInteractionEvent", "PointRemovedEvent")
        numbers = [getattr(slicer.vtkMRMLMarkupsNode, name) for name in events]
        self._observed = [
            (node, [node.AddObserver(number, lambda *_: self.logic.inputsChanged()) for number in numbers])
            for node in boxes
        ]

    def _chosenBox(self):
        row = self.ui.boxList.currentRow
        shown = [node for node, _ in self._observed]
        node = shown[row] if 0 <= row < len(shown) else None
        return node if node in self.logic.parameters.boxes else None

    def _chooseT1c(self, node) -> None:
        if not self._quiet:
            self.logic.parameters.t1c = node
            self.logic.inputsChanged()

    def _chooseFlair(self, node) -> None:
        if not self._quiet:
            self.logic.parameters.flair = node
            self.logic.inputsChanged()

    def _chooseAround(self, core: bool) -> None:
        if not self._quiet:
            self.logic.parameters.around = Around.CORE if core else Around.WHOLE
            self.logic.inputsChanged()

    def _showBox(self, row: int) -> None:
        node = None if self._quiet else self._chosenBox()
        if node is not None and is_placed(node):
            center = [0.0] * 3
            node.GetCenterWorld(center)
            box_logic.showPlace(slicer.mrmlScene, center)
        if not self._quiet:
            box_logic.edit(self.logic.parameters, node)
            self.refresh()

    def _drawBox(self) -> None:
        node = box_logic.drawBox(self.logic.parameters)
        self.logic.inputsChanged()
        with self._quiet:
            self.ui.boxList.setCurrentRow(self.logic.parameters.boxes.index(node))
        self.refresh()

    def _removeBox(self) -> None:
        node = self._chosenBox()
        if node is not None:
            box_logic.removeBox(self.logic.parameters, node)
            self.logic.inputsChanged()
