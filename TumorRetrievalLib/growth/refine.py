"""Fits one simulation to two masks, starting from the best matches of the database.

Origin and lambda are sought by Nelder and Mead's simplex, first on a grid of half the resolution; tau costs nothing, as
every run passes through all of them and the best is kept. The measure is that of the search.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidGrowth, InvalidTumorMask
from TumorRetrievalLib.growth.atlas import GrowthAtlas
from TumorRetrievalLib.growth.growth import Growth
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.growth.solver import LONGEST_TAU, Snapshot, seed, simulate
from TumorRetrievalLib.growth.tissue import tissue_of

SPREAD_RANGE = (0.1, 200.0)  # mm^2; below 1 the grid shapes the front, above 100 there is no core within 250 ml
_COARSE_RUNS, _FINE_RUNS = 50, 20
_COARSE_REACH, _FINE_REACH = (8.0, 0.4), (2.5, 0.12)  # first steps of the simplex: mm, log lambda


@dataclass(frozen=True, eq=False)
class Refinement:
    """The simulation that fits best.

    :param snapshot: its parameters and its density in the atlas.
    :param whole_dice: Dice of the whole tumors.
    :param core_dice: Dice of the cores.
    :param runs: simulations made on the way.
    """

    snapshot: Snapshot
    whole_dice: float
    core_dice: float
    runs: int


class Target:
    """Two masks to fit, on one grid.

    :param atlas: what is grown in; its grid is the masks'.
    :param whole: bool (n, n, n); voxels outside the tissue count as missed.
    :param core: the same for the core.
    """

    def __init__(self, atlas: GrowthAtlas, whole: np.ndarray, core: np.ndarray, weights: tuple[float, float]):
        self.tissue = tissue_of(atlas)
        self.weights = weights
        self.voxels = np.array((np.count_nonzero(whole), np.count_nonzero(core)))
        self._marks = self.tissue.embed(whole.astype(np.uint8) | (core.astype(np.uint8) << 1))
        self.runs = 0

    def best_of_run(self, origin, spread: float) -> tuple[float, float]:
        """The best score of one run, and the tau at which it has it (0, 0 where no tumor can begin there)."""
        try:
            growth = Growth(self.tissue, seed(self.tissue, origin), spread)
        except InvalidGrowth:
            return 0.0, 0.0
        self.runs += 1
        times, scores, best = [0.0], [0.0], 0.0
        while growth.tau < LONGEST_TAU:
            growth.advance()
            grown = np.array(growth.count_voxels())
            shared = np.array(growth.count_overlap(self._marks)) if 4 * grown[0] > self.voxels[0] else np.zeros(2)
            times.append(growth.tau)
            scores.append(self._score(shared, grown))
            best = max(best, scores[-1])
            # From here on the whole tumor only gets larger than the mask, and no core can make up for that.
            if grown[0] > self.voxels[0] and self._score(self.voxels, np.maximum(grown, self.voxels)) < best:
                break
        return _peak(np.array(times), np.array(scores))

    def _score(self, shared, grown) -> float:
        dice = 2 * shared / np.maximum(self.voxels + grown, 1)
        return float(self.weights[0] * dice[0] + self.weights[1] * dice[1])


def refine(
    atlas: GrowthAtlas,
    whole: np.ndarray,
    core: np.ndarray,
    starts: Sequence[GrowthParameters],
    *,
    coarse_atlas: GrowthAtlas | None = None,
    whole_weight: float = 1.0,
    core_weight: float = 1.0,
    progress: Callable[[float, str], None] | None = None,
) -> Refinement:
    """The parameters around `starts` whose tumor overlaps best with two masks.

    :param atlas: the atlas of the masks' grid.
    :param whole: (n, n, n), not 0 where the whole tumor is.
    :param core: the same for its core.
    :param starts: the best matches of the database, best first; each is improved on the coarse grid, the best of them
        on the fine one.
    :param coarse_atlas: the same atlas with half as many voxels along each edge, to save time; without it all is fine.
    :raises InvalidTumorMask: if the whole tumor is empty, or the masks are not on the atlas' grid.
    """
    whole, core = whole != 0, core != 0
    if whole.shape != atlas.grid.shape or core.shape != whole.shape or not whole.any():
        raise InvalidTumorMask(
            f"Two masks of {atlas.grid.shape} voxels are needed, and a whole tumor that is not empty."
        )
    weights = (whole_weight, core_weight)
    fine = coarse = Target(atlas, whole, core, weights)
    if coarse_atlas is not None:
        edge = coarse_atlas.grid.shape[0]
        coarse = Target(coarse_atlas, _shrunk(whole, edge), _shrunk(core, edge), weights)
    found = []
    for number, start in enumerate(starts):
        if progress:
            progress(0.6 * number / len(starts), f"Fitting match {number + 1} of {len(starts)}")
        found.append(_improve(coarse, start.origin, start.spread, _COARSE_REACH, _COARSE_RUNS))
    if progress:
        progress(0.6, "Fitting at full resolution")
    *_, origin, spread = max(found, key=lambda fit: fit[0])
    score, tau, origin, spread = _improve(fine, origin, spread, _FINE_REACH, _FINE_RUNS)
    for start in starts:
        kept, kept_tau = fine.best_of_run(start.origin, start.spread)
        if kept > score:
            score, tau, origin, spread = kept, kept_tau, start.origin, start.spread
    if score == 0:
        raise InvalidGrowth(
            "No simulated tumor overlaps with the masks; check that they lie in the brain of the atlas."
        )
    snapshot = simulate(atlas, GrowthParameters(tuple(origin), float(spread), tau))
    dice = [_dice(grown.data != 0, mask) for grown, mask in ((snapshot.whole, whole), (snapshot.core, core))]
    if progress:
        progress(1.0, "Fitted")
    return Refinement(snapshot, *dice, sum(target.runs for target in {coarse, fine}))


def _improve(target: Target, origin, spread: float, reach, runs: int):
    from scipy.optimize import minimize

    low, high = np.log(SPREAD_RANGE)
    best = (0.0, 0.0, np.asarray(origin, float), spread)

    def loss(point):
        nonlocal best
        if not low <= point[3] <= high:
            return 0.0
        score, tau = target.best_of_run(point[:3], math.exp(point[3]))
        if score > best[0]:
            best = (score, tau, point[:3].copy(), math.exp(point[3]))
        return -score

    start = np.array((*origin, math.log(spread)))
    steps = np.diag((reach[0], reach[0], reach[0], reach[1]))
    simplex = np.vstack((start, start + steps))
    minimize(
        loss,
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": runs, "xatol": 0.05, "fatol": 1e-4},
    )
    return best


def _peak(times: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The top of the parabola through the best step and its neighbours: its height and its time."""
    n = int(scores.argmax())
    if scores[n] == 0 or n == 0 or n == len(scores) - 1:
        return float(scores[n]), float(times[n])
    left, right = times[n - 1] - times[n], times[n + 1] - times[n]
    slope_left, slope_right = (scores[n - 1] - scores[n]) / left, (scores[n + 1] - scores[n]) / right
    curvature = (slope_right - slope_left) / (right - left)
    if curvature >= 0:
        return float(scores[n]), float(times[n])
    slope = slope_left - curvature * left
    shift = float(np.clip(-slope / (2 * curvature), left, right))
    return float(scores[n] + slope * shift + curvature * shift**2), float(times[n] + shift)


def _shrunk(mask: np.ndarray, edge: int) -> np.ndarray:
    factor = mask.shape[0] // edge
    blocks = mask.reshape(edge, factor, edge, factor, edge, factor)
    return 2 * blocks.sum(axis=(1, 3, 5)) >= factor**3


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 0.0
