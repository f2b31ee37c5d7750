"""Points go to the atlas and come back, in the direction that the names say."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.registration.alignment import AtlasAlignment, stretches_and_turn
from TumorRetrievalLib.registration.atlas import load_atlas


@pytest.fixture
def alignment():
    """A patient whose brain is half as large as the atlas and lies 100 mm further to the right."""
    patient_to_atlas = np.diag([2.0, 2.0, 2.0, 1.0])
    patient_to_atlas[0, 3] = -200.0
    return AtlasAlignment(patient_to_atlas, 0.95, 1.1, "affine", True, 1.0)


def test_a_point_of_the_patient_goes_to_its_place_in_the_atlas_and_back(alignment):
    in_patient, in_atlas = (110.0, 5.0, -10.0), (20.0, 10.0, -20.0)

    assert np.allclose(alignment.to_atlas(in_patient), in_atlas)
    assert np.allclose(alignment.to_patient(in_atlas), in_patient)


def test_many_points_keep_their_shape(alignment):
    points = np.random.default_rng(0).normal(size=(4, 5, 3))

    assert alignment.to_atlas(points).shape == (4, 5, 3)
    assert np.allclose(alignment.to_patient(alignment.to_atlas(points)), points)


def test_a_half_sized_brain_has_scales_of_two(alignment):
    assert np.allclose(alignment.scales, 2.0)


def test_the_atlas_brain_lies_on_the_patients_grid_where_the_patient_is(alignment):
    grid = Grid.around((100.0, -10.0, 5.0), 2.0, (60, 60, 60))

    brain = alignment.brain_on(grid)

    assert brain.grid.same_as(grid)
    assert brain.volume_ml() == pytest.approx(load_atlas().brain.volume_ml() / 8, rel=0.01)
    inside = grid.voxel_centres()[brain.data.ravel() > 0]
    assert inside[:, 0].mean() == pytest.approx(100.0, abs=1.1)


def test_stretches_and_turn_are_told_apart():
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)
    affine = np.eye(4)
    affine[:3, :3] = quarter @ np.diag([1.2, 0.9, 1.0])

    stretches, turn = stretches_and_turn(affine)

    assert np.allclose(stretches, (1.2, 1.0, 0.9))
    assert turn == pytest.approx(90.0)
