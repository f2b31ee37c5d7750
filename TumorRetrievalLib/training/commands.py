"""From a recipe's name to a model folder: what the command `train` does."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.pisov import PisovNetwork
from TumorRetrievalLib.networks.weights import save_model, start_from
from TumorRetrievalLib.synthesis.bank import GeometryBank, fill_bank
from TumorRetrievalLib.training import calibration, paper_samples, samples
from TumorRetrievalLib.training.med3d import med3d_task
from TumorRetrievalLib.training.model_card import KNOWN_FAILURES, model_card, write_card
from TumorRetrievalLib.training.own_data import held_out_crops, own_data
from TumorRetrievalLib.training.own_samples import OwnCrops, OwnPatches, own_batches
from TumorRetrievalLib.training.pisov import SEGMENTATION, SPACING_MM, pisov_recipe
from TumorRetrievalLib.training.pisov import TASKS as SOLVABLE
from TumorRetrievalLib.training.plgg import plgg_task
from TumorRetrievalLib.training.recipes import DEFAULT, RECIPES, Recipe
from TumorRetrievalLib.training.task import SYNTHETIC, Measured, Progress, TrainingRequest, TrainingTask
from TumorRetrievalLib.training.team import this_team
from TumorRetrievalLib.training.trainer import Batches, TrainingRun, train_within_memory

TRAINED_ON = "synthetic scans made from the MNI152 atlas; no patient"
BANK_FIRST_SEED = 1_000_000


def train_recipe(name: str, out: Path, *, progress: Progress | None = None, **asked) -> Path:
    """Train one of the recipes and leave a model folder in `out/model`, with the model's card.

    A training that was interrupted goes on when it is started again with the same arguments.

    :param name: one of RECIPES.
    :param out: folder of the run: drawings or prepared scans, checkpoints, log, loss curves and the model.
    :param asked: fields of `TrainingRequest`.
    :returns: the model folder.
    :raises UnknownLabel: if there is no such recipe.
    """
    if name not in RECIPES:
        raise UnknownLabel(f"There is no recipe {name!r}. The recipes are: {', '.join(RECIPES)}.")
    report = progress or (lambda fraction, message: None)
    request = TrainingRequest(out=Path(out), **asked)
    if request.size is None:
        request = replace(request, size="published" if this_team().device().type == "cuda" else "small")
    task = TASKS[name](request, lambda f, m: report(0.2 * f, m))
    recipe = task.recipe
    if request.minutes is not None or request.steps is not None:
        recipe = replace(recipe, max_minutes=request.minutes, max_steps=request.steps)
    began = {}
    if request.start is not None:
        began = {"started_from": start_from(task.network, request.start)}
        recipe = recipe.continued()
    run = train_within_memory(
        task.network,
        task.batches,
        recipe,
        request.out,
        progress=lambda f, m: report(0.2 + 0.7 * f, m),
        loss=task.loss,
    )
    model = request.out / "model"
    if not this_team().leads:
        return model
    measured = task.measure(run, lambda f, m: report(0.9 + 0.1 * f, m))
    provenance = run.provenance() | began
    common = {
        "name": f"{name}-{run.steps}",
        "trained_on": task.data,
        "training": provenance,
        "research_use_only": True,
    }
    save_model(model, run.network, common | task.contract | measured.contract)
    card = model_card(run.network, provenance, data=task.data, metrics=measured.metrics, failures=task.failures)
    write_card(model, card)
    return model


@dataclass(frozen=True, eq=False)
class _Material:
    """What the recipe `default` is trained on.

    :param learned: the labels that it can teach.
    :param fresh: samples of patients that are not trained on, see `calibration.calibrate`.
    """

    batches: Callable[[Recipe], Batches]
    learned: Sequence[str]
    fresh: Callable
    data: str
    failures: tuple[str, ...]


def _drawn_patients(request: TrainingRequest, progress: Progress) -> _Material:
    bank = draw_bank(request.out / "drawings", BANK_FIRST_SEED, request.drawings, progress)

    def fresh():
        count = max(2, request.drawings // 50)
        return calibration.painted(draw_bank(request.out / "calibration", calibration.FIRST_SEED, count))

    def batches(recipe: Recipe) -> Batches:
        crops = samples.PaintedCrops(bank, recipe.crop, recipe.seed)
        return samples.painted_batches(crops, recipe.batch_size, _workers())

    return _Material(batches, list(DEFAULT.task_weights), fresh, TRAINED_ON, KNOWN_FAILURES["default"])


def _own_patients(request: TrainingRequest, progress: Progress) -> _Material:
    data = own_data(request, progress)

    def batches(recipe: Recipe) -> Batches:
        crops = OwnCrops(data.store, data.patients("training"), recipe.crop, recipe.seed)
        return own_batches(crops, recipe.batch_size, _workers())

    failures = (
        "The thresholds were chosen on the patients that the metrics are of, so these are a little too good.",
        *data.failures(["type"]),
        *KNOWN_FAILURES["default"][1:3],
    )
    return _Material(batches, data.learned(["type"]), partial(held_out_crops, data), data.in_words(), failures)


def default_task(request: TrainingRequest, progress: Progress) -> TrainingTask:
    """The network of the default preset: on painted crops of drawn patients, or on the cases of a manifest."""
    torch.manual_seed(DEFAULT.seed)
    material = (_drawn_patients if request.data == SYNTHETIC else _own_patients)(request, progress)

    def measure(run: TrainingRun, progress: Progress) -> Measured:
        progress(0.0, "Choosing thresholds")
        chosen = calibration.calibrate(run.network, material.fresh())
        contract = asdict(chosen)
        return Measured(contract, contract.pop("intervals"))

    weights = {task: weight for task, weight in DEFAULT.task_weights.items() if task in material.learned}
    return TrainingTask(
        network=DefaultNetwork(tasks=samples.TASKS),
        recipe=replace(DEFAULT, task_weights=weights),
        batches=material.batches,
        contract={
            "labels": {"type": list(ALLOWED["type"])},
            "channels": ["t1c", "flair or 0", "box around the core", "box around everything"],
            "masks": ["tumor_core", "whole_tumor"],
            "spacing_mm": [0.9, 3.2],
            "normalisation": "ordinary brain outside the box to median 0, spread 1, clipped to [-3, 6]",
        },
        data=material.data,
        failures=material.failures,
        measure=measure,
    )


def pisov_task(request: TrainingRequest, progress: Progress) -> TrainingTask:
    """The network of Pisov et al. 2018 on patches: of synthetic patients, or of the cases of a manifest."""
    recipe = pisov_recipe(request.size, request.channels, request.tasks)
    spacing = SPACING_MM[request.size]
    classes = {task: count for task, count in paper_samples.TASKS.items() if task in request.tasks}
    data = None if request.data == SYNTHETIC else own_data(request, progress, core_only=True)
    if data is not None:
        learned = {SEGMENTATION, *data.learned(classes)}
        weights = {task: weight for task, weight in recipe.task_weights.items() if task in learned}
        recipe = replace(recipe, task_weights=weights)

    def batches(recipe: Recipe) -> Batches:
        if data is None:
            patches = paper_samples.PaperPatches(recipe.crop, recipe.seed, spacing=spacing)
        else:
            patches = OwnPatches(data.store, data.patients("training"), recipe.crop, recipe.seed, spacing)
        return paper_samples.paper_batches(patches, recipe.batch_size, _workers())

    torch.manual_seed(recipe.seed)
    return TrainingTask(
        network=PisovNetwork(request.channels, tasks=classes),
        recipe=recipe,
        batches=batches,
        contract={
            "labels": {task: list(ALLOWED[task]) for task in classes},
            "channels": ["t1c"],
            "masks": ["tumor_core"],
            "solved_tasks": [task for task in SOLVABLE if task in request.tasks],
            "size": request.size,
            "crop": recipe.crop,
            "spacing_mm": [spacing, spacing],
            "normalisation": "brain of the patch to median 0, spread 1",
        },
        data=TRAINED_ON if data is None else data.in_words(),
        failures=("Nothing is measured by the training itself: `evaluate pisov` does that.",)
        if data is None
        else ("Nothing is measured by the training itself.", *data.failures(classes)),
        measure=lambda run, progress: Measured(),
    )


TASKS = {"default": default_task, "pisov": pisov_task, "plgg": plgg_task, "med3d-unet": med3d_task}


def _workers() -> int:
    return max(1, (os.cpu_count() or 2) // 2)


def draw_bank(folder: Path, first_seed: int, count: int, progress: Progress | None = None) -> GeometryBank:
    """A bank with the patients of `count` seeds from `first_seed` on; those that are there already are kept."""
    bank = GeometryBank(folder)
    present = set(bank.seeds())
    missing = [seed for seed in range(first_seed, first_seed + count) if seed not in present]
    # Each process of a team begins elsewhere, and leaves alone what another has drawn by then.
    begin = len(missing) * this_team().rank // this_team().size
    missing = missing[begin:] + missing[:begin]
    chunks = [missing[start : start + 16] for start in range(0, len(missing), 16)]
    if not chunks:
        return bank
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(chunks)), mp_context=context) as pool:
        work = [pool.submit(fill_bank, str(folder), chunk) for chunk in chunks]
        for number, future in enumerate(as_completed(work), start=1):
            future.result()
            if progress is not None:
                progress(number / len(work), f"Drawing patients: {min(number * 16, len(missing))} of {len(missing)}")
    return bank
