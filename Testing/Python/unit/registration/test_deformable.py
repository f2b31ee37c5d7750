"""The bend after the affine: it finds what the affine misses, undoes itself, folds nothing, and spares the tumor."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.errors import Cancelled, RegistrationFailed
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration import deformable
from TumorRetrievalLib.registration.alignment import AtlasAlignment, apply_affine
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.registration.deformable import bend_to_atlas

OBLIQUE_LEFT_HANDED = Rotation.from_euler("xyz", (20, -25, 35), degrees=True).as_matrix() @ np.diag([-1.0, 1.0, 1.0])
PATIENT_TO_ATLAS = np.eye(4)
PATIENT_TO_ATLAS[:3, :3] = Rotation.from_euler("xyz", (8, -4, 5), degrees=True).as_matrix() * (1.05, 1.0, 1.08)
PATIENT_TO_ATLAS[:3, 3] = (20.0, 35.0, -50.0)
AFFINE = AtlasAlignment(PATIENT_TO_ATLAS, 0.95, 1.1, "affine", True, 1.0)


@dataclass(frozen=True, eq=False)
class BentPatient:
    """A scan of a brain that is bent, and the truth about it.

    :param in_patient: points all over the brain, RAS mm; :param in_atlas: their true places.
    :param lesion: a dark ball deep in the left hemisphere.
    """

    scan: Volume
    lesion: LabelMap
    in_patient: np.ndarray
    in_atlas: np.ndarray


def bend(points: np.ndarray, reach_mm: float) -> np.ndarray:
    """A smooth move of points in the straightened patient to their places in the atlas."""
    waves = np.sin(points[..., [1, 2, 0]] / 28.0 + np.array([0.3, 1.1, 2.0]))
    return points + reach_mm * waves


def bent_patient(axes=None, reach_mm: float = 4.0, lesion_mm: float = 0.0) -> BentPatient:
    axes = np.eye(3) if axes is None else axes
    atlas = load_atlas()
    middle = np.linalg.inv(PATIENT_TO_ATLAS)[:3] @ (*atlas.grid.centre(), 1.0)
    affine = np.eye(4)
    affine[:3, :3] = axes * 2.0
    affine[:3, 3] = middle - affine[:3, :3] @ np.full(3, 62.0)
    grid = Grid((125, 125, 125), affine)
    points = grid.voxel_centres()
    in_atlas = bend(apply_affine(PATIENT_TO_ATLAS, points), reach_mm)
    index = atlas.grid.to_voxel(in_atlas).T
    tissue = [ndimage.map_coordinates(part.data, index, order=1) for part in (atlas.csf, atlas.gray, atlas.white)]
    image = np.array((0.3, 0.8, 1.0)) @ tissue
    brain = ndimage.map_coordinates(atlas.brain.data, index, order=0) > 0
    inside = brain & (np.linalg.norm(in_atlas - (-32, -8, 32), axis=1) < lesion_mm)
    image[inside] = 0.3
    image += np.random.default_rng(3).normal(0, 0.02, image.shape)
    image = np.where(brain, np.maximum(image, 0.02), 0).reshape(grid.shape)
    some = np.flatnonzero(brain)[::1500]
    lesion = LabelMap(inside.reshape(grid.shape), grid.affine)
    return BentPatient(Volume(500 * image, grid.affine), lesion, points[some], in_atlas[some])


def errors(alignment, patient: BentPatient) -> np.ndarray:
    return np.linalg.norm(alignment.to_atlas(patient.in_patient) - patient.in_atlas, axis=1)


@pytest.fixture(scope="module")
def patient():
    return bent_patient()


@pytest.fixture(scope="module")
def bent(patient):
    return bend_to_atlas(patient.scan, AFFINE)


@pytest.fixture
def in_a_hurry(monkeypatch):
    """A few coarse steps, for tests that ask for no precision."""
    monkeypatch.setattr(deformable, "_LEVELS", ((6.0, 10), (3.0, 5)))


def test_landmarks_that_the_affine_misses_are_found(patient, bent):
    assert errors(AFFINE, patient).mean() > 4.0
    assert errors(bent, patient).mean() < 1.6


@pytest.mark.slow
def test_landmarks_are_found_in_an_oblique_left_handed_scan():
    patient = bent_patient(OBLIQUE_LEFT_HANDED)

    assert errors(bend_to_atlas(patient.scan, AFFINE), patient).mean() < 1.6


def test_the_way_back_leads_to_the_patients_own_points(patient, bent):
    returned = bent.to_patient(patient.in_atlas)

    assert np.linalg.norm(returned - patient.in_patient, axis=1).mean() < 1.6


def test_there_and_back_is_nowhere_farther_apart_than_reported(patient, bent):
    there_and_back = bent.to_patient(bent.to_atlas(patient.in_patient))

    assert bent.inverse_error_mm < 0.5
    assert np.linalg.norm(there_and_back - patient.in_patient, axis=1).max() < 1.5 * bent.inverse_error_mm + 0.05


def test_nothing_is_folded(patient, bent):
    step = 0.5
    moved = [bent.to_atlas(patient.in_patient + step * side) for side in np.eye(3)]
    slopes = np.stack([(m - bent.to_atlas(patient.in_patient)) / step for m in moved], axis=-1)
    ratios = np.linalg.det(slopes) / np.linalg.det(PATIENT_TO_ATLAS[:3, :3])

    assert 0 < bent.smallest_volume_ratio < 1 < bent.largest_volume_ratio
    assert ratios.min() > 0.8 * bent.smallest_volume_ratio
    assert ratios.max() < 1.2 * bent.largest_volume_ratio


def test_the_images_become_more_alike(bent):
    assert bent.agreement > bent.agreement_before + 0.1


def test_a_tumor_keeps_its_size_because_it_is_not_looked_at(in_a_hurry):
    patient = bent_patient(reach_mm=0.0, lesion_mm=22.0)

    def size_in_atlas(alignment):
        edge = alignment.to_atlas(surface)
        return np.linalg.norm(edge - edge.mean(axis=0), axis=1).mean()

    shell = patient.lesion.data.astype(bool) & ~ndimage.binary_erosion(patient.lesion.data)
    surface = patient.lesion.grid.to_world(np.argwhere(shell))
    masked = bend_to_atlas(patient.scan, AFFINE, patient.lesion)
    looked_at = bend_to_atlas(patient.scan, AFFINE)

    assert size_in_atlas(masked) == pytest.approx(size_in_atlas(AFFINE), rel=0.02)
    assert size_in_atlas(looked_at) < 0.97 * size_in_atlas(AFFINE)
    assert np.linalg.norm(masked.to_atlas(surface) - AFFINE.to_atlas(surface), axis=1).mean() < 0.7


def test_the_same_scan_gives_the_same_bend(patient, in_a_hurry):
    once, again = (bend_to_atlas(patient.scan, AFFINE) for _ in range(2))

    assert np.array_equal(once.to_straight, again.to_straight)


def test_points_far_outside_the_brain_follow_the_affine(bent):
    far = np.array([[400.0, 0, 0], [0, -600.0, 30.0]])

    assert np.allclose(bent.to_atlas(far), AFFINE.to_atlas(far))
    assert np.allclose(bent.to_patient(far), AFFINE.to_patient(far))


def test_a_bend_beyond_what_brains_do_is_refused(patient, monkeypatch, in_a_hurry):
    monkeypatch.setattr(deformable, "LEAST_VOLUME_RATIO", 0.99)

    with pytest.raises(RegistrationFailed, match="implausible"):
        bend_to_atlas(patient.scan, AFFINE)


def test_it_can_be_stopped(patient):
    def stop(fraction, message):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        bend_to_atlas(patient.scan, AFFINE, progress=stop)
