"""The panel of the known cases: which index is searched, and cases added to it and removed from it."""

from pathlib import Path
from typing import Protocol

import ctk

from TumorRetrievalGui.index_logic import NewPatient
from TumorRetrievalGui.panel import Quiet, allow, loadPanel
from TumorRetrievalGui.results_logic import Hit
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.cohort.labels import TYPES

_ERROR = "color: #c0392b"
_PROGRESS_STEPS = 1000
_MOST_LINES = 200


class Logic(Protocol):
    """What the panel shows and whom it asks; see `index_logic.IndexLogic`, where each is described."""

    changed: Signal
    fraction: float
    message: str
    failure: Failure | None
    facts: dict | None
    trouble: str
    plan: dict | None
    problems: list[dict]

    @property
    def isRunning(self) -> bool: ...

    @property
    def folder(self) -> str: ...

    def setWanted(self, wanted: bool) -> None: ...

    def choose(self, folder: str) -> None: ...

    def whyNotPlan(self, archive: str, into: str) -> str: ...

    def startPlan(self, archive: str, into: str) -> None: ...

    def whyNotBuild(self, archive: str, into: str) -> str: ...

    def startBuild(self, archive: str, into: str) -> None: ...

    def whyNotAdd(self, new: NewPatient) -> str: ...

    def startAdd(self, new: NewPatient) -> None: ...

    def whyNotRemove(self, case: str) -> str: ...

    def startRemove(self, case: str) -> None: ...

    def cancel(self) -> None: ...

    def forgetMessage(self) -> None: ...


