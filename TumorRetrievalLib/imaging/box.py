"""Boxes that a reader draws around a tumor, in world coordinates.

A box lives in RAS millimetres and may be rotated; only `voxel_hull` knows about array indices.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from TumorRetrievalLib.errors import BoxOutsideVolume, InvalidBox
from TumorRetrievalLib.imaging.volume import Grid, LabelMap

# Nothing in a scanner lies farther from its centre; larger numbers are metres or typing errors.
_FARTHEST_MM = 1e5
# Affines in files are rounded (NIfTI's to seven digits), and a box may end exactly where a voxel begins.
_SLIVER_VOXELS = 1e-3


@dataclass(frozen=True, eq=False)
class Box:
    """An oriented box.

    :param center: RAS mm, shape (3,).
    :param size: edge lengths in mm, shape (3,), all > 0.
    :param axes: unit edge directions as columns, shape (3, 3); identity means aligned with RAS.
    :raises InvalidBox: if a number is not finite or absurdly large, an edge is not longer than zero, or the axes are
        not orthonormal.
    """

    center: np.ndarray
    size: np.ndarray
    axes: np.ndarray

    def __post_init__(self):
        for name, shape in (("center", (3,)), ("size", (3,)), ("axes", (3, 3))):
            value = np.array(getattr(self, name), dtype=np.float64)
            # Written so that NaN fails it too.
            if value.shape != shape or not np.all(np.abs(value) < _FARTHEST_MM):
                raise InvalidBox(f"A box's {name} needs {shape} numbers of plausible size, not {value.tolist()}.")
            object.__setattr__(self, name, value)
        if np.any(self.size <= 0):
            raise InvalidBox(f"A box needs three edges longer than 0 mm, not {self.size.tolist()}.")
        if not np.allclose(self.axes.T @ self.axes, np.eye(3), atol=1e-3):
            raise InvalidBox("A box's axes must be unit vectors at right angles.")

    @classmethod
    def aligned(cls, center, size) -> "Box":
        """A box whose edges run along R, A and S."""
        return cls(center, size, np.eye(3))

    def corners(self) -> np.ndarray:
        """The eight corners, RAS mm, shape (8, 3)."""
        signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, 8)
        return self.center + (self.axes @ (signs * self.size[:, None])).T

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which points (RAS mm, shape (n, 3)) lie inside or on the box; shape (n,), bool."""
        return np.all(np.abs((np.asarray(points, float) - self.center) @ self.axes) <= self.size / 2 + 1e-9, axis=-1)

    def voxel_hull(self, grid: Grid) -> tuple[slice, slice, slice]:
        """The smallest index range of `grid` that covers the box.

        RoiPool needs an axis-aligned slice of the feature map (Pisov et al. 2018, section 2.2), so a rotated box, or
        a box on an oblique scan, is replaced by the hull of its corners. A voxel counts if more than a thousandth of
        its edge lies in that hull. A box thinner than a voxel still gets the voxel it lies in.

        :raises BoxOutsideVolume: if the hull does not touch the grid.
        """
        ijk = grid.to_voxel(self.corners())
        low = np.floor(ijk.min(axis=0) + 0.5 + _SLIVER_VOXELS).astype(int)
        high = np.maximum(np.ceil(ijk.max(axis=0) + 0.5 - _SLIVER_VOXELS).astype(int), low + 1)
        low, high = np.clip(low, 0, grid.shape), np.clip(high, 0, grid.shape)
        if np.any(high <= low):
            raise BoxOutsideVolume(
                f"The box at R {self.center[0]:.0f}, A {self.center[1]:.0f}, S {self.center[2]:.0f} mm lies outside "
                f"the scan, which is centred at {np.round(grid.centre()).astype(int).tolist()}. "
                f"Coordinates are RAS millimetres: check their signs."
            )
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))

    def distorted(self, rng: np.random.Generator) -> "Box":
        """An inaccurately drawn copy: Pisov et al. 2018, Eq. 2, along each edge."""
        scale = 2.0 ** rng.normal(0.0, 1.0 / 3.0, 3)
        shift = self.size * rng.normal(0.0, 1.0 / 10.0, 3)
        return Box(self.center + self.axes @ shift, self.size * scale, self.axes)


def parse_box(text: str) -> Box:
    """A box from the command line's `R,A,S,dR,dA,dS` (centre and size, mm).

    :raises InvalidBox: if that is not six finite numbers, or a size is not above zero.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise InvalidBox(f"A box is six numbers R,A,S,dR,dA,dS in mm (centre and size), not {text!r}.")
    return Box.aligned(numbers[:3], numbers[3:])


def boxes_around_components(labels: LabelMap, smallest_ml: float = 0.05) -> list[Box]:
    """One box per connected part (26-neighbourhood) of a segmentation, the largest first.

    The edges run along the array axes of the segmentation (see `box_of_region`), so an oblique scan gives rotated
    boxes.

    :param smallest_ml: parts below this volume are left out, unless nothing else is there.
    :raises InvalidBox: if the segmentation is empty.
    """
    from scipy import ndimage

    parts, count = ndimage.label(labels.data != 0, structure=np.ones((3, 3, 3)))
    if count == 0:
        raise InvalidBox("The segmentation is empty: there is nothing to draw a box around.")
    sizes = np.bincount(parts.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    kept = [i for i in order if sizes[i] * labels.grid.voxel_ml >= smallest_ml] or [order[0]]
    regions = ndimage.find_objects(parts)
    return [box_of_region(labels.grid, regions[i]) for i in kept]


def box_of_region(grid: Grid, region: tuple[slice, slice, slice]) -> Box:
    """The box that exactly encloses the voxels of an index range.

    Its edges run along the array axes. Its first edge is the one closest to R, the second to A, the third to S,
    whatever the order of the array axes, so that sizes can be compared between scans.
    """
    low = np.array([part.start for part in region], float) - 0.5
    high = np.array([part.stop for part in region], float) - 0.5
    axes = _edge_directions(grid.affine[:3, :3])
    corners = grid.to_world(np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, 8).T) @ axes
    return Box(grid.to_world((low + high) / 2), np.ptp(corners, axis=0), axes)


def _edge_directions(matrix: np.ndarray) -> np.ndarray:
    """Unit vectors at right angles along the columns of `matrix`, in the order R, A, S, as a rotation.

    A sheared grid has no box of its own: the first array axis keeps its direction, and the others follow.
    """
    axes = np.linalg.qr(matrix)[0]
    order = max(permutations(range(3)), key=lambda columns: np.abs(np.diag(axes[:, columns])).sum())
    axes = axes[:, order]
    # This is a rotation: a mirrored one has a trace of at most 1, and the best order always gives more.
    return axes * np.where(np.diag(axes) < 0, -1.0, 1.0)
