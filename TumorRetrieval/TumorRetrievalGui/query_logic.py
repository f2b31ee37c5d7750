"""From a scan and boxes to an answer in the scene, step by step and without holding up the window."""

from collections.abc import Callable
from pathlib import Path

from TumorRetrievalGui.box_logic import boxAt, drawnByHand, edit, partBox, placedBoxes, suggestBoxes
from TumorRetrievalGui.parameters import Around, QueryParameters, volumesIn
from TumorRetrievalGui.scan_files import ScanFiles, gridOf
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks, failureOf
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.errors import TumorRetrievalError
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.scene.folders import add_folder, folders_in, nodes_in, put_into, remove_folder
from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor

SEARCH_FILE = "query.json"
"""In the folder of an answer: what the worker needs to rank it anew."""


class NotPossible(Exception):
    """What the user asked for cannot start; the text says why and what to do."""


class QueryLogic:
    """What the query panel does.

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
        self._tasks = tasks
        self._files = files
        self._settings = settings
        self._ensureInstalled = ensureInstalled
        self._task: Task | None = None
        self.fraction = 0.0
        self.message = ""
        #: The last failure, until the next start; its details are for the log.
        self.failure: Failure | None = None
        #: Anything that the panel shows has changed.
        self.changed = Signal()
        #: There is a new answer in the parameters.
        self.found = Signal()

    @property
    def isRunning(self) -> bool:
        """Whether a search or a suggestion is under way."""
        return self._task is not None

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to another query (another scene); the same one again, as on reopening the module, stops nothing."""
        if parameters.node is not self.parameters.node:
            self.cancel()
        if not self.isRunning:
            self.message, self.failure = "", None
        self.parameters = parameters
        self.changed.emit()

    def inputsChanged(self) -> None:
        """To be called after the user has chosen something else: the last message no longer fits."""
        if not self.isRunning:
            self.message, self.failure = "", None
        self.changed.emit()

    def whyNotSuggest(self) -> str:
        """Why boxes cannot be suggested now; "" if they can."""
        if self.isRunning:
            return _("Wait for the end of the present search, or cancel it.")
        if problem := self._problemWithScan():
            return problem
        if self.parameters.around is Around.WHOLE and drawnByHand(self.parameters):
            return _("Suggested boxes go around the enhancing core, and yours around everything: remove yours first.")
        return ""

    def whyNotFind(self) -> str:
        """Why similar cases cannot be searched now; "" if they can."""
        if self.isRunning:
            return _("Wait for the end of the present search, or cancel it.")
        if problem := self._problemWithScan():
            return problem
        try:
            boxes = placedBoxes(self.parameters)
            if not boxes:
                return _("Draw a box around the tumor, or let boxes be suggested.")
            for box in boxes:
                box.voxel_hull(gridOf(self.parameters.t1c))
        except TumorRetrievalError as error:
            return str(error)
        return ""

    def _problemWithScan(self) -> str:
        parameters = self.parameters
        if parameters.t1c is None:
            if volumesIn(parameters.scene):
                return _("Choose the T1 with contrast.")
            return _("Load a T1 with contrast first.")
        for node in self._scans():
            image = node.GetImageData()
            if image is None or min(image.GetDimensions()) < 2:
                return _("'{name}' is not a 3D scan; choose another.").format(name=node.GetName())
            if image.GetNumberOfScalarComponents() != 1:
                return _("'{name}' is a colour picture, not a scan; choose another.").format(name=node.GetName())
            try:
                gridOf(node)
            except TumorRetrievalError as error:
                return str(error)
        if parameters.flair is parameters.t1c:
            return _("The same scan is chosen as T1 with contrast and as FLAIR; set FLAIR to none.")
        return ""

    def _scans(self) -> list:
        return [node for node in (self.parameters.t1c, self.parameters.flair) if node is not None]

    def suggest(self) -> None:
        """Look for tumors in the whole brain and draw a box around each."""
        if not self.whyNotSuggest():
            self._start("segment", self._settings.arguments("model", "device"), self._showSuggestions)

    def find(self) -> None:
        """Search the cases most similar to the tumor in each box."""
        if self.whyNotFind():
            return
        parameters = self.parameters
        boxes = [
            {"center_ras": box.center.tolist(), "size_mm": box.size.tolist(), "axes": box.axes.tolist()}
            for box in placedBoxes(parameters)
        ]
        # The list is ranked right afterwards, with the user's weights and filters; nobody looks at a report here.
        chosen = self._settings.arguments("index", "model", "device")
        arguments = {"boxes": boxes, "around": parameters.around.value, "k": 1, "report": False, **chosen}
        self._start("find", arguments, self._readMasks)

    def whyNotPart(self, tumor: dict) -> str:
        """Why a box that encloses several tumors cannot be parted now; "" if it can. :param tumor: of an answer."""
        if self.isRunning:
            return _("Wait for the end of the present search, or cancel it.")
        if problem := self._problemWithScan():
            return problem
        if boxAt(self.parameters, _boxOf(tumor["box"])) is None:
            return _("The box has been changed or removed since it was looked up.")
        return ""

    def part(self, tumor: dict) -> None:
        """Draw a box around each tumor that was told apart in one box, in place of that one, and search again."""
        if self.isRunning:
            return
        if problem := self.whyNotPart(tumor):
            self._finish(problem)
            return
        node = boxAt(self.parameters, _boxOf(tumor["box"]))
        partBox(self.parameters, node, [_boxOf(box) for box in tumor["boxes_inside"]])
        self.find()

    def cancel(self) -> None:
        """Stop what is running; what was found before stays."""
        if self._task is not None:
            self._task.cancel()

    def _start(self, name: str, arguments: dict, done: Callable[[Path, dict], None]) -> None:
        """Hand the scans over and ask the worker. :param done: called with the folder of its files and its answer."""
        self.failure = None
        try:
            self._ensureInstalled()
            write = self._files.writer(self._scans())
        except (NotPossible, TumorRetrievalError) as error:
            self._fail(Failure(str(error)))
            return

        def ask(paths: list[Path]) -> None:
            scans = {key: str(path) for key, path in zip(("t1c", "flair"), paths, strict=False)}
            out = self._files.newFolder(name)
            self._task = self._tasks.ask(
                name,
                {**scans, **arguments, "out": str(out)},
                done=lambda result: done(out, result),
                failed=self._fail,
                progress=self._progress,
            )

        self._progress(0.0, _("Preparing the scan"))
        self._task = self._tasks.inBackground(write, done=ask, failed=self._fail)
        self.changed.emit()

    def _progress(self, fraction: float, message: str) -> None:
        self.fraction, self.message = fraction, message
        self.changed.emit()

    def _fail(self, failure: Failure) -> None:
        self._task = None
        self.failure = failure
        self.message = _("Cancelled.") if failure.cancelled else failure.message
        self.changed.emit()

    def _finish(self, message: str) -> None:
        self._task = None
        self.message = message
        self.changed.emit()

    def _showSuggestions(self, _out: Path, result: dict) -> None:
        boxes = [_boxOf(box) for box in result["boxes"]]
        suggestBoxes(self.parameters, boxes)
        if not boxes:
            self._finish(_("No tumor was seen in the whole brain. Draw a box by hand."))
            return
        self.parameters.around = Around.CORE
        self._finish(_("Check the suggested boxes, and drag or remove them where they are wrong."))

    def _readMasks(self, out: Path, answer: dict) -> None:
        """The masks come as files; reading them takes too long for the main thread."""

        def read() -> tuple[list, str]:
            masks = [read_labels(out / answer["masks"][name]) for name in ("tumor_core", "whole_tumor")]
            return masks, (out / SEARCH_FILE).read_text(encoding="utf-8")

        self._progress(1.0, _("Showing what was found"))
        self._task = self._tasks.inBackground(
            read, done=lambda content: self._show(answer, *content), failed=self._fail
        )

    def _show(self, answer: dict, masks: list, search: str) -> None:
        parameters = self.parameters
        if parameters.t1c is None:
            self._fail(Failure(_("The scan was removed while its tumors were looked up.")))
            return
        try:
            forgetResults(parameters)
            scene = parameters.scene
            name = parameters.t1c.GetName()
            parts = dict(zip((TUMOR_CORE, WHOLE_TUMOR), masks, strict=True))
            node = add_tumor(scene, parts, _("Tumor in {scan}").format(scan=name), parameters.t1c)
            put_into(scene, add_folder(scene, _("Similar cases of {scan}").format(scan=name)), node)
        except TumorRetrievalError as error:
            self._fail(failureOf(error))
            return
        parameters.answer, parameters.search, parameters.segmentation = answer, search, node
        edit(parameters, None)
        self._finish("")
        self.found.emit()


def _boxOf(described: dict) -> Box:
    """A box as the worker tells it."""
    return Box(described["center_ras"], described["size_mm"], described["axes"])


def folderOf(parameters: QueryParameters) -> int | None:
    """The subject-hierarchy folder of a query's results, None before there are any."""
    scene = parameters.scene
    segmentation = parameters.segmentation
    folders = folders_in(scene) if segmentation is not None else []
    return next((folder for folder in folders if segmentation in nodes_in(scene, folder)), None)


def forgetResults(parameters: QueryParameters) -> None:
    """Remove the folder of the last answer with everything in it."""
    if (folder := folderOf(parameters)) is not None:
        remove_folder(parameters.scene, folder)
    parameters.forgetAnswer()
