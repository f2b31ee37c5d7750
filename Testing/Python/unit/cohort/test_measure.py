"""A tumor is as large as it is, however its scan was sliced and turned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.cohort.measure import measure_tumor
from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.volume import Grid, LabelMap


def ball(grid: Grid, centre, radius: float) -> LabelMap:
    inside = np.linalg.norm(grid.voxel_centres() - centre, axis=1) <= radius
    return LabelMap(inside.reshape(grid.shape), grid.affine)


def test_a_ball_has_its_diameter_its_volume_and_its_box():
    grid = Grid.around((10.0, -20.0, 30.0), 1.0, (50, 50, 50))

    size = measure_tumor(ball(grid, (12.0, -20.0, 30.0), 15.0))

    assert size.linear_size_mm == pytest.approx(30.0, abs=1.8)
    assert size.volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.02)
    assert np.allclose(size.box.center, (12.0, -20.0, 30.0), atol=0.51)
    assert np.allclose(size.box.size, 30.0, atol=1.01)


def test_a_rod_is_measured_along_its_diagonal_not_along_the_axes():
    data = np.zeros((20, 20, 20), np.uint8)
    data[np.arange(20), np.arange(20), np.arange(20)] = 1

    size = measure_tumor(LabelMap(data, np.eye(4)))

    assert size.linear_size_mm == pytest.approx(20 * np.sqrt(3))


def test_a_single_voxel_counts_with_its_whole_extent():
    data = np.zeros((3, 3, 3), np.uint8)
    data[1, 1, 1] = 7

    size = measure_tumor(LabelMap(data, np.diag([2.0, 3.0, 6.0, 1.0])))

    assert size.linear_size_mm == pytest.approx(7.0)
    assert size.volume_ml == pytest.approx(0.036)
    assert np.allclose(size.box.size, (2, 3, 6))


def test_thick_oblique_left_handed_slices_change_the_size_by_less_than_a_slice():
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", (25, -15, 40), degrees=True).as_matrix() @ np.diag([-1.0, 1.0, 5.0])
    turned[:3, 3] = -turned[:3, :3] @ (24.5, 24.5, 4.5)

    size = measure_tumor(ball(Grid((50, 50, 10), turned), (0, 0, 0), 15.0))

    assert size.linear_size_mm == pytest.approx(30.0, abs=5.0)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9))
def test_the_linear_size_is_the_largest_distance_between_any_two_corners_of_voxels(seed, density):
    rng = np.random.default_rng(seed)
    data = rng.random((4, 5, 3)) < density
    data[tuple(rng.integers(0, data.shape))] = True
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 5.0, 3)
    signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, 8).T
    corners = (np.argwhere(data)[:, None] + signs).reshape(-1, 3)

    size = measure_tumor(LabelMap(data, affine))

    assert size.linear_size_mm == pytest.approx(pdist(corners @ affine[:3, :3].T).max())


def test_an_empty_mask_cannot_be_measured():
    with pytest.raises(InvalidImage, match="empty"):
        measure_tumor(LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4)))
