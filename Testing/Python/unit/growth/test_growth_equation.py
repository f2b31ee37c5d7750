"""The solver against what is known of its equation without any solver."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from TumorRetrievalLib.growth import growth as growth_module
from TumorRetrievalLib.growth.growth import Growth
from TumorRetrievalLib.growth.solver import simulate_to_times, simulate_to_volumes

SPACING = 229 / 128


def grown(tissue, initial, spread: float, tau: float) -> np.ndarray:
    growth = Growth(tissue, tissue.embed(initial.astype(np.float32)), spread)
    while growth.tau < tau:
        growth.advance()
    return tissue.extract(growth.density_at(tau)).astype(float)


def gaussian(shape, centre, width: float, height: float) -> np.ndarray:
    squares = sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True))
    return height * np.exp(-squares / (2 * width**2))


@pytest.mark.parametrize("spread", [0.3, 7.5, 60.0])
def test_an_even_density_follows_the_logistic_function(make_block, spread):
    tissue = make_block(np.ones((12, 12, 20), bool))

    density = grown(tissue, np.full((12, 12, 20), 0.05), spread, tau=3.3)

    expected = 0.05 * math.exp(3.3) / (1 + 0.05 * math.expm1(3.3))
    np.testing.assert_allclose(density, expected, rtol=1e-5)


@pytest.mark.parametrize("spread", [0.5, 3.0, 20.0])
def test_few_cells_spread_by_two_lambda_per_unit_of_time_along_every_axis(make_block, spread):
    # So few that growth is exponential: the mass grows by e^tau, and the variance along each axis by 2 lambda tau.
    tau, shape, centre, width = 1.7, (72, 72, 72), (35.0, 36.0, 37.0), 2.0
    tissue = make_block(np.ones(shape, bool))
    initial = gaussian(shape, centre, width, 1e-5)

    density = grown(tissue, initial, spread, tau)

    mass = density.sum()
    assert mass == pytest.approx(initial.sum() * math.exp(tau), rel=1e-3)
    for axis, start in zip(np.indices(shape), centre, strict=True):
        mean = (axis * density).sum() / mass
        assert mean == pytest.approx(start, abs=0.01)
        assert ((axis - mean) ** 2 * density).sum() / mass == pytest.approx(width**2 + 2 * spread * tau, rel=5e-3)


def wave_speed(spread: float, spacing: float) -> tuple[float, float]:
    """The slowest front of the equation on a grid, and its steepness: the discrete dispersion relation."""

    def speed(k):
        return (1 + 2 * spread / spacing**2 * (math.cosh(k * spacing) - 1)) / k

    k = minimize_scalar(speed, bounds=(1e-3, 20 / spacing), method="bounded", options={"xatol": 1e-10}).x
    return speed(k), k


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("spread", [0.3, 1.0, 7.5, 30.0])
def test_the_front_moves_at_the_speed_of_the_grid(make_block, spread, axis):
    speed, k = wave_speed(spread, SPACING)
    early, late = 60.0, 120.0
    length = int((speed * late + 40 / k) / SPACING) + 20
    shape = tuple(length if a == axis else 3 for a in range(3))
    tissue = make_block(np.ones(shape, bool), SPACING)
    # Steep enough to become the slowest front, which is the one that tumors have.
    initial = np.moveaxis(np.zeros(shape), axis, 0)
    initial[:4] = 1.0
    initial = np.moveaxis(initial, 0, axis)

    positions = []
    for tau in (early, late):
        profile = grown(tissue, initial, spread, tau).mean(axis=tuple({0, 1, 2} - {axis}))
        behind = np.nonzero(profile >= 0.5)[0].max()
        # Straight between two voxels is the logit of the density, not the density.
        inner, outer = (math.log(u / (1 - u)) for u in profile[behind : behind + 2])
        positions.append(behind + inner / (inner - outer))

    # Fronts approach their speed slowly: 3 / (2 k tau) is missing, less a term of tau^-3/2 (Ebert, van Saarloos 2000).
    bend = spread * math.cosh(k * SPACING)
    lag = 1.5 / k * math.log(late / early) - 3 * math.sqrt(math.pi / bend) / k**2 * (early**-0.5 - late**-0.5)
    expected = (speed * (late - early) - lag) / SPACING
    assert positions[1] - positions[0] == pytest.approx(expected, rel=5e-3)


def test_no_cell_crosses_the_border_of_the_tissue_and_none_is_lost(make_block):
    rng = np.random.default_rng(3)
    mask = rng.random((30, 34, 40)) > 0.3
    mask[12:18, 14:20, 16:24] = True
    tissue = make_block(mask, 1.7, diffusivity=rng.uniform(0.1, 1.0, mask.shape))
    initial = gaussian(mask.shape, (15, 17, 20), 2.0, 1e-6) * mask

    density = grown(tissue, initial, 10.0, tau=2.0)

    assert density.sum() == pytest.approx(initial.sum() * math.exp(2.0), rel=1e-4)
    assert density[~mask].max() == 0
    assert density[mask].min() >= 0


def test_all_axes_are_alike(make_block):
    shape = (40, 40, 40)
    tissue = make_block(np.ones(shape, bool))
    density = grown(tissue, gaussian(shape, (18, 18, 18), 1.5, 0.9), 2.0, tau=6.0)

    for order in ((1, 0, 2), (2, 1, 0), (1, 2, 0)):
        np.testing.assert_allclose(density, density.transpose(order), atol=2e-5)


def test_a_tumor_of_the_right_hemisphere_is_the_mirror_image_of_one_of_the_left(atlas):
    # x = 0 falls between voxels 26 and 27 of the 64^3 grid: i and 53 - i are each other's mirror images.
    left, right = (next(simulate_to_volumes(atlas, (x, -20.0, 30.0), 6.0, [40.0])) for x in (-30.0, 30.0))

    np.testing.assert_allclose(left.density.data[:54], right.density.data[53::-1], atol=1e-4)


@pytest.mark.parametrize("spread", [1.0, 12.0, 40.0])
def test_steps_are_short_enough(atlas, monkeypatch, spread):
    origin, volumes = (28.0, -10.0, 25.0), [60.0, 120.0]
    with monkeypatch.context() as fine_steps:
        fine_steps.setattr(growth_module, "_LONGEST_STEP", 0.05)
        fine_steps.setattr(growth_module, "_EARLY_FRACTION", 0.05)
        fine = list(simulate_to_volumes(atlas, origin, spread, volumes))

    coarse = simulate_to_times(atlas, origin, spread, [snapshot.parameters.tau for snapshot in fine])

    for a, b in zip(coarse, fine, strict=True):
        assert a.whole.volume_ml() == pytest.approx(b.whole.volume_ml(), rel=0.005)
        assert a.density.data == pytest.approx(b.density.data, abs=0.01)
