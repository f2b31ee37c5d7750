"""Where a patient's points lie in the atlas, and the other way round."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.registration.atlas import load_atlas


@dataclass(frozen=True, eq=False)
class AtlasAlignment:
    """An affine map between a patient and the atlas, and how far it can be trusted.

    :param patient_to_atlas: patient RAS mm -> atlas (MNI) RAS mm, shape (4, 4); never a reflection.
    :param brain_overlap: Dice of the patient's brain and the atlas brain brought to the patient, within the field of
        view. Scans with a skull have a rougher brain estimate, and so a slightly lower overlap.
    :param agreement: normalised mutual information in the brain and 6 mm around it; 1 where the images share nothing.
    :param stage: "affine", or "similarity" where the affine fit was implausible and was not used.
    :param skull_stripped: whether the scan shows the brain alone.
    :param seconds: wall-clock time that it took.
    """

    patient_to_atlas: np.ndarray
    brain_overlap: float
    agreement: float
    stage: str
    skull_stripped: bool
    seconds: float

    @classmethod
    def remembered(cls, patient_to_atlas: np.ndarray) -> "AtlasAlignment":
        """An alignment of which only the map was kept; how good it was is not known any more (NaN)."""
        return cls(patient_to_atlas, np.nan, np.nan, stage="remembered", skull_stripped=False, seconds=0.0)

    @cached_property
    def atlas_to_patient(self) -> np.ndarray:
        """Atlas RAS mm -> patient RAS mm, shape (4, 4)."""
        return np.linalg.inv(self.patient_to_atlas)

    @property
    def scales(self) -> np.ndarray:
        """How much longer 1 mm along the patient's R, A and S becomes in the atlas, shape (3,)."""
        return np.linalg.norm(self.patient_to_atlas[:3, :3], axis=0)

    def to_atlas(self, points) -> np.ndarray:
        """Patient RAS mm, shape (..., 3), to atlas RAS mm."""
        return apply_affine(self.patient_to_atlas, points)

    def to_patient(self, points) -> np.ndarray:
        """Atlas RAS mm, shape (..., 3), to patient RAS mm."""
        return apply_affine(self.atlas_to_patient, points)

    def brain_on(self, grid: Grid) -> LabelMap:
        """The atlas brain as it lies in the patient, on a grid in the patient's space."""
        brain = load_atlas().brain
        in_patient = LabelMap(brain.data, self.atlas_to_patient @ brain.affine)
        return resample_labels(in_patient, grid)


def apply_affine(affine: np.ndarray, points) -> np.ndarray:
    """Points of shape (..., 3) through a 4 x 4 affine."""
    return np.asarray(points, float) @ affine[:3, :3].T + affine[:3, 3]


def stretches_and_turn(affine: np.ndarray) -> tuple[np.ndarray, float]:
    """What an affine does to lengths and directions.

    :returns: the three principal stretches, largest first, and the angle in degrees of the rotation that remains when
        they are taken out (polar decomposition).
    """
    left, stretches, right = np.linalg.svd(affine[:3, :3])
    cosine = (np.trace(left @ right) - 1.0) / 2.0
    return stretches, float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
