import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from TumorRetrievalLib.evaluation.markers import area_under_curve
from TumorRetrievalLib.training.intervals import mean_over_splits, mean_with_interval


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_an_interval_holds_its_mean_and_lies_within_the_values(values):
    found = mean_with_interval(values)

    assert min(values) - 1e-4 <= found["low"] <= found["mean"] + 1e-3
    assert found["mean"] - 1e-3 <= found["high"] <= max(values) + 1e-4 and found["n"] == len(values)


def test_intervals_hold_the_true_mean_about_as_often_as_they_promise():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        found = mean_with_interval(rng.normal(0.7, 0.1, 30), seed)
        held += found["low"] <= 0.7 <= found["high"]

    assert 178 <= held <= 199


def test_what_is_not_defined_is_left_out_and_nothing_at_all_has_no_mean():
    assert mean_with_interval([0.5, None, 0.7])["n"] == 2
    assert mean_with_interval([None]) == {"mean": None, "low": None, "high": None, "n": 0}
    assert mean_with_interval([0.4]) == {"mean": 0.4, "low": None, "high": None, "n": 1}


def test_the_interval_over_splits_is_students():
    found = mean_over_splits([0.70, 0.76, 0.78, 0.73, 0.80, 0.70])

    assert found["mean"] == pytest.approx(0.745) and found["n"] == 6
    # 2.571 standard errors on each side, the standard error being 0.0171.
    assert found["high"] - found["mean"] == pytest.approx(2.571 * 0.01708, abs=2e-4)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_the_curve_is_that_of_an_independent_library(pairs):
    from sklearn.metrics import roc_auc_score

    scores, positive = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])

    found = area_under_curve(scores, positive)

    if positive.all() or not positive.any():
        assert found is None
    else:
        assert found == pytest.approx(roc_auc_score(positive, scores))
