"""How the networks for slices are trained: the paper's recipe and ours, from a set of slices to a model folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.slices import SLICE_TYPES, PaperSliceNetwork, SliceNetwork, weights_in_keras
from TumorRetrievalLib.networks.weights import save_model
from TumorRetrievalLib.training.early_stopping import EpochRecipe, train_until_no_better
from TumorRetrievalLib.training.recipes import Recipe
from TumorRetrievalLib.training.slice_batches import augmented_batches, batch_of, shuffled
from TumorRetrievalLib.training.slice_data import SliceSet, random_fifth
from TumorRetrievalLib.training.trainer import train

Progress = Callable[[float, str], None]

NETWORKS = ("paper", "best")
EPOCHS = 45
"""How often ours sees every slice."""

# Mueller Ferreira et al. (2024), section Fit: RMSProp as Keras has it, batches of 32, at most 50 epochs, early stopping
# after 10, half the rate after 3.
PAPER_SLICES = EpochRecipe(name="slices-paper", loss="slices_paper")

OUR_SLICES = Recipe(
    name="slices-best",
    loss="slices",
    task_weights={"type": 1.0, "cells": 0.5},
    batch_size=16,
    crop=128,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=60,
    clip_norm=2.0,
    ema_decay=0.995,
    max_steps=EPOCHS * 150,
    checkpoint_minutes=2.0,
)


@dataclass(frozen=True, eq=False)
class TrainedSlices:
    """A network that was trained on slices, and how, as plain JSON values."""

    network: PaperSliceNetwork | SliceNetwork
    provenance: dict


def fit_slices(
    name: str,
    slices: SliceSet,
    folder: Path,
    *,
    validation: SliceSet | None = None,
    epochs: int | None = None,
    progress: Progress | None = None,
) -> TrainedSlices:
    """Trains one of `NETWORKS`; goes on where an interrupted training in `folder` stopped.

    :param validation: what early stopping of the paper's network looks at; None = a random fifth of `slices`, which is
        then not trained on. Ours has no early stopping and trains on all of `slices`.
    :param epochs: instead of the recipe's.
    :raises UnknownLabel: if there is no such network.
    :raises InvalidSlices: if there is nothing to learn.
    """
    if name not in NETWORKS:
        raise UnknownLabel(f"There is no network {name!r} for slices. They are: {', '.join(NETWORKS)}.")
    slices.require_trainable()
    if name == "best":
        return _fit_ours(slices, folder, epochs or EPOCHS, progress)
    if validation is None:
        kept, held_out = random_fifth(len(slices), PAPER_SLICES.seed)
        slices, validation = slices.take(kept), slices.take(held_out)
    recipe = PAPER_SLICES if epochs is None else replace(PAPER_SLICES, max_epochs=epochs)
    return _fit_paper(slices, validation, folder, recipe, progress)


def _fit_ours(slices: SliceSet, folder: Path, epochs: int, progress: Progress | None) -> TrainedSlices:
    steps = max(1, epochs * len(slices) // OUR_SLICES.batch_size)
    recipe = replace(OUR_SLICES, max_steps=steps, warmup_steps=min(OUR_SLICES.warmup_steps, steps // 4))
    torch.manual_seed(recipe.seed)
    batches = augmented_batches(slices, recipe.batch_size, recipe.seed)
    run = train(SliceNetwork(), batches, recipe, folder, progress=progress)
    return TrainedSlices(run.network, run.provenance())


def _fit_paper(
    slices: SliceSet, validation: SliceSet, folder: Path, recipe: EpochRecipe, progress: Progress | None
) -> TrainedSlices:
    torch.manual_seed(recipe.seed)
    network = PaperSliceNetwork()

    def batches_from(part: SliceSet) -> Callable[[int], list[Batch]]:
        images = network.prepare(part.images)
        return lambda epoch: [
            batch_of(part, images, which) for which in shuffled(len(part), recipe.batch_size, recipe.seed, epoch)
        ]

    batches, tests = batches_from(slices), batches_from(validation)
    run = train_until_no_better(network, batches, tests(0), recipe, folder, progress=progress)
    return TrainedSlices(run.network, run.provenance())


def train_slices(
    name: str,
    slices: SliceSet,
    out: Path,
    *,
    data: str,
    attribution: str = "",
    epochs: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Trains one of `NETWORKS` on all slices and leaves a model folder in `out/model`.

    :param data: what the slices are called.
    :param attribution: whose they are and under which licence; it travels with the weights.
    :returns: the model folder.
    :raises: as :func:`fit_slices`.
    """
    trained = fit_slices(name, slices, Path(out), epochs=epochs, progress=progress)
    return save_model(Path(out) / "model", trained.network, contract_of(name, slices, trained, data, attribution))


def contract_of(name: str, slices: SliceSet, trained: TrainedSlices, data: str, attribution: str) -> dict:
    """What a model folder says about a network for slices."""
    counts = np.bincount(slices.labels, minlength=len(SLICE_TYPES))
    return {
        "name": f"slices-{name}",
        "labels": {"type": list(SLICE_TYPES)},
        "channels": ["t1c"],
        "masks": ["tumor"],
        "slice": "128 x 128 pixels, about 1.96 mm each, as a viewer shows it",
        "normalisation": "0..255 to 0..1" if name == "paper" else "median of the head to one third",
        "weights_in_keras": weights_in_keras(trained.network),
        "trained_on": f"patients: {len(slices)} slices of {data}",
        "attribution": attribution,
        "types_seen": {kind: int(count) for kind, count in zip(SLICE_TYPES, counts, strict=True)},
        # By these a slice is recognised that a test must not count as unseen.
        "slice_digests": "".join(slices.digests()),
        "training": trained.provenance,
        "research_use_only": True,
    }
