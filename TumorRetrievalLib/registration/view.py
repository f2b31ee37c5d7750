"""A patient's scan as the registration sees it: coarse, in world axes, with its brain made out."""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.registration.brain import brain_in_head, filled_largest_part
from TumorRetrievalLib.registration.template import SPACING_MM

_MARGIN_MM = 30.0
_EMPTY_FACE = 0.02
"""A face of the scan with less signal than this share lies outside the patient."""
_STRIPPED_BACKGROUND = 0.4
"""Share of one single value on the faces of a scan from which on somebody must have set it."""
_LARGEST_BRAIN_ML = 2300.0
_BRIGHTEST_IN_HEAD = 2.6
"""Times the brain's median intensity, so that fat at the brain's edge does not take up the range of intensities."""


@dataclass(frozen=True, eq=False)
class PatientView:
    """A scan on a 3 mm grid whose axes are R, A and S, whatever the file's axes are.

    :param image: float32 (i, j, k), clipped to the scan's ordinary range; lowest outside the patient, and in a head
        also outside the brain: the atlas has no skull to compare with.
    :param known: bool, same shape; False where the scan's field of view ends inside the patient.
    :param brain: bool, same shape; the brain as made out in the scan itself, without the atlas. May be wrong or empty
        in a head whose brain does not stand out.
    :param grid: patient RAS mm.
    """

    image: np.ndarray
    known: np.ndarray
    brain: np.ndarray
    grid: Grid


def looks_stripped(volume: Volume) -> bool:
    """Whether a scan seems to show the bare brain: one value all around it, and not more of it than a brain has.

    A head whose air was set to zero is larger than any brain, unless the scan covers little of it; the registration
    therefore takes this as a first guess only.
    """
    background, share = _value_on_faces(volume.data)
    if share < _STRIPPED_BACKGROUND:
        return False
    signal = _differs(volume.data, background)
    return bool(np.count_nonzero(signal) * volume.grid.voxel_ml <= _LARGEST_BRAIN_ML)


def view_patient(volume: Volume, *, skull_stripped: bool) -> PatientView:
    """Looks at a scan in world axes.

    :param volume: the scan, preferably through `shrunk` first.
    :param skull_stripped: how to tell the brain: all that has signal, or by its place inside the head.
    """
    background, share = _value_on_faces(volume.data)
    if share < _STRIPPED_BACKGROUND:
        background = float(np.percentile(volume.data[::2, ::2, ::2], 1.0))
    signal = _differs(volume.data, background)
    if not signal.any():
        signal = np.ones(volume.shape, bool)
    low, high = np.percentile(volume.data[signal], (0.5, 99.0))
    # Below the darkest tissue, so that a z-scored scan whose background is 0 reads like any other.
    outside = low - 0.1 * (high - low) if skull_stripped else min(low, background)
    values = np.where(signal, np.clip(volume.data, low, high + 0.3 * (high - low)), outside)
    grid = _world_grid(volume.grid)
    image = resample(Volume(values, volume.affine), grid, fill=float(outside)).data
    known = _known(volume.grid, grid, signal)
    if skull_stripped:
        part = resample(Volume(signal, volume.affine), grid).data > 0.5
        brain = filled_largest_part(part, SPACING_MM)
    else:
        brain = brain_in_head(image, SPACING_MM)
        image = _without_skull(image, brain, outside)
    return PatientView(image, known, brain & known, grid)


def shrunk(volume: Volume) -> Volume:
    """The scan averaged over whole blocks of voxels, as far as the registration's coarse grid cannot tell."""
    factors = np.maximum(1, np.floor(SPACING_MM / 1.5 / volume.grid.spacing)).astype(int)
    factors = np.minimum(factors, volume.shape)
    if np.all(factors == 1):
        return volume
    blocks = np.array(volume.shape) // factors
    kept = volume.data[tuple(slice(0, n) for n in blocks * factors)]
    data = kept.reshape(np.stack([blocks, factors], axis=1).ravel()).mean(axis=(1, 3, 5), dtype=np.float32)
    to_old = np.diag([*factors.astype(float), 1.0])
    to_old[:3, 3] = (factors - 1) / 2
    return Volume(data, volume.affine @ to_old)


def _without_skull(image: np.ndarray, brain: np.ndarray, outside: float) -> np.ndarray:
    if not brain.any():
        return image
    brightest = outside + _BRIGHTEST_IN_HEAD * np.median(image[brain] - outside)
    return np.where(brain, np.minimum(image, brightest), outside).astype(np.float32)


def _faces(data: np.ndarray) -> list[np.ndarray]:
    return [np.take(data, end, axis) for axis in range(3) for end in (0, -1)]


def _value_on_faces(data: np.ndarray) -> tuple[float, float]:
    """The most common value on the six faces, and its share there."""
    values, counts = np.unique(np.concatenate([face.ravel() for face in _faces(data)]), return_counts=True)
    most = int(np.argmax(counts))
    return float(values[most]), float(counts[most] / counts.sum())


def _differs(data: np.ndarray, background: float) -> np.ndarray:
    low, high = np.percentile(data[::2, ::2, ::2], (0.5, 99.5))
    return np.abs(data - np.float32(background)) > 0.005 * max(high - low, 1e-12)


def _world_grid(grid: Grid) -> Grid:
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, 8).T
    corners = grid.to_world(ends)
    low, high = corners.min(axis=0) - _MARGIN_MM, corners.max(axis=0) + _MARGIN_MM
    shape = np.ceil((high - low) / SPACING_MM).astype(int) + 1
    return Grid.around((low + high) / 2, SPACING_MM, tuple(shape))


def _known(source: Grid, grid: Grid, signal: np.ndarray) -> np.ndarray:
    """Where `grid` lies in the scan, or beyond a face of it that already lies outside the patient."""
    beyond_is_known = [face.mean() < _EMPTY_FACE for face in _faces(signal)]
    to_source = np.linalg.inv(source.affine) @ grid.affine
    known = np.ones(grid.shape, bool)
    steps = [np.arange(n, dtype=np.float32) for n in grid.shape]
    for axis in range(3):
        row = to_source[axis].astype(np.float32)
        index = row[0] * steps[0][:, None, None] + row[1] * steps[1][:, None] + row[2] * steps[2] + row[3]
        if not beyond_is_known[2 * axis]:
            known &= index >= -0.5
        if not beyond_is_known[2 * axis + 1]:
            known &= index <= source.shape[axis] - 0.5
    return known
