"""The panel of the growth simulation: the fit, how it is shown, and what it cannot know."""

from typing import Protocol

from TumorRetrievalGui.growth_logic import FITTED, GrowthView
from TumorRetrievalGui.panel import Quiet, allow, loadPanel
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure
from TumorRetrievalGui.translation import _
from TumorRetrievalGui.words import percent
from TumorRetrievalLib.scene.growth import COLOR_STOPS, SPREAD_STOPS

_ERROR = "color: #c0392b"
_PROGRESS_STEPS = 1000
_PER_CENT = 100


class Logic(Protocol):
    """What the panel shows and whom it asks; see `growth_logic.GrowthLogic`, where each is described."""

    parameters: object
    changed: Signal
    fraction: float
    message: str
    failure: Failure | None
    fit: dict | None
    view: GrowthView
    stage: int

    @property
    def isFitting(self) -> bool: ...

    @property
    def stageCount(self) -> int: ...

    def whyNotFit(self) -> str: ...

    def advice(self) -> str: ...

    def whyNotChangeAge(self) -> str: ...

    def whyNoUncertainty(self) -> str: ...

    def startFit(self, *, bent: bool) -> None: ...

    def cancel(self) -> None: ...

    def setOpacity(self, opacity: float) -> None: ...

    def setThreshold(self, threshold: float) -> None: ...

    def setStage(self, stage: int) -> None: ...

    def showUncertainty(self, shown: bool) -> None: ...

    def chooseMatch(self, number: int) -> None: ...

    def remove(self) -> None: ...


class GrowthPanel:
    """Shows a `GrowthLogic`.

    :param layout: the layout to which the panel is added.
    """

    def __init__(self, layout, logic: Logic):
        self.logic = logic
        self._quiet = Quiet()
        self.widget, self.ui = loadPanel("GrowthPanel", layout)
        ui = self.ui
        self._unfolded = False
        ui.growthSection.connect("contentsCollapsed(bool)", lambda collapsed: self.refresh())
        ui.fitButton.connect("clicked()", lambda: logic.startFit(bent=ui.bendBox.checked))
        ui.growthCancelButton.connect("clicked()", logic.cancel)
        ui.removeButton.connect("clicked()", logic.remove)
        self._whenMoved(ui.opacitySlider, lambda value: logic.setOpacity(value / _PER_CENT))
        self._whenMoved(ui.thresholdSlider, lambda value: logic.setThreshold(value / _PER_CENT))
        self._whenMoved(ui.ageSlider, lambda value: logic.setStage(value - 1))
        ui.uncertaintyBox.connect("toggled(bool)", self._showUncertainty)
        ui.matchList.connect("currentRowChanged(int)", self._chooseMatch)
        logic.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        ui, logic = self.ui, self.logic
        if logic.parameters.scene is None:
            return
        self.widget.visible = bool(logic.parameters.answer) or logic.fit is not None
        if logic.fit is not None and not self._unfolded:  # also one that comes with a scene
            self._unfolded = True
            ui.growthSection.collapsed = False
        shows = not ui.growthSection.collapsed
        advice = logic.advice()
        ui.adviceLabel.text = advice
        ui.adviceLabel.visible = shows and bool(advice)
        allow(ui.fitButton, logic.whyNotFit(), _("Search the simulated tumors for the one that fits these outlines."))
        ui.bendBox.enabled = not logic.isFitting
        ui.growthProgress.visible = ui.growthCancelButton.visible = shows and logic.isFitting
        ui.growthProgress.value = round(logic.fraction * _PROGRESS_STEPS)
        ui.growthMessage.text = logic.message
        ui.growthMessage.visible = shows and bool(logic.message)
        failed = logic.failure is not None and not logic.failure.cancelled
        ui.growthMessage.styleSheet = _ERROR if failed else ""
        ui.shownWidget.visible = ui.removeButton.visible = shows and logic.fit is not None
        if logic.fit is not None:
            with self._quiet:
                self._showFit(logic.fit)

    def _showFit(self, fit: dict) -> None:
        ui, logic, view = self.ui, self.logic, self.logic.view
        ui.fitLabel.text = fitInWords(fit)
        ui.familyLabel.text = familyInWords(fit["parameters"])
        ui.growthNotes.text = "\n".join(fit["notes"])
        ui.growthNotes.visible = bool(fit["notes"])
        for slider, label, share in (
            (ui.opacitySlider, ui.opacityValue, view.opacity),
            (ui.thresholdSlider, ui.thresholdValue, view.threshold),
        ):
            slider.value = round(share * _PER_CENT)
            label.text = percent(share)
        ui.ageSlider.maximum = max(logic.stageCount, 1)
        ui.ageSlider.value = logic.stage + 1
        ui.ageValue.text = percent((logic.stage + 1) / logic.stageCount) if logic.stageCount else ""
        allow(ui.ageSlider, logic.whyNotChangeAge(), ageInWords(fit, view.match))
        whyNot = logic.whyNoUncertainty()
        allow(
            ui.uncertaintyBox,
            whyNot,
            _("How much the density differs among the {count} best matches.").format(count=len(fit["matches"])),
        )
        ui.uncertaintyBox.checked = view.uncertainty and not whyNot
        self._showLegend(uncertainty=ui.uncertaintyBox.checked)
        texts = matchesInWords(fit)
        if texts != [ui.matchList.item(i).text() for i in range(ui.matchList.count)]:
            ui.matchList.clear()
            ui.matchList.addItems(texts)
        ui.matchList.setCurrentRow(view.match - FITTED)

    def _showLegend(self, *, uncertainty: bool) -> None:
        stops = SPREAD_STOPS if uncertainty else COLOR_STOPS
        highest = stops[-1][0]
        colors = ", ".join(
            "stop:{:g} rgb({}, {}, {})".format(value / highest, *(round(255 * part) for part in color))
            for value, color in stops
        )
        self.ui.legendBar.styleSheet = f"background: qlineargradient(x1:0, y1:0, x2:1, y2:0, {colors})"
        self.ui.legendLabel.text = (
            _("Standard deviation of the density, from 0 (dark) to {highest:g} (light)").format(highest=highest)
            if uncertainty
            else _("Tumor cells, from none to as many as fit. Lines: 20 % (white), as FLAIR shows; 60 % (magenta), as "
                   "contrast shows.")
        )  # fmt: skip

    def _whenMoved(self, slider, action) -> None:
        slider.connect("valueChanged(int)", lambda value: None if self._quiet else action(value))

    def _showUncertainty(self, shown: bool) -> None:
        if not self._quiet:
            self.logic.showUncertainty(shown)

    def _chooseMatch(self, row: int) -> None:
        if not self._quiet and row >= 0:
            self.logic.chooseMatch(row + FITTED)


