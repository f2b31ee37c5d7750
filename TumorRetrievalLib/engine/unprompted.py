"""Outlines tumors in a whole brain when nobody has drawn a box: first where they are, then each one closely."""

from collections.abc import Callable
from dataclasses import dataclass

from TumorRetrievalLib.cohort.foci import Focus, find_foci
from TumorRetrievalLib.engine.outline import merge, outline_tumor, threshold_masks
from TumorRetrievalLib.engine.patient import Patient
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.retrieval.embedder import TumorReader

SMALLEST_ML = 0.3
"""Smaller parts are not suggested: most of them are vessels."""
MOST_BOXES = 12
LIMIT = 0.5
"""Probability from which a voxel is tumor when no box is drawn."""


@dataclass(frozen=True, eq=False)
class Suggestion:
    """What looks like tumors in a scan.

    :param boxes: around the core of each (around everything where no core is seen), the largest first.
    :param core: :param whole: masks on the scan's grid.
    """

    boxes: list[Box]
    core: LabelMap
    whole: LabelMap


def suggest_tumors(
    patient: Patient, reader: TumorReader, progress: Callable[[float, str], None] | None = None
) -> Suggestion:
    """Find what looks like a tumor, and outline each as if its box had been drawn.

    The network sees where tumors are without a box, and outlines them best with one; so it is asked twice.
    """
    grid = patient.t1c.grid
    core, whole = threshold_masks(*reader.read_everywhere(patient.scan, progress), LIMIT, grid)
    foci = [focus for focus in find_foci(core, whole, SMALLEST_ML) if _volume(focus) >= SMALLEST_ML][:MOST_BOXES]
    boxes = [focus.size.box for focus in foci]
    outlines = [
        outline_tumor(reader.read(patient.scan, box, focus.around), box, focus.around, reader, grid)
        for box, focus in zip(boxes, foci, strict=True)
    ]
    return Suggestion(boxes, *merge(outlines, grid))


def _volume(focus: Focus) -> float:
    return focus.core_ml if focus.around == "core" else focus.whole_ml
