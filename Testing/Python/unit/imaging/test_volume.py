import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from TumorRetrievalLib.errors import GeometryMismatch, InvalidImage
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume


@given(data=st.data())
def test_a_place_in_the_world_comes_back_from_voxels_on_any_grid(grids, data):
    grid = data.draw(grids())
    points = np.array(data.draw(st.lists(st.tuples(*[st.floats(-200, 200)] * 3), min_size=1, max_size=5)))

    assert np.allclose(grid.to_world(grid.to_voxel(points)), points, atol=1e-8)
    assert np.allclose(grid.to_world(grid.to_voxel(points[0])), points[0], atol=1e-8)


@given(data=st.data())
def test_voxel_centres_come_in_the_order_of_the_flattened_array(grids, data):
    grid = data.draw(grids())
    region = tuple(slice(data.draw(st.integers(0, n - 1)), n) for n in grid.shape)

    indices = np.argwhere(np.ones(grid.shape, bool)[region]) + [part.start for part in region]

    assert np.allclose(grid.voxel_centres(region), grid.to_world(indices))


@given(data=st.data())
def test_spacing_and_voxel_volume_do_not_depend_on_the_orientation(grids, data):
    grid = data.draw(grids())

    steps = [np.linalg.norm(grid.to_world(np.eye(3)[axis]) - grid.to_world(np.zeros(3))) for axis in range(3)]

    assert np.allclose(grid.spacing, steps)
    assert grid.voxel_ml == pytest.approx(np.prod(steps) / 1000)


def test_a_grid_around_a_point_has_that_point_in_its_middle():
    grid = Grid.around((10, -20, 30), 2.0, (64, 48, 33))

    assert np.allclose(grid.centre(), (10, -20, 30))
    assert grid.spacing.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("affine", "says"),
    [
        (np.diag([1, 1, 0, 1.0]), "singular"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "singular"),
        (np.diag([1, np.nan, 1, 1]), "plausible"),
        (np.diag([1, np.inf, 1, 1]), "plausible"),
        (np.diag([1, 1e30, 1, 1]), "plausible"),
        (np.diag([1, 1, 1, 2.0]), "row"),
        (np.eye(3), "4 x 4"),
    ],
)
def test_an_affine_that_places_nothing_is_refused(affine, says):
    with pytest.raises(InvalidImage, match=says):
        Grid((2, 2, 2), affine)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2), (4, 0, 4)])
def test_anything_but_three_filled_axes_is_refused(shape):
    for kind in (Volume, LabelMap):
        with pytest.raises(InvalidImage, match="three axes"):
            kind(np.zeros(shape, np.uint8), np.eye(4))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_scan_with_a_voxel_that_is_no_float32_number_is_refused(bad):
    data = np.zeros((3, 3, 3))
    data[1, 1, 1] = bad

    with pytest.raises(InvalidImage, match="not finite"):
        Volume(data, np.eye(4))


def test_complex_scans_and_fractional_segmentations_are_refused():
    with pytest.raises(InvalidImage, match="complex"):
        Volume(np.zeros((2, 2, 2), complex), np.eye(4))
    with pytest.raises(InvalidImage, match="whole numbers"):
        LabelMap(np.zeros((2, 2, 2), np.float32), np.eye(4))


def test_a_scan_is_float32_and_a_yes_no_mask_becomes_numbers():
    assert Volume(np.ones((2, 2, 2), np.int16), np.eye(4)).data.dtype == np.float32
    assert LabelMap(np.ones((2, 2, 2), bool), np.eye(4)).data.dtype == np.uint8


def test_float32_data_is_not_copied():
    data = np.zeros((2, 2, 2), np.float32)

    assert Volume(data, np.eye(4)).data is data


def test_a_mask_elsewhere_or_of_another_shape_is_refused_and_rounding_is_not(scan):
    mask = LabelMap(np.zeros(scan.shape, np.uint8), scan.affine + 1e-4 * np.eye(4, k=3))
    scan.require_same_grid(mask, "The mask")

    shifted = scan.affine.copy()
    shifted[0, 3] += 1
    for other in (LabelMap(mask.data, shifted), LabelMap(mask.data[1:], scan.affine)):
        with pytest.raises(GeometryMismatch, match="The mask"):
            scan.require_same_grid(other, "The mask")


def test_a_mirrored_mask_of_the_same_shape_is_refused(scan):
    mirrored = scan.affine @ np.diag([-1, 1, 1, 1.0])
    mirrored[:3, 3] = scan.grid.to_world((scan.shape[0] - 1, 0, 0))

    with pytest.raises(GeometryMismatch):
        scan.require_same_grid(LabelMap(np.zeros(scan.shape, np.uint8), mirrored), "The mask")


def test_the_volume_of_a_segmentation_counts_every_label():
    data = np.zeros((10, 10, 10), np.uint8)
    data[0, 0, :] = 1
    data[1, 0, :] = 4

    assert LabelMap(data, np.diag([2, 2, 5, 1.0])).volume_ml() == pytest.approx(0.4)
