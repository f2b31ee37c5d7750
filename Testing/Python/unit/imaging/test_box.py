import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from TumorRetrievalLib.errors import BoxOutsideVolume, InvalidBox
from TumorRetrievalLib.imaging.box import Box, box_of_region, boxes_around_components, parse_box
from TumorRetrievalLib.imaging.volume import Grid, LabelMap


def hull_or_none(box, grid):
    try:
        return box.voxel_hull(grid)
    except BoxOutsideVolume:
        return None


@given(data=st.data())
def test_the_hull_covers_exactly_the_voxels_whose_cell_an_aligned_box_touches(grids, data):
    # A grid along the body's axes, in any order and direction, so that cells and box are easy to compare in mm.
    grid = data.draw(grids(steepest=0.0))
    center = grid.to_world(data.draw(st.tuples(*[st.floats(-3.0, n + 2.0) for n in grid.shape])))
    box = Box.aligned(center, data.draw(st.tuples(*[st.floats(0.5, 40)] * 3)))
    half_cell = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
    distance = np.abs(grid.voxel_centres() - box.center) - box.size / 2
    # Leave the cells that only just touch to the documented tolerance.
    assume(np.abs(np.abs(distance) - half_cell).min() > 0.01 * half_cell.max())
    touched = np.all(distance < half_cell, axis=1).reshape(grid.shape)

    hull = hull_or_none(box, grid)

    covered = np.zeros(grid.shape, bool)
    if hull is not None:
        covered[hull] = True
    assert np.array_equal(covered, touched)


@given(data=st.data())
def test_no_voxel_of_an_oblique_scan_whose_centre_lies_in_a_rotated_box_is_missed(grids, boxes, data):
    grid, box = data.draw(grids()), data.draw(boxes())
    inside = box.contains(grid.voxel_centres()).reshape(grid.shape)

    hull = hull_or_none(box, grid)

    outside_hull = inside.copy()
    if hull is not None:
        outside_hull[hull] = False
    assert not outside_hull.any()


@given(data=st.data())
def test_the_hull_is_no_larger_than_the_box_needs(grids, boxes, data):
    grid, box = data.draw(grids()), data.draw(boxes())
    hull = hull_or_none(box, grid)
    assume(hull is not None)

    extent = np.ptp(grid.to_voxel(box.corners()), axis=0)

    for part, length in zip(hull, extent, strict=True):
        assert part.stop - part.start <= np.ceil(length) + 1


@given(data=st.data())
def test_a_box_on_the_left_takes_only_voxels_on_the_left_however_the_file_stores_them(grids, data):
    grid = data.draw(grids(steepest=0.0))
    voxel = np.abs(grid.affine[0, :3]).sum()
    width = data.draw(st.floats(1.0, 30.0))
    box = Box.aligned((-width / 2 - voxel, *grid.centre()[1:]), (width, 20, 20))
    hull = hull_or_none(box, grid)
    assume(hull is not None)

    assert grid.voxel_centres(hull)[:, 0].max() < 0


def test_a_box_thinner_than_a_voxel_gets_the_voxel_that_it_lies_in():
    grid = Grid((10, 10, 10), np.diag([1.0, 1.0, 6.5, 1.0]))

    assert Box.aligned((4, 5, 20), (0.1, 0.1, 0.1)).voxel_hull(grid) == (slice(4, 5), slice(5, 6), slice(3, 4))
    on_a_border = Box.aligned((4.5, 5, 20), (1e-4, 0.1, 0.1))
    assert on_a_border.voxel_hull(grid) == (slice(5, 6), slice(5, 6), slice(3, 4))


def test_the_rounding_of_an_affine_in_a_file_adds_no_layer_of_voxels():
    grid = Grid((20, 20, 20), np.diag([0.78125, 0.78125, 6.5, 1.0]))
    rounded = grid.affine + 1e-5
    rounded[3] = (0, 0, 0, 1)

    box = box_of_region(grid, (slice(3, 9), slice(4, 5), slice(0, 20)))

    assert box.voxel_hull(Grid(grid.shape, rounded)) == (slice(3, 9), slice(4, 5), slice(0, 20))


def test_a_box_outside_the_scan_is_refused_with_both_places_and_a_hint():
    grid = Grid((10, 10, 10), np.eye(4))

    with pytest.raises(BoxOutsideVolume, match=r"R 40, A -50, S 10.*centred at \[4, 4, 4\].*signs"):
        Box.aligned((40, -50, 10), (5, 5, 5)).voxel_hull(grid)


@given(data=st.data())
def test_a_box_made_from_a_region_covers_that_region_and_nothing_else(grids, data):
    grid = data.draw(grids())
    starts = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    region = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, grid.shape, strict=True))

    box = box_of_region(grid, region)

    assert box.voxel_hull(grid) == region
    inside = box.contains(grid.voxel_centres()).reshape(grid.shape)
    assert inside[region].all() and inside.sum() == inside[region].size
    assert np.prod(box.size) == pytest.approx(1000 * grid.voxel_ml * inside.sum())


