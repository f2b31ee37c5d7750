"""Small scans that are different on every side, so that a mistaken side or direction shows."""

import numpy as np

from TumorRetrievalLib.imaging.volume import LabelMap, Volume

BRIGHT = (-18.0, 6.0, 12.0)
"""Where the phantom's only bright voxel lies, RAS mm: left, front, top."""


def turned(degrees: float, axis: int = 2) -> np.ndarray:
    """A rotation about R, A or S, shape (3, 3)."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(np.radians(degrees))
    matrix[b, a] = np.sin(np.radians(degrees))
    matrix[a, b] = -matrix[b, a]
    return matrix


AXES = {
    "upright": np.diag([2.0, 3.0, 4.0]),
    "left-handed": np.diag([-2.0, 3.0, 4.0]),
    "oblique": turned(25) @ turned(-15, axis=0) @ np.diag([2.0, 3.0, 4.0]),
    "sideways": np.array([[0.0, 0.0, 4.0], [-2.0, 0.0, 0.0], [0.0, 3.0, 0.0]]),
}
"""Directions and lengths of the voxel edges, as columns, for scans that are stored in different ways."""


def phantom(axes: np.ndarray) -> Volume:
    """A scan with noise everywhere and its largest value at `BRIGHT`."""
    data = np.random.default_rng(4).uniform(10, 50, (20, 18, 14)).astype(np.float32)
    where = (13, 9, 8)
    data[where] = 500.0
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = np.array(BRIGHT) - axes @ np.array(where)
    return Volume(data, affine)


def ball(grid, center, radius: float) -> LabelMap:
    """A ball (RAS mm) as a mask on a grid."""
    inside = np.linalg.norm(grid.voxel_centres() - np.asarray(center, float), axis=1) <= radius
    return LabelMap(inside.reshape(grid.shape).astype(np.uint8), grid.affine)


def brightest(volume: Volume) -> np.ndarray:
    """Where the largest value lies, RAS mm."""
    return volume.grid.to_world(np.unravel_index(np.argmax(volume.data), volume.shape))
