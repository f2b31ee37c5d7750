"""The index of known cases: which one is searched, and how a user's own cases get into it and out of it again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qt

from TumorRetrievalGui.parameters import QueryParameters
from TumorRetrievalGui.query_logic import NotPossible
from TumorRetrievalGui.scan_files import ScanFiles, gridOf
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.engine.copied_scans import problem_with_id
from TumorRetrievalLib.errors import InvalidTumorMask, TumorRetrievalError
from TumorRetrievalLib.imaging.files import write_labels
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.resources import is_bundled_index
from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, mask_of, parts_of

_PAUSE_MS = 300
"""A path that is being typed is looked at when the typing stops."""
_LABELS = {WHOLE_TUMOR: 2, TUMOR_CORE: 1}
"""As `engine.add_patient.OUTLINES`; the core is written over the whole tumor."""


@dataclass(frozen=True)
class NewPatient:
    """What the user says about the patient that becomes a known case.

    :param index: folder of the index; it is made if it is not there.
    :param case: :param patient: ids.
    :param kind: the tumor's type; "" where it is not known.
    :param checked: whether a person has drawn or checked the outlines.
    """

    index: str
    case: str
    patient: str
    kind: str = ""
    checked: bool = False


class IndexLogic:
    """What the index panel does. Nothing of it is kept in the scene; the index in use is one of the `Settings`.

    :param parameters: the scene's query; `setParameters` changes it.
    :param ensureInstalled: installs what is missing, or raises `NotPossible`.
    """

    def __init__(
        self,
        parameters: QueryParameters,
        tasks: Tasks,
        files: ScanFiles,
        settings: Settings,
        ensureInstalled: Callable[[], None],
    ):
        self.parameters = parameters
        self._tasks, self._files, self._settings = tasks, files, settings
        self._ensureInstalled = ensureInstalled
        self._work: Task | None = None
        self._looking: Task | None = None
        self._isWanted = self._isKnown = False
        self._folder = settings.index
        self._planned: tuple[str, str] | None = None
        #: What the index in use holds, None while that is not known; and why it cannot be used, "" if it can.
        self.facts: dict | None = None
        self.trouble = ""
        #: What a build would do, until it is done; then, what was left out: rows of `path` and `reason`.
        self.plan: dict | None = None
        self.problems: list[dict] = []
        self.fraction, self.message = 0.0, ""
        #: The last failure, until the next start; its details are for the log.
        self.failure: Failure | None = None
        #: Anything that the panel shows has changed.
        self.changed = Signal()
        #: Other cases are searched from now on: another index, or the same with other cases.
        self.indexChanged = Signal()
        self._pause = qt.QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.connect("timeout()", self._look)
        settings.changed.connect(self._followSettings)

    @property
    def isRunning(self) -> bool:
        """Whether an index is being changed, or an archive looked through."""
        return self._work is not None

    @property
    def folder(self) -> str:
        """The index in use; "" for the bundled one."""
        return "" if is_bundled_index(self._settings.index) else self._settings.index

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to another query (another scene). What runs goes on: the index does not belong to a scene."""
        self.parameters = parameters
        self.changed.emit()

    def setWanted(self, wanted: bool) -> None:
        """Whether somebody looks at what the index holds; nothing is fetched for nobody."""
        self._isWanted = wanted
        self._look()

    def choose(self, folder: str) -> None:
        """Search in another index from now on. :param folder: "" for the bundled one."""
        if folder != self._settings.index and not self._settings.keep("index", folder):
            self.message = _("Settings cannot be written here; the choice holds until Slicer is closed.")
            self.changed.emit()

    def _followSettings(self) -> None:
        if self._settings.index != self._folder:
            self._folder = self._settings.index
            self._forgetFacts()
            self.indexChanged.emit()
            self.changed.emit()

    def _forgetFacts(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self.facts, self.trouble, self._isKnown = None, "", False
        self._pause.start()

    def _look(self) -> None:
        if not self._isWanted or self._isKnown or self._looking is not None:
            return

        def show(facts: dict) -> None:
            self._looking, self._isKnown, self.facts = None, True, facts
            self.changed.emit()

        def failed(failure: Failure) -> None:
            self._looking, self._isKnown, self.trouble = None, not failure.cancelled, failure.message
            self.changed.emit()

        arguments = self._settings.arguments("index")
        self._looking = self._tasks.ask("index_stats", arguments, done=show, failed=failed)

    # An archive

    def whyNotPlan(self, archive: str, into: str) -> str:
        """Why an archive cannot be looked through now; "" if it can."""
        if busy := self._whyBusy():
            return busy
        if not archive:
            return _("Choose the folder, or the CSV manifest, of your cases.")
        if unsuited := _whyNotIndex(into):
            return unsuited
        inside, outside = Path(into).absolute(), Path(archive).absolute()
        if inside == outside or outside in inside.parents:
            return _("The index has to lie outside the archive, in which nothing is ever changed.")
        return ""

    def startPlan(self, archive: str, into: str) -> None:
        """Find out what a build would do; nothing is written."""

        def show(plan: dict) -> None:
            self._planned, self.plan = (archive, into), plan
            self._end("")

        if not self.whyNotPlan(archive, into):
            self._begin()
            self._ask("index_build", {"archive": archive, "index": into, "dry_run": True}, show)

    def whyNotBuild(self, archive: str, into: str) -> str:
        """Why no index can be built of an archive now; "" if it can."""
        if reason := self.whyNotPlan(archive, into):
            return reason
        if self.plan is None or self._planned != (archive, into):
            return _("Look first at what would be indexed.")
        if len(self.plan["cases"]) <= len(self.plan["already"]):
            return _("There is no case here that is not in the index yet.")
        return ""

    def startBuild(self, archive: str, into: str) -> None:
        """Index every case of an archive that is not in the index yet."""

        def show(result: dict) -> None:
            self.problems = result["problems"]
            text = _("Added: {added}. Left out: {left}. Cases in the index: {cases}.")
            counts = {"added": len(result["added"]), "left": len(self.problems), "cases": result["index"]["cases"]}
            self._endWithIndex(into, text.format(**counts))

        if not self.whyNotBuild(archive, into):
            plan = self.plan
            self._begin()

            def failed(failure: Failure) -> None:
                # What has been read so far is kept in the index's folder, so the same button goes on.
                self.plan = plan
                self._fail(failure)
                if failure.cancelled:
                    self.message = _("Stopped. What has been read is kept: press the button again to go on.")
                    self.changed.emit()

            chosen = self._settings.arguments("model", "device")
            self._ask("index_build", {"archive": archive, "index": into, **chosen}, show, failed)

    # The patient

    def whyNotAdd(self, new: NewPatient) -> str:
        """Why the patient cannot become a known case now; "" if they can."""
        parameters = self.parameters
        if busy := self._whyBusy():
            return busy
        if parameters.t1c is None:
            return _("Load a T1 with contrast first.")
        if parameters.segmentation is None:
            return _("Find similar cases first: a known case needs its tumor outlined.")
        if not parts_of(parameters.segmentation):
            return _("The segments of the outlined tumor are gone; find similar cases again.")
        if problem := problem_with_id(new.case):
            return problem
        if not new.patient.strip():
            return _("Say who the patient is: several scans of one patient must share this id.")
        return _whyNotIndex(new.index)

    def startAdd(self, new: NewPatient) -> None:
        """Copy the patient's scan and outlines into an index, and search in it from now on."""
        if self.whyNotAdd(new):
            return
        self._begin(_("Preparing the scan"))
        parameters = self.parameters
        try:
            scans = [node for node in (parameters.t1c, parameters.flair) if node is not None]
            write, grid = self._files.writer(scans), gridOf(parameters.t1c)
            masks = _masksOf(parameters.segmentation)
        except TumorRetrievalError as error:
            self._fail(Failure(str(error)))
            return
        arguments = {
            "index": new.index,
            "case": new.case,
            "patient": new.patient,
            "mask_origin": "expert" if new.checked else "network",
            **({"type": new.kind} if new.kind else {}),
            **self._settings.arguments("model", "device"),
        }
        out = self._files.newFolder("known")

        def prepare() -> dict[str, str]:
            write_labels(out / "mask.nii", _onGrid(masks, grid))
            files = dict(zip(("t1c", "flair"), write(), strict=False)) | {"mask": out / "mask.nii"}
            return {name: str(path) for name, path in files.items()}

        def show(result: dict) -> None:
            if not result["added"]:
                self._fail(Failure(result["problems"][0]["reason"]))
                return
            text = _("{case} is a known case now. Cases in the index: {cases}. A search with this scan will find it.")
            self._endWithIndex(new.index, text.format(case=new.case, cases=result["index"]["cases"]))

        self._work = self._tasks.inBackground(
            prepare, done=lambda files: self._ask("index_add_patient", {**files, **arguments}, show), failed=self._fail
        )

    # Removal

    def whyNotRemove(self, case: str) -> str:
        """Why a case cannot be removed from the index in use now; "" if it can."""
        if busy := self._whyBusy():
            return busy
        if not self.folder:
            return _("The synthetic cases that come with the tool stay as they are.")
        return "" if case else _("Choose a case in the list, or type its id.")

    def startRemove(self, case: str) -> None:
        """Erase a case from the index in use."""

        def show(result: dict) -> None:
            text = _("{case} is erased. Cases in the index: {cases}.")
            self._endWithIndex(folder, text.format(case=case, cases=result["index"]["cases"]))

        if not self.whyNotRemove(case):
            folder = self.folder
            self._begin()
            self._ask("index_remove", {"index": folder, "cases": [case]}, show)

    # All of them

    def cancel(self) -> None:
        """Stop what is running."""
        if self._work is not None:
            self._work.cancel()

    def forgetMessage(self) -> None:
        """The user turns to something else: what was last told no longer fits."""
        if not self.isRunning:
            self.message, self.failure, self.problems = "", None, []
        self.changed.emit()

    def cleanup(self) -> None:
        """Ask for nothing any more."""
        self._isWanted = False

    def _whyBusy(self) -> str:
        return _("Wait for the end of what is running, or cancel it.") if self.isRunning else ""

    def _begin(self, message: str = "") -> None:
        self.failure, self.plan, self.problems = None, None, []
        self._tell(0.0, message)

    def _ask(self, task: str, arguments: dict, done, failed=None) -> None:
        failed = failed or self._fail
        try:
            self._ensureInstalled()
        except NotPossible as error:
            failed(Failure(str(error)))
            return
        self._work = self._tasks.ask(task, arguments, done=done, failed=failed, progress=self._tell)
        self.changed.emit()

    def _tell(self, fraction: float, message: str) -> None:
        self.fraction, self.message = fraction, message
        self.changed.emit()

    def _fail(self, failure: Failure) -> None:
        self._work, self.failure = None, failure
        self.message = _("Cancelled.") if failure.cancelled else failure.message
        self.changed.emit()

    def _end(self, message: str) -> None:
        self._work, self.message = None, message
        self.changed.emit()

    def _endWithIndex(self, folder: str, message: str) -> None:
        """An index has changed; it is the one that is searched from now on."""
        self._end(message)
        if folder == self._settings.index:
            self._forgetFacts()
            self.indexChanged.emit()
        else:
            self.choose(folder)


def _whyNotIndex(folder: str) -> str:
    """Why cases cannot be put into an index there; "" if they can."""
    if not folder:
        return _("Choose the folder in which your index is, or is to be made.")
    if is_bundled_index(folder):
        return _("The synthetic cases that come with the tool stay as they are: choose another folder.")
    return ""


def _masksOf(segmentation) -> dict:
    """Part -> its mask; an empty part is left out.

    :raises InvalidTumorMask: if all are empty.
    """
    masks, empty = {}, None
    for part in parts_of(segmentation):
        try:
            masks[part] = mask_of(segmentation, part)
        except InvalidTumorMask as error:
            empty = error
    if not masks:
        raise empty
    return masks


def _onGrid(masks: dict, grid: Grid) -> LabelMap:
    """All parts as the labels of one mask on the scan's grid."""
    labels = np.zeros(grid.shape, np.uint8)
    for part, label in _LABELS.items():
        if part in masks:
            labels[resample_labels(masks[part], grid).data != 0] = label
    return LabelMap(labels, grid.affine)
