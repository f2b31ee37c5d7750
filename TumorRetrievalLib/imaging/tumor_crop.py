"""The piece of a scan that the network looks at: a cube around the drawn box, at a resolution that fits the tumor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.intensity import has_signal, normalise_crop
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume

CROP = 64
"""Edge of the cube in voxels."""
AROUND = ("core", "whole")
"""What a box can be drawn around: the enhancing core, or everything with its oedema."""

FINEST_MM, COARSEST_MM = 1.0, 3.2
_MARGIN_MM = {"core": 29.0, "whole": 13.0}
"""Room left on each side of the box: oedema reaches beyond a box around the core."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A patient's images, ready to be cut.

    :param t1c: contrast-enhanced T1.
    :param flair: in the same world space, on any grid; None if there is none.
    :param brain_on: gives the brain mask on a grid, from a registration; None if there is none.
    """

    t1c: Volume
    flair: Volume | None
    brain_on: Callable[[Grid], LabelMap] | None
    _signals: tuple[Volume, ...]

    @classmethod
    def of(cls, t1c: Volume, flair: Volume | None = None, brain_on: Callable[[Grid], LabelMap] | None = None) -> "Scan":
        """Finds out where each image has signal, once for all boxes."""
        images = (t1c,) if flair is None else (t1c, flair)
        return cls(t1c, flair, brain_on, tuple(Volume(has_signal(image.data), image.affine) for image in images))

    def with_brain(self, brain_on: Callable[[Grid], LabelMap]) -> "Scan":
        """The same images, with the brain found by a registration."""
        return replace(self, brain_on=brain_on)

    def channels(self) -> list[tuple[Volume, Volume]]:
        """T1c and, if there is one, FLAIR; each with where it has signal (1 or 0)."""
        images = [self.t1c] if self.flair is None else [self.t1c, self.flair]
        return list(zip(images, self._signals, strict=True))


@dataclass(frozen=True, eq=False)
class Crop:
    """What the network is given.

    :param grid: where the cube lies.
    :param image: float32 (4, CROP, CROP, CROP): T1c, FLAIR (0 if none), box around the core, box around everything.
    :param box: the drawn box as half-open voxel ranges i0, i1, j0, j1, k0, k1 of the cube.
    """

    grid: Grid
    image: np.ndarray
    box: list[int]


def crop_spacing(box: Box, around: str) -> float:
    """The voxel edge in mm at which a box and its surroundings just fill the cube, within what training has seen.

    :raises InvalidBox: if `around` is none of `AROUND`.
    """
    _check_around(around)
    edges = np.abs(box.axes) @ box.size
    return float(np.clip((edges.max() + 2 * _MARGIN_MM[around]) / (CROP - 2), FINEST_MM, COARSEST_MM))


def cut_crop(scan: Scan, box: Box, around: str, spacing: float) -> Crop:
    """Cut and normalise the cube around a box.

    :param around: "core" or "whole", what the box was drawn around.
    :raises InvalidBox: if `around` is something else, or the box lies on background alone.
    :raises BoxOutsideVolume: if the box does not touch the scan.
    :raises InvalidImage: if there is no image around the box.
    """
    _check_around(around)
    box.voxel_hull(scan.t1c.grid)
    grid = Grid.around(box.center, spacing, (CROP,) * 3)
    inside = voxels_inside(box, grid)
    brain = None if scan.brain_on is None else scan.brain_on(grid).data > 0
    image = np.zeros((4, *grid.shape), np.float32)
    for channel, (volume, signal) in enumerate(scan.channels()):
        seen = resample(signal, grid).data > 0.5
        if channel == 0 and not seen[inside].any():
            raise InvalidBox("The box holds nothing but background: check that it lies on the brain of this scan.")
        if channel == 0 or seen.any():
            image[channel] = normalise_crop(resample(volume, grid).data, seen, brain, inside)
    image[2 + AROUND.index(around)] = inside
    return Crop(grid, image, [bound for part in box.voxel_hull(grid) for bound in (part.start, part.stop)])


def _check_around(around: str) -> None:
    if around not in AROUND:
        raise InvalidBox(f"A box is drawn around one of {', '.join(AROUND)}, not {around!r}.")


def voxels_inside(box: Box, grid: Grid) -> np.ndarray:
    """Which voxels of a grid have their centre in a (rotated) box, bool; for a box too thin for that, its hull.

    :raises BoxOutsideVolume: if the box does not touch the grid.
    """
    hull = box.voxel_hull(grid)
    filled = np.zeros(grid.shape, bool)
    filled[hull] = box.contains(grid.voxel_centres(hull)).reshape(filled[hull].shape)
    if not filled.any():
        filled[hull] = True
    return filled
