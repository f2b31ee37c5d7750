"""Builds a database of simulated tumors: the same one for the same seed, whoever works on it and however often.

Simulations are drawn and grown in shards, each a small database of its own in a folder beside the result. A build that
was killed goes on with the shards that are there; the result takes the first tumors of the shards in their order, so
the number of workers, and where they run, make no difference.
"""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidGrowth, TumorRetrievalError
from TumorRetrievalLib.growth.atlas import GrowthAtlas, load_growth_atlas
from TumorRetrievalLib.growth.bricks import gather, pack
from TumorRetrievalLib.growth.database import SimulationDatabase, join, read_database, write_database
from TumorRetrievalLib.growth.solver import Snapshot, simulate_to_volumes
from TumorRetrievalLib.imaging.atomic import make_folder

# Rosier 2022, section 3.1: origins in fractions of the cube; and the sizes that occur in BraTS, in ml.
ORIGIN_LOW, ORIGIN_HIGH = np.array((0.15, 0.2, 0.15)), np.array((0.7, 0.8, 0.7))
WHOLE_ML, CORE_ML = (5.0, 250.0), (0.5, 150.0)
# The thesis draws D and rho evenly, and 9 in 10 of its tumors are then of no realistic size. Within its ranges only
# these lambda (mm^2) give a core and a whole tumor of realistic proportions.
SPREAD = (0.5, 40.0)
# Steps of an additive recurrence that fills a box of four dimensions evenly (R-sequence of Roberts 2018): the base is
# the root of x^5 = x + 1.
_STEPS = 1.1673039782614187 ** -np.arange(1.0, 5.0)

_SMALL = 20_000  # up to so many tumors the file is made as small as it goes, which takes a minute


@dataclass(frozen=True)
class BuildPlan:
    """All that a build depends on, besides the atlas.

    :param seed: another seed, other tumors.
    :param snapshots: tumors taken from one simulation, at different sizes: more take less time, fewer differ more.
    :param shard: simulations done at a time; a killed build loses at most so many for each worker.
    """

    seed: int = 0
    snapshots: int = 4
    shard: int = 32


