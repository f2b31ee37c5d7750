"""Places and sizes are compared by how far apart they are."""

import numpy as np
import pytest

from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.retrieval.kernel_features import (
    EXTENT_WIDTH,
    EXTENT_WORST_ERROR,
    POSITION_WIDTH_MM,
    POSITION_WORST_ERROR,
    extent_features,
    gaussian_kernel,
    log_edges,
    position_features,
)
from TumorRetrievalLib.retrieval.kernel_fit import (
    BRAIN_SEMI_AXES_MM,
    extent_differences,
    fit,
    position_differences,
)


def points_in_brain(count):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (3 * count, 3))
    return points[np.linalg.norm(points, axis=1) < 1][:count] * BRAIN_SEMI_AXES_MM + (0, -17, 4)


def test_the_cosine_of_two_places_is_a_gaussian_of_their_distance():
    points = points_in_brain(1000)
    features = np.stack([position_features(point) for point in points])

    error = features @ features.T - gaussian_kernel(points[:, None] - points[None], POSITION_WIDTH_MM)

    assert np.sqrt(np.mean(error**2)) < 0.04
    assert np.quantile(np.abs(error), 0.99) < 0.09
    assert np.abs(error).max() < POSITION_WORST_ERROR


def test_one_width_away_the_similarity_of_two_places_has_fallen_to_about_six_tenths():
    here = position_features([20, -30, 10])

    for step in np.eye(3):
        there = position_features(np.array([20, -30, 10]) + POSITION_WIDTH_MM * step)
        assert here @ there == pytest.approx(np.exp(-0.5), abs=0.08)


def test_the_cosine_of_two_sizes_is_a_gaussian_of_their_log_ratios():
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(5), np.log(100), (600, 1)) + rng.normal(0, 0.2, (600, 3)))
    features = np.stack([extent_features(size) for size in sizes])

    logs = log_edges(sizes)
    error = features @ features.T - gaussian_kernel(logs[:, None] - logs[None], EXTENT_WIDTH)

    assert np.sqrt(np.mean(error**2)) < 0.05
    assert np.abs(error).max() < EXTENT_WORST_ERROR


@pytest.mark.parametrize("features", [position_features([3, 4, 5]), extent_features([3, 40, 5])])
def test_features_have_length_one_and_are_the_same_every_time(features):
    assert np.linalg.norm(features) == pytest.approx(1)


def test_a_box_turned_on_its_side_keeps_its_extent():
    assert np.array_equal(extent_features([10, 20, 30]), extent_features([30, 10, 20]))


def test_twice_as_large_is_less_similar_than_a_third_larger():
    size = np.array([20.0, 25.0, 30.0])
    similarity = [extent_features(size) @ extent_features(size * factor) for factor in (1, 1.33, 2, 4)]

    assert similarity == sorted(similarity, reverse=True)
    assert similarity[1] > 0.8 > similarity[2]


@pytest.mark.parametrize("size", [[0, 1, 1], [-1, 1, 1], [np.nan, 1, 1], [1, 1]])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(InvalidBox):
        extent_features(size)


@pytest.mark.parametrize("place", [[np.inf, 1, 1], [1, 1]])
def test_a_place_that_is_none_is_refused(place):
    with pytest.raises(ValueError):
        position_features(place)


@pytest.mark.parametrize(
    ("differences", "width"), [(position_differences, POSITION_WIDTH_MM), (extent_differences, EXTENT_WIDTH)]
)
def test_a_fit_is_much_closer_to_the_kernel_than_random_frequencies(differences, width):
    samples = differences(1000, np.random.default_rng(0))
    target = gaussian_kernel(samples, width)

    frequencies, weights = fit(samples, 8, width, seed=0)

    random = np.random.default_rng(0).normal(size=(8, 3)) / width
    fitted_error = np.sqrt(np.mean((np.cos(samples @ frequencies.T) @ weights - target) ** 2))
    random_error = np.sqrt(np.mean((np.cos(samples @ random.T).mean(axis=1) - target) ** 2))
    assert fitted_error < 0.7 * random_error
