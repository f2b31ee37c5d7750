"""Simulates many tumors, on this machine or on a Dask cluster."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from TumorRetrievalLib.engine.cluster import cluster_executor
from TumorRetrievalLib.growth.atlas import GrowthAtlas, growth_atlas_from_labels, load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, build_database
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.registration.affine import register_to_atlas


def simulate_tumors(
    out: Path,
    count: int,
    *,
    seed: int = 0,
    snapshots: int = 4,
    t1: Path | None = None,
    tissue: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict:
    """Write a database of `count` tumors; go on where a call for the same file and seed was stopped.

    :param snapshots: tumors of different size taken from one simulation; see `BuildPlan`.
    :param t1: :param tissue: another atlas than the bundled one; see `atlas_of_files`. The database carries it along.
    :param workers: processes; one per core when None.
    :param scheduler: address of a Dask scheduler, such as tcp://host:8786; its workers are used instead.
    :returns: `tumors`, `megabytes`, `seconds`.
    :raises MissingPackage: if a scheduler is given and Dask is not installed.
    :raises SchedulerUnreachable: if it does not answer.
    :raises TumorRetrievalError: if the other atlas is none.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    began = time.perf_counter()
    atlas = atlas_of_files(t1, tissue) if t1 and tissue else load_growth_atlas()
    with cluster_executor(scheduler) as executor:
        made = build_database(
            out,
            atlas,
            count,
            BuildPlan(seed=seed, snapshots=snapshots),
            workers=workers or os.cpu_count() or 1,
            executor=executor,
            progress=progress,
        )
    seconds = round(time.perf_counter() - began, 1)
    return {"tumors": len(made), "megabytes": round(Path(out).stat().st_size / 1e6, 3), "seconds": seconds}


def atlas_of_files(t1: Path, tissue: Path) -> GrowthAtlas:
    """Another atlas to grow tumors in, such as SRI24, laid over the bundled one by an affine registration.

    It takes the bundled one's place in the world, so that patients are brought to it as they are to that one.

    :param t1: its T1, skull-stripped.
    :param tissue: its tissue on the same grid: 1 fluid, 2 gray, 3 white matter.
    :raises GeometryMismatch: if the two do not share a grid.
    :raises RegistrationFailed: if it does not look like a brain.
    :raises TumorRetrievalError: if a file cannot be read, or holds no tissue.
    """
    image, labels = read_volume(t1), read_labels(tissue)
    image.require_same_grid(labels, f"The tissue {tissue}")
    to_bundled = register_to_atlas(image).patient_to_atlas
    return growth_atlas_from_labels(LabelMap(labels.data, to_bundled @ labels.affine))
