"""One synthetic patient's head: the MNI152 tissue maps under a random pose, shape and deformation."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.synthesis.fields import Axes, SmoothField, axes_of, length, sample

COARSE_MM = 3.0
"""Resolution of the whole-head maps of depth below the brain's surface."""
COARSE_GRID = Grid.around((0.0, -18.0, 4.0), COARSE_MM, (76, 84, 76))


@dataclass(frozen=True)
class AtlasMaps:
    """MNI152 as a stack that can be read anywhere: gray, white, CSF and ventricle fractions.

    :param maps: float32, shape (4, X, Y, Z), fractions 0..1.
    :param origin: RAS mm of the first voxel's centre, shape (3,).
    :param spacing: mm.
    """

    maps: torch.Tensor
    origin: torch.Tensor
    spacing: float


@lru_cache(maxsize=1)
def atlas_maps() -> AtlasMaps:
    """The bundled atlas. Ventricles are the CSF more than 22 mm below the brain's surface."""
    atlas = load_atlas()
    brain = atlas.brain.data > 0
    gray, white = atlas.gray.data * brain, atlas.white.data * brain
    csf = np.clip(brain - gray - white, 0, 1)
    # The brain of the atlas may touch the array's border, which must count as surface.
    depth = ndimage.distance_transform_edt(np.pad(brain, 1))[1:-1, 1:-1, 1:-1]
    ventricle = csf * ((csf > 0.5) & (depth > 22))
    maps = torch.from_numpy(np.stack([gray, white, csf, ventricle]).astype(np.float32))
    affine = atlas.brain.affine
    if not np.allclose(affine[:3, :3], np.eye(3) * affine[0, 0]):
        raise ValueError("The bundled atlas must lie on an upright isotropic RAS grid.")
    return AtlasMaps(maps, torch.tensor(affine[:3, 3], dtype=torch.float32), float(affine[0, 0]))


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation about R, A and S in turn; angles in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


class Anatomy:
    """A head: where each of its points lies in the atlas, and what tissue is there.

    :param rng: pose and shape; :param generator: the smooth deformation. Both are consumed.
    """

    def __init__(self, rng: np.random.Generator, generator: torch.Generator):
        shear = np.eye(3) + np.triu(rng.uniform(-0.06, 0.06, (3, 3)), 1)
        head = _rotation(np.deg2rad(rng.uniform(-10, 10, 3))) @ np.diag(rng.uniform(0.88, 1.16, 3)) @ shear
        self._inverse = torch.tensor(np.linalg.inv(head), dtype=torch.float32)
        self._pivot = torch.tensor((0.0, -18.0, 4.0))
        self._shift = torch.tensor(rng.uniform(-4, 4, 3), dtype=torch.float32)
        self._bends = [
            (float(rng.uniform(1.0, 4.5)), [SmoothField(generator, 36.0) for _ in range(3)]),
            (float(rng.uniform(0.2, 1.0)), [SmoothField(generator, 14.0) for _ in range(3)]),
        ]
        self.ventricle_growth = float(rng.uniform(2.0, 6.0)) if rng.random() < 0.45 else 0.0
        self._ventricle_field = SmoothField(generator, 30.0)

    def affine_to_atlas(self) -> np.ndarray:
        """The straight part of `to_atlas`, patient RAS mm -> atlas RAS mm, shape (4, 4): what a registration finds."""
        matrix = np.eye(4)
        matrix[:3, :3] = self._inverse.numpy()
        matrix[:3, 3] = self._pivot.numpy() - self._inverse.numpy() @ (self._pivot + self._shift).numpy()
        return matrix

    def to_atlas(self, axes: Axes, pull: torch.Tensor | None = None) -> torch.Tensor:
        """Atlas coordinates (mm) of every point of a raster, shape (3, X, Y, Z).

        :param pull: displacement in patient mm towards which mass effect has pushed tissue; subtracted first.
        """
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        bend = torch.stack([sum(mm * fields[k].on(axes) for mm, fields in self._bends) for k in range(3)])
        if pull is not None:
            points = points - pull
        flat = (points - (self._pivot + self._shift)[:, None, None, None]).reshape(3, -1)
        return (self._inverse @ flat).reshape(points.shape) + self._pivot[:, None, None, None] + bend

    def tissue(self, axes: Axes, atlas_points: torch.Tensor) -> torch.Tensor:
        """Fractions of gray, white, CSF, ventricle, shape (4, X, Y, Z), with this patient's own ventricle size."""
        atlas = atlas_maps()
        tissue = sample(atlas.maps, atlas.origin, atlas.spacing, atlas_points)
        if self.ventricle_growth:
            # Looking up the ventricles a few mm further in makes them wider: a cheap, smooth dilation.
            toward = torch.tensor((0.0, -12.0, 8.0))[:, None, None, None] - atlas_points
            step = toward / length(toward).clamp(min=8.0) * self.ventricle_growth
            grown = sample(atlas.maps[3:], atlas.origin, atlas.spacing, atlas_points - step)[0]
            grown = torch.maximum(grown, sample(atlas.maps[3:], atlas.origin, atlas.spacing, atlas_points + step)[0])
            grown = grown * (self._ventricle_field.on(axes) > -0.9) * (tissue[:3].sum(0) > 0.5)
            ventricle = torch.maximum(tissue[3], grown)
            gray, white = tissue[:2] * (1 - ventricle)
            tissue = torch.stack([gray, white, torch.maximum(tissue[2], ventricle), ventricle])
        return tissue


@dataclass(frozen=True)
class HeadMaps:
    """Whole-head maps on `COARSE_GRID`, read by interpolation.

    :param atlas_points: atlas mm, shape (3, ...).
    :param tissue: fractions, shape (4, ...).
    :param depth: mm below the brain's surface; negative outside the brain: mm above it.
    """

    atlas_points: torch.Tensor
    tissue: torch.Tensor
    depth: torch.Tensor

    def read(self, values: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Interpolate a coarse map (X, Y, Z) at points (3, ...)."""
        origin = torch.tensor(COARSE_GRID.affine[:3, 3], dtype=torch.float32)
        return sample(values[None], origin, COARSE_MM, points, outside="border")[0]


def head_maps(anatomy: Anatomy) -> HeadMaps:
    """Survey a head: what tumors need to find their place, and skulls to grow around the brain."""
    axes = axes_of(COARSE_GRID)
    points = anatomy.to_atlas(axes)
    tissue = anatomy.tissue(axes, points)
    brain = (tissue[:3].sum(0) > 0.5).numpy()
    inside = ndimage.distance_transform_edt(brain) * COARSE_MM
    outside = ndimage.distance_transform_edt(~brain) * COARSE_MM
    # A distance transform counts to the next voxel's centre; the surface lies half a voxel before it.
    depth = np.where(brain, inside - COARSE_MM / 2, COARSE_MM / 2 - outside).astype(np.float32)
    return HeadMaps(points, tissue, torch.from_numpy(depth))
