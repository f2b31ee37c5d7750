"""From a scan and its tumor to the growth simulation that fits it, brought back into the scan."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.find import prepare_folder
from TumorRetrievalLib.engine.growth_fit import GrowthFit, fit_in_atlas
from TumorRetrievalLib.engine.growth_result import FILES, contours_of, describe, write_images, write_result
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.outline import merge
from TumorRetrievalLib.engine.patient import Patient, StopWatch, open_patient, tumor_reader
from TumorRetrievalLib.engine.tumor_masks import TumorMasks, check_masks, read_masks, require_brain, tumor_in_box
from TumorRetrievalLib.errors import InvalidBox, RegistrationFailed
from TumorRetrievalLib.growth.database import SimulationDatabase, read_database
from TumorRetrievalLib.imaging.atomic import file_state
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.registration.carry import mask_to_atlas, volume_to_patient
from TumorRetrievalLib.registration.deformable import DeformableAlignment, bend_to_atlas
from TumorRetrievalLib.report.growth_page import GrowthReport, write_growth_report
from TumorRetrievalLib.resources import resource

Progress = Callable[[float, str], None]

BUNDLED = ("Simulations", "mni152.growth")
_BRAIN_SPACING_MM = 2.0
_SHARPEST_MM2 = 1.0


@dataclass(frozen=True)
class GrowthOptions:
    """How a tumor is fitted.

    :param k: how many matches are listed and compared.
    :param database: file of simulated tumors; the bundled one when None.
    :param refined: fit around the best matches, or take the best one as it is.
    :param deformable: bend the atlas to the brain, or take the affine alone.
    """

    k: int = 15
    database: Path | None = None
    refined: bool = True
    deformable: bool = True


@dataclass(frozen=True)
class GrowthRequest:
    """What a user asks for: a scan, where its tumor is, and where the result goes.

    :param core: :param whole: segmentations on the scan's grid; or, without them,
    :param box: a drawn box, RAS mm, in which the network outlines both. With them, it says which of several tumors.
    :param around: "core" or "whole", what the box encloses.
    :param model: folder of the network; the bundled one when None.
    :param device: "cpu", "cuda"...; a GPU if there is one when None.
    """

    t1c: Path
    out: Path
    flair: Path | None = None
    core: Path | None = None
    whole: Path | None = None
    box: Box | None = None
    around: str = "core"
    options: GrowthOptions = field(default_factory=GrowthOptions)
    model: Path | None = None
    device: str | None = None


@dataclass(frozen=True, eq=False)
class Grown:
    """A tumor's growth, worked out and not yet written.

    :param masks: what was fitted.
    :param alignment: of the patient, straight or bent.
    :param fit: the result in the atlas.
    :param notes: sentences that a reader must see.
    """

    patient: Patient
    masks: TumorMasks
    alignment: AtlasAlignment | DeformableAlignment
    fit: GrowthFit
    notes: list[str]


@dataclass(frozen=True, eq=False)
class OpenedTumor:
    """The tumor of a request: its patient, brought to the atlas, and its two masks on the scan's grid.

    :param masks_from: "files" or "network", for the record.
    """

    patient: Patient
    core: LabelMap
    whole: LabelMap
    database: SimulationDatabase
    masks_from: str


def fit_growth(request: GrowthRequest, progress: Progress | None = None) -> dict:
    """Fit a growth simulation to the tumor of a scan.

    Writes into `request.out` what `growth_result` lists, with result.json last: where it is, all of it is there.

    :param progress: called with a fraction and a message; whatever it raises stops the work.
    :returns: the content of result.json, as `growth_result.describe` documents it.
    :raises RegistrationFailed: if the scan could not be brought to the atlas.
    :raises TumorRetrievalError: with what else was wrong and what to do.
    """
    report = progress or (lambda fraction, message: None)
    watch = StopWatch()
    tumor = open_tumor(request, watch, lambda fraction, message: report(0.2 * fraction, message))
    return grow_tumor(
        tumor.patient,
        tumor.core,
        tumor.whole,
        request.out,
        request.options,
        database=tumor.database,
        watch=watch,
        masks_from=tumor.masks_from,
        progress=lambda fraction, message: report(0.2 + 0.8 * fraction, message),
    )


def open_tumor(request: GrowthRequest, watch: StopWatch, progress: Progress) -> OpenedTumor:
    """Read a request's files, bring the scan to the atlas, and outline the tumor where no masks were given.

    :raises RegistrationFailed: :raises TumorRetrievalError: as `fit_growth`.
    """
    progress(0.0, "Reading the scan")
    patient = watch.time("read", lambda: open_patient(request.t1c, request.flair))
    drawn = _drawn_masks(request, patient)
    database = watch.time("database", lambda: load_simulations(request.options.database))
    prepare_folder(request.out)
    watch.time("registration", lambda: _align(patient, lambda f, m: progress(0.25 + 0.75 * f, m)))
    core, whole = drawn or watch.time("outline", lambda: _outlined(patient, request))
    return OpenedTumor(patient, core, whole, database, "files" if drawn else "network")


def grow_tumor(
    patient: Patient,
    core: LabelMap,
    whole: LabelMap,
    out: Path,
    options: GrowthOptions,
    *,
    database: SimulationDatabase,
    watch: StopWatch,
    masks_from: str,
    progress: Progress,
) -> dict:
    """The same for two masks of a patient who has been brought to the atlas.

    :param core: :param whole: on the scan's grid.
    :param masks_from: "files" or "network", for the record.
    :raises InvalidTumorMask: if they cannot be fitted.
    """
    grown = grow(
        patient, core, whole, options, database=database, watch=watch, progress=lambda f, m: progress(0.75 * f, m)
    )
    progress(0.75, "Bringing the density back into the patient")
    fit, masks, alignment = grown.fit, grown.masks, grown.alignment
    density, spread = watch.time(
        "back", lambda: [volume_to_patient(v, alignment, patient.t1c.grid) for v in (fit.density, fit.spread)]
    )
    prepare_folder(out)
    watch.time("files", lambda: write_images(out, density, spread, masks, alignment))
    result = result_of(grown, density, options, len(database), masks_from)
    brain = patient.alignment.brain_on(_coarse(patient.t1c.grid))
    page = GrowthReport(
        patient.name, patient.t1c, patient.flair, masks.core, masks.whole, density, spread, brain, result
    )
    drawn = out / FILES["report"]
    watch.time("report", lambda: write_growth_report(drawn, page, lambda f, m: progress(0.8 + 0.19 * f, m)))
    result["seconds"] = watch.seconds()
    write_result(out, result)
    progress(1.0, "Done")
    return result


def grow(
    patient: Patient,
    core: LabelMap,
    whole: LabelMap,
    options: GrowthOptions,
    *,
    database: SimulationDatabase,
    watch: StopWatch,
    progress: Progress,
) -> Grown:
    """The same without the way back and without files.

    :raises InvalidTumorMask: if the masks cannot be fitted.
    """
    masks = _checked(patient, core, whole)
    require_brain(masks, patient.alignment.brain_on(patient.t1c.grid))
    notes = [*patient.notes, *masks.notes]
    alignment: AtlasAlignment | DeformableAlignment = patient.alignment
    if options.deformable:
        alignment = watch.time("bend", lambda: _bent(patient, masks, notes, lambda f, m: progress(0.45 * f, m)))
    grid = database.grid
    in_atlas = watch.time("masks", lambda: [mask_to_atlas(m, alignment, grid) for m in (masks.whole, masks.core)])
    fit = watch.time(
        "fit",
        lambda: fit_in_atlas(
            database, *in_atlas, options.k, refined=options.refined, progress=lambda f, m: progress(0.45 + 0.55 * f, m)
        ),
    )
    if fit.parameters.spread < _SHARPEST_MM2:
        notes.append(
            f"lambda is {fit.parameters.spread:.2f} mm^2. Below {_SHARPEST_MM2:g} mm^2 the front is sharper than the "
            f"simulation's voxels, and lambda and tau say as much about these as about the tumor."
        )
    return Grown(patient, masks, alignment, fit, notes)


def result_of(grown: Grown, density: Volume, options: GrowthOptions, tumors: int, masks_from: str) -> dict:
    """What result.json says, but for `seconds`.

    :param density: of the tumor cells, on the scan's grid.
    :param tumors: how many simulated tumors were searched.
    """
    described = describe(grown.fit, contours_of(density), grown.masks, grown.alignment, masks_from)
    database = "bundled" if options.database is None else str(options.database)
    return described | {"database": {"file": database, "tumors": tumors}, "notes": grown.notes}


def load_simulations(path: Path | None = None) -> SimulationDatabase:
    """A file of simulated tumors (the bundled one when None), read once and kept.

    :raises UnreadableFile: :raises SimulationsDamaged: if there is no usable file.
    """
    path = resource(*BUNDLED) if path is None else Path(path)
    return _read_once(path, file_state(path))


@lru_cache(maxsize=1)
def _read_once(path: Path, _state: tuple | None) -> SimulationDatabase:
    return read_database(path)


def _drawn_masks(request: GrowthRequest, patient: Patient) -> tuple[LabelMap, LabelMap] | None:
    """The masks of the request, checked before minutes are spent; None where the network is to outline a box."""
    if request.core is not None and request.whole is not None:
        drawn = read_masks(request.core, request.whole, patient.t1c)
        if request.box is not None:
            drawn = tumor_in_box(*drawn, request.box)
        _checked(patient, *drawn)
        return drawn
    if request.box is None or request.core is not None or request.whole is not None:
        raise InvalidBox("Say where the tumor is: a box around it, or two masks, its core and the whole tumor.")
    request.box.voxel_hull(patient.t1c.grid)
    return None


def _align(patient: Patient, progress: Progress) -> None:
    try:
        patient.align(progress)
    except RegistrationFailed as failure:
        raise RegistrationFailed(
            f"{failure} Growth is simulated in the atlas, so there is no result without it. Give a T1 scan of the "
            f"whole brain, check the orientation in its header, or remove the skull first."
        ) from failure


def _checked(patient: Patient, core: LabelMap, whole: LabelMap) -> TumorMasks:
    signal = patient.scan.channels()[0][1]
    return check_masks(core, whole, signal.data > 0)


def _outlined(patient: Patient, request: GrowthRequest) -> tuple[LabelMap, LabelMap]:
    reader = tumor_reader(request.model, request.device)
    found = read_in_box(patient.scan, request.box, request.around, reader, patient.t1c.grid)
    patient.notes.extend(reader.notes)
    return merge([found.outline], patient.t1c.grid)


def _bent(
    patient: Patient, masks: TumorMasks, notes: list[str], progress: Progress
) -> AtlasAlignment | DeformableAlignment:
    """The alignment with a bend, or as it is, with a note, where the bend cannot be right."""
    try:
        return bend_to_atlas(patient.t1c, patient.alignment, masks.lesion, progress=progress)
    except RegistrationFailed as failure:
        notes.append(f"Only the affine alignment was used, because bending the atlas to the brain failed: {failure}")
        return patient.alignment


def _coarse(grid: Grid) -> Grid:
    """An upright grid around a scan, coarse enough to draw with."""
    corners = grid.to_world(np.array(np.meshgrid(*[(0, n) for n in grid.shape])).reshape(3, 8).T)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Grid.around((low + high) / 2, _BRAIN_SPACING_MM, tuple(int(n) for n in (high - low) / _BRAIN_SPACING_MM + 1))
