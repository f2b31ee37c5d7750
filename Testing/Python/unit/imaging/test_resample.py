import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from TumorRetrievalLib.imaging.crop import crop
from TumorRetrievalLib.imaging.resample import resample, resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume


def ramp_on(grid: Grid, slope=(0.3, -0.7, 1.1)) -> Volume:
    """Intensity that grows linearly through the world, so that its value at any place is known."""
    return Volume((grid.voxel_centres() @ slope).reshape(grid.shape), grid.affine)


@given(data=st.data())
def test_a_scan_on_its_own_grid_is_unchanged(grids, data):
    volume = ramp_on(data.draw(grids()))

    assert np.allclose(resample(volume, volume.grid).data, volume.data, atol=1e-3)


@given(data=st.data())
def test_between_any_two_grids_what_is_at_a_place_in_the_world_stays_there(grids, data):
    source, target = data.draw(grids()), data.draw(grids())
    volume = ramp_on(source)
    # Where smoothing cannot reach the border of the scan, it leaves a ramp as it is.
    ratio = np.linalg.norm(np.linalg.solve(source.affine, target.affine)[:3, :3], axis=1)
    margin = np.where(ratio > 1, np.ceil(3 * ratio / 2.3548) + 1, 0)
    ijk = source.to_voxel(target.voxel_centres())
    inner = np.all((ijk >= margin) & (ijk <= np.array(source.shape) - 1 - margin), axis=1)

    found = resample(volume, target).data.ravel()

    expected = target.voxel_centres() @ (0.3, -0.7, 1.1)
    assert np.allclose(found[inner], expected[inner], atol=1e-2)


@given(data=st.data())
def test_outside_the_scan_is_the_fill_value(grids, data):
    source, target = data.draw(grids()), data.draw(grids())
    ijk = source.to_voxel(target.voxel_centres())
    outside = np.any((ijk < -1) | (ijk > np.array(source.shape)), axis=1)

    found = resample(ramp_on(source), target, fill=-500).data.ravel()

    assert np.all(found[outside] == -500)


@given(data=st.data())
def test_every_resampled_label_is_the_one_at_its_centre(grids, data):
    source, target = data.draw(grids()), data.draw(grids())
    labels = np.random.default_rng(0).integers(1, 5, source.shape).astype(np.uint16)
    ijk = source.to_voxel(target.voxel_centres())
    nearest = np.floor(ijk + 0.5).astype(int)
    inside = np.all((nearest >= 0) & (nearest < source.shape), axis=1)
    expected = np.where(inside, labels[tuple(np.clip(nearest, 0, np.array(source.shape) - 1).T)], 0)
    clear = np.all(np.abs(ijk + 0.5 - np.round(ijk + 0.5)) > 1e-6, axis=1)

    found = resample_labels(LabelMap(labels, source.affine), target)

    assert found.data.dtype == np.uint16
    assert np.array_equal(found.data.ravel()[clear], expected[clear])


def test_only_coarser_voxels_are_smoothed_and_detail_too_fine_for_them_is_gone():
    checkerboard = np.indices((40, 40, 40)).sum(axis=0) % 2
    volume = Volume(checkerboard, np.eye(4))

    finer = resample(volume, Grid.around((19.5, 19.5, 19.5), 0.5, (21, 21, 21)))
    coarser = resample(volume, Grid.around((19.25, 19.25, 19.25), 4.0, (7, 7, 7)))

    assert np.ptp(finer.data) == pytest.approx(1)
    assert np.ptp(coarser.data) < 0.01
    assert coarser.data.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_thick_slices_are_smoothed_only_across_the_slices_in_whatever_order_the_axes_come(order):
    rng = np.random.default_rng(0)
    stripes = np.broadcast_to(rng.random((30, 1, 1)), (30, 30, 40))
    affine = np.diag([1, 1, 6, 1.0])[:, [*order, 3]]
    shape = tuple(np.array((30, 30, 6))[list(order)])

    thick = resample(Volume(stripes, np.eye(4)), Grid(shape, affine))

    assert np.allclose(thick.data, stripes[:, :, :6].transpose(order), atol=1e-5)


def test_smoothing_widens_a_blob_by_what_the_larger_voxel_adds():
    grid = Grid((61, 61, 61), np.eye(4))
    distance = grid.voxel_centres() - grid.centre()
    blob = Volume(np.exp(-(distance**2).sum(axis=1) / (2 * 4.0**2)).reshape(grid.shape), grid.affine)

    coarse = resample(blob, Grid.around(grid.centre(), 3.0, (21, 21, 21)))

    weights = coarse.data.ravel() / coarse.data.sum()
    variance = weights @ (coarse.grid.voxel_centres() - grid.centre()) ** 2
    # A full width w at half maximum is a variance of w^2 / (8 ln 2): 3 mm voxels instead of 1 mm add 8 / 5.545.
    assert np.allclose(variance, 16 + 8 / 5.545, atol=0.1)


def test_a_small_part_is_resampled_exactly_as_it_would_be_within_the_whole(scan):
    coarse = Grid.around(scan.grid.centre(), 2.5, (9, 8, 7))
    whole = resample(scan, coarse)

    part = resample(scan, Grid((3, 2, 4), crop(whole, (2, 3, 1), (3, 2, 4)).affine))

    assert np.allclose(part.data, whole.data[2:5, 3:5, 1:5], atol=1e-4)


def test_a_grid_that_misses_the_scan_is_all_fill_or_background(scan):
    far = Grid.around((500, 500, 500), 1.0, (4, 4, 4))

    assert np.all(resample(scan, far, fill=7).data == 7)
    assert np.all(resample_labels(LabelMap(np.ones(scan.shape, np.uint8), scan.affine), far).data == 0)


def test_a_crop_keeps_every_voxel_at_its_place_in_the_world_and_pads_the_rest(scan):
    part = crop(scan, (-2, 3, 5), (6, 4, 9), fill=-1)

    assert part.shape == (6, 4, 9)
    ijk = np.round(scan.grid.to_voxel(part.grid.voxel_centres())).astype(int)
    inside = np.all((ijk >= 0) & (ijk < scan.shape), axis=1)
    assert np.array_equal(part.data.ravel()[inside], scan.data[tuple(ijk[inside].T)])
    assert np.all(part.data.ravel()[~inside] == -1)
    assert inside.sum() == 4 * 4 * 2


def test_a_crop_beside_the_image_is_only_padding_and_labels_stay_labels(scan):
    labels = LabelMap(np.ones(scan.shape, np.uint8), scan.affine)

    part = crop(labels, (100, 0, 0), (2, 2, 2))

    assert isinstance(part, LabelMap) and part.data.dtype == np.uint8
    assert not part.data.any()


def test_a_network_sized_part_of_a_head_at_2_mm_takes_a_fraction_of_resampling_the_head(rng):
    head = Volume(rng.random((240, 240, 155), dtype=np.float32), np.diag([-1, -1, 1, 1.0]))
    grid = Grid.around(head.grid.centre(), 2.0, (64, 64, 64))

    def seconds(function):
        started = time.process_time()
        function()
        return time.process_time() - started

    part = min(seconds(lambda: resample(head, grid)) for _ in range(3))
    whole = seconds(lambda: resample(head, head.grid))

    assert part < whole / 4
