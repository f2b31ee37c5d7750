"""The worker's tasks about growth: fit a simulation to a tumor, and grow another of its matches."""

import json
from dataclasses import replace
from pathlib import Path

from TumorRetrievalLib.engine.find import MASKS, prepare_folder
from TumorRetrievalLib.engine.growth import (
    Grown,
    GrowthOptions,
    GrowthRequest,
    grow,
    open_tumor,
    result_of,
)
from TumorRetrievalLib.engine.growth_result import write_result
from TumorRetrievalLib.engine.patient import StopWatch
from TumorRetrievalLib.errors import InvalidGrowth, InvalidRequest, UnreadableFile
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.growth.solver import simulate_series
from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.registration.carry import volume_to_patient
from TumorRetrievalLib.registration.deformable import DeformableAlignment
from TumorRetrievalLib.worker import arguments as read
from TumorRetrievalLib.worker.arguments import Arguments
from TumorRetrievalLib.worker.growth_files import Bend, Overlay, cut_out, write_overlay, write_stages
from TumorRetrievalLib.worker.tasks import Progress, Task

STAGES = 10
"""So many ages of a simulated tumor are shown: tenths of its life."""

OVERLAY_FILE = "overlay.npz"
STAGES_FILE = "stages.npz"


def growth(given: dict, progress: Progress) -> dict:
    """Fit a growth simulation to a tumor.

    Arguments: `t1c`, `out` (folder), `flair`; where the tumor is: `result` and `tumor` (the folder of an earlier search
    and the number of its box, from 0), or `core` and `whole` (segmentations on the scan's grid), with `box` where they
    show several tumors, or a box alone, which the network outlines as `around` says, with `model` and `device`;
    `k` (how many matches are compared) and `deformable`.

    :returns: the content of result.json as `engine.growth_result.describe` documents it; its `files` name what lies in
        `out`: `overlay`, for `growth_files.read_overlay`.
    """
    request = _request(Arguments(given))
    watch = StopWatch()
    tumor = open_tumor(request, watch, lambda fraction, message: progress(0.2 * fraction, message))
    grown = grow(
        tumor.patient,
        tumor.core,
        tumor.whole,
        request.options,
        database=tumor.database,
        watch=watch,
        progress=lambda fraction, message: progress(0.2 + 0.65 * fraction, message),
    )
    progress(0.85, "Bringing the density back into the patient")
    density = watch.time("back", lambda: volume_to_patient(grown.fit.density, grown.alignment, tumor.patient.t1c.grid))
    result = result_of(grown, density, request.options, len(tumor.database), tumor.masks_from)
    progress(0.95, "Growing the tumor step by step")
    watch.time("stages", lambda: write_overlay(request.out / OVERLAY_FILE, _overlay(grown)))
    result["files"] = {"overlay": OVERLAY_FILE}
    result["seconds"] = watch.seconds()
    write_result(request.out, result)
    progress(1.0, "Done")
    return result


def growth_stages(given: dict, progress: Progress) -> dict:
    """Grow one simulated tumor, such as another match of a fit.

    Arguments: `out` (folder) and, as in `matches` of a fit, `origin_atlas_mm`, `lambda_mm2` and `tau`.

    :returns: `files`, which names what lies in `out`: `stages`, for `growth_files.read_stages`.
    """
    arguments = Arguments(given)
    out = arguments.needed("out", read.path)
    origin = arguments.needed("origin_atlas_mm", lambda value: tuple(float(x) for x in value))
    spread, tau = arguments.needed("lambda_mm2", float), arguments.needed("tau", float)
    arguments.done()
    prepare_folder(out)
    progress(0.0, "Growing the tumor step by step")
    try:
        stages = _stages(GrowthParameters(origin, spread, tau))
    except InvalidGrowth as error:
        raise InvalidRequest(f"No tumor can be grown so: {error}") from error
    write_stages(out / STAGES_FILE, cut_out(stages))
    return {"files": {"stages": STAGES_FILE}}


def _request(arguments: Arguments) -> GrowthRequest:
    defaults = GrowthOptions()
    request = GrowthRequest(
        t1c=arguments.needed("t1c", read.path),
        out=arguments.needed("out", read.path),
        flair=arguments.get("flair", read.path),
        core=arguments.get("core", read.path),
        whole=arguments.get("whole", read.path),
        box=arguments.get("box", lambda value: read.boxes([value])[0]),
        around=arguments.get("around", read.text, "core"),
        options=GrowthOptions(
            k=arguments.get("k", read.count, defaults.k),
            deformable=arguments.get("deformable", read.flag, defaults.deformable),
        ),
        model=arguments.get("model", read.path),
        device=arguments.get("device", read.text),
    )
    folder, tumor = arguments.get("result", read.path), arguments.get("tumor", read.row, 0)
    arguments.done()
    return request if folder is None else _of_search(request, folder, tumor)


def _of_search(request: GrowthRequest, folder: Path, number: int) -> GrowthRequest:
    """The same about a tumor of an earlier search, with the masks that it has written."""
    if request.core or request.whole or request.box:
        raise InvalidRequest("Give `result` or masks and a box, not both: each says where the tumor is.")
    path = folder / "result.json"
    try:
        tumors = json.loads(path.read_text(encoding="utf-8"))["tumors"]
        boxes = [read.boxes([tumor["box"]])[0] for tumor in tumors]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(f"{path} is no result of a search ({error}); search again.") from error
    if number >= len(boxes):
        raise InvalidRequest(f"The search in {folder} had {len(boxes)} boxes; there is no number {number}.")
    masks = {"core": folder / MASKS["tumor_core"], "whole": folder / MASKS["whole_tumor"]}
    return replace(request, **masks, box=boxes[number] if len(boxes) > 1 else None)


def _overlay(grown: Grown) -> Overlay:
    *stages, spread = cut_out([*_stages(grown.fit.parameters), grown.fit.spread])
    alignment = grown.alignment
    if not isinstance(alignment, DeformableAlignment):
        return Overlay(stages, spread, alignment.patient_to_atlas)
    bend = Bend(alignment.grid, alignment.to_straight, alignment.from_straight)
    return Overlay(stages, spread, alignment.affine.patient_to_atlas, bend)


def _stages(parameters: GrowthParameters) -> list[Volume]:
    return [snapshot.density for snapshot in simulate_series(load_growth_atlas(), parameters, STAGES)]


TASKS: dict[str, Task] = {"growth": growth, "growth_stages": growth_stages}
