"""How well tumors that share one drawn box are outlined, and whether a single tumor is left whole."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.foci import find_foci
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.outline import Outline, merge, outline_tumor
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.evaluation.segmentation import dice, drawn_box
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import COARSEST_MM, Scan, crop_spacing
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.synthesis.scan import SyntheticScan, synthesize

FIRST_SEED = 9_500_000
"""Of patients that no training, calibration or index uses."""
KINDS = (("glioma", 1), ("metastasis", 3), ("glioma", 1), ("metastasis", 2), ("metastasis", 4))
"""Type and number of tumors of the patients, in turn."""
SMALLEST_ML = 0.5

Progress = Callable[[float, str], None]


def evaluate_shared_boxes(
    patients: int = 30,
    first: int = 0,
    model: Path | None = None,
    json_path: Path | None = None,
    progress: Progress | None = None,
) -> dict:
    """Dice of the tumor cores of a patient in one box around all of them.

    Boxes so large that the network's coarsest voxels do not hold them are left out.

    :param first: number of the first patient. In-box division was designed on the numbers 0 to 29.
    :returns: `table` (kind of box and images -> score): `as drawn`, the Dice of the network's answer about the whole
        box; `each by itself`, that of `engine.in_box`; `divided`, the share of the boxes that were divided; `boxes`.
    """
    reader = tumor_reader(model)
    rows: dict[str, list[tuple[float, float, bool]]] = {}
    for number in range(first, first + patients):
        if progress is not None:
            progress((number - first) / patients, f"patient {number - first + 1} of {patients}")
        made = synthesize(FIRST_SEED + number, *KINDS[number % len(KINDS)])
        for images, flair in (("T1c and FLAIR", made.flair), ("T1c", None)):
            scan = Scan.of(made.t1c, flair, partial(resample_labels, made.brain))
            measured = _measured(scan, made, reader)
            if measured is not None:
                kind = "one tumor" if len(find_foci(made.core, made.core)) == 1 else "several tumors"
                rows.setdefault(f"{kind}, {images}", []).append(measured)
    names = ("as drawn", "each by itself", "divided")
    means = {kind: np.mean(np.array(found, float), axis=0).round(3).tolist() for kind, found in sorted(rows.items())}
    table = {kind: {**dict(zip(names, mean, strict=True)), "boxes": len(rows[kind])} for kind, mean in means.items()}
    result = {"table": table, "patients": patients, "first": first, "model": reader.model.sha256}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _measured(scan: Scan, made: SyntheticScan, reader: TumorReader) -> tuple[float, float, bool] | None:
    """Dice as drawn, Dice of each by itself, and whether the box was divided; None without a box to be drawn."""
    truth, grid = made.core, scan.t1c.grid
    box = drawn_box(truth.data > 0, grid) if truth.volume_ml() >= SMALLEST_ML else None
    if box is None or crop_spacing(box, "core") >= COARSEST_MM:
        return None
    found = read_in_box(scan, box, "core", reader, grid)
    as_drawn = outline_tumor(found.reading, box, "core", reader, grid)
    drawn, parted = (_dice(outline, truth, grid) for outline in (as_drawn, found.outline))
    return drawn, parted, bool(found.boxes)


def _dice(outline: Outline, truth: LabelMap, grid: Grid) -> float:
    return dice(merge([outline], grid)[0].data > 0, truth.data > 0)
