"""Outlines tumors in a whole brain, without a box: a first suggestion of where to draw one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.engine.find import MASKS, prepare_folder
from TumorRetrievalLib.engine.outline import threshold_masks
from TumorRetrievalLib.engine.patient import StopWatch, open_patient, tumor_reader
from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import boxes_around_components
from TumorRetrievalLib.imaging.files import write_labels

SMALLEST_ML = 0.3
"""Smaller parts are not suggested as boxes: most of them are vessels."""


@dataclass(frozen=True)
class SegmentRequest:
    """What a user asks for; as in `engine.find.FindRequest`."""

    t1c: Path
    out: Path
    flair: Path | None = None
    model: Path | None = None
    device: str | None = None


def segment_brain(request: SegmentRequest, progress: Callable[[float, str], None] | None = None) -> dict:
    """Outline whatever looks like a tumor in a scan.

    Writes `tumor_core.nii.gz`, `whole_tumor.nii.gz` and `segment.json` into `request.out`. The network was trained
    mostly with boxes: without one, expect misses and false alarms.

    :returns: the content of segment.json: `boxes` (suggestions around each core, RAS mm), `core_ml`, `whole_ml`,
        `masks`, `seconds`, `notes`.
    :raises TumorRetrievalError: with what was wrong and what to do.
    """
    report = progress or (lambda fraction, message: None)
    watch = StopWatch()
    report(0.0, "Reading the scan")
    reader = tumor_reader(request.model, request.device)
    patient = watch.time("read", lambda: open_patient(request.t1c, request.flair))
    prepare_folder(request.out)
    watch.time("registration", lambda: patient.register(lambda f, m: report(0.05 + 0.2 * f, m)))
    core, whole = watch.time(
        "tumors", lambda: reader.read_everywhere(patient.scan, lambda f, m: report(0.25 + 0.65 * f, m))
    )
    core_mask, whole_mask = threshold_masks(core, whole, 0.5, patient.t1c.grid)
    write_labels(request.out / MASKS["tumor_core"], core_mask)
    write_labels(request.out / MASKS["whole_tumor"], whole_mask)
    try:
        boxes = boxes_around_components(core_mask, SMALLEST_ML)
    except InvalidBox:
        boxes = []
    result = {
        "boxes": [{"center_ras": box.center.tolist(), "size_mm": box.size.tolist(), "axes": box.axes.tolist()}
                  for box in boxes],
        "core_ml": round(core_mask.volume_ml(), 3),
        "whole_ml": round(whole_mask.volume_ml(), 3),
        "masks": MASKS,
        "seconds": watch.seconds(),
        "notes": [*patient.notes, *reader.notes],
    }  # fmt: skip
    with atomic_file(request.out / "segment.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    report(1.0, "Done")
    return result
