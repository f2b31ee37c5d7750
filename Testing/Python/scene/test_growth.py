"""A simulated tumor from the atlas is shown where it belongs in the patient, proved with landmarks."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.volume import Grid, Volume

PEAK = (19.0, -15.0, 9.0)
"""Where the simulated tumor is densest: atlas RAS mm, right and rear."""


@pytest.fixture
def patient_to_atlas() -> np.ndarray:
    """A registration that turns, stretches and shifts: far from its own inverse."""
    from Testing.SlicerHost.phantoms import turned

    matrix = np.eye(4)
    matrix[:3, :3] = turned(20) @ np.diag([1.2, 0.9, 1.0])
    matrix[:3, 3] = (8, -5, 15)
    return matrix


def density_around(peak, width: float = 12.0) -> Volume:
    """A density that falls off from 1 at a place of the atlas."""
    grid = Grid.around((0, 0, 0), 2.0, (48, 46, 44))
    squared = ((grid.voxel_centres() - np.asarray(peak)) ** 2).sum(axis=1)
    return Volume(np.exp(-squared / width**2).reshape(grid.shape), grid.affine)


@pytest.fixture
def overlay(scene, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import add_density

    return add_density(scene, density_around(PEAK), patient_to_atlas, "Growth")


def in_patient(patient_to_atlas, point) -> np.ndarray:
    return (np.linalg.inv(patient_to_atlas) @ (*point, 1.0))[:3]


def test_the_densest_place_of_the_atlas_is_shown_at_the_same_place_of_the_patient(overlay, patient_to_atlas):
    from Testing.SlicerHost.phantoms import brightest
    from TumorRetrievalLib.scene.volumes import volume_of

    assert np.allclose(brightest(volume_of(overlay)), in_patient(patient_to_atlas, PEAK))


def test_slicers_own_transform_agrees_on_the_direction(overlay, patient_to_atlas):
    import vtk

    to_world = vtk.vtkGeneralTransform()
    overlay.GetParentTransformNode().GetTransformToWorld(to_world)

    assert np.allclose(to_world.TransformPoint(PEAK), in_patient(patient_to_atlas, PEAK))


def test_a_better_registration_moves_the_map(overlay):
    from Testing.SlicerHost.phantoms import brightest
    from TumorRetrievalLib.scene.growth import set_registration
    from TumorRetrievalLib.scene.volumes import volume_of

    set_registration(overlay, np.eye(4))

    assert np.allclose(brightest(volume_of(overlay)), PEAK)


def test_the_contours_lie_around_the_densest_place_in_the_patient(overlay, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import parts_of

    widths = []
    for contour in (part for part in parts_of(overlay) if part.IsA("vtkMRMLModelNode")):
        bounds = np.zeros(6)
        contour.GetRASBounds(bounds)
        middle = bounds.reshape(3, 2).mean(axis=1)
        assert np.allclose(middle, in_patient(patient_to_atlas, PEAK), atol=1.5)
        widths.append(np.ptp(bounds[4:]))

    expected = [2 * 12 * np.sqrt(-np.log(level)) for level in (0.2, 0.6)]
    assert np.allclose(widths, expected, rtol=0.1)


def test_another_time_of_the_simulation_replaces_map_and_contours(overlay):
    from TumorRetrievalLib.scene.growth import parts_of, set_density, set_registration
    from TumorRetrievalLib.scene.volumes import volume_of

    set_registration(overlay, np.eye(4))
    earlier = density_around((-30, 0, 0), width=6)
    set_density(overlay, earlier)

    assert np.array_equal(volume_of(overlay).data, earlier.data)
    contour = next(part for part in parts_of(overlay) if part.IsA("vtkMRMLModelNode"))
    assert contour.GetPolyData().GetCenter()[0] == pytest.approx(-30, abs=1)


def test_a_density_too_low_for_a_contour_has_an_empty_one(scene, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import add_density, parts_of

    density = density_around(PEAK)
    thin = Volume(density.data * 0.1, density.affine)
    node = add_density(scene, thin, patient_to_atlas, "Thin")

    models = [part for part in parts_of(node) if part.IsA("vtkMRMLModelNode")]
    assert [model.GetPolyData().GetNumberOfPoints() for model in models] == [0, 0]


def test_a_threshold_hides_the_low_densities_only(overlay):
    from TumorRetrievalLib.scene.growth import set_threshold

    set_threshold(overlay, 0.35)
    display = overlay.GetDisplayNode()

    assert display.GetApplyThreshold() and display.GetLowerThreshold() == pytest.approx(0.35)
    assert display.GetUpperThreshold() >= 1
