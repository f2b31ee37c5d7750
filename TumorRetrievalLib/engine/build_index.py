"""Builds the bundled index: every synthetic case is made from its recipe, read by the model, and remembered.

The work is kept case by case in `parts/` beside the index, so a build that was killed goes on where it stopped.
"""

import json
import multiprocessing
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, SyntheticRecipe, Tumor
from TumorRetrievalLib.cohort.labels import describe_position
from TumorRetrievalLib.cohort.measure import measure_tumor
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.errors import CannotWrite, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.crop import Scan
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed, model_identity

Progress = Callable[[float, str], None]

PROVENANCE = "synthetic: made from the MNI152 atlas, no patient"


@dataclass(frozen=True, eq=False)
class EmbeddedCase:
    """A case as it enters an index.

    :param vectors: one embedding per tumor, shape (tumors, D).
    """

    case: Case
    vectors: np.ndarray


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
    recipes = _first_of_each_type(bundled_cohort(), limit)
    parts = _parts_folder(out, identity)
    missing = [recipe for recipe in recipes if not (parts / f"{recipe.case_id}.npz").exists()]
    done = len(recipes) - len(missing)
    work = partial(_embed_and_keep, model=str(model), parts=str(parts))
    try:
        for _ in _side_by_side(work, missing, workers or os.cpu_count() or 1):
            done += 1
            if progress is not None:
                progress(0.98 * done / len(recipes), f"{done} of {len(recipes)} cases")
    except BrokenProcessPool:
        raise TumorRetrievalError(
            f"A process of the build was ended, perhaps for want of memory; {done} of {len(recipes)} cases are kept. "
            f"Start the build again, with fewer workers."
        ) from None
    return _assemble(out, parts, [recipe.case_id for recipe in recipes], identity)


def _side_by_side(work: Callable, items: list, workers: int) -> Iterator:
    """The results of `work` on each item, as they come. Whoever stops asking waits only for what is being worked on."""
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(items))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        running = {pool.submit(work, waiting.pop()) for _ in range(min(workers, len(waiting)))}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                if waiting:
                    running.add(pool.submit(work, waiting.pop()))
                yield future.result()


def embed_synthetic(recipe: SyntheticRecipe, case_id: str, reader: TumorReader) -> EmbeddedCase:
    """Make a synthetic case and read each of its tumors in the box around its core."""
    from TumorRetrievalLib.synthesis.scan import synthesize

    made = synthesize(recipe.seed, recipe.tumor_type, recipe.lesion_count)
    scan = Scan.of(made.t1c, made.flair, partial(resample_labels, made.brain))
    tumors, vectors = [], []
    for tumor in made.tumors:
        size = measure_tumor(tumor.core)
        position = describe_position(tumor.atlas_mm)
        reading = reader.read(scan, tumor.box, "core")
        vectors.append(embed(TumorFacts(reading.appearance, reading.types, tumor.atlas_mm, tumor.box.size)))
        tumors.append(
            Tumor(
                id=str(tumor.number),
                box=tumor.box,
                type=tumor.tumor_type,
                area=position.area,
                left_right=position.left_right,
                front_rear=position.front_rear,
                upper_lower=position.upper_lower,
                linear_size_mm=size.linear_size_mm,
                core_ml=size.volume_ml,
                whole_ml=tumor.whole.volume_ml(),
                atlas_mm=tuple(tumor.atlas_mm),
            )
        )
    case = Case(id=case_id, patient=case_id, tumors=tuple(tumors), provenance=PROVENANCE, recipe=recipe)
    return EmbeddedCase(case, np.array(vectors, np.float32).reshape(len(vectors), DEFAULT_LAYOUT.size))


def _one_thread() -> None:
    import faiss  # noqa: F401 (before torch: their OpenMP runtimes agree only in this order)
    import torch

    torch.set_num_threads(1)


def _first_of_each_type(recipes: list, limit: int | None) -> list:
    if limit is None:
        return recipes
    kept, seen = [], {}
    for recipe in recipes:
        seen[recipe.tumor_type] = seen.get(recipe.tumor_type, 0) + 1
        if seen[recipe.tumor_type] <= limit:
            kept.append(recipe)
    return kept


def _parts_folder(out: Path, identity: str) -> Path:
    """Where finished cases of this model are kept; those of another model are thrown away."""
    parts = out / "parts"
    mark = parts / "model.txt"
    try:
        if parts.exists() and (not mark.exists() or mark.read_text() != identity):
            shutil.rmtree(parts)
        parts.mkdir(parents=True, exist_ok=True)
        with atomic_file(mark) as temporary:
            temporary.write_text(identity)
    except OSError as error:
        raise CannotWrite(f"{parts} cannot be made: {error.strerror or error}. Choose another folder.") from error
    return parts


def _embed_and_keep(recipe, *, model: str, parts: str) -> None:
    """The work of one process on one case."""
    reader = tumor_reader(Path(model), "cpu")
    short = SyntheticRecipe(recipe.seed, recipe.tumor_type, recipe.lesion_count)
    embedded = embed_synthetic(short, recipe.case_id, reader)
    with atomic_file(Path(parts) / f"{recipe.case_id}.npz") as temporary, open(temporary, "wb") as file:
        np.savez(file, vectors=embedded.vectors, case=np.array(json.dumps(_case_to_json(embedded.case))))


def _assemble(out: Path, parts: Path, case_ids: list[str], identity: str) -> dict:
    """Put the finished cases into a new index, which then takes the place of the old one in one step."""
    embedded = [_read_part(parts / f"{case_id}.npz") for case_id in case_ids]
    fresh = parts / "index"
    shutil.rmtree(fresh, ignore_errors=True)
    with CaseIndex.create(fresh, identity, DEFAULT_LAYOUT) as index:
        index.add([one.case for one in embedded], [one.vectors for one in embedded])
        index.snapshot(out, replace_old=True)
        stats = index.stats()
    shutil.rmtree(parts)
    return stats


def _read_part(path: Path) -> EmbeddedCase:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return EmbeddedCase(_case_from_json(json.loads(str(stored["case"]))), stored["vectors"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UnreadableFile(f"{path} is damaged ({error}). Delete it and start the build again.") from None


def _case_to_json(case: Case) -> dict:
    tumors = []
    for tumor in case.tumors:
        facts = {name: value for name, value in vars(tumor).items() if name != "box"}
        tumors.append({**facts, "box": [tumor.box.center.tolist(), tumor.box.size.tolist(), tumor.box.axes.tolist()]})
    return {"id": case.id, "recipe": vars(case.recipe), "tumors": tumors}


def _case_from_json(stored: dict) -> Case:
    tumors = [Tumor(**{**one, "box": Box(*map(np.array, one["box"]))}) for one in stored["tumors"]]
    recipe = SyntheticRecipe(**stored["recipe"])
    return Case(stored["id"], stored["id"], tumors=tuple(tumors), provenance=PROVENANCE, recipe=recipe)
