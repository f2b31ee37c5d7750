"""Cutting a part out of a scan or a segmentation, with padding where the part reaches beyond it."""

from typing import TypeVar

import numpy as np

from TumorRetrievalLib.imaging.volume import LabelMap, Volume

Image = TypeVar("Image", Volume, LabelMap)


def crop(image: Image, low, shape: tuple[int, int, int], *, fill: float = 0) -> Image:
    """The `shape` voxels from the index `low` on, at the place in the world where they were.

    :param image: a Volume or a LabelMap.
    :param low: index of the first voxel, shape (3,); negative to begin before the first voxel of `image`.
    :param shape: number of voxels along (i, j, k); may reach beyond `image`, or lie outside it altogether.
    :param fill: the value of the padding.
    :returns: a copy, of the type of `image`.
    """
    low = np.asarray(low, dtype=int)
    data = np.full(shape, fill, image.data.dtype)
    first = np.clip(low, 0, image.shape)
    last = np.clip(low + shape, first, image.shape)
    inside = tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))
    if np.all(last > first):
        data[inside] = image.data[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    affine = image.affine.copy()
    affine[:3, 3] = image.grid.to_world(low)
    return type(image)(data, affine)
