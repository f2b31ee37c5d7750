"""Where tumor cells can live and how easily they cross from voxel to voxel, laid out for the solver's inner loops.

The diffusivity of a voxel is that of white matter times p_white + p_gray / 10 (Rosier 2022, after Lipkova et al.
2019), with the fractions normalised to one within the tissue; between two voxels it is their harmonic mean, which is
zero towards fluid and bone. That makes the tissue's border one that no cell crosses.
"""

from functools import lru_cache

import numpy as np

from TumorRetrievalLib.growth.atlas import GrowthAtlas
from TumorRetrievalLib.growth.kernels import RUN, Layout
from TumorRetrievalLib.imaging.volume import Grid

GRAY_TO_WHITE = 0.1
_ALIGNMENT = 64


class Tissue:
    """The tissue, cropped and padded: rows along k come in runs of 16 voxels, each starting at a cache line.

    :param mask: bool (i, j, k), where cells can live.
    :param conductances: three float arrays of the same shape; `conductances[a][index]` belongs to the face between a
        voxel and the next one along axis a, relative to the diffusivity in white matter, 0 where nothing passes.
    :param grid: the grid of the mask, with cubic voxels.
    """

    def __init__(self, mask: np.ndarray, conductances, grid: Grid):
        occupied = np.argwhere(mask)
        low, high = occupied.min(axis=0), occupied.max(axis=0) + 1
        extent = high - low
        self.grid = grid
        self.spacing = float(grid.spacing[0])
        self.corner = low - (1, 1, RUN)
        runs = -(-int(extent[2]) // RUN)
        self.shape = (int(extent[0]) + 2, int(extent[1]) + 2, RUN * (runs + 1))
        self._cropped = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        self._inside = (slice(1, -1), slice(1, -1), slice(RUN, RUN + int(extent[2])))
        self.mask = self.embed(mask)
        self.faces = tuple(self.embed(np.asarray(c, np.float32)) for c in conductances)
        occupied_runs = self.mask.reshape(*self.shape[:2], runs + 1, RUN).any(axis=3)
        any_run = occupied_runs.any(axis=2)
        self.layout = Layout(
            *(face.ravel() for face in self.faces),
            first_run=np.where(any_run, occupied_runs.argmax(axis=2), 0),
            end_run=np.where(any_run, runs + 1 - occupied_runs[:, :, ::-1].argmax(axis=2), 0),
            limits=np.array((1, self.shape[0] - 1, 1, self.shape[1] - 1, 1, runs + 1)),
            stride_i=self.shape[1] * self.shape[2],
            stride_j=self.shape[2],
        )

    def embed(self, array: np.ndarray) -> np.ndarray:
        """An array on the whole grid, cut and padded to the layout of the inner loops."""
        embedded = self.empty(array.dtype)
        embedded[self._inside] = array[self._cropped]
        return embedded

    def extract(self, embedded: np.ndarray) -> np.ndarray:
        """The reverse of `embed`; zero outside the tissue's bounds."""
        array = np.zeros(self.grid.shape, embedded.dtype)
        array[self._cropped] = embedded[self._inside]
        return array

    def empty(self, dtype=np.float32) -> np.ndarray:
        """Zeros in the layout of the inner loops, starting at a cache line."""
        size = int(np.prod(self.shape)) * np.dtype(dtype).itemsize
        raw = np.zeros(size + _ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        return raw[start : start + size].view(dtype).reshape(self.shape)

    def box_of(self, density: np.ndarray, margin: int) -> np.ndarray:
        """Rows, rows and runs that hold everything above zero in an embedded array, with a margin: (6,) integers."""
        box = self.layout.limits.copy()
        for axis in range(3):
            where = np.nonzero((density > 0).any(axis=tuple({0, 1, 2} - {axis})))[0]
            low, high = where[0] - margin, where[-1] + 1 + margin
            if axis == 2:
                low, high = low // RUN, -(-high // RUN)
            box[2 * axis] = max(low, box[2 * axis])
            box[2 * axis + 1] = min(high, box[2 * axis + 1])
        return box


@lru_cache(maxsize=3)
def tissue_of(atlas: GrowthAtlas) -> Tissue:
    """The tissue of an atlas; made once per atlas and process."""
    mask = atlas.tissue
    total = np.where(mask, atlas.gray + atlas.white, 1.0)
    diffusivity = np.where(mask, (atlas.white + GRAY_TO_WHITE * atlas.gray) / total, 0.0)
    return Tissue(mask, [_harmonic_faces(diffusivity, axis) for axis in range(3)], atlas.grid)


def _harmonic_faces(diffusivity: np.ndarray, axis: int) -> np.ndarray:
    here = np.moveaxis(diffusivity, axis, 0)
    faces = np.zeros(diffusivity.shape, np.float32)
    total = here[:-1] + here[1:]
    np.moveaxis(faces, axis, 0)[:-1] = 2 * here[:-1] * here[1:] / np.where(total > 0, total, 1.0)
    return faces