def build_database(
    path,
    atlas: GrowthAtlas,
    count: int,
    plan: BuildPlan | None = None,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> SimulationDatabase:
    """Simulates `count` tumors and writes them to `path`; goes on where a killed build of the same plan stopped.

    :param workers: processes on this machine, or what `executor` can do at a time.
    :param executor: where to work instead: anything with `submit`, as `dask.distributed.Client.get_executor()` has.
    :raises CannotWrite: if the disk is full or there is no permission.
    :raises Cancelled: if `progress` says so; what was finished is kept for the next call.
    """
    path, plan = Path(path), plan or BuildPlan()
    if count < 1:
        raise InvalidGrowth("A database needs at least one tumor.")
    folder = path.with_name(f"{path.name}.parts")
    shards = _Shards(folder, atlas, plan)
    own = None if executor else _local_pool(workers)
    try:
        parts = shards.make(executor or own, count, workers, progress)
    finally:
        if own:
            own.shutdown(wait=True, cancel_futures=True)
    database = join(parts).first(count)
    if atlas.fingerprint != load_growth_atlas(atlas.grid.shape[0]).fingerprint:
        database = replace(database, atlas=atlas)
    if progress:
        progress(1.0, "Writing the database")
    write_database(path, database, level=19 if count <= _SMALL else 12)
    shutil.rmtree(folder)
    return database


class _Shards:
    """The parts of a build, made in any order and used in theirs."""

    def __init__(self, folder: Path, atlas: GrowthAtlas, plan: BuildPlan):
        make_folder(folder)
        self._folder, self._atlas, self._plan = folder, atlas, plan
        self._parts: dict[int, SimulationDatabase] = {}

    def make(self, executor: Executor, count: int, ahead: int, progress) -> list[SimulationDatabase]:
        """As many shards as it takes for `count` tumors."""
        running, submitted = {}, 0
        while self._ready() < count:
            while len(running) < ahead + 1:
                if (part := self._read(submitted)) is not None:
                    self._parts[submitted] = part
                else:
                    running[executor.submit(simulate_shard, self._atlas, self._plan, submitted)] = submitted
                submitted += 1
                if self._ready() >= count:
                    break
            done, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
            for future in done:
                index = running.pop(future)
                self._parts[index] = future.result()
                write_database(self._file(index), self._parts[index], level=3)
            if progress:
                made = sum(len(part) for part in self._parts.values())
                progress(min(made / count, 0.99), f"Simulated {min(made, count)} of {count} tumors")
        for future in running:
            future.cancel()
        return [part for part in self._in_order() if len(part)]

    def _in_order(self):
        index = 0
        while index in self._parts:
            yield self._parts[index]
            index += 1

    def _ready(self) -> int:
        return sum(len(part) for part in self._in_order())

    def _file(self, index: int) -> Path:
        return self._folder / f"{index:06d}.growth"

    def _read(self, index: int) -> SimulationDatabase | None:
        try:
            part = read_database(self._file(index))
            part.require_atlas(self._atlas)
        # Half a file, or one of another build: it is made again.
        except TumorRetrievalError:
            return None
        return part if part.made_with == asdict(self._plan) else None


def simulate_shard(atlas: GrowthAtlas, plan: BuildPlan, index: int) -> SimulationDatabase:
    """The tumors of one shard: a fixed share of the sequence of draws, simulated one after the other."""
    atlas = _atlas_of_this_process(atlas)
    snapshots = []
    for number in range(index * plan.shard, (index + 1) * plan.shard):
        origin, spread, volumes = draw(atlas, plan, number)
        try:
            snapshots += [s for s in simulate_to_volumes(atlas, origin, spread, volumes) if _is_realistic(s)]
        except InvalidGrowth:  # the origin is not in the tissue: the next draw
            continue
    parameters = np.array(
        [(*s.parameters.origin, s.parameters.spread, s.parameters.tau) for s in snapshots], np.float32
    )
    whole, core = (gather([pack(getattr(s, name).data) for s in snapshots]) for name in ("whole", "core"))
    return SimulationDatabase(parameters.reshape(-1, 5), whole, core, atlas.grid, atlas.fingerprint, asdict(plan))


def draw(atlas: GrowthAtlas, plan: BuildPlan, number: int) -> tuple[tuple[float, float, float], float, np.ndarray]:
    """Simulation `number` of a plan: origin (RAS mm), lambda (mm^2) and the volumes (ml) to look at it.

    Origins are even in the thesis' box, lambda in its root, which is the width of the front, and volumes in the radius.
    All of them are numbers that float32 holds exactly, as the database stores them so.
    """
    point = (np.random.default_rng(plan.seed).random(4) + number * _STEPS) % 1.0
    origin = atlas.from_cube(ORIGIN_LOW + point[:3] * (ORIGIN_HIGH - ORIGIN_LOW)).astype(np.float32)
    narrowest, widest = np.sqrt(SPREAD)
    spread = np.float32((narrowest + point[3] * (widest - narrowest)) ** 2)
    # One volume in each of as many equal parts of the range of radii.
    jitter = np.random.default_rng((plan.seed, number)).random(plan.snapshots)
    shares = (np.arange(plan.snapshots) + jitter) / plan.snapshots
    smallest, largest = np.cbrt(WHOLE_ML)
    return tuple(float(x) for x in origin), float(spread), (smallest + shares * (largest - smallest)) ** 3


def _is_realistic(snapshot: Snapshot) -> bool:
    whole, core = snapshot.whole.volume_ml(), snapshot.core.volume_ml()
    sizes = WHOLE_ML[0] <= whole <= WHOLE_ML[1] and CORE_ML[0] <= core <= CORE_ML[1]
    return sizes and snapshot.parameters.possible_ages() is not None


_atlases: dict[str, GrowthAtlas] = {}


def _atlas_of_this_process(atlas: GrowthAtlas) -> GrowthAtlas:
    # Every task brings a copy of the atlas; the tissue prepared from the first one serves them all.
    return _atlases.setdefault(atlas.fingerprint, atlas)


def _local_pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: this process may have threads of torch, of numba or of Qt.
    return ProcessPoolExecutor(max(workers, 1), mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Ends this worker when the build is killed: it would wait for work for ever."""

    def watch():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
