"""A growth simulation of the outlined tumor: fitted by the worker, shown over the patient's slices."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

import slicer.util

from TumorRetrievalGui.box_logic import showPlace
from TumorRetrievalGui.parameters import QueryParameters
from TumorRetrievalGui.query_logic import NotPossible, folderOf
from TumorRetrievalGui.scan_files import ScanFiles, gridOf
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks, failureOf
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.errors import TumorRetrievalError
from TumorRetrievalLib.imaging.files import write_labels
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.scene.comparison import confine, is_shown, lay_over
from TumorRetrievalLib.scene.folders import put_into
from TumorRetrievalLib.scene.growth import (
    LOWEST_SHOWN,
    add_growth,
    contours_of,
    parts_of,
    remove_growth,
    set_stages,
    set_threshold,
    show_stage,
    stage_count,
    uncertainty_of,
)
from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, mask_of
from TumorRetrievalLib.scene.segmentations import parts_of as segments_of
from TumorRetrievalLib.scene.views import COLUMNS
from TumorRetrievalLib.worker.growth_files import Overlay, read_overlay, read_stages

INFILTRATES = "glioma"
"""The model is one of infiltrating tumors; the other types push the brain aside."""

FITTED = -1
"""In place of the number of a match: the simulation that was fitted around the best ones."""

_MASKS = {"core": TUMOR_CORE, "whole": WHOLE_TUMOR}
_KEPT = ("parameters", "dice", "matches", "registration", "notes")


@dataclass(frozen=True)
class GrowthView:
    """How a simulated tumor is shown.

    :param opacity: 0 to 1.
    :param threshold: the density from which anything is painted.
    :param stage: which of its ages; None for that at the time of the scan.
    :param match: which of the matches, best first from 0, or `FITTED`.
    :param uncertainty: whether the map of the uncertainty is shown in place of the density.
    """

    opacity: float = 0.6
    threshold: float = LOWEST_SHOWN
    stage: int | None = None
    match: int = FITTED
    uncertainty: bool = False

    @classmethod
    def kept(cls, values: dict) -> "GrowthView":
        """As a scene has kept it; what another version has kept besides is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class GrowthLogic:
    """What the growth panel does.

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
        self._fitting: Task | None = None
        self._growing: Task | None = None
        self.fraction = 0.0
        self.message = ""
        #: The last failure, until the next start; its details are for the log.
        self.failure: Failure | None = None
        #: Anything that the panel shows has changed.
        self.changed = Signal()

    @property
    def isFitting(self) -> bool:
        """Whether a simulation is being fitted."""
        return self._fitting is not None

    @property
    def density(self):
        """The volume node of the simulated tumor; None before there is one."""
        return self.parameters.density

    @property
    def fit(self) -> dict | None:
        """What is known of the simulation that is shown."""
        return self.parameters.growth if self.density is not None else None

    @property
    def view(self) -> GrowthView:
        """How it is shown."""
        return GrowthView.kept(self.parameters.overlay)

    @property
    def stageCount(self) -> int:
        """How many ages of the simulated tumor can be shown."""
        return stage_count(self.density) if self.density is not None else 0

    @property
    def stage(self) -> int:
        """The age that is shown, from 0."""
        last = self.stageCount - 1
        return last if self.view.stage is None else min(self.view.stage, last)

    @property
    def tumor(self) -> dict | None:
        """What the search has said of the tumor that would be fitted."""
        answer, number = self.parameters.answer, self.parameters.tumor
        tumors = answer["tumors"] if answer else []
        return tumors[number] if number < len(tumors) else None

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to another query (another scene)."""
        if parameters.node is not self.parameters.node:
            self.cancel()
        if not self.isFitting:
            self.message, self.failure = "", None
        self.parameters = parameters
        self.changed.emit()

    def whyNotFit(self) -> str:
        """Why no simulation can be fitted now; "" if one can."""
        parameters = self.parameters
        if self.isFitting:
            return _("Wait for the end of the present fit, or cancel it.")
        if parameters.t1c is None or self.tumor is None or parameters.segmentation is None:
            return _("Find similar cases first: the simulation is fitted to the outlined tumor.")
        missing = [part.name for part in _MASKS.values() if part not in segments_of(parameters.segmentation)]
        if missing:
            return _("The segment '{name}' is gone; find similar cases again.").format(name=missing[0])
        return ""

    def advice(self) -> str:
        """What to know before the button is pressed; "" if nothing."""
        types = self.tumor["types"] if self.tumor else {}
        likely = max(types, key=types.get, default=INFILTRATES)
        if likely == INFILTRATES:
            return ""
        return _(
            "This tumor looks more like: {type}. The simulation is of gliomas, whose cells wander into the brain; "
            "of another tumor it says little."
        ).format(type=likely)

    def whyNotChangeAge(self) -> str:
        """Why no other age can be shown; "" if one can."""
        return "" if self.stageCount else _("The volume with the other ages was deleted; fit the simulation again.")

    def whyNoUncertainty(self) -> str:
        """Why the uncertainty cannot be shown; "" if it can."""
        if self.density is not None and uncertainty_of(self.density) is None:
            return _("The volume with the uncertainty was deleted; fit the simulation again.")
        return ""

    def startFit(self, *, bent: bool) -> None:
        """Fit a simulation to the outlined tumor. :param bent: whether the atlas is bent to the brain."""
        if self.whyNotFit():
            return
        self.failure = None
        parameters = self.parameters
        try:
            self._ensureInstalled()
            scans = [node for node in (parameters.t1c, parameters.flair) if node is not None]
            write = self._files.writer(scans)
            masks = {name: mask_of(parameters.segmentation, part) for name, part in _MASKS.items()}
            grid = gridOf(parameters.t1c)
        except (NotPossible, TumorRetrievalError) as error:
            self._fail(Failure(str(error)))
            return
        out = self._files.newFolder("growth")
        arguments = {"out": str(out), "deformable": bent, **self._settings.arguments("device")}
        if len(parameters.answer["tumors"]) > 1:
            arguments["box"] = self.tumor["box"]
        segmentation, number = parameters.segmentation, parameters.tumor

        def prepare() -> dict[str, str]:
            for name, mask in masks.items():
                # A segment fills as much of the scan's grid as it needs, or lies on a grid of the user's own.
                write_labels(out / f"{name}.nii", resample_labels(mask, grid))
            names = dict(zip(("t1c", "flair"), write(), strict=False)) | {name: out / f"{name}.nii" for name in masks}
            return {name: str(path) for name, path in names.items()}

        def ask(files: dict[str, str]) -> None:
            self._fitting = self._tasks.ask(
                "growth", {**files, **arguments}, done=read, failed=self._fail, progress=self._progress
            )

        def read(result: dict) -> None:
            self._progress(1.0, _("Showing the simulation"))
            self._fitting = self._tasks.inBackground(
                lambda: read_overlay(out / result["files"]["overlay"]),
                done=lambda overlay: self._show(overlay, result, segmentation, number),
                failed=self._fail,
            )

        self._progress(0.0, _("Preparing the scan"))
        self._fitting = self._tasks.inBackground(prepare, done=ask, failed=self._fail)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop what is running; what was fitted before stays."""
        for task in (self._fitting, self._growing):
            if task is not None:
                task.cancel()

    def _progress(self, fraction: float, message: str) -> None:
        self.fraction, self.message = fraction, message
        self.changed.emit()

    def _fail(self, failure: Failure) -> None:
        self._fitting = None
        self.failure = failure
        self.message = _("Cancelled.") if failure.cancelled else failure.message
        self.changed.emit()

    def _show(self, overlay: Overlay, result: dict, segmentation, number: int) -> None:
        parameters = self.parameters
        if parameters.t1c is None or parameters.segmentation is not segmentation:
            self._fail(Failure(_("The scan or its outlined tumor was removed while the simulation was fitted.")))
            return
        try:
            with slicer.util.RenderBlocker():
                self._forget()
                name = _("Growth of the tumor in {scan}").format(scan=parameters.t1c.GetName())
                node = add_growth(
                    parameters.scene,
                    overlay.stages,
                    overlay.spread,
                    overlay.patient_to_atlas,
                    name,
                    bend=overlay.bend,
                    scan=parameters.t1c,
                )
                if (folder := folderOf(parameters)) is not None:
                    put_into(parameters.scene, folder, *parts_of(node))
        except TumorRetrievalError as error:
            self._fail(failureOf(error))
            return
        parameters.growth = {"tumor": number, **{name: result[name] for name in _KEPT}}
        parameters.density = node
        parameters.overlay = asdict(replace(self.view, match=FITTED, stage=None, uncertainty=False))
        set_threshold(node, self.view.threshold)
        self._fitting, self.message = None, ""
        self.layOver()
        if not is_shown(parameters.scene):  # the comparison is at the tumor already, and moves as one
            showPlace(parameters.scene, parameters.answer["tumors"][number]["box"]["center_ras"])

    def layOver(self) -> None:
        """Show the simulation in every view that shows the patient, those too that have just been made."""
        parameters, density = self.parameters, self.density
        scans = [node for node in (parameters.t1c, parameters.flair) if node is not None]
        if density is not None and scans:
            shown = (uncertainty_of(density) if self.view.uncertainty else None) or density
            with slicer.util.RenderBlocker():
                lay_over(parameters.scene, scans, shown, self.view.opacity)
                for contour in contours_of(density):
                    confine(parameters.scene, contour, COLUMNS[0])
        self.changed.emit()

    def setOpacity(self, opacity: float) -> None:
        """Let the scan shine through more or less."""
        self._change(opacity=opacity)
        self.layOver()

    def setThreshold(self, threshold: float) -> None:
        """Paint densities from here on only."""
        if self.density is not None:
            self._change(threshold=threshold)
            set_threshold(self.density, threshold)
            self.changed.emit()

    def setStage(self, stage: int) -> None:
        """Show the tumor at another age, from 0."""
        if self.density is not None and not self.whyNotChangeAge():
            self._change(stage=stage)
            with slicer.util.RenderBlocker():
                show_stage(self.density, self.stage)
            self.changed.emit()

    def showUncertainty(self, shown: bool) -> None:
        """Show the uncertainty in place of the density, or the density again."""
        self._change(uncertainty=shown)
        self.layOver()

    def chooseMatch(self, number: int) -> None:
        """Show another of the simulated tumors. :param number: a match, from 0, or `FITTED`."""
        if self.fit is None or number == self.view.match:
            return
        if self._growing is not None:
            self._growing.cancel()
        self.failure, density = None, self.density
        origin = self.fit["parameters"] if number == FITTED else self.fit["matches"][number]
        out = self._files.newFolder("stages")
        arguments = {name: origin[name] for name in ("origin_atlas_mm", "lambda_mm2", "tau")}

        def read(result: dict) -> None:
            path = out / result["files"]["stages"]
            self._growing = self._tasks.inBackground(lambda: read_stages(path), done=show, failed=failed)

        def show(stages: list[Volume]) -> None:
            self._growing = None
            if self.density is density and not self.whyNotChangeAge():
                self._change(match=number)
                with slicer.util.RenderBlocker():
                    set_stages(density, stages)
                    show_stage(density, self.stage)
            self.changed.emit()

        def failed(failure: Failure) -> None:
            self._growing = None
            if not failure.cancelled:
                self.failure, self.message = failure, failure.message
            self.changed.emit()

        self._growing = self._tasks.ask("growth_stages", {**arguments, "out": str(out)}, done=read, failed=failed)
        self.changed.emit()

    def remove(self) -> None:
        """Take the simulation out of the scene."""
        if self._growing is not None:
            self._growing.cancel()
        with slicer.util.RenderBlocker():
            self._forget()
        self.message, self.failure = "", None
        self.changed.emit()

    def _forget(self) -> None:
        if self.density is not None:
            remove_growth(self.density)
        self.parameters.density, self.parameters.growth = None, None

    def _change(self, **changes) -> None:
        self.parameters.overlay = asdict(replace(self.view, **changes))
