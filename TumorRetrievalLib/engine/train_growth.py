"""Trains the thesis' autoencoders on tumors that are simulated for the purpose: what `train growth-...` does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from TumorRetrievalLib.errors import TumorRetrievalError, UnknownLabel
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, build_database
from TumorRetrievalLib.growth.database import SimulationDatabase, read_database
from TumorRetrievalLib.imaging.atomic import make_folder

# Not the seed of any database that is searched: nothing is found because it was trained on.
TRAINING_SEED = 1500
MASKS = ("whole", "core")

Progress = Callable[[float, str], None]


def train_growth(
    name: str,
    out: Path,
    *,
    edge: int = 128,
    minutes: float | None = None,
    steps: int | None = None,
    tumors: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Trains the pair of autoencoders that a recipe names; goes on where an interrupted training stopped.

    :param name: "growth-ae", "growth-vae8" or "growth-vae1024".
    :param out: folder of the run. It receives `tumors.growth`, and `whole` and `core`, each with checkpoints, log, loss
        curves and the folder `model`.
    :param edge: 128 as published, or 64 for a machine without a GPU.
    :param minutes: :param steps: budget of each of the two trainings, instead of the recipe's own.
    :param tumors: to simulate, instead of the thesis' 1500 and its 150 to validate with; an eleventh is held out.
    :param workers: processes that simulate.
    :returns: `out`.
    :raises UnknownLabel: if there is no such recipe.
    """
    from TumorRetrievalLib.training.growth_recipes import (
        HELD_OUT_TUMORS,
        NETWORKS,
        PUBLISHED_EDGE,
        SMALL_EDGE,
        TRAINING_TUMORS,
        growth_recipe,
        train_autoencoder,
    )

    if name not in NETWORKS or edge not in (PUBLISHED_EDGE, SMALL_EDGE):
        raise UnknownLabel(
            f"There is no recipe {name!r} for {edge}^3 voxels. The recipes are: {', '.join(NETWORKS)}, each for "
            f"{PUBLISHED_EDGE} and {SMALL_EDGE}."
        )
    report = progress or (lambda fraction, message: None)
    out = Path(out)
    make_folder(out)
    count = tumors or TRAINING_TUMORS + HELD_OUT_TUMORS
    database = training_tumors(out / "tumors.growth", count, workers, lambda f, m: report(0.1 * f, m))
    recipe = growth_recipe(name, edge)
    if minutes is not None or steps is not None:
        recipe = replace(recipe, max_minutes=minutes, max_steps=steps)
    for number, mask in enumerate(MASKS):
        masks = getattr(database, mask)
        train_autoencoder(
            lambda index, masks=masks: masks.unpack(index, database.grid.shape[0]),
            count,
            recipe,
            out / mask,
            {
                "name": f"{name}-{mask}-{edge}",
                "mask": mask,
                "edge": edge,
                "trained_on": f"{count - count // 11} simulated tumors of seed {TRAINING_SEED}; no patient",
                "atlas": database.atlas_fingerprint,
                "research_use_only": True,
            },
            held_out=count // 11,
            progress=lambda f, m, number=number, mask=mask: report(0.1 + 0.45 * (number + f), f"{mask}: {m}"),
        )
    return out


def training_tumors(path: Path, count: int, workers: int = 1, progress: Progress | None = None) -> SimulationDatabase:
    """The tumors to train on: those of an earlier start of the same run, or new ones."""
    atlas, plan = load_growth_atlas(), BuildPlan(seed=TRAINING_SEED)
    try:
        database = read_database(path)
        database.require_atlas(atlas)
        if len(database) == count:
            return database
    # None yet, or of another atlas or solver: they are simulated again.
    except TumorRetrievalError:
        pass
    return build_database(path, atlas, count, plan, workers=workers, progress=progress)
