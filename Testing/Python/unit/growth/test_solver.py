"""Growing tumors in the atlas: to a time, to a volume, as a series, and with a place in the world."""

from itertools import pairwise

import numpy as np
import pytest

from TumorRetrievalLib.errors import InvalidGrowth, InvalidImage
from TumorRetrievalLib.growth.atlas import growth_atlas_from_fractions, growth_atlas_from_labels, load_growth_atlas
from TumorRetrievalLib.growth.parameters import GrowthParameters, Rates
from TumorRetrievalLib.growth.solver import simulate, simulate_series, simulate_to_times, simulate_to_volumes
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.registration.atlas import load_atlas

ORIGIN = (28.0, -10.0, 25.0)


def centre_of(labels: LabelMap) -> np.ndarray:
    return labels.grid.to_world(np.argwhere(labels.data)).mean(axis=0)


def test_left_stays_left(atlas):
    for x in (-35.0, 35.0):
        tumor = next(simulate_to_volumes(atlas, (x, -20.0, 30.0), 3.0, [20.0]))

        np.testing.assert_allclose(centre_of(tumor.whole), (x, -20.0, 30.0), atol=12)
        assert tumor.density.data.max() > 0.6


def test_a_snapshot_of_a_long_run_is_the_end_of_a_short_one_bit_for_bit(atlas):
    for snapshot in simulate_to_volumes(atlas, ORIGIN, 5.0, [8.0, 50.0, 150.0]):
        again = simulate(atlas, snapshot.parameters)

        np.testing.assert_array_equal(again.density.data, snapshot.density.data)


def test_volumes_are_met_within_two_percent(atlas):
    wanted = [10.0, 40.0, 160.0]

    volumes = [s.whole.volume_ml() for s in simulate_to_volumes(atlas, ORIGIN, 8.0, wanted)]

    assert volumes == pytest.approx(wanted, rel=0.02)


def test_a_tumor_only_grows_stays_in_the_tissue_and_its_core_in_the_whole(atlas):
    series = simulate_series(atlas, GrowthParameters(ORIGIN, 4.0, 11.0), 6)

    assert [s.parameters.tau for s in series] == pytest.approx([11 * n / 6 for n in range(1, 7)])
    for earlier, later in pairwise(series):
        assert np.count_nonzero(later.whole.data < earlier.whole.data) == 0
    for snapshot in series:
        assert snapshot.density.data[~atlas.tissue].max() == 0
        assert 0 <= snapshot.density.data.min() <= snapshot.density.data.max() <= 1
        assert np.all(snapshot.core.data <= snapshot.whole.data)
    np.testing.assert_array_equal(series[-1].density.data, simulate(atlas, series[-1].parameters).density.data)