@given(data=st.data())
def test_the_edges_of_a_box_from_a_region_come_in_the_order_right_front_up(grids, data):
    grid = data.draw(grids(steepest=0.3))

    box = box_of_region(grid, tuple(slice(0, n) for n in grid.shape))

    assert np.argmax(np.abs(box.axes), axis=0).tolist() == [0, 1, 2]
    assert np.diag(box.axes).min() > 0


@given(data=st.data())
def test_the_edges_of_a_box_from_any_region_are_a_rotation(grids, data):
    grid = data.draw(grids())

    assert np.linalg.det(box_of_region(grid, tuple(slice(0, n) for n in grid.shape)).axes) == pytest.approx(1)


def test_the_box_of_a_sheared_grid_still_encloses_its_voxels():
    affine = np.eye(4)
    affine[0, 1] = 0.5
    grid = Grid((4, 5, 6), affine)

    box = box_of_region(grid, (slice(0, 4), slice(0, 5), slice(0, 6)))

    assert box.contains(grid.to_world(np.array([[-0.5, -0.5, -0.5], [3.5, 4.5, 5.5], [3.5, -0.5, 5.5]]))).all()


def test_a_segmentation_gives_one_box_per_part_the_largest_first():
    data = np.zeros((30, 30, 30), np.uint8)
    data[2:6, 2:6, 2:6] = 2
    data[10:20, 10:20, 10:14] = 1
    data[20, 20, 14] = 4  # touches the part above by a corner only
    data[28, 28, 28] = 1  # 1 mm3: below the smallest part

    boxes = boxes_around_components(LabelMap(data, np.eye(4)))

    assert [box.size.tolist() for box in boxes] == [[11, 11, 5], [4, 4, 4]]
    assert boxes[1].center.tolist() == [3.5, 3.5, 3.5]


def test_a_lone_part_gets_a_box_however_small_and_an_empty_segmentation_is_refused():
    data = np.zeros((5, 5, 5), np.uint8)
    with pytest.raises(InvalidBox, match="empty"):
        boxes_around_components(LabelMap(data, np.eye(4)))

    data[1, 2, 3] = 1

    assert boxes_around_components(LabelMap(data, np.eye(4)))[0].center.tolist() == [1, 2, 3]


def test_distorted_boxes_have_the_statistics_of_the_papers_equation_2(rng):
    from scipy.spatial.transform import Rotation

    axes = Rotation.from_rotvec((0.3, 0.2, 0.1)).as_matrix()
    box = Box((10, -20, 30), (10, 20, 40), axes)

    copies = [box.distorted(rng) for _ in range(4000)]

    log_scale = np.log2([copy.size / box.size for copy in copies])
    shift = np.array([(copy.center - box.center) @ axes / box.size for copy in copies])
    # Four standard errors of a mean and of a standard deviation.
    assert np.abs(log_scale.mean(axis=0)).max() < 4 / 3 / 4000**0.5
    assert np.abs(log_scale.std(axis=0) - 1 / 3).max() < 4 / 3 / 8000**0.5
    assert np.abs(shift.mean(axis=0)).max() < 0.4 / 4000**0.5
    assert np.abs(shift.std(axis=0) - 1 / 10).max() < 0.4 / 8000**0.5
    together = np.corrcoef(np.hstack([log_scale, shift]).T)
    assert np.abs(together - np.eye(6)).max() < 0.08
    assert all(np.array_equal(copy.axes, axes) for copy in copies)


def test_the_same_seed_distorts_a_box_the_same_way():
    box = Box.aligned((0, 0, 0), (10, 10, 10))

    first, second = (box.distorted(np.random.default_rng(3)) for _ in range(2))

    assert np.array_equal(first.size, second.size) and np.array_equal(first.center, second.center)


def test_a_box_is_read_from_the_command_line():
    box = parse_box("-30, 20,25.5,40,41,42")

    assert box.center.tolist() == [-30, 20, 25.5]
    assert box.size.tolist() == [40, 41, 42]
    assert np.array_equal(box.axes, np.eye(3))


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5,6,7", "a,b,c,d,e,f", "0,0,0,nan,1,1", "0,0,inf,1,1,1", "1e300,0,0,1,1,1"]
)
def test_a_box_that_is_not_six_numbers_of_plausible_size_is_refused(text):
    with pytest.raises(InvalidBox):
        parse_box(text)


@pytest.mark.parametrize("size", [0.0, -5.0])
def test_a_box_without_a_volume_is_refused(size):
    with pytest.raises(InvalidBox, match="longer than 0"):
        parse_box(f"0,0,0,10,10,{size}")


def test_axes_that_are_not_at_right_angles_are_refused():
    with pytest.raises(InvalidBox, match="right angles"):
        Box((0, 0, 0), (1, 1, 1), [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]])


@given(data=st.data())
def test_the_corners_span_the_box(boxes, data):
    box = data.draw(boxes())

    along_edges = (box.corners() - box.center) @ box.axes

    assert np.allclose(np.abs(along_edges), box.size / 2)
    assert len({tuple(np.sign(corner)) for corner in along_edges}) == 8
    assert box.contains(box.corners()).all()
    assert not box.contains(box.center + (box.corners() - box.center) * 1.01).any()
