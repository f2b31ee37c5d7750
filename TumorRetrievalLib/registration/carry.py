"""Carries images between a patient and the atlas, along a straight or a bent alignment.

Every voxel of the target is taken to its place in the source, and the source is read there once. What arrives in the
patient lies on the scan's own voxels, without a grid in between.
"""

from typing import Protocol

import numpy as np

from TumorRetrievalLib.imaging.crop import crop
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume

_AT_ONCE = 2_000_000  # points; bounds the memory for scans of any size
_MARGIN_MM = 6.0


class Alignment(Protocol):
    """Maps points both ways; an `AtlasAlignment` or a `DeformableAlignment`."""

    def to_atlas(self, points) -> np.ndarray: ...

    def to_patient(self, points) -> np.ndarray: ...


def mask_to_atlas(mask: LabelMap, alignment: Alignment, grid: Grid) -> LabelMap:
    """A patient's mask on a grid in the atlas: the voxels of which it fills at least half.

    :param mask: what is not 0 is marked.
    :param grid: atlas RAS mm.
    """
    marked = np.zeros(grid.shape, bool)
    part = _marked_part(mask)
    region = part and _reached(alignment.to_atlas(_outline(part.grid)), grid)
    if region is None:
        return LabelMap(marked, grid.affine)
    points = grid.voxel_centres(region)
    filled, inside = np.zeros(len(points), np.float32), Volume(part.data != 0, part.affine)
    # Eight points in every voxel, so that voxels of any two sizes can be compared.
    for corner in np.array(np.meshgrid(*[(-0.25, 0.25)] * 3)).reshape(3, 8).T:
        filled += _read(inside, points + grid.affine[:3, :3] @ corner, alignment.to_patient)
    marked[region] = (filled >= 4.0).reshape(marked[region].shape)
    return LabelMap(marked, grid.affine)


def volume_to_patient(volume: Volume, alignment: Alignment, grid: Grid) -> Volume:
    """A volume of the atlas on a grid in the patient, linearly; 0 outside it and where it is 0 all around.

    :param grid: patient RAS mm; usually the scan's own.
    """
    values = np.zeros(grid.shape, np.float32)
    occupied = _marked_part(LabelMap(volume.data != 0, volume.affine))
    region = occupied and _reached(alignment.to_patient(_outline(occupied.grid)), grid)
    if region is None:
        return Volume(values, grid.affine)
    rows = max(1, _AT_ONCE // max(1, int(np.prod([part.stop - part.start for part in region[1:]]))))
    for start in range(region[0].start, region[0].stop, rows):
        slab = (slice(start, min(start + rows, region[0].stop)), *region[1:])
        values[slab] = _read(volume, grid.voxel_centres(slab), alignment.to_atlas).reshape(values[slab].shape)
    return Volume(values, grid.affine)


def _marked_part(mask: LabelMap) -> LabelMap | None:
    """The marked voxels with one more around them; None if there are none."""
    bounds = []
    for axis in range(3):
        where = np.flatnonzero(mask.data.any(axis=tuple({0, 1, 2} - {axis})))
        if where.size == 0:
            return None
        bounds.append((where[0] - 1, where[-1] + 2))
    low, high = np.array(bounds).T
    return crop(mask, low, tuple(high - low))


def _outline(grid: Grid) -> np.ndarray:
    """Points all over the six faces of a grid: where they go, what is inside goes too."""
    steps = [np.linspace(-0.5, n - 0.5, 12) for n in grid.shape]
    points = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    on_face = np.zeros(points.shape[:3], bool)
    for axis in range(3):
        np.moveaxis(on_face, axis, 0)[[0, -1]] = True
    return grid.to_world(points[on_face])


def _reached(points: np.ndarray, grid: Grid) -> tuple[slice, slice, slice] | None:
    """The voxels of a grid around some points (RAS mm); None if there are none."""
    index = grid.to_voxel(points)
    # Between the points a bent face can bulge; the bend is smooth, so a few millimetres are enough.
    margin = np.ceil(_MARGIN_MM / grid.spacing) + 1
    low = np.clip(np.floor(index.min(axis=0) - margin), 0, grid.shape).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + margin) + 1, 0, grid.shape).astype(int)
    if np.any(high <= low):
        return None
    return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))


def _read(volume: Volume, points: np.ndarray, to_source) -> np.ndarray:
    """The volume, linearly, where `to_source` takes points (n, 3); 0 outside it."""
    from scipy import ndimage

    index = volume.grid.to_voxel(to_source(points)).T
    # "grid-constant": "constant" would turn a border voxel into 0 for a rounding error of its coordinate.
    return ndimage.map_coordinates(volume.data, index, order=1, mode="grid-constant", cval=0.0)
