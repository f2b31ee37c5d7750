"""How well a tumor is outlined in a drawn box, on real scans, beside what needs no network."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.patient import Patient, open_patient, tumor_reader
from TumorRetrievalLib.engine.unprompted import suggest_tumors
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box, box_of_region
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.retrieval.embedder import TumorReader

SCORES = (
    "core_in_box",
    "core_in_box_t1c_only",
    "whole_in_box",
    "core_without_box",
    "whole_without_box",
    "false_boxes",
    "otsu_core_in_box",
    "otsu_whole_in_box",
    "ellipsoid_core_in_box",
    "ellipsoid_whole_in_box",
)

MARGIN = 0.1
"""How much longer than the true mask's extent the edges of a drawn box are."""

OEDEMA = 2
"""The label of oedema in the masks of `--cases`; all their other labels belong to the tumor core."""


def evaluate_segmentation(
    cases: Path,
    json_path: Path | None = None,
    model: Path | None = None,
    device: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict:
    """Dice of the outlined masks in boxes drawn around the true ones, and of what is found without a box.

    :param cases: a folder with one folder per case: `t1c.nii.gz`, `flair.nii.gz` and `seg.nii.gz` (BraTS labels). Cases
        without a segmentation are left out.
    :param json_path: also write the result there.
    :returns: `mean` (score -> mean over the cases; Dice, but for `false_boxes`, the number of boxes that were suggested
        where no tumor is), `cases` (case -> score -> Dice, None where a mask is empty),
        `margin`, `model`.
    :raises UnreadableFile: if no case has a segmentation.
    """
    folders = folders_with_masks(cases)
    reader = tumor_reader(model, device)
    rows = {}
    for number, folder in enumerate(folders):
        if progress is not None:
            progress(number / len(folders), folder.name)
        rows[folder.name] = evaluate_case(folder, reader)
    means = {score: _mean([row[score] for row in rows.values()]) for score in SCORES}
    result = {"mean": means, "cases": rows, "margin": MARGIN, "model": reader.model.sha256}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def folders_with_masks(cases: Path) -> list[Path]:
    """The folders of the cases that have a segmentation, by name.

    :raises UnreadableFile: if there is none.
    """
    folders = sorted(path.parent for path in Path(cases).glob("*/seg.nii.gz"))
    if not folders:
        raise UnreadableFile(f"There is no case with a seg.nii.gz in {cases}. Name the folder that holds the cases.")
    return folders


def read_case(folder: Path) -> tuple[Patient, LabelMap]:
    """The registered scans of a case, FLAIR where there is one, and its segmentation.

    :raises GeometryMismatch: if the segmentation does not lie on the T1c's grid.
    """
    flair = folder / "flair.nii.gz"
    patient = open_patient(folder / "t1c.nii.gz", flair if flair.exists() else None)
    patient.register()
    labels = read_labels(folder / "seg.nii.gz")
    patient.t1c.require_same_grid(labels, f"The segmentation of {folder.name}")
    return patient, labels


def evaluate_case(folder: Path, reader: TumorReader) -> dict[str, float | None]:
    """The scores of one case."""
    both, truth = read_case(folder)
    core, whole = (truth.data > 0) & (truth.data != OEDEMA), truth.data > 0
    alone = open_patient(folder / "t1c.nii.gz")
    if both.scan.brain_on is not None:
        alone.scan = alone.scan.with_brain(both.scan.brain_on)
    bright = both.flair or both.t1c
    found = suggest_tumors(both, reader)
    return {
        "core_in_box": _outlined(both, core, "core", reader),
        "core_in_box_t1c_only": _outlined(alone, core, "core", reader),
        "whole_in_box": _outlined(both, whole, "whole", reader),
        "core_without_box": dice(found.core.data > 0, core) if core.any() else None,
        "whole_without_box": dice(found.whole.data > 0, whole) if whole.any() else None,
        "false_boxes": sum(not whole[box.voxel_hull(both.t1c.grid)].any() for box in found.boxes),
        "otsu_core_in_box": _otsu(both.t1c.data, core, both.t1c.grid),
        "otsu_whole_in_box": _otsu(bright.data, whole, both.t1c.grid) if bright.shape == whole.shape else None,
        "ellipsoid_core_in_box": _ellipsoid(core, both.t1c.grid),
        "ellipsoid_whole_in_box": _ellipsoid(whole, both.t1c.grid),
    }


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two bool arrays; 1 if both are empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 1.0 if total == 0 else 2.0 * np.count_nonzero(first & second) / total


def drawn_box(mask: np.ndarray, grid: Grid, margin: float = MARGIN) -> Box | None:
    """The box around a mask, along the axes of its grid; None if the mask is empty.

    :param margin: share by which each edge is longer than the mask.
    """
    taken = [np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    if len(taken[0]) == 0:
        return None
    exact = box_of_region(grid, tuple(slice(int(t[0]), int(t[-1]) + 1) for t in taken))
    return Box(exact.center, exact.size * (1 + margin), exact.axes)


def _outlined(patient: Patient, truth: np.ndarray, around: str, reader: TumorReader) -> float | None:
    grid = patient.t1c.grid
    box = drawn_box(truth, grid)
    if box is None:
        return None
    outline = read_in_box(patient.scan, box, around, reader, grid).outline
    answer = np.zeros(truth.shape, bool)
    answer[outline.region] = outline.core if around == "core" else outline.whole
    return dice(answer, truth)


def _otsu(image: np.ndarray, truth: np.ndarray, grid: Grid) -> float | None:
    """The brighter class of Otsu's threshold inside the box."""
    box = drawn_box(truth, grid)
    if box is None:
        return None
    hull = box.voxel_hull(grid)
    inside = image[hull]
    return dice(inside > otsu_threshold(inside), truth[hull])


def otsu_threshold(values: np.ndarray) -> float:
    """The threshold that separates two classes with the largest variance between them (Otsu 1979); 256 bins."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(float)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_below = np.cumsum(counts * middles) / below
        mean_above = (np.sum(counts * middles) - np.cumsum(counts * middles)) / above
        between = below * above * (mean_below - mean_above) ** 2
    return float(middles[int(np.nanargmax(between))])


def _ellipsoid(truth: np.ndarray, grid: Grid) -> float | None:
    """The ellipsoid inscribed in the box: what the box alone says about a tumor."""
    box = drawn_box(truth, grid)
    if box is None:
        return None
    hull = box.voxel_hull(grid)
    radius = (((grid.voxel_centres(hull) - box.center) @ box.axes / (box.size / 2)) ** 2).sum(axis=1)
    return dice((radius <= 1).reshape([part.stop - part.start for part in hull]), truth[hull])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None
