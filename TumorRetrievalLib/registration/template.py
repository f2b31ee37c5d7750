"""The atlas as the registration sees it: coarse, with room around the brain."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.registration.atlas import load_atlas

SPACING_MM = 3.0
"""Voxel edge for the whole registration; a brain's pose needs no finer detail."""

_MARGIN_MM = 33.0
_COMPARED_TO_MM = 10.0
_DARKEST_BRAIN = 30.0
"""Fluid inside the brain stays brighter than the nothing around it, which is 0."""


@dataclass(frozen=True, eq=False)
class Template:
    """The bare brain in atlas space and the part of it that counts.

    :param image: float32 (i, j, k); T1, 0 outside the brain.
    :param compared: bool, same shape; where patient and template are compared: the brain and 10 mm around it, so that
        its outline counts.
    :param brain: bool, same shape; the atlas brain.
    :param grid: where the voxels lie, atlas RAS mm.
    """

    image: np.ndarray
    compared: np.ndarray
    brain: np.ndarray
    grid: Grid


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template, made once per process."""
    from scipy import ndimage

    atlas = load_atlas()
    extent = np.array(atlas.grid.shape) - 1 + 2 * _MARGIN_MM
    grid = Grid.around(atlas.grid.centre(), SPACING_MM, tuple(np.ceil(extent / SPACING_MM).astype(int) + 1))
    t1 = resample(atlas.t1, grid).data
    brain = resample(atlas.brain_volume, grid).data > 0.5
    outside_mm = ndimage.distance_transform_edt(~brain) * SPACING_MM
    image = np.where(brain, np.maximum(t1, _DARKEST_BRAIN), 0.0)
    return Template(image.astype(np.float32), outside_mm <= _COMPARED_TO_MM, brain, grid)
