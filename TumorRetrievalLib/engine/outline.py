"""From the network's probabilities on its cube to masks on the scan's own grid."""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.tumor_crop import voxels_inside
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.retrieval.embedder import Reading, TumorReader

_LEEWAY = 1.2
"""What a box encloses ends at most this factor outside it: hands draw boxes a little tight."""


@dataclass(frozen=True, eq=False)
class Outline:
    """One tumor on the scan's grid.

    :param region: the part of the scan that the masks fill.
    :param core: bool, the tumor core; :param whole: bool, core and oedema; both of the region's shape.
    :param core_ml: :param whole_ml: their volumes in millilitres.
    """

    region: tuple[slice, slice, slice]
    core: np.ndarray
    whole: np.ndarray
    core_ml: float
    whole_ml: float


def outline_tumor(reading: Reading, box: Box, around: str, reader: TumorReader, grid: Grid) -> Outline:
    """Bring what was read in a box to the scan's grid and keep what belongs to this box.

    What the box was drawn around stays inside it, with some leeway; and only parts that touch the box count.
    """
    region = _region_of(reading.core.grid, grid)
    part = _part(grid, region)
    core = resample(reading.core, part).data > reader.threshold("core", around)
    whole = (resample(reading.whole, part).data > reader.threshold("whole", around)) | core
    roomy = voxels_inside(Box(box.center, box.size * _LEEWAY, box.axes), part)
    drawn = voxels_inside(box, part)
    core &= roomy
    if around == "whole":
        whole &= roomy
    core = _with_what_it_encloses(_touching(core, drawn))
    whole = _touching(whole | core, drawn | core)
    return Outline(region, core, whole, float(core.sum()) * grid.voxel_ml, float(whole.sum()) * grid.voxel_ml)


def tumor_box(core: np.ndarray, outline: Outline, grid: Grid) -> Box | None:
    """The box, aligned with RAS, around a tumor core that was outlined; None if there is no core."""
    if not core.any():
        return None
    points = _part(grid, outline.region).to_world(np.argwhere(core))
    half = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
    low, high = points.min(axis=0) - half, points.max(axis=0) + half
    return Box.aligned((low + high) / 2, high - low)


def core_box(box: Box, around: str, outline: Outline, grid: Grid) -> Box:
    """The box around the tumor's core: the drawn one, or the core's own where everything was enclosed."""
    return box if around == "core" else tumor_box(outline.core, outline, grid) or box


def merge(outlines: list[Outline], grid: Grid) -> tuple[LabelMap, LabelMap]:
    """The core and whole-tumor masks of all boxes on the scan's grid."""
    core, whole = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    for outline in outlines:
        core[outline.region] |= outline.core
        whole[outline.region] |= outline.whole
    return LabelMap(core, grid.affine), LabelMap(whole, grid.affine)


def join(outlines: list[Outline], grid: Grid) -> Outline:
    """Several outlines as one."""
    if len(outlines) == 1:
        return outlines[0]
    bounds = np.array([[(part.start, part.stop) for part in outline.region] for outline in outlines])
    low, high = bounds[:, :, 0].min(axis=0), bounds[:, :, 1].max(axis=0)
    masks = np.zeros((2, *(high - low)), bool)
    for outline, (start, stop) in zip(outlines, bounds.swapaxes(1, 2), strict=True):
        part = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))
        for mask, mine in zip(masks, (outline.core, outline.whole), strict=True):
            mask[part] |= mine
    region = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    core_ml, whole_ml = (float(mask.sum()) * grid.voxel_ml for mask in masks)
    return Outline(region, *masks, core_ml, whole_ml)


def threshold_masks(core: Volume, whole: Volume, limit: float, grid: Grid) -> tuple[LabelMap, LabelMap]:
    """Whole-brain probabilities as masks on the scan's grid."""
    core_mask = resample(core, grid).data > limit
    return LabelMap(core_mask, grid.affine), LabelMap((resample(whole, grid).data > limit) | core_mask, grid.affine)


def _region_of(crop: Grid, grid: Grid) -> tuple[slice, slice, slice]:
    """The voxels of the scan that the network's cube covers."""
    spacing = float(crop.spacing[0])
    cube = Box.aligned(crop.centre(), np.asarray(crop.shape) * spacing)
    return cube.voxel_hull(grid)


def _part(grid: Grid, region: tuple[slice, slice, slice]) -> Grid:
    """The grid of a part of a scan."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world([part.start for part in region])
    return Grid(tuple(part.stop - part.start for part in region), affine)


def _with_what_it_encloses(core: np.ndarray) -> np.ndarray:
    """A tumor core with the holes inside it: necrosis belongs to the core."""
    from scipy import ndimage

    return ndimage.binary_fill_holes(core)


def _touching(mask: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """The connected parts (26-neighbourhood) of a mask that touch an anchor."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    kept = np.unique(parts[anchor & mask])
    return np.isin(parts, kept[kept > 0])
