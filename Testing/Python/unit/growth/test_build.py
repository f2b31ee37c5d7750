"""A build gives the same database whoever works on it, however often it is stopped."""

import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from TumorRetrievalLib.errors import Cancelled, CannotWrite, InvalidGrowth
from TumorRetrievalLib.growth import build as build_module
from TumorRetrievalLib.growth.build import CORE_ML, WHOLE_ML, BuildPlan, build_database, draw
from TumorRetrievalLib.growth.database import read_database

COUNT = 14
PLAN = BuildPlan(seed=5, shard=5)


class Here(Executor):
    """Works at once, in this process, and remembers what it was asked for."""

    def __init__(self):
        self.shards = []

    def submit(self, function, *arguments):
        self.shards.append(arguments[-1])
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(scope="module")
def uninterrupted(atlas, tmp_path_factory) -> bytes:
    """The file of a build that nothing disturbed."""
    path = tmp_path_factory.mktemp("build") / "tumors.growth"
    build_database(path, atlas, COUNT, PLAN, executor=Here())
    return path.read_bytes()


def test_tumors_are_of_realistic_sizes_and_rates_and_begin_where_the_thesis_says(uninterrupted, atlas, tmp_path):
    (tmp_path / "tumors.growth").write_bytes(uninterrupted)
    database = read_database(tmp_path / "tumors.growth")

    assert len(database) == COUNT
    for masks, (smallest, largest) in ((database.whole, WHOLE_ML), (database.core, CORE_ML)):
        volumes = masks.voxels * database.grid.voxel_ml
        assert smallest <= volumes.min() and volumes.max() <= largest
    fractions = (atlas.grid.to_voxel(database.parameters[:, :3]) + 0.5) / 64
    assert np.all(fractions >= (0.149, 0.199, 0.149)) and np.all(fractions <= (0.701, 0.801, 0.701))
    assert all(database.parameters_of(index).possible_ages() for index in range(COUNT))
    # Several of one simulation, but many simulations.
    assert len(np.unique(database.parameters[:, :3], axis=0)) > COUNT / PLAN.snapshots


def test_two_workers_build_the_database_of_one(uninterrupted, atlas, tmp_path):
    with ThreadPoolExecutor(2) as two:
        build_database(tmp_path / "tumors.growth", atlas, COUNT, PLAN, workers=2, executor=two)

    assert (tmp_path / "tumors.growth").read_bytes() == uninterrupted


def test_another_seed_builds_another_database(uninterrupted, atlas, tmp_path):
    build_database(tmp_path / "tumors.growth", atlas, COUNT, BuildPlan(seed=6, shard=5), executor=Here())

    assert (tmp_path / "tumors.growth").read_bytes() != uninterrupted


def stop_at_once(fraction: float, message: str) -> None:
    raise Cancelled("Stopped by the user.")


def test_a_cancelled_build_goes_on_where_it_stopped(uninterrupted, atlas, tmp_path):
    path, first, second = tmp_path / "tumors.growth", Here(), Here()
    with pytest.raises(Cancelled):
        build_database(path, atlas, COUNT, PLAN, executor=first, progress=stop_at_once)
    assert not path.exists()

    build_database(path, atlas, COUNT, PLAN, executor=second)

    assert path.read_bytes() == uninterrupted
    assert 0 not in second.shards
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("harm", ["cut short", "of another plan"])
def test_a_shard_that_is_damaged_or_of_another_build_is_made_again(uninterrupted, atlas, tmp_path, harm):
    path, again = tmp_path / "tumors.growth", Here()
    plan = PLAN if harm == "cut short" else BuildPlan(seed=9, shard=5)
    with pytest.raises(Cancelled):
        build_database(path, atlas, COUNT, plan, executor=Here(), progress=stop_at_once)
    shard = min(path.with_name("tumors.growth.parts").iterdir())
    if harm == "cut short":
        shard.write_bytes(shard.read_bytes()[:-100])

    build_database(path, atlas, COUNT, PLAN, executor=again)

    assert path.read_bytes() == uninterrupted
    assert 0 in again.shards


def test_a_build_that_was_killed_goes_on_and_its_workers_are_gone(uninterrupted, atlas, tmp_path):
    path, again = tmp_path / "tumors.growth", Here()
    script = Path(__file__).with_name("killed_build.py")
    root = Path(__file__).parents[4]
    killed = subprocess.run(
        [sys.executable, str(script), str(path), str(COUNT), "2"],
        capture_output=True,
        text=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
        timeout=240,
    )
    assert killed.returncode == -9, killed.stderr
    workers = [int(pid) for pid in killed.stdout.split()]
    assert workers and not path.exists()
    finished = sorted(path.with_name("tumors.growth.parts").glob("*.growth"))
    assert finished

    build_database(path, atlas, COUNT, PLAN, executor=again)

    assert path.read_bytes() == uninterrupted
    assert not {int(shard.stem) for shard in finished} & set(again.shards)
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(map(alive, workers))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_progress_rises_to_the_end(atlas, tmp_path):
    fractions = []
    build_database(
        tmp_path / "tumors.growth", atlas, COUNT, PLAN, executor=Here(), progress=lambda f, m: fractions.append(f)
    )

    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_a_folder_that_is_not_there_is_an_error_for_users(atlas, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite):
        build_database(tmp_path / "file" / "tumors.growth", atlas, 1, PLAN, executor=Here())


def test_no_tumors_are_no_database(atlas, tmp_path):
    with pytest.raises(InvalidGrowth):
        build_database(tmp_path / "tumors.growth", atlas, 0, PLAN, executor=Here())


def test_draws_fill_the_ranges_evenly(atlas):
    draws = [draw(atlas, PLAN, number) for number in range(400)]

    fractions = (atlas.grid.to_voxel([origin for origin, _, _ in draws]) + 0.5) / 64
    low, high = build_module.ORIGIN_LOW, build_module.ORIGIN_HIGH
    columns = [*((fractions - low) / (high - low)).T]
    smallest, largest = np.sqrt(build_module.SPREAD)
    columns.append((np.sqrt([spread for _, spread, _ in draws]) - smallest) / (largest - smallest))
    for column in columns:
        counts, _ = np.histogram(column, bins=10, range=(0, 1))
        assert counts.min() >= 30
        assert counts.max() <= 50
