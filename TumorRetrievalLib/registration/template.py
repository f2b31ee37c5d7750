"""What the atlas is compared with: the bare brain, or the brain inside a head.

A clinical scan has a skull and a scalp, the atlas has not, and a plain registration then stretches the brain until it
fills the head. The MNI template with a skull is not free to bundle, so a head is made around the atlas brain: a dark
layer of fluid and bone, a bright scalp, then air. It need not be exact: mutual information only asks that these layers
be told apart. Below the brain, where there are face and neck instead of layers, nothing is compared.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.registration.atlas import load_atlas

SPACING_MM = 3.0
"""Voxel edge for the whole registration; a brain's pose needs no finer detail."""

_MARGIN_MM = 33.0
_DARKEST_BRAIN = 30.0
"""Fluid inside the brain stays brighter than the nothing around a stripped brain, which is 0."""
_FLUID_TO_MM, _BONE_TO_MM, _SCALP_TO_MM, _AIR_TO_MM = 3.0, 10.0, 17.0, 24.0
_FLUID, _BONE, _SCALP = 60.0, 30.0, 230.0
_STRIPPED_TO_MM = 10.0
_LOWEST_MM = -55.0
_STEEPEST = 0.35
"""Places whose nearest brain lies more steeply above them than this (sine of the angle) are below the brain."""


@dataclass(frozen=True, eq=False)
class Template:
    """An image in atlas space and the part of it that counts.

    :param image: float32 (i, j, k).
    :param compared: bool, same shape; where patient and template are compared.
    :param brain: bool, same shape; the atlas brain.
    :param grid: where the voxels lie, atlas RAS mm.
    """

    image: np.ndarray
    compared: np.ndarray
    brain: np.ndarray
    grid: Grid


@lru_cache(maxsize=2)
def load_template(skull_stripped: bool) -> Template:
    """The template for scans of the bare brain, or for scans of the whole head."""
    from scipy import ndimage

    atlas = load_atlas()
    extent = np.array(atlas.grid.shape) - 1 + 2 * _MARGIN_MM
    grid = Grid.around(atlas.grid.centre(), SPACING_MM, tuple(np.ceil(extent / SPACING_MM).astype(int) + 1))
    t1 = resample(atlas.t1, grid).data
    brain = resample(atlas.brain_volume, grid).data > 0.5
    outside_mm, nearest = ndimage.distance_transform_edt(~brain, return_indices=True)
    outside_mm *= SPACING_MM
    if skull_stripped:
        image = np.where(brain, np.maximum(t1, _DARKEST_BRAIN), 0.0)
        return Template(image.astype(np.float32), outside_mm <= _STRIPPED_TO_MM, brain, grid)
    layers = [outside_mm <= _FLUID_TO_MM, outside_mm <= _BONE_TO_MM, outside_mm <= _SCALP_TO_MM]
    image = np.where(brain, t1, np.select(layers, [_FLUID, _BONE, _SCALP], 0.0))
    height = np.arange(grid.shape[2])
    steepness = (nearest[2] - height) * SPACING_MM / np.maximum(outside_mm, 1e-6)
    above_lowest = height * SPACING_MM + grid.affine[2, 3] > _LOWEST_MM
    compared = (outside_mm <= _AIR_TO_MM) & (brain | (steepness < _STEEPEST)) & above_lowest
    return Template(ndimage.gaussian_filter(image, 0.4).astype(np.float32), compared, brain, grid)