class IndexPanel:
    """Shows an `IndexLogic`.

    :param layout: the layout to which the panel is added.
    """

    def __init__(self, layout, logic: Logic):
        self.logic = logic
        self._quiet = Quiet()
        self._wantsFolder = bool(logic.folder)
        self._lines: list[str] = []
        self.widget, self.ui = loadPanel("IndexPanel", layout)
        ui = self.ui
        for path in (ui.indexPath, ui.intoPath, ui.addPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
        ui.typeSelector.addItem(_("not known"), "")
        for kind in TYPES:
            ui.typeSelector.addItem(kind, kind)
        self._forms = {ui.newButton: ui.newForm, ui.addButton: ui.addForm, ui.removeButton: ui.removeForm}
        self._connect()
        logic.changed.connect(self.refresh)
        self.refresh()

    def _connect(self) -> None:
        ui, logic = self.ui, self.logic
        ui.indexSection.connect("contentsCollapsed(bool)", self._setWanted)
        ui.folderButton.connect("toggled(bool)", self._chooseKind)
        ui.indexPath.connect("currentPathChanged(QString)", self._chooseFolder)
        for button in self._forms:
            button.connect("toggled(bool)", lambda opened, button=button: self._openForm(button, opened))
        for path in (ui.archivePath, ui.intoPath, ui.addPath):
            path.connect("currentPathChanged(QString)", lambda text: self._refreshButtons())
        for field in (ui.caseEdit, ui.patientEdit, ui.removeEdit):
            field.connect("textChanged(QString)", lambda text: self._refreshButtons())
        ui.planButton.connect("clicked()", lambda: logic.startPlan(*self._archive()))
        ui.buildButton.connect("clicked()", lambda: logic.startBuild(*self._archive()))
        ui.addCaseButton.connect("clicked()", lambda: logic.startAdd(self._newPatient()))
        ui.eraseButton.connect("clicked()", lambda: logic.startRemove(ui.removeEdit.text.strip()))
        ui.indexCancelButton.connect("clicked()", logic.cancel)

    def refresh(self) -> None:
        """Show the present state."""
        ui, logic = self.ui, self.logic
        with self._quiet:
            if logic.folder:
                self._wantsFolder = True
                if ui.indexPath.currentPath != logic.folder:  # else the cursor would jump while somebody types
                    ui.indexPath.currentPath = logic.folder
            ui.folderButton.checked = self._wantsFolder
            ui.bundledButton.checked = not self._wantsFolder
        shows = not ui.indexSection.collapsed
        ui.indexPath.visible = shows and self._wantsFolder
        ui.factsLabel.text = self._facts()
        ui.factsLabel.styleSheet = _ERROR if logic.trouble else ""
        for button, form in self._forms.items():
            form.visible = shows and button.checked
        ui.indexProgress.visible = ui.indexCancelButton.visible = shows and logic.isRunning
        ui.indexProgress.value = round(logic.fraction * _PROGRESS_STEPS)
        waits = _("{message}. Searches wait until this is done.").format(message=logic.message or _("Working"))
        plan = logic.plan if ui.newButton.checked else None
        ui.indexMessage.text = waits if logic.isRunning else logic.message or planInWords(plan)
        ui.indexMessage.visible = shows and bool(ui.indexMessage.text)
        failed = logic.failure is not None and not logic.failure.cancelled
        ui.indexMessage.styleSheet = _ERROR if failed else ""
        self._list(linesOf(plan, logic.problems))
        ui.foundList.visible = shows and bool(self._lines)
        self._refreshButtons()

    def suggestRemoval(self, hit: Hit | None) -> None:
        """Name the case that is chosen in the list as the one that would be removed."""
        if hit is not None:
            self.ui.removeEdit.text = hit.case

    def _facts(self) -> str:
        logic = self.logic
        if self._wantsFolder and not logic.folder:
            return _("Choose the folder; until then the synthetic cases are searched.")
        return logic.trouble or (factsInWords(logic.facts) if logic.facts else _("Looking into the index..."))

    def _list(self, lines: list[str]) -> None:
        if lines != self._lines:
            self._lines = lines
            self.ui.foundList.clear()
            self.ui.foundList.addItems(lines)

    def _refreshButtons(self) -> None:
        ui, logic = self.ui, self.logic
        allow(
            ui.planButton,
            logic.whyNotPlan(*self._archive()),
            _("Read every file once and list what would be indexed, and every problem. Nothing is written."),
        )
        allow(
            ui.buildButton,
            logic.whyNotBuild(*self._archive()),
            _("Index the cases that are not in the index yet; a build that was stopped goes on where it was."),
        )
        allow(ui.addCaseButton, logic.whyNotAdd(self._newPatient()), _("Copy the case into the index, and search it."))
        case = ui.removeEdit.text.strip()
        ui.eraseButton.text = _("Erase {case} for good").format(case=case) if case else _("Erase")
        allow(ui.eraseButton, logic.whyNotRemove(case), _("There is no way back."))

    def _archive(self) -> tuple[str, str]:
        return self.ui.archivePath.currentPath, self.ui.intoPath.currentPath

    def _newPatient(self) -> NewPatient:
        ui = self.ui
        kind = ui.typeSelector.itemData(ui.typeSelector.currentIndex)
        names = (ui.caseEdit.text.strip(), ui.patientEdit.text.strip())
        return NewPatient(ui.addPath.currentPath, *names, kind, ui.checkedBox.checked)

    def _setWanted(self, collapsed: bool) -> None:
        self.logic.setWanted(not collapsed)
        self.refresh()

    def _chooseKind(self, folder: bool) -> None:
        if not self._quiet:
            self._wantsFolder = folder
            self.logic.choose(self.ui.indexPath.currentPath if folder else "")
            self.refresh()

    def _chooseFolder(self, folder: str) -> None:
        if not self._quiet:
            self.logic.choose(folder)
            self.refresh()

    def _openForm(self, button, opened: bool) -> None:
        if opened:
            for other in self._forms:
                other.checked = other is button
            for path in (self.ui.intoPath, self.ui.addPath):
                if not path.currentPath:
                    path.currentPath = self.logic.folder
            self.logic.forgetMessage()
        self.refresh()


def factsInWords(facts: dict) -> str:
    """How many cases an index holds, of which types, and which archive is not where it was."""
    types = sorted(facts["types"].items(), key=lambda item: -item[1])
    kinds = ", ".join(f"{kind if kind in TYPES else _('type unknown')} {count}" for kind, count in types)
    text = _("Cases: {cases}. Tumors: {tumors}").format(cases=facts["cases"], tumors=facts["tumors"])
    sentences = [f"{text} ({kinds})." if kinds else f"{text}."]
    lost = [archive["folder"] for archive in facts["archives"] if not archive["there"]]
    sentences += [
        _("{folder} is not there: its cases are found but cannot be shown.").format(folder=one) for one in lost
    ]
    return " ".join(sentences)


def planInWords(plan: dict | None) -> str:
    """What a build would do, in one sentence."""
    if plan is None:
        return ""
    return _(
        "Cases: {cases} (indexed already: {already}; without a mask, which the network then draws: {unmasked}). "
        "Problems: {problems}."
    ).format(
        cases=len(plan["cases"]),
        already=len(plan["already"]),
        unmasked=sum(not row["mask"] for row in plan["cases"]),
        problems=len(plan["problems"]),
    )


def linesOf(plan: dict | None, problems: list[dict]) -> list[str]:
    """What was found in an archive, the problems first; of a large one the first lines."""
    lines = [_("Left out: {what}").format(what=_problem(row)) for row in (plan["problems"] if plan else problems)]
    if plan is not None:
        lines += [_case(row, row["case"] in plan["already"]) for row in plan["cases"]]
    left = len(lines) - _MOST_LINES
    lines = [*lines[:_MOST_LINES], _("... and {count} more").format(count=left)] if left > 0 else lines
    return lines + [_("Note: {note}").format(note=note) for note in (plan["notes"] if plan else [])]


def _problem(row: dict) -> str:
    # The reason often names the whole path already.
    return row["reason"] if row["path"] in row["reason"] else f"{Path(row['path']).name}: {row['reason']}"


def _case(row: dict, indexed: bool) -> str:
    words = (
        row["labels"],
        _("outlined") if row["mask"] else _("no mask"),
        _("with FLAIR") if row["flair"] else "",
        _("indexed already") if indexed else "",
    )
    return f"{row['case']}: {', '.join(filter(None, words))}"