def test_white_matter_carries_a_tumor_further_than_gray(make_block):
    from TumorRetrievalLib.growth.growth import Growth

    shape = (40, 9, 9)
    white = np.ones(shape)
    white[:20] = 0.1  # gray to one side of the middle
    tissue = make_block(np.ones(shape, bool), 1.5, diffusivity=white)
    growth = Growth(tissue, tissue.embed(np.where(np.indices(shape)[0] // 2 == 10, 0.5, 0).astype(np.float32)), 3.0)
    while growth.tau < 5:
        growth.advance()

    density = tissue.extract(growth.density_at(5.0))
    assert density[22:].sum() > 1.5 * density[:20].sum()


def test_a_run_ends_when_the_tumor_can_grow_no_more(atlas):
    assert len(list(simulate_to_volumes(atlas, ORIGIN, 20.0, [100.0, 1e6]))) == 1


@pytest.mark.parametrize("origin", [(0.0, 0.0, 200.0), (1e6, 0.0, 0.0), (0.0, -134.0, -72.0)])
def test_a_tumor_cannot_begin_outside_the_tissue(atlas, origin):
    with pytest.raises(InvalidGrowth, match="not brain tissue"):
        simulate(atlas, GrowthParameters(origin, 1.0, 1.0))


@pytest.mark.parametrize(("spread", "tau"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1), (1, float("inf"))])
def test_parameters_that_mean_nothing_are_refused(spread, tau):
    with pytest.raises(InvalidGrowth):
        GrowthParameters(ORIGIN, spread, tau)


def test_times_before_the_beginning_are_refused(atlas):
    with pytest.raises(InvalidGrowth):
        simulate_to_times(atlas, ORIGIN, 1.0, [-1.0, 2.0])


def test_rates_that_differ_only_in_their_clock_are_one_tumor():
    # The thesis: D = 0.001 cm^2/d = 0.1 mm^2/d, rho = 0.02 1/d, 500 days.
    tumor = GrowthParameters.from_rates(ORIGIN, Rates(0.1, 0.02, 500))
    faster = GrowthParameters.from_rates(ORIGIN, Rates(0.2, 0.04, 250))

    assert (tumor.spread, tumor.tau) == pytest.approx((5.0, 10.0))
    assert (faster.spread, faster.tau) == pytest.approx((tumor.spread, tumor.tau))
    assert tumor.rates_at_age(500) == Rates(pytest.approx(0.1), pytest.approx(0.02), 500)


def test_possible_ages_are_those_with_all_rates_in_the_range_of_the_thesis():
    youngest, oldest = GrowthParameters(ORIGIN, 5.0, 10.0).possible_ages()

    # Not below 50 days, with rho 0.2; not above 1500 days; D from 0.0002 to 0.015 cm^2/d on the way.
    assert (youngest, oldest) == pytest.approx((50.0, 1500.0))
    assert GrowthParameters(ORIGIN, 100.0, 10.0).possible_ages() == pytest.approx((10 / 0.015, 1500.0))
    assert GrowthParameters(ORIGIN, 800.0, 10.0).possible_ages() is None


def test_the_bundled_atlas_lies_in_the_world_as_its_images_do(atlas):
    reference = load_atlas()
    white = np.argwhere(reference.white.data > 0.9)[::1000]
    points = reference.grid.to_world(white)

    index = np.rint(atlas.grid.to_voxel(points)).astype(int)

    assert (atlas.white[tuple(index.T)] > 0.5).mean() > 0.95
    assert atlas.grid.spacing == pytest.approx([229 / 64] * 3)


def test_both_resolutions_hold_the_same_tissue(atlas):
    fine = load_growth_atlas()

    assert fine.tissue.sum() * fine.grid.voxel_ml == pytest.approx(atlas.tissue.sum() * atlas.grid.voxel_ml, rel=0.02)
    assert fine.grid.centre() == pytest.approx(atlas.grid.centre())
    assert fine.fingerprint != atlas.fingerprint


def test_the_coarse_tissue_lies_where_the_fine_one_does(atlas):
    fine = load_growth_atlas()

    assert fine.coarse.grid.same_as(atlas.grid)
    both = np.count_nonzero(fine.coarse.tissue & atlas.tissue)
    assert 2 * both / (fine.coarse.tissue.sum() + atlas.tissue.sum()) > 0.97


def test_a_tumor_grows_wherever_it_begins_on_voxels_larger_than_its_seed():
    atlas = load_growth_atlas(32)
    for corner in np.argwhere(atlas.tissue)[::200]:
        origin = atlas.grid.to_world(corner + 0.49)
        if not atlas.tissue[tuple(corner)]:
            continue
        tumor = next(simulate_to_volumes(atlas, origin, 20.0, [30.0]))
        assert tumor.whole.volume_ml() == pytest.approx(30.0, rel=0.2)


def test_another_atlas_may_be_stored_in_any_orientation():
    atlas = load_atlas()
    flipped = [
        Volume(v.data[::-1, ::-1].copy(), v.affine @ [[-1, 0, 0, 196], [0, -1, 0, 232], [0, 0, 1, 0], [0, 0, 0, 1]])
        for v in (atlas.gray, atlas.white)
    ]

    plain = growth_atlas_from_fractions(atlas.gray, atlas.white, 32)
    other = growth_atlas_from_fractions(*flipped, 32)

    np.testing.assert_allclose(other.affine, plain.affine)
    np.testing.assert_allclose(other.white, plain.white, atol=1e-4)
    assert other.fingerprint != plain.fingerprint


def test_another_atlas_may_come_as_tissue_labels():
    labels = load_atlas().tissue

    atlas = growth_atlas_from_labels(labels, 32)

    assert atlas.tissue.sum() * atlas.grid.voxel_ml == pytest.approx(
        np.count_nonzero(labels.data > 1) * labels.grid.voxel_ml, rel=0.1
    )


def test_images_that_are_no_fractions_are_refused():
    affine = np.eye(4)
    for value in (0.0, 255.0, -1.0):
        volume = Volume(np.full((8, 8, 8), value), affine)
        with pytest.raises(InvalidImage):
            growth_atlas_from_fractions(volume, volume)
