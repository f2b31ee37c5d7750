"""How large a tumor is: the one place that turns a mask into a box, a volume and a linear size."""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.box import Box, box_of_region
from TumorRetrievalLib.imaging.volume import LabelMap


@dataclass(frozen=True)
class TumorSize:
    """What a mask says about a tumor.

    :param box: the box along the mask's axes that exactly encloses its voxels, RAS mm.
    :param volume_ml: volume of its voxels.
    :param linear_size_mm: its largest diameter.
    """

    box: Box
    volume_ml: float
    linear_size_mm: float


def measure_tumor(mask: LabelMap) -> TumorSize:
    """Measures everything that is not background as one tumor.

    The linear size is the maximal caliper (Feret) diameter: the largest distance between any two points of the tumor,
    where a voxel counts with its whole extent. It does not depend on how the patient lay or how the slices were angled,
    and it is what a reader's longest diameter aims at.

    :raises InvalidImage: if the mask is empty.
    """
    from scipy import ndimage

    regions = ndimage.find_objects((mask.data != 0).astype(np.uint8))
    if not regions:
        raise InvalidImage("The mask of the tumor is empty: there is nothing to measure.")
    region = regions[0]
    inside = mask.data[region] != 0
    corners = _outermost_corners(inside) + [part.start for part in region]
    return TumorSize(
        box=box_of_region(mask.grid, region),
        volume_ml=mask.volume_ml(),
        linear_size_mm=_largest_distance(mask.grid.to_world(corners)),
    )


def _outermost_corners(inside: np.ndarray) -> np.ndarray:
    """Voxel corners that hold the convex hull: those of the first and last voxel of each column; shape (n, 3)."""
    columns = np.argwhere(inside.any(axis=2))
    lines = inside[columns[:, 0], columns[:, 1]]
    first = lines.argmax(axis=1)
    last = inside.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)
    around = np.array(np.meshgrid((-0.5, 0.5), (-0.5, 0.5))).reshape(2, 4).T
    across = np.unique((columns[:, None] + around).reshape(-1, 2), axis=0, return_inverse=True)
    # A corner shared by several columns needs only its lowest and highest point.
    low = np.full(len(across[0]), np.inf)
    high = np.full(len(across[0]), -np.inf)
    which = across[1].ravel()
    np.minimum.at(low, which, np.repeat(first - 0.5, 4))
    np.maximum.at(high, which, np.repeat(last + 0.5, 4))
    return np.concatenate([np.column_stack([across[0], ends]) for ends in (low, high)])


def _largest_distance(points: np.ndarray) -> float:
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    return float(pdist(points[ConvexHull(points).vertices]).max())
