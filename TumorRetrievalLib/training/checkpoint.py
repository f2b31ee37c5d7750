"""The state of a training on disk: what it needs to go on after a crash as if nothing had happened."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.training.recipes import Recipe

FILE_NAME = "checkpoint.pt"


def write_checkpoint(folder: Path, state: dict) -> None:
    """Replaces the checkpoint in `folder`; a crash at any moment leaves the old one or the new one.

    :param state: nested dictionaries and lists of tensors, numbers and strings.
    :raises CannotWrite: if the disk is full or the folder is read-only.
    """
    with atomic_file(folder / FILE_NAME) as path:
        torch.save(state, path)


def read_checkpoint(folder: Path) -> dict | None:
    """The state in `folder`, on the CPU; None if there is none.

    :raises WeightsError: if the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, depending on which byte is broken
        raise WeightsError(
            f"The checkpoint {path} is damaged or no checkpoint. Delete it, or start the training in another folder."
        ) from error


def load_averaged(folder: Path, network: nn.Module) -> int:
    """Puts the averaged weights of the checkpoint in `folder` into `network`, to look at a training that still runs.

    :returns: the number of steps they were trained for.
    :raises WeightsError: if there is no checkpoint, or it belongs to another network.
    """
    state = read_checkpoint(folder)
    if state is None:
        raise WeightsError(f"There is no checkpoint in {folder}; start the training first.")
    load_into(network, state["averaged"], folder)
    return state["step"]


def load_into(network: nn.Module, weights: dict, folder: Path) -> None:
    """:raises WeightsError: if the names or shapes of the `weights` found in `folder` are not those of `network`."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(
            f"The checkpoint in {folder} belongs to another network. Use another folder, or that network."
        ) from error


def require_same_recipe(state: dict, recipe: Recipe, folder: Path) -> None:
    """Only the budget may change between a training and its continuation, and the size of batches where memory is
    short.

    :raises WeightsError: if anything else did.
    """
    ignored = ["max_steps", "max_minutes", "checkpoint_minutes"]
    stored, asked = json.loads(state["recipe"]), recipe.to_json()
    if _is_smaller(recipe, stored) or _is_smaller(_with_size_of(recipe, stored), asked):
        ignored += ["batch_size", "crop"]
    changed = [key for key in asked if key not in ignored and stored.get(key) != asked[key]]
    if changed:
        raise WeightsError(
            f"The training in {folder} was started with another recipe (different: {', '.join(changed)}). "
            f"Use another folder, or pass resume=False to start again."
        )


def _is_smaller(recipe: Recipe, other: dict) -> bool:
    """Whether the size `other` is what the rule for short memory makes of `recipe`."""
    smaller = recipe.smaller()
    while smaller is not None:
        found = smaller.to_json()
        if all(found[key] == other.get(key) for key in ("batch_size", "crop")):
            return True
        smaller = smaller.smaller()
    return False


def _with_size_of(recipe: Recipe, stored: dict) -> Recipe:
    crop = stored["crop"] if isinstance(stored["crop"], int) else tuple(stored["crop"])
    return replace(recipe, batch_size=stored["batch_size"], crop=crop)
