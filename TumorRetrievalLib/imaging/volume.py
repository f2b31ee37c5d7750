"""A scan as numbers with a place in the world.

World coordinates are RAS millimetres (x to the patient's right, y to the front, z up). Array axes mean nothing by
themselves: a file may store them left to right or right to left, and only the affine says which.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import GeometryMismatch, InvalidImage

# A voxel farther away, or larger, is the mark of a damaged header.
_FARTHEST_MM = 1e6
# Two scans of one examination show at least this share of each other.
_LEAST_OVERLAP = 0.3


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an array lie.

    :param shape: number of voxels along (i, j, k).
    :param affine: voxel index -> RAS mm, shape (4, 4), finite and invertible.
    :raises InvalidImage: if the geometry cannot be used.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self):
        affine = np.array(self.affine, dtype=np.float64)
        # Written so that NaN fails it too.
        if affine.shape != (4, 4) or not np.all(np.abs(affine) < _FARTHEST_MM):
            raise InvalidImage("The image's affine must be a 4 x 4 matrix of plausible numbers; re-export the image.")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise InvalidImage("The image's affine must end with the row 0 0 0 1; re-export the image.")
        scale = np.linalg.norm(affine[:3, :3], axis=0)
        if np.any(scale < 1e-6) or abs(np.linalg.det(affine[:3, :3] / np.maximum(scale, 1e-12))) < 1e-3:
            raise InvalidImage("The image's affine is singular: its axes do not span space; re-export the image.")
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise InvalidImage(f"An image needs three axes with at least one voxel each, not the shape {self.shape}.")
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def around(cls, center, spacing: float, shape: tuple[int, int, int]) -> "Grid":
        """An axis-aligned RAS grid of isotropic voxels whose middle is `center` (RAS mm)."""
        affine = np.diag([spacing, spacing, spacing, 1.0])
        affine[:3, 3] = np.asarray(center, float) - spacing * (np.asarray(shape) - 1) / 2
        return cls(tuple(shape), affine)

    @property
    def spacing(self) -> np.ndarray:
        """Edge lengths of a voxel in mm, shape (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def to_world(self, ijk) -> np.ndarray:
        """Voxel indices, shape (..., 3), to RAS mm."""
        return np.asarray(ijk, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_voxel(self, ras) -> np.ndarray:
        """RAS mm, shape (..., 3), to (fractional) voxel indices."""
        return (np.asarray(ras, float) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def centre(self) -> np.ndarray:
        """The middle of the grid, RAS mm."""
        return self.to_world((np.asarray(self.shape) - 1) / 2)

    def voxel_centres(self, region: tuple[slice, slice, slice] | None = None) -> np.ndarray:
        """RAS mm of every voxel centre (of `region`), shape (n, 3), in C order."""
        ranges = [np.arange(n)[part] for n, part in zip(self.shape, region or (slice(None),) * 3, strict=True)]
        return self.to_world(np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3))

    def same_as(self, other: "Grid", tolerance_mm: float = 0.05) -> bool:
        """Whether every voxel of both grids lies within `tolerance_mm` of its twin."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, 8).T
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm)

    def overlap(self, other: "Grid") -> float:
        """Shared part of two images' world-aligned bounding boxes, as a share of the smaller one."""
        bounds = []
        for grid in (self, other):
            corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, 8).T
            world = grid.to_world(corners)
            bounds.append((world.min(axis=0), world.max(axis=0)))
        (low_a, high_a), (low_b, high_b) = bounds
        shared = np.prod(np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None))
        return float(shared / min(np.prod(high_a - low_a), np.prod(high_b - low_b)))


class _OnGrid:
    """What volumes and label maps share: an array and the grid that it fills."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def grid(self) -> Grid:
        """The geometry alone."""
        return Grid(self.data.shape, self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (i, j, k)."""
        return self.data.shape

    def require_same_grid(self, other: "_OnGrid", what: str) -> None:
        """:raises GeometryMismatch: if `other` (called `what` in the message) does not lie on this grid."""
        if not self.grid.same_as(other.grid):
            raise GeometryMismatch(
                f"{what} has the shape {other.shape} and lies elsewhere than the scan (shape {self.shape}). "
                f"Resample it onto the scan's grid first."
            )

    def require_overlap(self, other: "_OnGrid", what: str, of: str) -> None:
        """:raises GeometryMismatch: if `other` (called `what`) shows another part of the world than this (`of`)."""
        if self.grid.overlap(other.grid) < _LEAST_OVERLAP:
            raise GeometryMismatch(
                f"{what} lies elsewhere in the world than {of}: they are not of one examination, or one was moved. "
                f"Register the FLAIR to the T1c first, or leave it out."
            )


@dataclass(frozen=True, eq=False)
class Volume(_OnGrid):
    """A scan: float32 (i, j, k), and its affine voxel -> RAS mm.

    :raises InvalidImage: if it is not three-dimensional, holds NaN or infinity, or has no valid geometry.
    """

    data: np.ndarray
    affine: np.ndarray

    def __post_init__(self):
        if np.iscomplexobj(self.data):
            raise InvalidImage("The scan holds complex numbers; export its magnitude.")
        with np.errstate(over="ignore"):
            data = np.asarray(self.data, dtype=np.float32)
        affine = Grid(data.shape, self.affine).affine
        # The extremes are NaN or infinite if any voxel is, and need no second array of a whole scan's size.
        if not np.isfinite([data.min(), data.max()]).all():
            raise InvalidImage("The scan holds voxels that are not finite numbers (NaN or infinity); re-export it.")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "affine", affine)


@dataclass(frozen=True, eq=False)
class LabelMap(_OnGrid):
    """A segmentation: integers (i, j, k), 0 is background, and its affine voxel -> RAS mm.

    :raises InvalidImage: if it is not three-dimensional, not integer, or has no valid geometry.
    """

    data: np.ndarray
    affine: np.ndarray

    def __post_init__(self):
        data = np.asarray(self.data)
        if data.dtype == bool:
            data = data.astype(np.uint8)
        if not np.issubdtype(data.dtype, np.integer):
            raise InvalidImage(f"A segmentation holds whole numbers, not {data.dtype}.")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "affine", Grid(data.shape, self.affine).affine)

    def volume_ml(self) -> float:
        """Volume of everything that is not background, in millilitres."""
        return float(np.count_nonzero(self.data)) * self.grid.voxel_ml
