"""Smooth displacements on a grid: reading, composing and reversing them.

A displacement field says, for every voxel of an upright grid, how far its point moves (mm along R, A and S). Following
one velocity for a while gives a displacement that folds nothing, and following it backwards gives its inverse
(Arsigny et al. 2006, "A log-Euclidean framework for statistics on diffeomorphisms").
"""

import numpy as np

from TumorRetrievalLib.imaging.volume import Grid


def displacement_at(field: np.ndarray, grid: Grid, points) -> np.ndarray:
    """A field between its voxels, linearly; zero outside its grid.

    :param field: mm, float32 (3, i, j, k).
    :param grid: where its voxels lie; axes along R, A, S.
    :param points: RAS mm, shape (..., 3).
    :returns: mm, shape (..., 3).
    """
    from scipy import ndimage

    points = np.asarray(points, float)
    # The grid is upright, so each coordinate needs one row of numbers and not a matrix.
    index = ((points - grid.affine[:3, 3]) / grid.spacing).reshape(-1, 3).T
    moved = [ndimage.map_coordinates(part, index, order=1, mode="constant", cval=0.0) for part in field]
    return np.stack(moved, axis=-1).reshape(points.shape)


def follow(velocity: np.ndarray, spacing: float, halvings: int) -> np.ndarray:
    """The displacement after following a velocity for one unit of time, by scaling and squaring.

    :param velocity: mm, float32 (3, i, j, k), on a grid of cubic voxels.
    :param spacing: voxel edge, mm.
    :param halvings: 2 to this power is the number of small steps.
    """
    field = velocity / np.float32(2**halvings)
    for _ in range(halvings):
        field = compose(field, field, spacing)
    return field


def compose(outer: np.ndarray, inner: np.ndarray, spacing: float) -> np.ndarray:
    """The displacement of going along `inner` first and then along `outer`; both (3, i, j, k) in mm."""
    index = moved_index(inner, spacing)
    return inner + np.stack([sample(part, index) for part in outer])


def moved_index(field: np.ndarray, spacing: float) -> np.ndarray:
    """Where every voxel goes, as fractional indices, shape (3, i, j, k)."""
    index = field / np.float32(spacing)
    for axis, length in enumerate(field.shape[1:]):
        index[axis] += np.arange(length, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return index


def sample(image: np.ndarray, index: np.ndarray) -> np.ndarray:
    """An image at fractional indices (3, ...), linearly; beyond its border it goes on as it ends."""
    from scipy import ndimage

    return ndimage.map_coordinates(image, index, order=1, mode="nearest")


def reversed_exactly(field: np.ndarray, guess: np.ndarray, spacing: float, rounds: int = 4) -> np.ndarray:
    """The displacement that takes back `field`, improved from a guess that is nearly right (fixed points)."""
    for _ in range(rounds):
        index = moved_index(guess, spacing)
        guess = -np.stack([sample(part, index) for part in field])
    return guess


def volume_ratio(field: np.ndarray, spacing: float) -> np.ndarray:
    """How much larger each voxel becomes (the Jacobian determinant); 0 or less where space is folded."""
    slopes = np.stack([np.stack(np.gradient(part, spacing)) for part in field])
    jacobian = np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(3, dtype=field.dtype)
    return np.linalg.det(jacobian)
