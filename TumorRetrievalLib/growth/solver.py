"""Grows tumors: to a time, to a volume, or as a series to look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from TumorRetrievalLib.errors import InvalidGrowth
from TumorRetrievalLib.growth.atlas import CUBE_MM, GrowthAtlas
from TumorRetrievalLib.growth.growth import CORE_THRESHOLD, WHOLE_THRESHOLD, Growth
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.growth.tissue import Tissue, tissue_of
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

# Counted up whenever the same parameters give another density: databases of before are then refused.
SOLVER_VERSION = "fisher-kolmogorov 1"
LONGEST_TAU = 300.0  # the fastest proliferation for the longest time of the thesis

# A bump of the thesis' solver: full within the core, gone one half width further out.
_SEED_CORE_MM = 0.005 * CUBE_MM
_SEED_HALF_WIDTH_MM = CUBE_MM / 64
_SEED_CELLS_MM3 = 31.1  # the bump's integral


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A tumor at one time.

    :param parameters: what it was grown from; their tau is the time of the snapshot.
    :param tissue: what it grew in.
    :param cells: tumor cell density, 0..1, in the tissue's layout.
    """

    parameters: GrowthParameters
    tissue: Tissue
    cells: np.ndarray

    @cached_property
    def density(self) -> Volume:
        """Tumor cell density, 0..1, on the simulation grid."""
        return Volume(self.tissue.extract(self.cells), self.tissue.grid.affine)

    @cached_property
    def whole(self) -> LabelMap:
        """What FLAIR would show: density from 0.2."""
        return self._from(WHOLE_THRESHOLD)

    @cached_property
    def core(self) -> LabelMap:
        """What T1 with contrast would show: density from 0.6."""
        return self._from(CORE_THRESHOLD)

    def _from(self, threshold: float) -> LabelMap:
        # Compared before it is embedded in the whole cube: a build does little else beside the simulation itself.
        return LabelMap(self.tissue.extract(self.cells >= np.float32(threshold)), self.tissue.grid.affine)


def simulate(atlas: GrowthAtlas, parameters: GrowthParameters) -> Snapshot:
    """The tumor that the parameters describe.

    :raises InvalidGrowth: if its origin is not in the tissue.
    """
    return simulate_to_times(atlas, parameters.origin, parameters.spread, [parameters.tau])[0]


def simulate_series(atlas: GrowthAtlas, parameters: GrowthParameters, count: int) -> list[Snapshot]:
    """`count` stages of that tumor, evenly spaced in time, the last one at the time of the parameters.

    :raises InvalidGrowth: if its origin is not in the tissue.
    """
    times = parameters.tau * np.arange(1, count + 1) / count
    return simulate_to_times(atlas, parameters.origin, parameters.spread, times)


def simulate_to_times(atlas: GrowthAtlas, origin, spread: float, times) -> list[Snapshot]:
    """One run, looked at when tau reaches each of `times` (ascending).

    :param origin: RAS mm.
    :param spread: lambda, mm^2.
    :raises InvalidGrowth: if the origin is not in the tissue.
    """
    tissue = tissue_of(atlas)
    wanted = [GrowthParameters(tuple(origin), spread, float(tau)) for tau in times]
    growth = Growth(tissue, seed(tissue, origin), spread)
    snapshots = []
    for parameters in wanted:
        while growth.tau < parameters.tau:
            growth.advance()
        snapshots.append(_snapshot(growth, parameters))
    return snapshots


def simulate_to_volumes(atlas: GrowthAtlas, origin, spread: float, volumes_ml) -> Iterator[Snapshot]:
    """One run, looked at when the whole tumor (density from 0.2) first reaches each volume, within one percent or so.

    :param volumes_ml: millilitres, ascending. The run ends early when the tumor does not reach them: it fills the
        tissue, or is older than any that the thesis simulates.
    :raises InvalidGrowth: if the origin is not in the tissue.
    """
    tissue = tissue_of(atlas)
    voxel_ml = atlas.grid.voxel_ml
    growth = Growth(tissue, seed(tissue, origin), spread)
    before = 0
    growth.advance()
    for voxels in np.asarray(volumes_ml, float) / voxel_ml:
        while (now := growth.count_voxels()[0]) < voxels:
            if growth.tau > LONGEST_TAU:
                return
            before = now
            growth.advance()
        # The radius grows evenly, so the time is interpolated in the cube root of the volume.
        fraction = (np.cbrt(voxels) - np.cbrt(before)) / (np.cbrt(now) - np.cbrt(before))
        tau = _single(growth.tau - growth.last_step * (1 - float(fraction)), growth.tau - growth.last_step, growth.tau)
        yield _snapshot(growth, GrowthParameters(tuple(origin), spread, tau))


def seed(tissue: Tissue, origin) -> np.ndarray:
    """The first tumor cells: a smooth bump of 4.7 mm radius around `origin` (RAS mm), in the tissue's layout.

    :raises InvalidGrowth: if `origin` is not in the tissue.
    """
    index = tissue.grid.to_voxel(origin) - tissue.corner
    nearest = np.rint(index).astype(int)
    if np.any(nearest < 0) or np.any(nearest >= tissue.shape) or not tissue.mask[tuple(nearest)]:
        place = ", ".join(f"{x:.1f}" for x in origin)
        raise InvalidGrowth(f"A tumor cannot begin at ({place}) mm: that is not brain tissue in this atlas.")
    reach = int(np.ceil((_SEED_CORE_MM + _SEED_HALF_WIDTH_MM) / tissue.spacing)) + 1
    low, high = np.maximum(nearest - reach, 0), np.minimum(nearest + reach + 1, tissue.shape)
    region = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    offsets = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij", sparse=True)
    distance = tissue.spacing * np.sqrt(sum((o - x) ** 2 for o, x in zip(offsets, index, strict=True)))
    outside = np.clip((distance - _SEED_CORE_MM) / _SEED_HALF_WIDTH_MM, -1, 1)
    density = tissue.empty()
    density[region] = 0.5 * (1 - outside - np.sin(np.pi * outside) / np.pi) * tissue.mask[region]
    # On a grid so coarse that the bump fits between its voxels, the nearest voxel takes all of its cells.
    if density[tuple(nearest)] < 1e-3:
        density[tuple(nearest)] = min(_SEED_CELLS_MM3 / tissue.spacing**3, 1.0)
    return density


def _single(tau: float, after: float, until: float) -> float:
    """`tau` as a number that float32 holds exactly, as databases keep it, still within the step that leads to it."""
    rounded = np.float32(tau)
    if rounded > until:
        rounded = np.nextafter(rounded, np.float32(0))
    if rounded <= after:
        rounded = np.nextafter(rounded, np.float32(np.inf))
    return float(rounded)


def _snapshot(growth: Growth, parameters: GrowthParameters) -> Snapshot:
    return Snapshot(parameters, growth.tissue, growth.density_at(parameters.tau))
