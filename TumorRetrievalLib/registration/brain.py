"""The brain inside a head, found without the atlas, so that it can judge what the atlas says.

In contrast-enhanced T1 the brain is the one large body of even intensity; bone and fluid part it from the scalp, and
what bridges them (nerves, vessels, the neck's muscles) is thin. So: keep ordinary intensities, peel off 1 cm, keep the
part in the middle of the head, and let it grow back.
"""

import numpy as np

_PEEL_MM = 10.0
_DARKEST, _BRIGHTEST = 0.62, 1.45
"""Ordinary tissue, in units of the median intensity in the middle of the head."""
_TOP_TO_CENTRE_MM = 75.0
_BRAIN_HEIGHT_MM = 110.0
_HEAD_FLOOR = 0.12
"""Air is darker than this share of the scan's brightest tissue."""


def brain_in_head(image: np.ndarray, spacing_mm: float) -> np.ndarray:
    """The brain's voxels in an upright head, with what they enclose.

    :param image: (i, j, k) along R, A and S, the head with its skull.
    :param spacing_mm: voxel edge.
    :returns: bool, same shape; all False where no such body stands out.
    """
    from scipy import ndimage

    low, high = np.percentile(image, (1.0, 99.5))
    head = filled_largest_part(image > low + _HEAD_FLOOR * (high - low), spacing_mm)
    centre = _centre_of_brain(head, spacing_mm)
    if centre is None:
        return np.zeros(image.shape, bool)
    axes = [(np.arange(n) - c) * spacing_mm for n, c in zip(image.shape, centre, strict=True)]
    from_centre = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)
    median = np.median(image[head & (from_centre < 45)]) - low
    ordinary = head & (image - low > _DARKEST * median) & (image - low < _BRIGHTEST * median)
    peeled = ndimage.distance_transform_edt(np.pad(ordinary, 1))[1:-1, 1:-1, 1:-1] * spacing_mm > _PEEL_MM
    parts, count = ndimage.label(peeled)
    if count == 0:
        return np.zeros(image.shape, bool)
    core = parts == 1 + np.argmax(np.bincount(parts[from_centre < 60], minlength=count + 1)[1:])
    grown = (ndimage.distance_transform_edt(~core) * spacing_mm <= _PEEL_MM + spacing_mm / 2) & head
    return ndimage.binary_fill_holes(_closed(grown, _PEEL_MM, spacing_mm))


def filled_largest_part(mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """The largest connected part of a mask, with small gaps closed and holes filled."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return ndimage.binary_fill_holes(_closed(largest, 2 * spacing_mm, spacing_mm))


def _centre_of_brain(head: np.ndarray, spacing_mm: float) -> np.ndarray | None:
    """Voxel index about which the brain lies: in the middle of the head's top, half a brain below the vertex."""
    heights = np.flatnonzero(np.count_nonzero(head, axis=(0, 1)) * spacing_mm**2 > 400.0)
    if heights.size == 0:
        return None
    top = heights[-1]
    bottom = max(int(top - _BRAIN_HEIGHT_MM / spacing_mm), int(heights[0]))
    across = np.argwhere(head[:, :, bottom : top + 1].any(axis=2)).mean(axis=0)
    height = max(top - _TOP_TO_CENTRE_MM / spacing_mm, (top + heights[0]) / 2)
    return np.array([*across, height])


def _closed(mask: np.ndarray, radius_mm: float, spacing_mm: float) -> np.ndarray:
    """Gaps narrower than twice the radius closed (a ball is rolled around the outside)."""
    from scipy import ndimage

    wide = int(np.ceil(radius_mm / spacing_mm)) + 1
    near = ndimage.distance_transform_edt(~np.pad(mask, wide)) * spacing_mm <= radius_mm
    return (ndimage.distance_transform_edt(near) * spacing_mm > radius_mm)[(slice(wide, -wide),) * 3]
