"""The panel with the similar cases, and with what decides their order."""

from TumorRetrievalGui.hit_table import HitTable
from TumorRetrievalGui.panel import Quiet, allow, loadPanel
from TumorRetrievalGui.results_logic import BLOCKS, SIZE_FILTERS, Hit, ResultsLogic
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.stability_logic import BOXES, StabilityLogic
from TumorRetrievalGui.translation import _
from TumorRetrievalGui.words import milliliters, percent
from TumorRetrievalLib.cohort.labels import AREAS, SIDES, TYPES
from TumorRetrievalLib.retrieval.blocks import DEFAULT_WEIGHTS

OPENED_AT_FIRST = 3
"""How many cases are put beside the patient when a search ends."""
_SLIDER_STEPS_PER_UNIT = 100
_LABEL_FILTERS = {"types": TYPES, "areas": AREAS, "left_right": SIDES}


class ResultsPanel:
    """Shows a `ResultsLogic`.

    :param layout: the layout to which the panel is added.
    :param stability: draws the box again.
    :param mostCases: how many cases fit beside the patient.
    """

    def __init__(self, layout, logic: ResultsLogic, stability: StabilityLogic, mostCases: int):
        self.logic = logic
        self._stability = stability
        self._mostCases = mostCases
        #: The user wants cases beside the patient: a list of `Hit`.
        self.compareWanted = Signal()
        #: The user wants the same search in the known cases as they are now.
        self.searchWanted = Signal()
        #: The user wants a box around each tumor of a box that encloses several: the tumor of the answer.
        self.partWanted = Signal()
        self._quiet = Quiet()
        self.widget, self.ui = loadPanel("ResultsPanel", layout)
        self.table = HitTable(self.ui.hitTable)
        self._filterBoxes = {
            "types": self.ui.typeFilter,
            "areas": self.ui.areaFilter,
            "left_right": self.ui.sideFilter,
        }
        self._fillFilters()
        self._connect()
        logic.changed.connect(self.refresh)
        stability.changed.connect(self._say)
        stability.changed.connect(self._refreshButtons)
        self.refresh()

    def _fillFilters(self) -> None:
        anything = {"types": _("any"), "areas": _("anywhere"), "left_right": _("both")}
        for name, box in self._filterBoxes.items():
            box.addItem(anything[name], "")
            for label in _LABEL_FILTERS[name]:
                box.addItem(label, label)

    def _connect(self) -> None:
        ui, logic = self.ui, self.logic
        self.table.opened.connect(self.openBeside)
        self.table.changed.connect(self._refreshButtons)
        ui.tumorSelector.connect("activated(int)", logic.chooseTumor)
        ui.compareButton.connect("clicked()", lambda: self.compareWanted.emit(self.table.checked))
        ui.moreButton.connect("clicked()", lambda: self._withChosen(logic.moreLike))
        ui.lessButton.connect("clicked()", lambda: self._withChosen(logic.lessLike))
        ui.searchAgainButton.connect("clicked()", self.searchWanted.emit)
        ui.partButton.connect("clicked()", lambda: self.partWanted.emit(logic.tumor))
        ui.stabilityButton.connect("clicked()", self._checkBoxes)
        ui.forgetFeedbackButton.connect("clicked()", logic.forgetFeedback)
        ui.resetButton.connect("clicked()", logic.resetWeights)
        for block in BLOCKS:
            slider = getattr(ui, f"{block}Slider")
            slider.connect("valueChanged(int)", lambda value, block=block: self._weigh(block, value))
        for name, box in self._filterBoxes.items():
            box.connect("currentIndexChanged(int)", lambda _, name=name: self._filterLabels(name))
        for name, box in zip(SIZE_FILTERS, (ui.smallestBox, ui.largestBox), strict=True):
            box.connect("valueChanged(double)", lambda value, name=name: self._filterSize(name, value))
        ui.clearFiltersButton.connect("clicked()", logic.clearFilters)

    def allowSearch(self, whyNot: str) -> None:
        """Let the search be repeated, or say why that is not possible now."""
        allow(self.ui.searchAgainButton, whyNot, _("Search once more, with the known cases as they are now."))

    def allowPart(self, whyNot: str) -> None:
        """Let the box be parted, or say why that is not possible now."""
        allow(self.ui.partButton, whyNot, _("Draw a box around each of them in place of this one, and search again."))

    def openFirst(self) -> list[Hit]:
        """Check the first few cases, to be shown when a search has ended. :returns: them."""
        first = self.logic.hits[:OPENED_AT_FIRST]
        self.table.check(first)
        return first

    def refresh(self) -> None:
        """Show the present state."""
        logic, parameters = self.logic, self.logic.parameters
        with self._quiet:
            self._showTumors()
            for block in BLOCKS:
                factor = parameters.weights.get(block, 1.0)
                getattr(self.ui, f"{block}Slider").value = round(factor * _SLIDER_STEPS_PER_UNIT)
                getattr(self.ui, f"{block}Value").text = f"× {factor:.1f}"
            for name, box in self._filterBoxes.items():
                box.setCurrentIndex(max(box.findData(next(iter(parameters.filters.get(name, [])), "")), 0))
            for name, box in zip(SIZE_FILTERS, (self.ui.smallestBox, self.ui.largestBox), strict=True):
                box.value = parameters.filters.get(name, 0.0)
        opinions = {tuple(hit.key): logic.opinionOf(hit) for hit in logic.hits}
        self.table.show(logic.hits, opinions, weightsThatCount(parameters.weights))
        self._say()
        self._refreshButtons()

    def _showTumors(self) -> None:
        logic, selector = self.logic, self.ui.tumorSelector
        texts = [describeTumor(number, tumor) for number, tumor in enumerate(logic.tumors, start=1)]
        if texts != [selector.itemText(i) for i in range(selector.count)]:
            selector.clear()
            selector.addItems(texts)
        selector.visible = len(texts) > 1
        if texts:
            selector.setCurrentIndex(logic.parameters.tumor)
        self.ui.tumorLabel.text = typesInWords(logic.tumor) if logic.tumor else ""
        self.ui.tumorLabel.visible = logic.tumor is not None
        inside = logic.tumor.get("boxes_inside", []) if logic.tumor else []
        self.ui.partButton.visible = bool(inside)
        self.ui.partButton.text = _("One box for each of the {count} tumors").format(count=len(inside))

    def _say(self) -> None:
        ui, logic = self.ui, self.logic
        if failure := logic.failure or self._stability.failure:
            text = failure.message
        elif logic.tumors and not logic.hits:
            text = _("No known case matches what is chosen under 'Show only'.")
        else:
            text = logic.whyNotRank()
        ui.emptyLabel.text = text
        ui.emptyLabel.visible = bool(text)
        ui.hitTable.visible = bool(logic.hits)
        ui.notesLabel.text = "\n".join(logic.notes)
        ui.notesLabel.visible = bool(logic.notes)
        ui.indexChangedWidget.visible = logic.indexChanged
        ui.weightsSection.visible = ui.filtersSection.visible = bool(logic.tumors)

    def _refreshButtons(self) -> None:
        ui, logic, table = self.ui, self.logic, self.table
        nothing = "" if logic.hits else _("Find similar cases first.")
        noChoice = nothing or ("" if table.chosen else _("Choose a case in the list first."))
        whyNotCompare = nothing or self._whyNotCompare(len(table.checked))
        allow(ui.compareButton, whyNotCompare, _("Show the checked cases beside the patient, in linked views."))
        allow(ui.moreButton, noChoice, _("Prefer cases that resemble this one too. Press again to take it back."))
        allow(ui.lessButton, noChoice, _("Avoid cases that resemble this one. Press again to take it back."))
        ui.forgetFeedbackButton.visible = logic.hasFeedback
        for button in (ui.compareButton, ui.moreButton, ui.lessButton, ui.stabilityButton):
            button.visible = bool(logic.hits)
        self._refreshStability()

    def _refreshStability(self) -> None:
        """The button that draws the box again is also the one that stops it."""
        button, stability = self.ui.stabilityButton, self._stability
        if stability.isRunning:
            button.text = _("Cancel ({step})").format(step=stability.message)
            allow(button, "", _("Stop drawing boxes."))
        else:
            button.text = _("Draw the box again {count} times").format(count=BOXES)
            tip = _("Boxes drawn a little differently: which cases are found all the same? Takes some seconds.")
            allow(button, stability.whyNot(), tip)

    def _checkBoxes(self) -> None:
        if self._stability.isRunning:
            self._stability.cancel()
        else:
            self._stability.start()

    def _whyNotCompare(self, count: int) -> str:
        if count == 0:
            return _("Check at least one case in the list.")
        if count > self._mostCases:
            return _("At most {count} cases fit beside the patient: uncheck some.").format(count=self._mostCases)
        return ""

    def openBeside(self, hit: Hit) -> None:
        """Add a case to those that are shown, listed or not; the last of them makes room if there are too many."""
        others = [checked for checked in self.table.checked if checked.key != hit.key]
        wanted = sorted([*others[: self._mostCases - 1], hit], key=lambda shown: -shown.score)
        self.table.check(wanted)
        self.table.choose(hit)
        self.compareWanted.emit(wanted)

    def _withChosen(self, action) -> None:
        if (hit := self.table.chosen) is not None:
            action(hit)

    def _weigh(self, block: str, value: int) -> None:
        if not self._quiet:
            self.logic.setWeight(block, value / _SLIDER_STEPS_PER_UNIT)

    def _filterLabels(self, name: str) -> None:
        if not self._quiet:
            box = self._filterBoxes[name]
            label = box.itemData(box.currentIndex)
            self.logic.setFilter(name, [label] if label else [])

    def _filterSize(self, name: str, value: float) -> None:
        if not self._quiet:
            self.logic.setFilter(name, value)


def weightsThatCount(factors: dict[str, float]) -> dict[str, float]:
    """Block -> the most that it can add to a similarity of one."""
    weights = {block: DEFAULT_WEIGHTS[block] * factors.get(block, 1.0) for block in BLOCKS}
    total = sum(weights.values()) or 1.0
    return {block: weight / total for block, weight in weights.items()}


def describeTumor(number: int, tumor: dict) -> str:
    """A line for the list of boxes that were looked up."""
    area = tumor["area"] or _("place unknown")
    return _("Box {number}: {area}, {size}").format(number=number, area=area, size=milliliters(tumor["core_ml"]))


def typesInWords(tumor: dict) -> str:
    """What is known of the patient's tumor."""
    likely = sorted(tumor["types"].items(), key=lambda item: -item[1])[:2]
    types = ", ".join(_("{type} {share}").format(type=name, share=percent(share)) for name, share in likely)
    return _("This tumor: {area}; core {core}, with oedema {whole}. It looks like: {types}.").format(
        area=tumor["area"] or _("place unknown"),
        core=milliliters(tumor["core_ml"]),
        whole=milliliters(tumor["whole_ml"]),
        types=types,
    )
