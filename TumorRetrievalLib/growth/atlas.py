"""The tissue that tumors are simulated in: white and gray matter on a coarse cube with a place in the world.

The cube is that of Rosier (2022) and its solver: 128^3 voxels of 229 / 128 mm. Unlike there, its affine is always
carried along, because a mask that is merely "centred in a cube" ends up in another place of the brain.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.atlas import GRAY, WHITE, load_atlas

CUBE_MM = 229.0
VOXELS = 128
TISSUE_THRESHOLD = 0.5
# Where the middle of the brain lies in the cube, as a fraction of its edge (Rosier 2022, section 3.1, ranges of x0).
_BRAIN_CENTRE = np.array((0.425, 0.5, 0.425))
# MNI152: x = 0 falls on a face between voxels, so that the grid is its own mirror image.
_MNI_CORNER_MM = np.array((-54 * CUBE_MM / VOXELS, -132.5, -72.5))
# Whoever changes how the fractions are made has to count this up: simulations of before are then of another atlas.
_RECIPE = "growth atlas 1"


@dataclass(frozen=True, eq=False)
class GrowthAtlas:
    """Tissue fractions on the simulation cube.

    :param gray: fraction of gray matter, 0..1, float32 of shape (n, n, n).
    :param white: fraction of white matter, the same.
    :param affine: voxel -> RAS mm.
    :param fingerprint: SHA-256 of the images and the cube that the fractions were made from.
    """

    gray: np.ndarray
    white: np.ndarray
    affine: np.ndarray
    fingerprint: str

    @property
    def grid(self) -> Grid:
        """The simulation grid."""
        return Grid(self.gray.shape, self.affine)

    @cached_property
    def tissue(self) -> np.ndarray:
        """Where tumor cells can live, bool (n, n, n): mostly gray or white matter, not mostly fluid."""
        return self.gray + self.white >= TISSUE_THRESHOLD

    @cached_property
    def coarse(self) -> "GrowthAtlas":
        """The same tissue on voxels of twice the edge, for what does not need all of them."""
        half = self.gray.shape[0] // 2
        gray, white = (part.reshape(half, 2, half, 2, half, 2).mean(axis=(1, 3, 5)) for part in (self.gray, self.white))
        affine = self.affine @ np.diag((2.0, 2.0, 2.0, 1.0))
        affine[:3, 3] = self.grid.to_world((0.5, 0.5, 0.5))
        return GrowthAtlas(_fixed(gray), _fixed(white), affine, f"{self.fingerprint} coarse")

    def from_cube(self, fractions) -> np.ndarray:
        """A point given in fractions of the cube's edges, as in the thesis, in RAS mm."""
        return self.grid.to_world(np.asarray(fractions, float) * self.gray.shape - 0.5)


@lru_cache(maxsize=2)
def load_growth_atlas(voxels: int = VOXELS) -> GrowthAtlas:
    """The bundled atlas on a cube of `voxels`^3; read once per process.

    :raises MissingResource: if the atlas is missing or damaged.
    """
    atlas = load_atlas()
    return _sample(atlas.gray, atlas.white, _MNI_CORNER_MM, voxels)


def growth_atlas_from_fractions(gray: Volume, white: Volume, voxels: int = VOXELS) -> GrowthAtlas:
    """Another atlas, from its two tissue fractions (0..1) on one grid.

    :raises GeometryMismatch: if the two do not share a grid.
    :raises InvalidImage: if they are not fractions, or hold no tissue.
    """
    gray.require_same_grid(white, "The white matter")
    for name, fraction in (("gray", gray), ("white", white)):
        if fraction.data.min() < 0 or fraction.data.max() > 1:
            raise InvalidImage(f"The fraction of {name} matter must lie between 0 and 1; divide it by its maximum.")
    tissue = np.argwhere(gray.data + white.data >= TISSUE_THRESHOLD)
    if len(tissue) == 0:
        raise InvalidImage("The atlas holds no gray or white matter.")
    corners = np.array(np.meshgrid(*zip(tissue.min(axis=0), tissue.max(axis=0), strict=True))).reshape(3, 8).T
    world = gray.grid.to_world(corners)
    return _sample(gray, white, (world.min(axis=0) + world.max(axis=0)) / 2 - _BRAIN_CENTRE * CUBE_MM, voxels)


def growth_atlas_from_labels(tissue: LabelMap, voxels: int = VOXELS) -> GrowthAtlas:
    """Another atlas, from tissue labels: 1 fluid, 2 gray, 3 white matter (SRI24 and others come so).

    :raises InvalidImage: if there is no gray or white matter in it.
    """
    gray, white = (Volume((tissue.data == label).astype(np.float32), tissue.affine) for label in (GRAY, WHITE))
    return growth_atlas_from_fractions(gray, white, voxels)


def _sample(gray: Volume, white: Volume, corner: np.ndarray, voxels: int) -> GrowthAtlas:
    spacing = CUBE_MM / voxels
    affine = np.diag((spacing, spacing, spacing, 1.0))
    affine[:3, 3] = corner + spacing / 2
    # The images come in steps of 1/255; rounding to them makes the fingerprint the same on every machine.
    sources = [np.rint(fraction.data * 255).astype(np.uint8) for fraction in (gray, white)]
    digest = hashlib.sha256(f"{_RECIPE} {gray.shape} {voxels}".encode())
    for array in (*sources, np.round(gray.affine, 4) + 0.0, np.round(affine, 4) + 0.0):
        digest.update(np.ascontiguousarray(array).tobytes())
    cube = Grid((voxels,) * 3, affine)
    fractions = [resample(Volume(source / np.float32(255), gray.affine), cube).data for source in sources]
    return GrowthAtlas(*map(_fixed, fractions), affine, digest.hexdigest())


def _fixed(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
