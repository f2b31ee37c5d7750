"""Outlines tumors in a whole brain when nobody has drawn a box: first where they are, then each one closely."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from TumorRetrievalLib.cohort.foci import find_foci
from TumorRetrievalLib.engine.outline import merge, outline_tumor, threshold_masks, tumor_box
from TumorRetrievalLib.engine.patient import Patient
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.retrieval.embedder import TumorReader

SMALLEST_ML = 0.3
"""Smaller parts are not suggested: most of them are vessels."""
MOST_BOXES = 12
LIMIT = 0.4
"""Probability from which a voxel is tumor when no box is drawn.

Of .3 and .4 the lower one gave more than half a false box a scan, on twelve synthetic patients of no other use.
"""


@dataclass(frozen=True, eq=False)
class Suggestion:
    """What looks like tumors in a scan.

    :param boxes: around the core of each (around everything where no core is seen), the largest tumor first.
    :param core: :param whole: masks on the scan's grid.
    """

    boxes: list[Box]
    core: LabelMap
    whole: LabelMap


def suggest_tumors(
    patient: Patient, reader: TumorReader, progress: Callable[[float, str], None] | None = None
) -> Suggestion:
    """Find what looks like a tumor, and outline each as if its box had been drawn.

    The network sees where tumors are without a box, and outlines them best with one. So it is asked again, with a box
    around everything that it has seen, and then with one around the core that it finds in there.
    """
    grid = patient.t1c.grid
    _, seen = threshold_masks(*reader.read_everywhere(patient.scan, progress), LIMIT, grid)
    no_core = LabelMap(np.zeros(grid.shape, np.uint8), grid.affine)
    found = [focus for focus in find_foci(no_core, seen, SMALLEST_ML) if focus.whole_ml >= SMALLEST_ML][:MOST_BOXES]
    boxes, outlines = [], []
    for number, focus in enumerate(found, start=1):
        if progress is not None:
            progress(1.0, f"Outlining tumor {number} of {len(found)}")
        box = focus.size.box
        around_all = outline_tumor(reader.read(patient.scan, box, "whole"), box, "whole", reader, grid)
        core = tumor_box(around_all.core, around_all, grid) if around_all.core_ml >= SMALLEST_ML else None
        boxes.append(core or box)
        if core is not None:
            closer = outline_tumor(reader.read(patient.scan, core, "core"), core, "core", reader, grid)
            outlines.append(replace(closer, whole=np.zeros_like(closer.whole)))
            around_all = replace(around_all, core=np.zeros_like(around_all.core))
        outlines.append(around_all)
    core, whole = merge(outlines, grid)
    return Suggestion(boxes, core, LabelMap(whole.data | core.data, grid.affine))
