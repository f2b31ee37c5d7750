"""The panel with the map of the known cases."""

from TumorRetrievalGui.map_logic import MapLogic
from TumorRetrievalGui.map_view import PALETTE, UNKNOWN, MapView
from TumorRetrievalGui.panel import loadPanel
from TumorRetrievalGui.results_logic import Hit
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.translation import _
from TumorRetrievalGui.words import percent, place
from TumorRetrievalLib.cohort.labels import TYPES


class MapPanel:
    """Shows a `MapLogic`.

    :param layout: the layout to which the panel is added.
    """

    def __init__(self, layout, logic: MapLogic):
        self.logic = logic
        #: The user has clicked on a case: a `Hit`.
        self.chosen = Signal()
        self._shown = None
        self.widget, self.ui = loadPanel("MapPanel", layout)
        self.view = MapView()
        self.ui.mapLayout.insertWidget(0, self.view)
        self.ui.mapSection.connect("contentsCollapsed(bool)", lambda collapsed: logic.setWanted(not collapsed))
        self.ui.nearBox.connect("toggled(bool)", self.view.setNear)
        self.ui.mapButton.connect("clicked()", self._toggle)
        self.view.hovered.connect(self._describe)
        self.view.chosen.connect(lambda number: self.chosen.emit(self._hit(number)))
        logic.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        ui, logic = self.ui, self.logic
        if logic.map is not self._shown:
            self._shown = logic.map
            colors = dict(zip(TYPES, PALETTE, strict=False))
            kinds = [colors.get(hit.kind, UNKNOWN) for hit in logic.map.hits]
            self.view.setPoints(logic.map.points, kinds)
            self.ui.legendLabel.text = _legend({hit.kind for hit in logic.map.hits})
            self._describe(None)
        self.view.setMarks(logic.marks(), logic.query())
        shows = not ui.mapSection.collapsed
        ui.nearBox.visible = shows and logic.query() is not None
        self.view.visible = ui.legendLabel.visible = ui.caseLabel.visible = shows and logic.map is not None
        message = logic.failure.message if logic.failure else logic.message
        if logic.isRunning:
            message = f"{message or _('Looking up the known cases')} ({percent(logic.fraction)})"
        ui.mapMessage.text = message
        ui.mapMessage.visible = shows and bool(message)
        ui.mapButton.text = _("Cancel") if logic.isRunning else _("Draw the map")
        ui.mapButton.visible = shows and (logic.isRunning or logic.map is None)

    def _toggle(self) -> None:
        if self.logic.isRunning:
            self.logic.cancel()
        else:
            self.logic.again()

    def _hit(self, number: int) -> Hit:
        """The case of a point: as the list has it, if it is listed."""
        hit = self.logic.map.hits[number]
        return next((listed for listed in self.logic.results.hits if listed.key == hit.key), hit)

    def _describe(self, number: int | None) -> None:
        """Say which case is under the mouse."""
        if number is None:
            count, known = len(self._shown.points) if self._shown else 0, self._shown.known if self._shown else 0
            some = _(" ({count} of {known} are drawn)").format(count=count, known=known) if count < known else ""
            text = _("Similar tumors lie close together{some}. Click on one to see its case.").format(some=some)
        else:
            hit = self._hit(number)
            rank = self.logic.marks().get(number)
            words = [
                f"{rank}." if rank else "",
                hit.case + ":",
                ", ".join(filter(None, (hit.kind, place(hit.area, hit.side)))),
            ]
            text = " ".join(filter(None, words))
        self.ui.caseLabel.text = text


def _legend(kinds: set[str]) -> str:
    """Which colour is which type, and what the marks are. :param kinds: the types that are on the map."""
    known = [(name, color) for name, color in zip(TYPES, PALETTE, strict=False) if name in kinds]
    others = [(_("type unknown"), UNKNOWN)] if kinds - set(TYPES) else []
    types = " ".join(
        f'<span style="color:{color}">●</span>&nbsp;{name.replace(" ", "&nbsp;")}' for name, color in known + others
    )
    return types + "<br>" + _("✚ this patient; numbers: the list of similar cases")
