import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.errors import BoxOutsideVolume, InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.intensity import LOWEST
from TumorRetrievalLib.imaging.tumor_crop import (
    AROUND,
    COARSEST_MM,
    CROP,
    FINEST_MM,
    Scan,
    crop_spacing,
    cut_crop,
    voxels_inside,
)
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume

TUMOR = Box.aligned((-28, 12, 20), (24, 18, 22))


def grid_of(spacing=(2, 2, 2), turn=(0, 0, 0), order=(0, 1, 2), flips=(1, 1, 1)) -> Grid:
    """A grid of about 130 mm around the head's middle."""
    scales = np.diag(np.multiply(spacing, flips).astype(float))
    matrix = (Rotation.from_rotvec(turn).as_matrix() @ scales)[:, list(order)]
    shape = tuple(int(130 / length) for length in np.linalg.norm(matrix, axis=0))
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array((-10, 5, 10)) - matrix @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


GRIDS = {
    "upright": grid_of(),
    "left-handed": grid_of(flips=(-1, 1, 1)),
    "stored upside down": grid_of(flips=(-1, -1, -1)),
    "axes in another order": grid_of(order=(2, 0, 1)),
    "thick slices": grid_of(spacing=(1, 1, 6.5)),
    "oblique": grid_of(turn=(0.3, -0.4, 0.5)),
    "oblique, left-handed, thick": grid_of(spacing=(1, 1, 5), turn=(-0.2, 0.3, 0.1), flips=(1, -1, 1), order=(1, 2, 0)),
}


def scan_of(grid: Grid, box: Box, level: float = 160.0) -> Volume:
    """A stripped ball of gray waves, wide enough for any interpolation, with a bright block where the box is."""
    points = grid.voxel_centres()
    waves = 100 + 10 * np.sin(points @ (0.1, 0.13, 0.08))
    ball = np.linalg.norm(points - grid.centre(), axis=1) < 70
    return Volume((ball * np.where(box.contains(points), level, waves)).reshape(grid.shape), grid.affine)


HALF = 4.2
"""Half the contrast of that block, in units of the waves' standard deviation."""


def middle(grid: Grid, mask: np.ndarray) -> np.ndarray:
    return grid.to_world(np.argwhere(mask)).mean(axis=0)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("turn", [(0, 0, 0), (0.3, 0.5, -0.4)], ids=["upright box", "rotated box"])
def test_the_cube_shows_the_tumor_where_the_box_is_however_the_scan_is_stored(name, turn):
    box = Box(TUMOR.center, TUMOR.size, Rotation.from_rotvec(turn).as_matrix())
    crop = cut_crop(Scan.of(scan_of(GRIDS[name], box)), box, "core", 1.5)
    bright, inside = crop.image[0] > HALF, crop.image[2] > 0
    voxel = max(1.5, GRIDS[name].spacing.max())

    assert np.abs(middle(crop.grid, bright) - box.center).max() < 0.6 * voxel
    assert middle(crop.grid, bright)[0] < -20
    assert bright.sum() * 1.5**3 == pytest.approx(box.size.prod(), rel=0.25)
    # Interpolation blurs the block's border, but what is well inside the box is bright, and what is well outside not.
    assert bright[voxels_inside(Box(box.center, box.size - 2 * voxel, box.axes), crop.grid)].all()
    assert not bright[~voxels_inside(Box(box.center, box.size + 2.5 * voxel, box.axes), crop.grid)].any()
    assert np.array_equal(inside, voxels_inside(box, crop.grid))


@pytest.mark.parametrize("name", GRIDS)
def test_the_boxs_voxel_range_is_the_hull_of_what_the_box_fills(name):
    crop = cut_crop(Scan.of(scan_of(GRIDS[name], TUMOR)), TUMOR, "whole", 1.0)

    for axis, (low, high) in enumerate(zip(crop.box[::2], crop.box[1::2], strict=True)):
        taken = np.flatnonzero((crop.image[3] > 0).any(axis=tuple(k for k in range(3) if k != axis)))
        assert low <= taken[0] <= low + 1
        assert high - 2 <= taken[-1] <= high - 1
        assert high - low == pytest.approx(TUMOR.size[axis], abs=1.01)


