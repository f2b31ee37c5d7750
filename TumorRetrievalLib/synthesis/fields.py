"""Smooth random fields that belong to a head, not to an array.

A field is a lattice of random numbers over the whole head, read with cubic B-splines. Every raster of the same
synthetic patient (a fine crop for training, a whole scan to look at) therefore shows the same anatomy.
"""

import zlib

import numpy as np
import torch
import torch.nn.functional as F

HEAD_CENTER = (0.0, -18.0, 4.0)
"""Middle of the cube that fields cover, RAS mm (about the middle of the MNI152 brain)."""
HEAD_HALF_WIDTH = 136.0
"""Half the edge of that cube in mm. Beyond it a field repeats its border."""

# The mean over positions of the squared cubic B-spline weights in 1D: to the power 3/2 the spread of a 3D field.
_SPLINE_ENERGY = 151.0 / 315.0

Axes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""World coordinates (RAS mm) of the voxel centres along each axis of an axis-aligned raster."""


def streams(seed: int, name: str) -> tuple[np.random.Generator, torch.Generator]:
    """Two sources of randomness for one purpose of one synthetic patient: the same seed and name, the same numbers.

    Purposes have streams of their own, so that a change in how one is drawn leaves the others as they were.
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
    torch_seed = int(sequence.generate_state(1, np.uint64)[0] >> 1)
    return np.random.default_rng(sequence), torch.Generator().manual_seed(torch_seed)


def axes_of(grid) -> Axes:
    """The three coordinate axes of an axis-aligned RAS grid.

    :raises ValueError: if the grid is rotated or mirrored; scans are made upright and turned by resampling.
    """
    matrix = grid.affine[:3, :3]
    if not np.allclose(matrix, np.diag(np.diag(matrix))) or np.any(np.diag(matrix) < 0):
        raise ValueError("Synthetic anatomy is drawn on grids whose axes run along R, A and S.")
    return tuple(
        torch.as_tensor(grid.affine[k, 3] + matrix[k, k] * np.arange(n), dtype=torch.float32)
        for k, n in enumerate(grid.shape)
    )


def _spline_matrix(coordinates: torch.Tensor, first: float, step: float, knots: int) -> torch.Tensor:
    """Rows of cubic B-spline weights that read a 1D lattice at the given coordinates; shape (n, knots)."""
    position = ((coordinates - first) / step).clamp(1.0, knots - 2.001)
    base = position.floor()
    t = position - base
    weights = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1).div_(
        6.0
    )
    columns = base.long()[:, None] + torch.arange(-1, 3)
    return torch.zeros(len(coordinates), knots).scatter_(1, columns, weights)


class SmoothField:
    """A random field with zero mean and variance about one.

    :param generator: the source of randomness; the field takes its numbers at once.
    :param scale_mm: distance of the lattice points: details are about this large.
    """

    def __init__(self, generator: torch.Generator, scale_mm: float):
        self.scale = float(scale_mm)
        self.knots = int(np.ceil(2 * HEAD_HALF_WIDTH / self.scale)) + 4
        self.lattice = torch.randn((self.knots,) * 3, generator=generator) / _SPLINE_ENERGY**1.5

    def on(self, axes: Axes) -> torch.Tensor:
        """The field on an axis-aligned raster; shape (len(x), len(y), len(z))."""
        firsts = [c - HEAD_HALF_WIDTH - 1.5 * self.scale for c in HEAD_CENTER]
        x, y, z = (_spline_matrix(a, first, self.scale, self.knots) for a, first in zip(axes, firsts, strict=True))
        along_x = torch.einsum("xa,abc->xbc", x, self.lattice)
        return torch.einsum("zc,xyc->xyz", z, torch.einsum("yb,xbc->xyc", y, along_x))


def sample(
    maps: torch.Tensor, origin: torch.Tensor, spacing: float, points: torch.Tensor, outside: str = "zeros"
) -> torch.Tensor:
    """Read maps (channels, X, Y, Z) of an axis-aligned isotropic grid at points; trilinear.

    :param origin: RAS mm of the first voxel's centre, shape (3,).
    :param points: RAS mm, shape (3, ...).
    :param outside: what lies beyond the grid, "zeros" or "border" (the nearest voxel).
    :returns: shape (channels, ...).
    """
    size = torch.tensor(maps.shape[1:], dtype=torch.float32)
    flat = points.reshape(3, -1).T
    unit = ((flat - origin) / spacing) / (size - 1) * 2 - 1
    read = F.grid_sample(maps[None], unit.flip(-1)[None, None, None], align_corners=True, padding_mode=outside)
    return read.reshape(maps.shape[0], *points.shape[1:])


def length(vectors: torch.Tensor) -> torch.Tensor:
    """Euclidean length along the first axis. Summing planes is five times faster here than `Tensor.norm(dim=0)`."""
    total = vectors[0].square()
    for component in vectors[1:]:
        total = total + component.square()
    return total.sqrt_()
