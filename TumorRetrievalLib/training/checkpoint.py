"""The state of a training on disk: what it needs to go on after a crash as if nothing had happened."""

import json
from pathlib import Path

import torch
from torch import nn

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.imaging.atomic import atomic_file

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


def require_same_recipe(state: dict, recipe: dict, folder: Path) -> None:
    """Only the budget may change between a training and its continuation.

    :raises WeightsError: if anything else did.
    """
    ignored = ("max_steps", "max_minutes", "checkpoint_minutes")
    stored = json.loads(state["recipe"])
    changed = [key for key in recipe if key not in ignored and stored.get(key) != recipe[key]]
    if changed:
        raise WeightsError(
            f"The training in {folder} was started with another recipe (different: {', '.join(changed)}). "
            f"Use another folder, or pass resume=False to start again."
        )
