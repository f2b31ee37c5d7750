import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.intensity import (
    HIGHEST,
    LOWEST,
    fit_normalisation,
    has_signal,
    normalise_crop,
    ordinary_tissue,
)

SHAPE = (24, 24, 24)
EVERYWHERE = np.ones(SHAPE, bool)


def ball(radius: float, centre=(12, 12, 12)) -> np.ndarray:
    return ((np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0) < radius**2


BRAIN = ball(10)
BOX = np.zeros(SHAPE, bool)
BOX[10:16, 10:16, 10:16] = True


@pytest.fixture
def raw(rng) -> np.ndarray:
    """A stripped scan: tissue around 100, nothing outside the brain."""
    return (rng.normal(100, 12, SHAPE) * BRAIN).astype(np.float32)


@given(scale=st.floats(1e-4, 1e4), offset=st.floats(-1e4, 1e4))
def test_a_scan_means_the_same_in_any_unit_and_with_any_offset(scale, offset):
    # float32 itself loses the contrast of a scan that is small against its offset.
    assume(12 * scale > 1e-3 * abs(offset))
    raw = (np.random.default_rng(7).normal(100, 12, SHAPE) * BRAIN).astype(np.float32)

    other = normalise_crop(raw * np.float32(scale) + np.float32(offset), BRAIN, BRAIN, BOX)

    assert np.allclose(other, normalise_crop(raw, BRAIN, BRAIN, BOX), atol=0.02)


def test_a_z_scored_scan_is_read_like_the_raw_one(raw):
    z_scored = (raw - raw.mean()) / raw.std()

    assert np.array_equal(has_signal(z_scored), has_signal(raw))
    assert np.allclose(normalise_crop(z_scored, BRAIN, BRAIN, BOX), normalise_crop(raw, BRAIN, BRAIN, BOX), atol=1e-3)


def test_ordinary_brain_has_median_0_and_spread_1_and_what_has_no_signal_is_lowest(raw):
    seen = normalise_crop(raw, BRAIN, BRAIN, BOX)

    assert seen.dtype == np.float32
    assert np.median(seen[BRAIN & ~BOX]) == pytest.approx(0, abs=0.01)
    assert seen[BRAIN & ~BOX].std() == pytest.approx(1, abs=0.06)
    assert np.all(seen[~BRAIN] == LOWEST)


@pytest.mark.parametrize("content", [0.0, 40.0, 250.0, 1e6])
def test_whatever_fills_the_box_leaves_the_brain_around_it_as_it_was(raw, content):
    changed = np.where(BOX, np.float32(content), raw)

    before, after = (normalise_crop(image, BRAIN, BRAIN, BOX) for image in (raw, changed))

    assert np.array_equal(before[~BOX], after[~BOX])


def test_a_few_very_bright_vessels_move_the_scale_little(raw):
    vessels = raw.copy()
    vessels[BRAIN & (np.random.default_rng(1).random(SHAPE) < 0.005)] = 5000

    usual, moved = (fit_normalisation(image, BRAIN) for image in (raw, vessels))

    assert moved.spread == pytest.approx(usual.spread, rel=0.05)
    assert moved.median == pytest.approx(usual.median, rel=0.01)


def test_normalised_intensities_are_clipped_at_both_ends(raw):
    raw[12, 12, 12], raw[12, 12, 13] = 1e7, -1e7

    seen = normalise_crop(raw, BRAIN, BRAIN, BOX)

    assert seen.max() == HIGHEST
    assert seen.min() == LOWEST


def test_a_large_region_is_measured_from_a_part_of_it_with_the_same_answer(rng):
    large = rng.normal(50, 5, (60, 60, 60))

    scale = fit_normalisation(large, np.ones(large.shape, bool))

    assert scale.median == pytest.approx(50, abs=0.2)
    assert scale.spread == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e5])
def test_a_constant_crop_is_refused(value):
    with pytest.raises(InvalidImage, match="constant"):
        normalise_crop(np.full(SHAPE, value, np.float32), EVERYWHERE, None, BOX)


def test_a_crop_without_signal_is_refused_with_what_to_check(raw):
    with pytest.raises(InvalidImage, match="check that it lies on the brain"):
        normalise_crop(raw, np.zeros(SHAPE, bool), BRAIN, BOX)


def test_the_brain_outside_the_box_is_measured_first():
    chosen = ordinary_tissue(EVERYWHERE, BRAIN, BOX)

    assert np.array_equal(chosen, BRAIN & ~BOX)


def test_where_the_box_leaves_too_little_brain_the_whole_brain_is_measured():
    assert np.array_equal(ordinary_tissue(EVERYWHERE, BRAIN, ball(9.9)), BRAIN)


def test_where_the_brain_is_unknown_or_elsewhere_all_signal_outside_the_box_is_measured():
    signal = ball(11)

    assert np.array_equal(ordinary_tissue(signal, None, BOX), signal & ~BOX)
    assert np.array_equal(ordinary_tissue(signal, np.zeros(SHAPE, bool), BOX), signal & ~BOX)


def test_a_tiny_crop_is_measured_as_it_is():
    signal = ball(3)

    assert np.array_equal(ordinary_tissue(signal, BRAIN, BOX), signal)


def test_a_stripped_scan_has_signal_in_the_brain_and_nowhere_else(raw):
    assert np.array_equal(has_signal(raw), BRAIN)


def test_a_brain_that_was_z_scored_alone_is_told_from_the_zeros_around_it(raw):
    inside = raw[BRAIN]
    z_scored = np.where(BRAIN, (raw - inside.mean()) / inside.std(), 0).astype(np.float32)

    assert np.array_equal(has_signal(z_scored), BRAIN)


def test_the_noise_around_a_head_is_no_signal(rng):
    head = np.where(BRAIN, rng.normal(500, 60, SHAPE), np.abs(rng.normal(0, 6, SHAPE))).astype(np.float32)

    assert np.array_equal(has_signal(head), BRAIN)


def test_noise_in_whole_numbers_is_not_taken_for_the_background_of_a_stripped_scan(rng):
    head = np.where(BRAIN, rng.normal(500, 60, SHAPE), np.hypot(*rng.normal(0, 2, (2, *SHAPE)))).round()

    assert np.array_equal(has_signal(head), BRAIN)


def test_a_windowed_scan_that_is_saturated_keeps_its_bright_parts(rng):
    head = np.where(BRAIN, rng.normal(500, 60, SHAPE), np.abs(rng.normal(0, 6, SHAPE)))
    windowed = np.clip(head, None, 470).astype(np.float32)

    assert np.array_equal(has_signal(windowed), BRAIN)


def test_a_constant_scan_has_no_signal():
    assert not has_signal(np.full(SHAPE, 7.0)).any()
