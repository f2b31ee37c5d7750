"""The last millimetres between patient and atlas: a smooth bend after the affine, blind to the tumor.

A registration that looks at a tumor takes it for an enlarged or shrunken piece of healthy brain and squeezes it until
it fits. Here the tumor and its surroundings do not count, and the bend there is what the brain around them suggests.

The bend is a velocity (see `flow.py`) that climbs the local correlation of the two images (Avants et al. 2008), level
by level. What is found is judged: it has to fold nothing, to undo itself, and to make the images more alike.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import RegistrationFailed
from TumorRetrievalLib.imaging.intensity import has_signal
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.registration.flow import (
    displacement_at,
    follow,
    moved_index,
    reversed_exactly,
    sample,
    volume_ratio,
)

Progress = Callable[[float, str], None]

LESION_MARGIN_MM = 6.0
"""Around the whole tumor: what it pushes or makes oedematous is not what the atlas shows either."""
LEAST_VOLUME_RATIO, LARGEST_VOLUME_RATIO = 0.15, 6.0
"""No healthy part of a brain differs more than this from the atlas once the whole brain fits."""
LARGEST_INVERSE_ERROR_MM = 1.0

_MARGIN_MM = 18.0
_LEVELS = ((6.0, 30), (3.0, 25))  # voxel edge in mm, iterations
_STEP = 0.5  # the longest move of one iteration, in voxels
_UPDATE_SMOOTHNESS, _FIELD_SMOOTHNESS = 2.0, 1.2  # voxels; less of either folds some brains
_WINDOW = 5  # voxels, the neighbourhood of the local correlation
_HALVINGS = 3
_OUTSIDE_COUNTS_MM = 6.0  # beyond the atlas brain, where the scan shows the bare brain


@dataclass(frozen=True, eq=False)
class DeformableAlignment:
    """A map between a patient and the atlas: an affine, and a bend of the atlas that follows it.

    :param affine: the straight part; its `patient_to_atlas` takes a patient's point to the straightened patient.
    :param grid: where the fields' voxels lie, atlas RAS mm, upright.
    :param to_straight: atlas point -> its place in the straightened patient: displacement in mm, float32 (3, i, j, k).
    :param from_straight: the way back, the same.
    :param smallest_volume_ratio: :param largest_volume_ratio: Jacobian determinants in the brain; always positive.
    :param inverse_error_mm: largest distance, over the brain, between a point and itself there and back.
    :param agreement_before: :param agreement: local correlation with the atlas, lesion left out, 0..1, by the affine
        alone and with the bend.
    :param seconds: wall-clock time that it took.
    """

    affine: AtlasAlignment
    grid: Grid
    to_straight: np.ndarray
    from_straight: np.ndarray
    smallest_volume_ratio: float
    largest_volume_ratio: float
    inverse_error_mm: float
    agreement_before: float
    agreement: float
    seconds: float

    def to_atlas(self, points) -> np.ndarray:
        """Patient RAS mm, shape (..., 3), to atlas RAS mm."""
        straight = self.affine.to_atlas(points)
        return straight + displacement_at(self.from_straight, self.grid, straight)

    def to_patient(self, points) -> np.ndarray:
        """Atlas RAS mm, shape (..., 3), to patient RAS mm."""
        points = np.asarray(points, float)
        return self.affine.to_patient(points + displacement_at(self.to_straight, self.grid, points))


def bend_to_atlas(
    volume: Volume, alignment: AtlasAlignment, lesion: LabelMap | None = None, *, progress: Progress | None = None
) -> DeformableAlignment:
    """Improves an affine alignment by a smooth bend.

    :param volume: the T1-weighted scan that was aligned.
    :param lesion: the whole tumor; it and `LESION_MARGIN_MM` around it do not count. None where there is none.
    :param progress: called with a fraction and a message; whatever it raises stops the work.
    :raises RegistrationFailed: if the bend cannot be right; the affine alone is then the better choice.
    """
    began = time.perf_counter()
    report = progress or (lambda fraction, message: None)
    pair, velocity, before, done = None, None, 0.0, 0
    total = sum(iterations for _, iterations in _LEVELS)
    for spacing, iterations in _LEVELS:
        pair, coarser = _Pair(volume, alignment, lesion, spacing), pair
        velocity = _start(pair.grid, coarser and coarser.grid, velocity)
        if coarser is None or spacing == _LEVELS[-1][0]:
            before = pair.agreement(np.zeros_like(velocity))
        for iteration in range(iterations):
            report(done / total, "Bending the atlas to the brain")
            # Smaller steps towards the end of a level, so that it settles.
            velocity = pair.improved(velocity, _STEP * (1.0 - 0.6 * iteration / iterations))
            done += 1
    return _judged(alignment, pair, velocity, before, began)


class _Pair:
    """Atlas and straightened patient on one upright grid, and how alike they are."""

    def __init__(self, volume: Volume, alignment: AtlasAlignment, lesion: LabelMap | None, spacing: float):
        from scipy import ndimage

        atlas = load_atlas()
        self.spacing, self.grid = spacing, _grid_around(atlas.brain, spacing)
        self.atlas = resample(atlas.t1, self.grid).data / np.float32(100.0)
        self.brain = resample(atlas.brain_volume, self.grid).data > 0.5
        beyond = ndimage.distance_transform_edt(~self.brain) * spacing
        # Around a brain without its skull there is nothing, and its outline counts; in a head there are bone and scalp.
        self._counts = (beyond <= (_OUTSIDE_COUNTS_MM if alignment.skull_stripped else 0.0)).astype(np.float32)
        self.patient, self._seen = _straightened(volume, alignment, lesion, self.grid, self.brain)
        self._edge = _fades_at_border(self.grid.shape)

    def improved(self, velocity: np.ndarray, step: float) -> np.ndarray:
        """A velocity that makes the images more alike, by at most `step` voxels."""
        from scipy import ndimage

        index = moved_index(follow(velocity, self.spacing, _HALVINGS), self.spacing)
        patient, weight = sample(self.patient, index), sample(self._seen, index) * self._counts
        slope, _ = _local_correlation(self.atlas, patient, weight)
        push = np.stack([part * slope for part in np.gradient(patient)]).astype(np.float32)
        push = np.stack([ndimage.gaussian_filter(part, _UPDATE_SMOOTHNESS) for part in push])
        longest = np.sqrt((push**2).sum(axis=0)).max()
        if longest == 0:
            return velocity
        velocity = velocity + push * (step * self.spacing / longest)
        return np.stack([ndimage.gaussian_filter(part, _FIELD_SMOOTHNESS) for part in velocity]) * self._edge

    def agreement(self, field: np.ndarray) -> float:
        """Mean local correlation where the images count, 0..1."""
        index = moved_index(field, self.spacing)
        weight = sample(self._seen, index) * self._counts
        _, correlation = _local_correlation(self.atlas, sample(self.patient, index), weight)
        return float((correlation * weight).sum() / max(weight.sum(), 1.0))


def _local_correlation(atlas: np.ndarray, patient: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared correlation in a window around each voxel, and how it rises with the patient's intensity there."""
    from scipy import ndimage

    def mean(image):
        return ndimage.uniform_filter(image * weight, _WINDOW) / share

    share = np.maximum(ndimage.uniform_filter(weight, _WINDOW), np.float32(1e-3))
    from_mean_a, from_mean_p = atlas - mean(atlas), patient - mean(patient)
    # Where an image is flat its noise correlates with anything; the floor keeps such places from pushing.
    spread_a, spread_p = mean(from_mean_a**2) + np.float32(2e-3), mean(from_mean_p**2) + np.float32(2e-3)
    together = mean(from_mean_a * from_mean_p)
    slope = 2 * together / (spread_a * spread_p) * (from_mean_a - together / spread_p * from_mean_p)
    return slope * weight, together**2 / (spread_a * spread_p)


