"""Simulates many tumors, on this machine or on a Dask cluster."""

import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from TumorRetrievalLib.errors import MissingPackage, SchedulerUnreachable
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, build_database


def simulate_tumors(
    out: Path,
    count: int,
    *,
    seed: int = 0,
    snapshots: int = 4,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict:
    """Write a database of `count` tumors; go on where a call for the same file and seed was stopped.

    :param snapshots: tumors of different size taken from one simulation; see `BuildPlan`.
    :param workers: processes; one per core when None.
    :param scheduler: address of a Dask scheduler, such as tcp://host:8786; its workers are used instead.
    :returns: `tumors`, `megabytes`, `seconds`.
    :raises MissingPackage: if a scheduler is given and Dask is not installed.
    :raises SchedulerUnreachable: if it does not answer.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    began = time.perf_counter()
    with _cluster(scheduler) as executor:
        made = build_database(
            out,
            load_growth_atlas(),
            count,
            BuildPlan(seed=seed, snapshots=snapshots),
            workers=workers or os.cpu_count() or 1,
            executor=executor,
            progress=progress,
        )
    seconds = round(time.perf_counter() - began, 1)
    return {"tumors": len(made), "megabytes": round(Path(out).stat().st_size / 1e6, 3), "seconds": seconds}


@contextmanager
def _cluster(address: str | None):
    """Where to work on a cluster; None without an address."""
    if address is None:
        yield None
        return
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise MissingPackage("Working on a cluster needs Dask: pip install 'dask[distributed]'.") from error
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise SchedulerUnreachable(f"The Dask scheduler {address} does not answer: check its address.") from error
    with client:
        yield client.get_executor()
