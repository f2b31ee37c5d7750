"""A head is found in the atlas however it lay and however it was scanned, or the tool says that it was not found."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.errors import Cancelled, RegistrationFailed
from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.registration.affine import register_to_atlas

OBLIQUE_LEFT_HANDED = Rotation.from_euler("xyz", (20, -25, 35), degrees=True).as_matrix() @ np.diag([-1.0, 1.0, 1.0])
TURNED = (12.0, -5.0, 6.0)
MOVED_MM = (15.0, -60.0, 250.0)


def error_mm(alignment, patient) -> np.ndarray:
    """Distance of each landmark from its true place in the atlas."""
    found = alignment.to_atlas(patient.landmarks)
    return np.linalg.norm(found - patient.landmarks_mni, axis=1)


@pytest.mark.parametrize(
    "scan",
    [
        {"turned_deg": TURNED, "scales": (1.08, 1.05, 1.12), "moved_mm": MOVED_MM},
        pytest.param({"turned_deg": (-25, 0, 0), "scales": (0.95, 1.0, 0.97)}, marks=pytest.mark.slow),
        pytest.param({"turned_deg": TURNED, "spacing": (0.9, 0.9, 6.5)}, marks=pytest.mark.slow),
        {"turned_deg": TURNED, "moved_mm": MOVED_MM, "axes": OBLIQUE_LEFT_HANDED, "spacing": (1.5, 2.0, 3.0)},
    ],
    ids=["large brain far from the origin", "head bent far back", "thick slices", "oblique left-handed axes"],
)
def test_landmarks_of_a_stripped_scan_are_found_within_three_millimetres(make_patient, scan):
    patient = make_patient(**scan)

    alignment = register_to_atlas(patient.scan)

    assert alignment.skull_stripped
    assert alignment.brain_overlap > 0.94
    assert error_mm(alignment, patient).max() < 3.0


@pytest.mark.parametrize(
    "spacing",
    [pytest.param((2, 2, 2), marks=pytest.mark.slow, id="thin slices"), pytest.param((1, 1, 6.5), id="thick slices")],
)
def test_landmarks_are_found_inside_a_skull(make_patient, spacing):
    patient = make_patient(turned_deg=TURNED, scales=(1.06, 1.03, 1.1), moved_mm=MOVED_MM, spacing=spacing, head=True)

    alignment = register_to_atlas(patient.scan)

    assert not alignment.skull_stripped
    assert np.median(error_mm(alignment, patient)) < 3.0
    assert error_mm(alignment, patient).max() < 7.0


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param(np.eye(3), marks=pytest.mark.slow, id="RAS"),
        pytest.param(np.diag([-1, -1, 1]), marks=pytest.mark.slow, id="LPS"),
        pytest.param(np.diag([-1, 1, 1]), id="left-handed"),
        pytest.param(OBLIQUE_LEFT_HANDED, marks=pytest.mark.slow, id="oblique left-handed"),
    ],
)
def test_a_tumor_on_the_left_is_on_the_left_of_the_atlas_whatever_the_axes_of_the_file(make_patient, axes):
    patient = make_patient(turned_deg=(0, 0, 10), moved_mm=MOVED_MM, axes=axes, spacing=(2.5, 2.5, 2.5))
    tumor_ras = patient.tumor.grid.to_world(np.argwhere(patient.tumor.data)).mean(axis=0)

    alignment = register_to_atlas(patient.scan)

    assert np.allclose(alignment.to_atlas(tumor_ras), patient.tumor_mni, atol=4.0)
    assert np.linalg.det(alignment.patient_to_atlas[:3, :3]) > 0


def test_half_a_brain_is_enough(make_patient):
    patient = make_patient(turned_deg=TURNED, moved_mm=MOVED_MM)
    height = patient.scan.shape[2]
    affine = patient.scan.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (height // 4)
    slab = Volume(patient.scan.data[:, :, height // 4 : -height // 4], affine)

    alignment = register_to_atlas(slab)

    assert np.median(error_mm(alignment, patient)) < 4.0


def test_an_offset_and_a_z_score_change_nothing(make_patient):
    patient = make_patient(turned_deg=TURNED)
    inside = patient.scan.data > 0
    values = patient.scan.data[inside]
    scored = np.zeros_like(patient.scan.data)
    scored[inside] = (values - values.mean()) / values.std()

    alignment = register_to_atlas(Volume(scored, patient.scan.affine))

    assert error_mm(alignment, patient).max() < 3.0


def test_the_same_scan_always_gives_the_same_alignment(make_patient):
    patient = make_patient(turned_deg=TURNED, spacing=(3, 3, 3))

    one, other = register_to_atlas(patient.scan), register_to_atlas(patient.scan)

    assert np.array_equal(one.patient_to_atlas, other.patient_to_atlas)
    assert (one.brain_overlap, one.agreement, one.stage) == (other.brain_overlap, other.agreement, other.stage)


# What must not be used


@pytest.mark.parametrize(
    "turn",
    [(0, 0, 180), *(pytest.param(turn, marks=pytest.mark.slow) for turn in [(0, 180, 0), (180, 0, 0), (0, 0, 90)])],
)
def test_a_header_that_lies_about_the_orientation_is_reported(make_patient, turn):
    patient = make_patient(spacing=(3, 3, 3))
    lie = np.eye(4)
    lie[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()

    with pytest.raises(RegistrationFailed):
        register_to_atlas(Volume(patient.scan.data, lie @ patient.scan.affine))


def test_a_scan_that_shows_no_brain_is_refused():
    axes = np.indices((60, 70, 60)) - np.array([30, 35, 30])[:, None, None, None]
    rng = np.random.default_rng(0)
    ellipsoid = (axes[0] / 24) ** 2 + (axes[1] / 30) ** 2 + (axes[2] / 22) ** 2 < 1
    noise = np.where(ellipsoid, rng.normal(100, 20, ellipsoid.shape), 0.0)

    with pytest.raises(RegistrationFailed, match="could not be aligned with the atlas: "):
        register_to_atlas(Volume(noise, np.diag([3.0, 3.0, 3.0, 1.0])))


@pytest.mark.parametrize(
    "data",
    [np.zeros((40,) * 3), np.ones((40,) * 3), np.random.default_rng(0).random((40,) * 3), np.eye(2)[..., None]],
    ids=["empty", "constant", "noise", "tiny"],
)
def test_what_is_no_scan_at_all_is_refused(data):
    with pytest.raises(RegistrationFailed):
        register_to_atlas(Volume(data, np.diag([4.0, 4.0, 4.0, 1.0])))


def test_a_brain_of_impossible_size_is_refused(make_patient):
    patient = make_patient(spacing=(3, 3, 3))

    with pytest.raises(RegistrationFailed):
        register_to_atlas(Volume(patient.scan.data, np.diag([0.5, 0.5, 0.5, 1.0]) @ patient.scan.affine))


def test_progress_rises_to_one_and_can_stop_the_work(make_patient):
    patient = make_patient(spacing=(3, 3, 3))
    fractions = []
    register_to_atlas(patient.scan, progress=lambda fraction, message: fractions.append(fraction))

    def stop(fraction, message):
        if fraction > 0:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        register_to_atlas(patient.scan, progress=stop)
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
