"""A fit that starts nearby ends on the tumor itself."""

import numpy as np
import pytest

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.growth.refine import Target, refine
from TumorRetrievalLib.growth.solver import simulate

TRUTH = GrowthParameters((31.0, -12.0, 27.0), 5.0, 9.0)


@pytest.fixture(scope="module")
def tumor(atlas):
    return simulate(atlas, TRUTH)


def masks_of(snapshot) -> tuple[np.ndarray, np.ndarray]:
    return snapshot.whole.data, snapshot.core.data


def test_a_simulated_tumor_is_found_again_from_a_start_nearby(atlas, tumor):
    start = GrowthParameters((35.0, -8.0, 24.0), 8.0, 7.5)
    before = Target(atlas, *masks_of(tumor), (1.0, 1.0)).best_of_run(start.origin, start.spread)[0]

    fit = refine(atlas, *masks_of(tumor), [start])

    assert before < 1.75
    assert fit.whole_dice + fit.core_dice > 1.93
    found = fit.snapshot.parameters
    np.testing.assert_allclose(found.origin, TRUTH.origin, atol=2.0)
    assert (found.spread, found.tau) == pytest.approx((TRUTH.spread, TRUTH.tau), rel=0.25)


def test_the_result_is_never_worse_than_any_start(atlas, tumor):
    starts = [GrowthParameters((-40.0, -40.0, 30.0), 2.0, 8.0), TRUTH]

    fit = refine(atlas, *masks_of(tumor), starts)

    target = Target(atlas, *masks_of(tumor), (1.0, 1.0))
    assert fit.whole_dice + fit.core_dice >= target.best_of_run(TRUTH.origin, TRUTH.spread)[0] - 0.01


def test_the_dice_reported_are_those_of_the_density_returned(atlas, tumor):
    rng = np.random.default_rng(2)
    whole, core = (mask & (rng.random(mask.shape) < 0.8) for mask in masks_of(tumor))
    whole |= core

    fit = refine(atlas, whole, core, [TRUTH])

    for dice, grown, mask in ((fit.whole_dice, 0.2, whole), (fit.core_dice, 0.6, core)):
        found = fit.snapshot.density.data >= grown
        assert dice == pytest.approx(2 * np.sum(found & mask) / (np.sum(found) + np.sum(mask)))


def test_time_within_a_run_is_fitted_too(atlas, tumor):
    score, tau = Target(atlas, *masks_of(tumor), (1.0, 1.0)).best_of_run(TRUTH.origin, TRUTH.spread)

    assert score == pytest.approx(2.0, abs=0.05)
    assert tau == pytest.approx(TRUTH.tau, abs=0.06)


def test_weights_decide_which_mask_is_fitted(atlas, tumor):
    whole, _ = masks_of(tumor)
    shrunk = masks_of(simulate(atlas, GrowthParameters(TRUTH.origin, 1.0, 9.0)))[1]

    fit_whole, fit_core = (
        refine(atlas, whole, shrunk, [TRUTH], whole_weight=weights[0], core_weight=weights[1])
        for weights in ((1.0, 0.0), (0.0, 1.0))
    )

    assert fit_whole.whole_dice > 0.95 > fit_core.whole_dice
    assert fit_core.core_dice > fit_whole.core_dice


@pytest.mark.parametrize("shape", [(64, 64, 32), (128, 128, 128)])
def test_masks_on_another_grid_are_refused(atlas, shape):
    with pytest.raises(InvalidTumorMask):
        refine(atlas, np.ones(shape, bool), np.ones(shape, bool), [TRUTH])


def test_an_empty_tumor_is_refused(atlas, tumor):
    with pytest.raises(InvalidTumorMask):
        refine(atlas, np.zeros((64,) * 3, bool), masks_of(tumor)[1], [TRUTH])
