"""The panel of the comparison: what the second row shows, how cases are moved, and the way back."""

import qt

from TumorRetrievalGui.compare_logic import CompareLogic
from TumorRetrievalGui.panel import Quiet, allow, loadPanel
from TumorRetrievalGui.parameters import Alignment, Plane
from TumorRetrievalGui.translation import _


class ComparePanel:
    """Shows a `CompareLogic`.

    :param layout: the layout to which the panel is added.
    """

    def __init__(self, layout, logic: CompareLogic):
        self.logic = logic
        self._quiet = Quiet()
        self.widget, self.ui = loadPanel("ComparePanel", layout)
        ui = self.ui
        self._planes = {Plane.SAGITTAL: _("sagittal"), Plane.CORONAL: _("coronal")}
        ui.planeSelector.addItems(list(self._planes.values()))
        ui.planeSelector.connect("currentIndexChanged(int)", self._choosePlane)
        self._alignments = {
            Alignment.LESION: _("lesion on lesion"),
            Alignment.BRAIN: _("same place in the brain"),
        }
        ui.alignmentSelector.addItems(list(self._alignments.values()))
        ui.alignmentSelector.connect("currentIndexChanged(int)", self._chooseAlignment)
        ui.linkBox.connect("toggled(bool)", lambda linked: None if self._quiet else logic.setLinked(linked))
        ui.centreButton.connect("clicked()", logic.centre)
        ui.closeButton.connect("clicked()", self._toggle)
        logic.changed.connect(self.refresh)
        # New views get their sizes when Qt has laid them out.
        logic.shown.connect(lambda: qt.QTimer.singleShot(0, logic.centre))
        self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        ui, logic, parameters = self.ui, self.logic, self.logic.parameters
        if parameters.scene is None:
            return
        with self._quiet:
            ui.planeSelector.setCurrentIndex(list(self._planes).index(parameters.plane))
            ui.alignmentSelector.setCurrentIndex(list(self._alignments).index(parameters.alignment))
            ui.linkBox.checked = logic.linked
        tip = _("Lesion on lesion keeps every case's size. Brain on brain stretches a case as its atlas fit does.")
        allow(ui.alignmentSelector, logic.whyNotBrain(), tip)
        self.widget.visible = bool(parameters.cases) or logic.isLoading
        lines = [_("P: {scan}").format(scan=parameters.t1c.GetName())] if parameters.t1c else []
        lines += [f"{number}: {node.GetName()}" for number, node in enumerate(parameters.cases, start=1)]
        ui.shownLabel.text = "\n".join(lines) if parameters.cases else ""
        ui.shownLabel.visible = bool(parameters.cases)
        message = logic.failure.message if logic.failure else logic.message
        ui.compareMessage.text = message
        ui.compareMessage.visible = bool(message)
        whyNot = "" if parameters.cases else _("Open a case first: double click on it in the list.")
        ui.closeButton.text = _("Back to the views before") if logic.isOpen else _("Show side by side again")
        allow(ui.closeButton, whyNot)
        allow(ui.centreButton, whyNot if not logic.isOpen else "", _("Bring the tumor back into the middle."))

    def _toggle(self) -> None:
        if self.logic.isOpen:
            self.logic.close()
        else:
            self.logic.show()

    def _chooseAlignment(self, row: int) -> None:
        if not self._quiet:
            self.logic.setAlignment(list(self._alignments)[row])

    def _choosePlane(self, row: int) -> None:
        if not self._quiet:
            self.logic.setPlane(list(self._planes)[row])
