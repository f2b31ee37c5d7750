"""Builds the bundled index: every synthetic case is made from its recipe, read by the model, and remembered.

The work is kept case by case in `parts/` beside the index, so a build that was killed goes on where it stopped.
"""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case, SyntheticRecipe
from TumorRetrievalLib.engine.embed_case import embed_synthetic
from TumorRetrievalLib.engine.parts import Parts, keep_part, read_part
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.engine.processes import side_by_side
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedding import model_identity

Progress = Callable[[float, str], None]


def build_bundled_index(
    out: Path, model: Path | None = None, workers: int | None = None, limit: int | None = None,
    progress: Progress | None = None,
) -> dict:  # fmt: skip
    """Build the index of synthetic cases for a model.

    :param out: folder of the index; an index that is there is replaced once the new one is complete.
    :param workers: processes; one per core when None.
    :param limit: only the first so many cases of each type, for trials.
    :returns: the new index's stats.
    :raises CannotWrite: if the disk is full.
    """
    from TumorRetrievalLib.synthesis.cohort import bundled_cohort

    out = Path(out)
    model = Path(model) if model is not None else resource("Models", "default")
    identity = model_identity(tumor_reader(model, "cpu").model.contract)
    cases = [_as_case(recipe) for recipe in _first_of_each_type(bundled_cohort(), limit)]
    parts = Parts(out, identity)
    missing = [(case, parts.path(case)) for case in cases if not parts.path(case).exists()]
    done = len(cases) - len(missing)
    for _ in side_by_side(partial(_embed_and_keep, model=model), missing, workers or os.cpu_count() or 1):
        done += 1
        if progress is not None:
            progress(0.98 * done / len(cases), f"{done} of {len(cases)} cases")
    return _assemble(out, parts, cases, identity)


def _as_case(recipe) -> Case:
    short = SyntheticRecipe(recipe.seed, recipe.tumor_type, recipe.lesion_count)
    return Case(recipe.case_id, recipe.case_id, recipe=short)


def _first_of_each_type(recipes: list, limit: int | None) -> list:
    if limit is None:
        return recipes
    kept, seen = [], {}
    for recipe in recipes:
        seen[recipe.tumor_type] = seen.get(recipe.tumor_type, 0) + 1
        if seen[recipe.tumor_type] <= limit:
            kept.append(recipe)
    return kept


def _embed_and_keep(item: tuple[Case, Path], *, model: Path) -> None:
    """The work of one process on one case."""
    case, path = item
    keep_part(path, embed_synthetic(case.recipe, case.id, tumor_reader(model, "cpu")))


def _assemble(out: Path, parts: Parts, cases: list[Case], identity: str) -> dict:
    """Put the finished cases into a new index, which then takes the place of the old one in one step."""
    embedded = [read_part(parts.path(case)) for case in cases]
    fresh = parts.folder / "index"
    shutil.rmtree(fresh, ignore_errors=True)
    with CaseIndex.create(fresh, identity, DEFAULT_LAYOUT) as index:
        index.add([one.case for one in embedded], [one.vectors for one in embedded])
        index.snapshot(out, replace_old=True)
        stats = index.stats()
    parts.clear()
    return stats
