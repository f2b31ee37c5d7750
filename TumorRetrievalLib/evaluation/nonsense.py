"""Boxes and scans in which there is no tumor: healthy places, noise, clouds, and a trunk with organs."""

import numpy as np

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid, Volume

_ATTEMPTS = 500
_CLOUD_VOXELS = 3.0
_ORGANS = 6


def healthy_box(
    brain: np.ndarray, tumor: np.ndarray, grid: Grid, size: np.ndarray, rng: np.random.Generator
) -> Box | None:
    """A box in the brain and away from every tumor; None if hardly any place has room for it.

    :param brain: :param tumor: bool, on the grid.
    :param size: edges in mm.
    """
    tissue = np.argwhere(brain)
    for _ in range(_ATTEMPTS):
        box = Box.aligned(grid.to_world(tissue[rng.integers(len(tissue))][None])[0], size)
        hull = box.voxel_hull(grid)
        if brain[hull].mean() > 0.85 and not tumor[hull].any():
            return box
    return None


def noise_like(image: Volume, rng: np.random.Generator) -> Volume:
    """White noise where an image has signal, with its mean and spread."""
    signal = image.data > 0
    values = np.abs(rng.normal(image.data[signal].mean(), image.data[signal].std(), signal.shape))
    return Volume(np.where(signal, values, 0).astype(np.float32), image.affine)


def clouds_like(image: Volume, rng: np.random.Generator) -> Volume:
    """Smooth noise where an image has signal, between 0 and 1."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(rng.normal(size=image.shape), _CLOUD_VOXELS)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return Volume(np.where(image.data > 0, smooth, 0).astype(np.float32), image.affine)


def trunk(grid: Grid, rng: np.random.Generator) -> Volume:
    """A trunk with large smooth organs and a spine: what somebody sees who has chosen the wrong series."""
    from scipy import ndimage

    at = grid.voxel_centres().reshape(*grid.shape, 3) - grid.centre()
    inside = (at[..., 0] / 85) ** 2 + (at[..., 1] / 60) ** 2 < 1
    image = np.where(inside, 0.25, 0.0)
    for _ in range(_ORGANS):
        middle, radii = rng.uniform((-50, -30, -60), (50, 30, 60)), rng.uniform(15, 45, 3)
        image[(((at - middle) / radii) ** 2).sum(-1) < 1] = rng.uniform(0.2, 1)
    image[(at[..., 0] / 12) ** 2 + ((at[..., 1] + 45) / 12) ** 2 < 1] = 0.05
    image = inside * (ndimage.gaussian_filter(image, 0.7) + rng.normal(0, 0.02, image.shape))
    return Volume(image.clip(0).astype(np.float32), grid.affine)
