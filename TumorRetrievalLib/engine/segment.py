"""Outlines tumors in a whole brain, without a box: a first suggestion of where to draw one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.engine.find import MASKS, prepare_folder
from TumorRetrievalLib.engine.patient import StopWatch, open_patient, tumor_reader
from TumorRetrievalLib.engine.unprompted import suggest_tumors
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.files import write_labels


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

    :returns: the content of segment.json: `boxes` (suggestions, RAS mm, see `Suggestion`), `core_ml`, `whole_ml`,
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
    found = watch.time("tumors", lambda: suggest_tumors(patient, reader, lambda f, m: report(0.25 + 0.65 * f, m)))
    write_labels(request.out / MASKS["tumor_core"], found.core)
    write_labels(request.out / MASKS["whole_tumor"], found.whole)
    result = {
        "boxes": [{"center_ras": box.center.tolist(), "size_mm": box.size.tolist(), "axes": box.axes.tolist()}
                  for box in found.boxes],
        "core_ml": round(found.core.volume_ml(), 3),
        "whole_ml": round(found.whole.volume_ml(), 3),
        "masks": MASKS,
        "seconds": watch.seconds(),
        "notes": [*patient.notes, *reader.notes],
    }  # fmt: skip
    with atomic_file(request.out / "segment.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    report(1.0, "Done")
    return result
