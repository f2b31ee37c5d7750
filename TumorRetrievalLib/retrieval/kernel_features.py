"""Places and sizes as vectors whose cosine falls with their distance.

The cosine of two feature vectors is close to the Gaussian kernel exp(-d^2 / (2 w^2)), d being the distance in mm or in
the logarithm of size: one at the same place, 0.61 at a distance of w, near zero beyond 3 w. (A plain normalised
coordinate would keep only its direction.) The tables are fixed: they are part of what the vectors of an index mean.
"""

from functools import lru_cache

import numpy as np

from TumorRetrievalLib.errors import InvalidBox

#: w for places, in mm of the atlas.
POSITION_WIDTH_MM = 30.0

#: w for sizes, in the natural logarithm of edge lengths: 0.8 is a factor of 1.6 on all three edges.
EXTENT_WIDTH = 0.8

#: The largest difference to the kernel: between two points of a brain (those at its opposite ends), and two boxes of 5
#: to 100 mm with edges of similar length. It is far smaller for nearly all pairs: root mean squares 0.03 and 0.02, 99 %
#: below 0.07 and 0.05. `kernel_fit` made the tables.
POSITION_WORST_ERROR = 0.15
EXTENT_WORST_ERROR = 0.15

# One row per frequency: weight, then the frequency along R, A, S (radians per mm), or along the longest, the middle
# and the shortest edge (radians per unit of the logarithm).
POSITION_FREQUENCIES = np.array(
    [
        [0.0928, 0.01283, 0.00533, 0.01066],
        [0.0739, 0.01588, -0.02517, -0.01365],
        [0.0723, 0.00832, -0.02031, 0.02599],
        [0.0694, -0.02669, -0.00346, 0.01990],
        [0.0649, 0.01623, 0.03358, -0.00579],
        [0.0520, 0.00129, -0.00823, -0.04626],
        [0.0516, -0.04377, 0.01568, -0.01022],
        [0.0455, -0.02179, -0.03095, -0.03318],
        [0.0431, -0.04932, -0.01795, -0.01107],
        [0.0412, -0.02352, 0.04855, -0.01061],
        [0.0389, -0.03818, -0.00104, -0.04455],
        [0.0348, 0.02339, 0.02006, -0.05010],
        [0.0335, 0.00406, 0.05523, 0.01789],
        [0.0290, -0.00427, -0.04815, 0.04193],
        [0.0290, 0.01481, -0.04110, -0.04880],
        [0.0284, -0.04105, 0.01569, 0.04736],
        [0.0281, 0.04690, 0.03249, -0.02454],
        [0.0274, -0.06375, 0.00134, 0.01859],
        [0.0260, -0.01416, 0.01973, -0.06584],
        [0.0255, 0.04111, -0.03505, 0.04302],
        [0.0254, -0.04688, -0.05177, -0.01244],
        [0.0249, -0.05462, 0.03416, 0.01903],
        [0.0215, -0.03450, 0.06183, 0.02576],
        [0.0211, -0.01855, -0.06497, 0.01561],
    ]
)
EXTENT_FREQUENCIES = np.array(
    [
        [0.1905, -0.444, -0.298, 1.369],
        [0.1884, 1.349, -0.202, -0.509],
        [0.1530, -1.038, -1.090, -1.073],
        [0.1443, 0.300, -0.586, -1.614],
        [0.1291, 1.809, -0.193, 0.285],
        [0.0785, 1.046, -2.586, 0.943],
        [0.0589, -1.520, -1.466, -1.574],
        [0.0573, 0.311, 2.746, -1.195],
    ]
)


def position_features(atlas_mm) -> np.ndarray:
    """A place as a vector of length one, shape (2 * frequencies,).

    :param atlas_mm: MNI152 RAS mm, shape (3,).
    :raises ValueError: if that is not three finite numbers.
    """
    place = np.asarray(atlas_mm, dtype=np.float64)
    if place.shape != (3,) or not np.all(np.isfinite(place)):
        raise ValueError(f"A place is three finite numbers in atlas mm, not {atlas_mm!r}.")
    return _waves(place, POSITION_FREQUENCIES)


def extent_features(size_mm) -> np.ndarray:
    """The size of a box as a vector of length one, shape (2 * frequencies,).

    The edges are sorted, so it does not matter how the scan or the box was turned.

    :param size_mm: edge lengths in mm, shape (3,), all > 0.
    :raises InvalidBox: if they are not.
    """
    size = np.asarray(size_mm, dtype=np.float64)
    if size.shape != (3,) or not np.all(np.isfinite(size)) or np.any(size <= 0):
        raise InvalidBox(f"A box needs three edges longer than 0 mm, not {size_mm!r}.")
    return _waves(log_edges(size), EXTENT_FREQUENCIES)


def place_of(features) -> np.ndarray:
    """The place in atlas mm, shape (3,), whose features are these: the way back from `position_features`.

    Exact but for rounding (float32: some 1e-4 mm) within 30 mm around the atlas's head. For features that are of no
    place, such as a mean of several, it is the place whose features are most similar, as far as a search on a grid and
    from there downhill can tell.

    :param features: shape (2 * frequencies,).
    """
    features = np.asarray(features, dtype=np.float64)
    places, waves = _places_everywhere()
    place = places[np.argmax(waves @ features)]
    for _ in range(_NEWTON_STEPS):
        half = len(features) // 2
        now = _waves(place, POSITION_FREQUENCIES)
        # The derivative of (a cos, a sin) by the phase is (-a sin, a cos).
        slope = np.concatenate([-now[half:], now[:half]])[:, None] * np.tile(POSITION_FREQUENCIES[:, 1:], (2, 1))
        step = np.linalg.lstsq(slope, features - now, rcond=None)[0]
        if _waves(place + step, POSITION_FREQUENCIES) @ features < now @ features:
            break
        place = place + step
    return place


_NEWTON_STEPS = 8
_GRID_MM = 12.0  # a peak is 30 mm wide, so the nearest point of the grid lies on its slope


@lru_cache(maxsize=1)
def _places_everywhere() -> tuple[np.ndarray, np.ndarray]:
    """Places in and around the head, shape (n, 3), and their features, one row each."""
    axes = [np.arange(low, high, _GRID_MM) for low, high in ((-108, 109), (-144, 109), (-108, 121))]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return places, np.stack([_waves(place, POSITION_FREQUENCIES) for place in places])


def log_edges(size_mm: np.ndarray) -> np.ndarray:
    """The logarithm of the edges in mm, the longest first; shape (..., 3)."""
    return np.log(-np.sort(-np.asarray(size_mm, dtype=np.float64), axis=-1))


def gaussian_kernel(differences: np.ndarray, width: float) -> np.ndarray:
    """exp(-d^2 / (2 w^2)) of differences, shape (..., 3)."""
    return np.exp(-np.sum(np.square(differences), axis=-1) / (2 * width**2))


def _waves(point: np.ndarray, table: np.ndarray) -> np.ndarray:
    """cos^2 + sin^2 = 1 makes the length one, and cos a cos b + sin a sin b = cos(a - b) makes the product a kernel."""
    amplitude = np.sqrt(table[:, 0] / table[:, 0].sum())
    phase = table[:, 1:] @ point
    return np.concatenate([amplitude * np.cos(phase), amplitude * np.sin(phase)])
