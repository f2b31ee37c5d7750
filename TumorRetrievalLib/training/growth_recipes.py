"""How the autoencoders of Rosier (2022, section 3.4) are trained: recipes, batches of masks, and what comes out.

A model is a pair: one autoencoder for whole tumors (FLAIR), one for their cores (T1Gd), trained alike. Where the masks
come from is the caller's business.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from TumorRetrievalLib.networks.autoencoder import MaskAutoencoder, coarsened
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.device import choose_device
from TumorRetrievalLib.networks.weights import save_model
from TumorRetrievalLib.training.intervals import mean_with_interval
from TumorRetrievalLib.training.model_card import model_card, write_card
from TumorRetrievalLib.training.recipes import Recipe
from TumorRetrievalLib.training.samples import count_from
from TumorRetrievalLib.training.trainer import Progress, train

TRAINING_TUMORS, HELD_OUT_TUMORS = 1500, 150
BETA = 0.001
NETWORKS = {
    "growth-ae": {"latent": 1024, "variational": False},
    "growth-vae8": {"latent": 8, "variational": True},
    "growth-vae1024": {"latent": 1024, "variational": True},
}
PUBLISHED_EDGE, SMALL_EDGE = 128, 64
# The thesis trains the AE "with an increased number of epochs", in the author's program 300 for the weights in use, and
# the VAE for 1000.
_EPOCHS = {False: 300, True: 1000}
_RATES = {False: 1e-5, True: 3e-5}

ReadMask = Callable[[int], np.ndarray]


def growth_recipe(name: str, edge: int = PUBLISHED_EDGE) -> Recipe:
    """The recipe of one of NETWORKS.

    At 128^3 it is the published one: Adam at a constant 1e-5 (AE) or 3e-5 (VAE), batches of two, 300 or 1000 epochs of
    1500 tumors, in float32. At 64^3 it is one for a machine without a GPU: the same data and loss, but an hour of 1e-3
    that falls along a cosine, in bfloat16 where that is faster, and the running average of the weights.

    :param edge: 128 or 64.
    """
    variational = NETWORKS[name]["variational"]
    published = Recipe(
        name=name,
        loss="reconstruction",
        task_weights={"divergence": BETA} if variational else {},
        batch_size=2,
        crop=edge,
        optimizer="adamw",  # without weight decay, as here, that is Adam
        learning_rate=_RATES[variational],
        schedule="steps",
        max_steps=_EPOCHS[variational] * TRAINING_TUMORS // 2,
        mixed_precision=False,
        checkpoint_minutes=15.0,
    )
    if edge == PUBLISHED_EDGE:
        return published
    return replace(
        published,
        learning_rate=1e-3,
        schedule="cosine",
        warmup_steps=50,
        clip_norm=2.0,
        ema_decay=0.99,
        max_steps=None,
        max_minutes=60,
        mixed_precision=True,
        checkpoint_minutes=3.0,
    )


def mask_batches(read: ReadMask, count: int, recipe: Recipe) -> Callable[[int], Iterator[Batch]]:
    """A function for the trainer: given the steps taken, the batches from there on.

    Every epoch visits all masks once, in an order of its own that depends on the recipe's seed alone.

    :param read: mask number n, bool (m, m, m) with m a multiple of the recipe's edge.
    :param count: of the masks.
    """

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((recipe.seed, epoch)).permutation(count)

    def from_step(step: int) -> Iterator[Batch]:
        for number in count_from(step):
            start = number * recipe.batch_size
            places = (divmod(place, count) for place in range(start, start + recipe.batch_size))
            yield batch_of_masks([read(int(order(epoch)[n])) for epoch, n in places], recipe.crop)

    return from_step


def batch_of_masks(masks: list[np.ndarray], edge: int) -> Batch:
    """Masks, each (m, m, m), as input and truth of an autoencoder, on `edge`^3 voxels."""
    stacked = torch.from_numpy(np.stack(masks)[:, None])
    tensor = coarsened(stacked, edge)
    no_boxes = torch.zeros((0, 7), dtype=torch.int64)
    return Batch(tensor, tensor, no_boxes, {}, torch.ones(len(masks), 1, dtype=torch.bool))


def train_autoencoder(
    read: ReadMask,
    count: int,
    recipe: Recipe,
    folder: Path,
    contract: dict,
    *,
    held_out: int = HELD_OUT_TUMORS,
    progress: Progress | None = None,
) -> Path:
    """Trains one autoencoder and leaves it in `folder/model`; goes on where an interrupted training stopped.

    :param read: see :func:`mask_batches`.
    :param count: of the masks; the last `held_out` of them are only measured on.
    :param contract: what the model's contract says besides the training and the quality.
    :returns: the model folder.
    """
    torch.manual_seed(recipe.seed)
    network = MaskAutoencoder(recipe.crop, **NETWORKS[recipe.name])
    run = train(network, mask_batches(read, count - held_out, recipe), recipe, folder, progress=progress)
    dice = reconstruction_dice(run.network, (read(index) for index in range(count - held_out, count)))
    measured = {
        "training": run.provenance(),
        "quality": {"held_out_tumors": held_out, "mean_reconstruction_dice": round(float(np.mean(dice)), 4)},
    }
    model = save_model(Path(folder) / "model", run.network, contract | measured)
    write_card(
        model,
        model_card(
            run.network,
            run.provenance(),
            data=contract.get("trained_on", "tumor masks"),
            metrics={"held_out_reconstruction_dice": mean_with_interval(dice.tolist())},
            failures=("Tumors unlike the simulated ones, such as several at once, are reconstructed badly.",),
        ),
    )
    return model


@torch.no_grad()
def reconstruction_dice(network: MaskAutoencoder, masks: Iterable[np.ndarray]) -> np.ndarray:
    """Dice of each mask and its reconstruction, both cut at one half, at the network's resolution."""
    device = choose_device()
    network.to(device).eval()
    dice = []
    for mask in masks:
        truth = batch_of_masks([mask], network.edge).image.to(device)
        found, truth = network(truth).masks > 0, truth >= 0.5
        total = found.sum() + truth.sum()
        dice.append(float(2 * (found & truth).sum() / total) if total else 1.0)
    network.cpu()
    return np.array(dice)
