from dataclasses import replace

import pytest

from TumorRetrievalLib.training.recipes import DEFAULT, PISOV


def test_the_papers_rate_drops_to_a_tenth_at_epochs_90_and_105():
    def rate(epoch):
        step = epoch * 200
        return PISOV.rate(step, PISOV.share(step, seconds=1e9))

    rates = [rate(epoch) for epoch in (0, 89, 90, 104, 105, 119)]

    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_papers_training_has_120_epochs_of_200_batches_of_two_patches_of_120_voxels():
    assert (PISOV.max_steps, PISOV.batch_size, PISOV.crop) == (24_000, 2, 120)
    assert set(PISOV.task_weights.values()) == {1e-3}


def test_the_default_rate_warms_up_and_then_falls_to_a_hundredth():
    rates = [DEFAULT.rate(step, share) for step, share in ((0, 0), (60, 0), (600, 0.5), (6000, 1))]

    assert rates[0] < 0.02 * DEFAULT.learning_rate
    assert rates[1:] == pytest.approx([DEFAULT.learning_rate * factor for factor in (1, 0.505, 0.01)])


def test_the_budget_is_used_up_by_whichever_limit_comes_first():
    recipe = replace(DEFAULT, max_steps=100, max_minutes=1)

    assert recipe.share(50, seconds=6) == 0.5
    assert recipe.share(50, seconds=45) == 0.75
    assert recipe.share(200, seconds=0) == 1


def test_a_recipe_that_would_never_end_is_refused():
    with pytest.raises(ValueError, match="never end"):
        replace(DEFAULT, max_steps=None, max_minutes=None)