def _straightened(volume, alignment, lesion, grid, brain) -> tuple[np.ndarray, np.ndarray]:
    """The patient on the atlas grid by the affine alone, ordinary tissue about 1; and what of it counts, 0..1."""
    from scipy import ndimage

    to_atlas = alignment.patient_to_atlas
    signal = has_signal(volume.data)
    ordinary = volume.data[signal][:: max(1, np.count_nonzero(signal) // 200_000)]
    low, high = np.percentile(ordinary, (0.5, 99.0))
    shown = np.where(signal, np.clip(volume.data, low, high), low)
    image = resample(Volume(shown, to_atlas @ volume.affine), grid, fill=float(low)).data - np.float32(low)
    inside = image[brain & (image > 0)]
    image /= np.float32(max(np.median(inside) if inside.size else 1.0, 1e-6))
    index = Grid(volume.shape, to_atlas @ volume.affine).to_voxel(grid.voxel_centres()).reshape(*grid.shape, 3)
    seen = np.all((index > -0.5) & (index < np.array(volume.shape) - 0.5), axis=-1)
    if lesion is not None:
        masked = resample(Volume(lesion.data != 0, to_atlas @ lesion.affine), grid).data > 0.1
        if masked.any():
            seen &= ndimage.distance_transform_edt(~masked) * grid.spacing[0] > LESION_MARGIN_MM
    return image, seen.astype(np.float32)


def _grid_around(brain: LabelMap, spacing: float) -> Grid:
    places = np.argwhere(brain.data)
    low, high = brain.grid.to_world(places.min(axis=0)), brain.grid.to_world(places.max(axis=0))
    shape = np.ceil((high - low + 2 * _MARGIN_MM) / spacing).astype(int) + 1
    return Grid.around((low + high) / 2, spacing, tuple(shape))


def _fades_at_border(shape) -> np.ndarray:
    """1 inside, 0 on the border: beyond the grid nothing is bent, and it must not jump there."""
    ramps = [np.clip(np.minimum(np.arange(n), n - 1 - np.arange(n)) / 3.0, 0, 1).astype(np.float32) for n in shape]
    return ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]


def _start(grid: Grid, coarser: Grid | None, velocity: np.ndarray | None) -> np.ndarray:
    if coarser is None:
        return np.zeros((3, *grid.shape), np.float32)
    points = grid.voxel_centres()
    return np.moveaxis(displacement_at(velocity, coarser, points), -1, 0).reshape(3, *grid.shape).astype(np.float32)


def _judged(alignment, pair: _Pair, velocity: np.ndarray, before: float, began: float) -> DeformableAlignment:
    """The alignment that a velocity gives.

    :raises RegistrationFailed: if it cannot be right.
    """
    there = follow(velocity, pair.spacing, 6)
    back = reversed_exactly(there, follow(-velocity, pair.spacing, 6), pair.spacing)
    ratios = np.concatenate([volume_ratio(field, pair.spacing)[pair.brain] for field in (there, back)])
    points = pair.grid.voxel_centres()[pair.brain.ravel()]
    # Off the voxels' centres, where the fields are interpolated and the error is largest.
    points = points + pair.spacing * np.random.default_rng(0).uniform(-0.5, 0.5, points.shape)
    returned = points + displacement_at(there, pair.grid, points)
    returned = returned + displacement_at(back, pair.grid, returned)
    error = float(np.linalg.norm(returned - points, axis=1).max())
    after = pair.agreement(there)
    smallest, largest = float(ratios.min()), float(ratios.max())
    if smallest < LEAST_VOLUME_RATIO or largest > LARGEST_VOLUME_RATIO:
        raise RegistrationFailed(
            f"parts of the brain would have to become {smallest:.2f} to {largest:.2f} times as large: implausible."
        )
    if error > LARGEST_INVERSE_ERROR_MM:
        raise RegistrationFailed(f"the way there and back misses by up to {error:.1f} mm.")
    if after <= before:
        raise RegistrationFailed("it does not make the scan more like the atlas.")
    seconds = time.perf_counter() - began
    return DeformableAlignment(alignment, pair.grid, there, back, smallest, largest, error, before, after, seconds)
