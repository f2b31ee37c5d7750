"""Slices of a scan as a radiologist looks at them, cut in world coordinates.

A slice is never a flipped or transposed piece of an array: each of its pixels is a point in RAS millimetres at which
the scan is read. Oblique, left-handed and thick-sliced scans therefore come out alike, with the patient's right on the
viewer's left.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.intensity import has_signal
from TumorRetrievalLib.imaging.volume import LabelMap, Volume


@dataclass(frozen=True)
class Orientation:
    """One of the three ways to cut a head.

    :param name: "axial", "coronal" or "sagittal".
    :param right: direction in RAS towards the right edge of the picture, unit vector.
    :param down: direction in RAS towards its lower edge, unit vector.
    :param letters: where the left, right, upper and lower edges lie in the patient.
    """

    name: str
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    letters: tuple[str, str, str, str]


AXIAL = Orientation("axial", (-1, 0, 0), (0, -1, 0), ("R", "L", "A", "P"))
CORONAL = Orientation("coronal", (-1, 0, 0), (0, 0, -1), ("R", "L", "S", "I"))
SAGITTAL = Orientation("sagittal", (0, -1, 0), (0, 0, -1), ("A", "P", "S", "I"))
ORIENTATIONS = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True, eq=False)
class SlicePlane:
    """A square of the world, as pixels.

    :param orientation: which way it is cut.
    :param center: RAS mm of its middle, shape (3,).
    :param edge_mm: its edge length.
    :param pixels: pixels along each edge.
    """

    orientation: Orientation
    center: np.ndarray
    edge_mm: float
    pixels: int

    @property
    def pixel_mm(self) -> float:
        """Edge of a pixel in mm."""
        return self.edge_mm / self.pixels

    def points(self) -> np.ndarray:
        """RAS mm of every pixel centre, shape (pixels, pixels, 3), row by row."""
        steps = (np.arange(self.pixels) - (self.pixels - 1) / 2) * self.pixel_mm
        right, down = (np.asarray(v, float) for v in (self.orientation.right, self.orientation.down))
        return np.asarray(self.center, float) + steps[None, :, None] * right + steps[:, None, None] * down

    def to_picture(self, ras: np.ndarray) -> np.ndarray:
        """RAS mm, shape (..., 3), to picture mm from the upper left corner (right, down), shape (..., 2)."""
        frame = np.array([self.orientation.right, self.orientation.down], float).T
        return (np.asarray(ras, float) - self.center) @ frame + self.edge_mm / 2

    @property
    def normal(self) -> np.ndarray:
        """Unit vector at right angles to the slice."""
        return np.cross(self.orientation.right, self.orientation.down)


def read_slice(image: Volume | LabelMap, plane: SlicePlane, outside: float = 0.0) -> np.ndarray:
    """The values of an image on a plane, linear between voxels.

    A label map is read as 1 inside and 0 outside, so that the value 0.5 is its outline.

    :param outside: value where the plane leaves the image.
    :returns: float32, shape (pixels, pixels).
    """
    from scipy.ndimage import map_coordinates

    ijk = np.moveaxis(image.grid.to_voxel(plane.points()), -1, 0)
    low = np.clip(np.floor(ijk.min(axis=(1, 2))).astype(int), 0, None)
    high = np.minimum(np.ceil(ijk.max(axis=(1, 2))).astype(int) + 1, image.shape)
    if np.any(high <= low):
        return np.full((plane.pixels, plane.pixels), outside, np.float32)
    # Only the part of the image that the plane crosses: a thin slab, where a whole label map would be converted.
    part = image.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if isinstance(image, LabelMap):
        part = part != 0
    # The border voxels reach half a voxel beyond their centres, so that a scan of one slice is as thick as that slice.
    padded = np.pad(part.astype(np.float32), 1, mode="edge")
    values = map_coordinates(padded, ijk - low[:, None, None] + 1, order=1, mode="constant", cval=outside)
    shape = np.asarray(image.shape)[:, None, None]
    inside = np.all((ijk >= -0.5) & (ijk <= shape - 0.5), axis=0)
    return np.where(inside, values, outside).astype(np.float32)


def gray_window(volume: Volume) -> tuple[float, float]:
    """The values to show as black and as white: the same rule for every scan, so that they can be compared.

    Black is the 0.5th percentile of what has signal. White lies so that the median of that, which is ordinary tissue,
    comes out at a third of the way: brains then look alike whatever the scanner's scale, and a large bright tumor
    does not darken the brain around it.
    """
    values = volume.data[has_signal(volume.data)]
    values = values[:: max(1, values.size // 200_000)] if values.size else volume.data.ravel()
    black, ordinary = (float(v) for v in np.percentile(values, (0.5, 50)))
    return black, black + max(3.0 * (ordinary - black), 1e-6)


def box_outline(box: Box, plane: SlicePlane) -> np.ndarray:
    """Where a plane cuts a box, as a convex polygon.

    :returns: picture mm, shape (n, 2) with n of 3 to 6, or (0, 2) where the plane misses the box.
    """
    corners = box.corners()
    distance = (corners - plane.center) @ plane.normal
    # An edge joins two corners that differ along one axis of the box; this asks nothing of the order of corners().
    local = np.round((corners - box.center) @ box.axes / box.size * 2).astype(int)
    crossings = []
    for a in range(8):
        for b in range(a + 1, 8):
            is_edge = np.count_nonzero(local[a] != local[b]) == 1
            if is_edge and distance[a] * distance[b] <= 0 and distance[a] != distance[b]:
                part = distance[a] / (distance[a] - distance[b])
                crossings.append(corners[a] + part * (corners[b] - corners[a]))
    if len(crossings) < 3:
        return np.empty((0, 2))
    points = np.unique(np.round(plane.to_picture(np.array(crossings)), 6), axis=0)
    around = points - points.mean(axis=0)
    return points[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
