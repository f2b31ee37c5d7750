"""From a recipe's name to a model folder: what the command `train` does."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path

import torch

from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.pisov import PisovNetwork
from TumorRetrievalLib.networks.weights import save_model
from TumorRetrievalLib.synthesis.bank import GeometryBank, fill_bank
from TumorRetrievalLib.training import calibration, paper_samples, samples
from TumorRetrievalLib.training.recipes import RECIPES
from TumorRetrievalLib.training.trainer import TrainingRun, train

Progress = Callable[[float, str], None]

TRAINED_ON = "synthetic scans made from the MNI152 atlas; no patient"
BANK_FIRST_SEED = 1_000_000


def train_recipe(
    name: str,
    out: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    drawings: int = 3000,
    progress: Progress | None = None,
) -> Path:
    """Train one of the recipes on synthetic patients and leave a model folder in `out/model`.

    A training that was interrupted goes on when it is started again with the same arguments.

    :param name: "default" or "pisov".
    :param out: folder of the run: drawings, checkpoints, log, loss curves and the model.
    :param minutes: :param steps: the budget, instead of the recipe's own.
    :param drawings: how many patients are drawn for the recipe "default" before training begins.
    :returns: the model folder.
    :raises UnknownLabel: if there is no such recipe.
    """
    if name not in RECIPES:
        raise UnknownLabel(f"There is no recipe {name!r}. The recipes are: {', '.join(RECIPES)}.")
    out, report = Path(out), progress or (lambda fraction, message: None)
    recipe = RECIPES[name]
    if minutes is not None or steps is not None:
        recipe = replace(recipe, max_minutes=minutes, max_steps=steps)
    torch.manual_seed(recipe.seed)
    workers = max(1, (os.cpu_count() or 2) // 2)
    if name == "pisov":
        network = PisovNetwork(tasks=paper_samples.TASKS)
        batches = paper_samples.paper_batches(
            paper_samples.PaperPatches(recipe.crop, recipe.seed), recipe.batch_size, workers
        )
    else:
        network = DefaultNetwork(tasks=samples.TASKS)
        bank = draw_bank(out / "drawings", BANK_FIRST_SEED, drawings, lambda f, m: report(0.2 * f, m))
        crops = samples.PaintedCrops(bank, recipe.crop, recipe.seed)
        batches = samples.painted_batches(crops, recipe.batch_size, workers)
    run = train(network, batches, recipe, out, progress=lambda f, m: report(0.2 + 0.75 * f, m))
    contract = contract_of(name, run)
    if name == "default":
        report(0.95, "Choosing thresholds")
        fresh = draw_bank(out / "calibration", calibration.FIRST_SEED, max(2, drawings // 50))
        contract |= asdict(calibration.calibrate(run.network, fresh))
    return save_model(out / "model", run.network, contract)


def draw_bank(folder: Path, first_seed: int, count: int, progress: Progress | None = None) -> GeometryBank:
    """A bank with the patients of `count` seeds from `first_seed` on; those that are there already are kept."""
    bank = GeometryBank(folder)
    present = set(bank.seeds())
    missing = [seed for seed in range(first_seed, first_seed + count) if seed not in present]
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


def contract_of(name: str, run: TrainingRun) -> dict:
    """What a model folder says about a network that was trained here."""
    common = {
        "name": f"{name}-{run.steps}",
        "labels": {task: list(ALLOWED[task]) for task in run.network.heads.tasks if task in ALLOWED},
        "trained_on": TRAINED_ON,
        "training": run.provenance(),
        "research_use_only": True,
    }
    if name == "pisov":
        return common | {
            "channels": ["t1c"],
            "masks": ["tumor_core"],
            "spacing_mm": [1.0, 1.0],
            "normalisation": "brain of the patch to median 0, spread 1",
        }
    return common | {
        "channels": ["t1c", "flair or 0", "box around the core", "box around everything"],
        "masks": ["tumor_core", "whole_tumor"],
        "spacing_mm": [0.9, 3.2],
        "normalisation": "ordinary brain outside the box to median 0, spread 1, clipped to [-3, 6]",
    }
