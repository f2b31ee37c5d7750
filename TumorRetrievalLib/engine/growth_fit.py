"""The growth simulation that fits a tumor, worked out in the atlas."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.growth.database import SimulationDatabase
from TumorRetrievalLib.growth.overlap_search import Matches
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.growth.refine import refine
from TumorRetrievalLib.growth.solver import simulate
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

STARTS = 3
"""So many of the best matches are refined; the best of them all is kept."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Overlap:
    """How well a simulated tumor overlaps with the masks: Dice coefficients, 0..1."""

    core: float
    whole: float

    @property
    def combined(self) -> float:
        """Their sum, the measure of the search, 0..2."""
        return self.core + self.whole


@dataclass(frozen=True, eq=False)
class GrowthFit:
    """The result in the atlas.

    :param parameters: of the simulation that fits.
    :param density: its tumor cell density, 0..1, on the simulation grid.
    :param spread: standard deviation of the density over the best matches, on the same grid.
    :param matches: the best tumors of the database.
    :param candidates: what they were grown from, in that order.
    :param retrieved: overlap of the best match.
    :param refined: overlap after the refinement; None if there was none.
    """

    parameters: GrowthParameters
    density: Volume
    spread: Volume
    matches: Matches
    candidates: list[GrowthParameters]
    retrieved: Overlap
    refined: Overlap | None


def fit_in_atlas(
    database: SimulationDatabase, whole: LabelMap, core: LabelMap, k: int, *, refined: bool, progress: Progress
) -> GrowthFit:
    """Find the best `k` simulated tumors for two masks and, if wanted, fit one around them.

    :param whole: :param core: on the database's grid.
    :raises SimulationsOfAnotherAtlas: if the database was made in another atlas.
    :raises InvalidTumorMask: if the tumor is too small, or no simulated tumor overlaps with it.
    """
    atlas = database.growth_atlas
    for name, mask in (("whole tumor", whole), ("tumor core", core)):
        if not mask.data.any():
            raise InvalidTumorMask(f"The {name} is smaller than one voxel of the simulation (6 cubic millimetres).")
    progress(0.0, "Searching the simulated tumors")
    matches = database.search.search(whole.data, core.data, k)
    if matches.scores[0] == 0:
        raise InvalidTumorMask(
            "No simulated tumor overlaps with this one. Check that the masks lie on the tumor of this scan, or "
            "simulate more tumors with `tumor-retrieval simulate`."
        )
    candidates = [database.parameters_of(int(index)) for index in matches.indices]
    retrieved = Overlap(float(matches.core_dice[0]), float(matches.whole_dice[0]))
    best, overlap = None, None
    if refined:
        better = refine(
            atlas,
            whole.data,
            core.data,
            candidates[:STARTS],
            coarse_atlas=atlas.coarse,
            progress=lambda fraction, message: progress(0.1 + 0.7 * fraction, message),
        )
        found = Overlap(better.core_dice, better.whole_dice)
        if found.combined > retrieved.combined:
            best, overlap = better.snapshot, found
        else:
            overlap = retrieved
    progress(0.8, "Comparing the best matches")
    grown = (simulate(atlas, parameters) for parameters in candidates)
    first, spread = _first_and_spread(grown, lambda n: progress(0.8 + 0.2 * n / len(candidates), "Comparing matches"))
    best = best or first
    return GrowthFit(best.parameters, best.density, spread, matches, candidates, retrieved, overlap)


def _first_and_spread(snapshots, told):
    """The first of several simulations, and the standard deviation of all their densities."""
    first, total, squares, count = None, 0.0, 0.0, 0
    for snapshot in snapshots:
        first = first or snapshot
        total = total + snapshot.density.data.astype(np.float64)
        squares = squares + snapshot.density.data.astype(np.float64) ** 2
        count += 1
        told(count)
    variance = np.maximum(squares / count - (total / count) ** 2, 0.0)
    return first, Volume(np.sqrt(variance).astype(np.float32), first.density.affine)