def fitInWords(fit: dict) -> str:
    """How well the fitted simulation overlaps with the outlines."""
    dice = fit["dice"]["refined"] or fit["dice"]["retrieval"]
    return _(
        "Tumor {number}: the fitted simulation overlaps with the outlines by {core} (core) and {whole} (whole tumor), "
        "Dice. That says nothing about cells beyond them."
    ).format(number=fit["tumor"] + 1, core=f"{dice['core']:.2f}", whole=f"{dice['whole']:.2f}")


def matchesInWords(fit: dict) -> list[str]:
    """A line for the fitted simulation, and one for each match."""
    dice = fit["dice"]["refined"] or fit["dice"]["retrieval"]
    lines = [_("Fitted: {overlap}").format(overlap=_overlap(dice))]
    for number, match in enumerate(fit["matches"], start=1):
        lines.append(_("Match {number}: {overlap}").format(number=number, overlap=_overlap(match)))
    return lines


def familyInWords(parameters: dict) -> str:
    """What one scan tells of the growth, and what it cannot tell: ranges, never one number for an age or a rate."""
    known = _("lambda {spread:.3g} mm², tau {tau:.3g}").format(spread=parameters["lambda_mm2"], tau=parameters["tau"])
    family = parameters["same_tumor"]
    if not family:
        return _("{known}. No age within the usual ranges of growth leads to this tumor.").format(known=known)
    ranges = {name: sorted(member[name] for member in family) for name in family[0]}
    return _(
        "{known}. One scan cannot tell how fast it grew: it may be {days} days old, a proliferation of {rho} per day "
        "and a diffusion of {d} mm² per day, the older the slower."
    ).format(
        known=known,
        days=_range(ranges["days"], "{:.0f}"),
        rho=_range(ranges["rho_per_day"], "{:.2g}"),
        d=_range(ranges["d_mm2_per_day"], "{:.2g}"),
    )


def ageInWords(fit: dict, match: int) -> str:
    """What the slider of the age means."""
    text = _("The simulated tumor at a part of its age at the time of the scan.")
    family = fit["parameters"]["same_tumor"]
    if match != FITTED or not family:
        return text
    days = _range(sorted(member["days"] for member in family), "{:.0f}")
    return _("{text} That age is somewhere between {days} days.").format(text=text, days=days)


def _overlap(dice: dict) -> str:
    return f"{dice['core']:.2f} + {dice['whole']:.2f} = {dice['combined']:.2f}"


def _range(values: list[float], form: str) -> str:
    """The smallest and the largest of some numbers in rising order."""
    return _("{low} to {high}").format(low=form.format(values[0]), high=form.format(values[-1]))
