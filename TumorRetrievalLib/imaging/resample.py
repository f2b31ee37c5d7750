"""A volume on another grid: linear for scans, nearest for segmentations."""

import numpy as np

from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume

# Gaussians are cut off here, in standard deviations.
_TRUNCATE = 3.0


def resample(volume: Volume, grid: Grid, *, fill: float = 0.0) -> Volume:
    """The scan on `grid`, interpolated linearly.

    Where the voxels of `grid` are larger than the scan's, detail that they cannot hold is smoothed away first: along
    each array axis, by the Gaussian whose full width at half maximum, added in quadrature to the scan's voxel, gives
    the new one (Cardoso et al. 2015, "Scale factor point spread function matching"). Only the part of the scan that
    `grid` covers is touched.

    :param fill: the value outside the scan.
    """
    to_source = np.linalg.inv(volume.affine) @ grid.affine
    # How many source voxels one target voxel spans along each source axis.
    ratio = np.linalg.norm(to_source[:3, :3], axis=1)
    sigma = np.sqrt(np.maximum(ratio**2 - 1.0, 0.0) / (8.0 * np.log(2.0)))
    reach = np.ceil(_TRUNCATE * sigma).astype(int)
    region = _covered(to_source, grid.shape, volume.shape, reach + 1)
    if region is None:
        return Volume(np.full(grid.shape, fill, np.float32), grid.affine)
    part = volume.data[region]
    if np.any(sigma > 0):
        from scipy import ndimage

        part = ndimage.gaussian_filter(part, sigma, radius=reach, mode="nearest")
    return Volume(_interpolate(part, to_source, region, grid.shape, order=1, fill=fill), grid.affine)


def resample_labels(labels: LabelMap, grid: Grid) -> LabelMap:
    """The segmentation on `grid`: each voxel takes the label at its centre, 0 outside."""
    to_source = np.linalg.inv(labels.affine) @ grid.affine
    region = _covered(to_source, grid.shape, labels.shape, np.ones(3, int))
    if region is None:
        return LabelMap(np.zeros(grid.shape, labels.data.dtype), grid.affine)
    return LabelMap(_interpolate(labels.data[region], to_source, region, grid.shape, order=0, fill=0), grid.affine)


def _covered(to_source: np.ndarray, target_shape, source_shape, margin) -> tuple[slice, slice, slice] | None:
    """The source voxels that a target grid can see, with `margin` voxels around; None if there are none."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in target_shape])).reshape(3, 8)
    corners = to_source[:3, :3] @ ends + to_source[:3, 3:]
    low = np.clip(np.floor(corners.min(axis=1)) - margin, 0, source_shape).astype(int)
    high = np.clip(np.ceil(corners.max(axis=1)) + 1 + margin, 0, source_shape).astype(int)
    if np.any(high <= low):
        return None
    return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))


def _interpolate(part, to_source, region, shape, *, order: int, fill: float) -> np.ndarray:
    from scipy import ndimage

    matrix, offset = to_source[:3, :3], to_source[:3, 3] - [axis.start for axis in region]
    # "grid-constant", because "constant" turns a border voxel into `fill` for a rounding error of its coordinate.
    return ndimage.affine_transform(part, matrix, offset, shape, order=order, mode="grid-constant", cval=fill)