def test_the_kind_of_box_decides_the_channel_that_shows_it():
    scan = Scan.of(scan_of(grid_of(), TUMOR))

    core, whole = (cut_crop(scan, TUMOR, around, 2.0).image for around in AROUND)

    assert core[2].any() and not core[3].any()
    assert whole[3].any() and not whole[2].any()
    assert np.array_equal(core[2], whole[3])


def test_flair_lies_over_t1c_whatever_its_own_grid():
    flair = scan_of(GRIDS["oblique, left-handed, thick"], TUMOR, level=160.0)
    crop = cut_crop(Scan.of(scan_of(grid_of(), TUMOR), flair), TUMOR, "core", 1.5)

    assert np.abs(middle(crop.grid, crop.image[1] > HALF) - middle(crop.grid, crop.image[0] > HALF)).max() < 2.5


def test_a_flair_that_is_missing_or_shows_nothing_here_leaves_its_channel_empty():
    elsewhere = Volume(scan_of(grid_of(), TUMOR).data, grid_of().affine + np.pad([[300.0]], ((0, 3), (3, 0))))
    t1c = scan_of(grid_of(), TUMOR)

    for scan in (Scan.of(t1c), Scan.of(t1c, elsewhere)):
        assert not cut_crop(scan, TUMOR, "core", 1.5).image[1].any()


def test_what_the_scan_does_not_show_is_dark():
    edge = Box.aligned(grid_of().to_world((0, 30, 30)), (20, 20, 20))

    crop = cut_crop(Scan.of(scan_of(grid_of(), edge)), edge, "core", 1.5)

    beyond = crop.grid.to_voxel(crop.grid.voxel_centres())[:, 0].reshape(crop.grid.shape) < 20
    assert np.all(crop.image[0][beyond] == LOWEST)


def test_a_brain_found_by_registration_sets_the_scale():
    t1c = scan_of(grid_of(), TUMOR)
    left = grid_of().voxel_centres()[:, 0].reshape(t1c.shape) < -10
    t1c = Volume(np.where(left, t1c.data, t1c.data * 4), t1c.affine)

    def left_half(grid):
        return LabelMap((grid.voxel_centres()[:, 0] < -10).reshape(grid.shape), grid.affine)

    crop = cut_crop(Scan.of(t1c).with_brain(left_half), TUMOR, "core", 2.0)

    # Half a voxel of the bright half is blurred into the rim.
    ordinary = (crop.grid.voxel_centres()[:, 0] < -14).reshape(crop.grid.shape) & (crop.image[0] > LOWEST)
    assert abs(np.median(crop.image[0][ordinary])) < 0.3


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("edge", [1.0, 10.0, 40.0, 90.0])
def test_the_cube_holds_the_box_with_room_around_it(around, edge):
    turned = Rotation.from_rotvec((0.4, 0.2, 0.6)).as_matrix()
    for box in (Box.aligned((0, 0, 0), (edge, 5, 5)), Box((0, 0, 0), (edge, 5, 5), turned)):
        spacing = crop_spacing(box, around)
        reach = np.abs(box.corners()).max()

        assert FINEST_MM <= spacing <= COARSEST_MM
        assert CROP * spacing / 2 >= reach + 12


def test_a_box_thinner_than_a_voxel_still_marks_the_voxels_it_lies_in():
    thin = Box.aligned(TUMOR.center + 0.4, (0.2, 20, 20))

    crop = cut_crop(Scan.of(scan_of(grid_of(), TUMOR)), thin, "core", 3.0)

    assert crop.image[2].any()
    assert crop.box[1] - crop.box[0] <= 2


def test_a_box_that_misses_the_scan_is_refused():
    with pytest.raises(BoxOutsideVolume, match="RAS"):
        cut_crop(Scan.of(scan_of(grid_of(), TUMOR)), Box.aligned((400, 0, 0), (9, 9, 9)), "core", 1.0)


def test_an_unknown_kind_of_box_is_refused():
    with pytest.raises(InvalidBox, match="core, whole, not 'oedema'"):
        cut_crop(Scan.of(scan_of(grid_of(), TUMOR)), TUMOR, "oedema", 1.0)


def test_a_scan_that_is_empty_around_the_box_is_refused():
    empty = Volume(np.zeros(grid_of().shape), grid_of().affine)

    with pytest.raises(InvalidBox, match="nothing but background"):
        cut_crop(Scan.of(empty), TUMOR, "core", 1.0)
