"""Intensities that mean the same in every scan.

MR intensities have no unit, files come raw, windowed or z-scored, with a skull or without. What is comparable is how
a voxel differs from the ordinary brain around it, in units of that brain's own spread.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidImage

LOWEST, HIGHEST = -3.0, 6.0
"""Range of normalised intensities; outside the brain a stripped scan is `LOWEST`."""

_ENOUGH = 500
"""Voxels needed for a trustworthy spread."""


@dataclass(frozen=True)
class Normalisation:
    """Maps raw intensities so that ordinary brain has median 0 and spread 1."""

    median: float
    spread: float

    def apply(self, data: np.ndarray) -> np.ndarray:
        """Normalised float32 of the same shape, clipped to [LOWEST, HIGHEST]."""
        return np.clip((np.asarray(data, np.float32) - self.median) / self.spread, LOWEST, HIGHEST)


def fit_normalisation(data: np.ndarray, ordinary: np.ndarray) -> Normalisation:
    """Measure the ordinary tissue of a scan.

    The spread is the standard deviation after clipping to the 1st and 99th percentile, so that a bright vessel or a
    dark ventricle moves it little.

    :param data: raw intensities, any scale and offset.
    :param ordinary: bool of the same shape; the voxels to measure (brain, away from the tumor where possible).
    :raises InvalidImage: if those voxels are missing or all alike.
    """
    values = np.asarray(data, np.float32)[ordinary]
    if values.size > 60_000:
        values = values[:: values.size // 40_000]
    if values.size == 0:
        raise InvalidImage("There is no brain tissue around the box: check that it lies on the brain of this scan.")
    low, median, high = np.percentile(values, (1, 50, 99))
    spread = float(np.clip(values, low, high).std())
    if not np.isfinite(spread) or spread <= 1e-6 * max(abs(float(median)), 1e-6):
        raise InvalidImage("The scan is constant around the box: it holds no image to compare.")
    return Normalisation(float(median), spread)


def ordinary_tissue(signal: np.ndarray, brain: np.ndarray | None, inside_box: np.ndarray) -> np.ndarray:
    """Which voxels to measure: brain outside the drawn box, or, where that is too little, the best there is.

    :param signal: bool, where the scan has signal.
    :param brain: bool, where the brain is thought to be, or None if that is unknown.
    :param inside_box: bool, the drawn box; the tumor in it must not set the scale.
    """
    known = signal if brain is None else signal & brain
    for choice in (known & ~inside_box, known, signal & ~inside_box, signal):
        if np.count_nonzero(choice) >= _ENOUGH:
            return choice
    return signal


def normalise_crop(raw: np.ndarray, signal: np.ndarray, brain: np.ndarray | None, inside_box: np.ndarray) -> np.ndarray:
    """A crop as the networks see it: ordinary brain outside the box has median 0 and spread 1, no signal is LOWEST.

    Arguments as in `ordinary_tissue`; all of the crop's shape.

    :raises InvalidImage: if the crop holds no signal, or nothing but one value.
    """
    scale = fit_normalisation(raw, ordinary_tissue(signal, brain, inside_box))
    return np.where(signal, scale.apply(raw), np.float32(LOWEST))


def has_signal(data: np.ndarray) -> np.ndarray:
    """Where a scan has signal: not the background value of a stripped scan, and above an Otsu-like floor otherwise.

    A scan of which a tenth has one and the same value, far more than any other, has that value as background: the
    zeros of a stripped scan, also where a z-score of the brain alone has made half of the brain negative. Any other
    scan has noise as background, which lies below a tenth of the 99th percentile.
    """
    values = np.asarray(data, np.float32)
    some = values.ravel()[:: max(1, values.size // 200_000)]
    lowest, top = some.min(), np.percentile(some, 99)
    if np.mean(some == lowest) >= 0.1:
        return values > lowest
    found, counts = np.unique(some, return_counts=True)
    second, first = np.sort(np.append(counts, 0))[-2:]
    common = found[counts.argmax()]
    # Whole-numbered noise has a most common value too, but its neighbours are nearly as common; and a windowed scan
    # may be saturated.
    if first >= 0.1 * some.size and first >= 5 * second and common < top:
        return values != common
    return values > lowest + 0.1 * (top - lowest)
