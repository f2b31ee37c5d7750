"""What the networks for slices are trained for: the losses of Mueller Ferreira et al. (2024), and ours."""

from collections.abc import Mapping

import torch
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.slices import SliceOutput

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2
DICE_SMOOTHING = 1.0
_SMALLEST = 1e-7  # Keras keeps probabilities this far from 0 and 1
LABEL_SMOOTHING = 0.05

Parts = dict[str, torch.Tensor]


def paper_slice_loss(output: Output, batch: Batch, task_weights: Mapping[str, float]) -> tuple[torch.Tensor, Parts]:
    """Equation 1 of Mueller Ferreira et al. (2024): categorical focal + binary focal + Dice, all with weight one.

    A slice without a mask counts in the first term only; a network without a decoder has no other. The binary focal
    loss is the mean over the pixels, and Dice is taken slice by slice.

    :param task_weights: empty; the paper has no weights.
    :returns: the total (a scalar with a gradient) and its parts, detached, by name.
    """
    chances = output.labels["type"].softmax(dim=1).clamp(_SMALLEST, 1 - _SMALLEST)
    chance = chances.gather(1, batch.labels["type"][:, None])[:, 0]
    total = classification = (FOCAL_ALPHA * (1 - chance) ** FOCAL_GAMMA * -chance.log()).mean()
    parts = {"classification": classification.detach()}
    if output.masks.shape[1] == 0:
        return total, parts
    known = batch.mask_known[:, 0]
    p, y = output.masks.sigmoid().clamp(_SMALLEST, 1 - _SMALLEST), batch.masks
    ones = y * (1 - p) ** FOCAL_GAMMA * p.log()
    zeros = (1 - y) * p**FOCAL_GAMMA * (1 - p).log()
    focal = _mean_of_known(-FOCAL_ALPHA * (ones + zeros).mean(dim=(1, 2, 3)), known)
    dice = _mean_of_known(1 - _soft_dice(p, y), known)
    return total + focal + dice, parts | {"focal": focal.detach(), "dice_loss": dice.detach()}


def slice_loss(output: SliceOutput, batch: Batch, task_weights: Mapping[str, float]) -> tuple[torch.Tensor, Parts]:
    """Dice + 3 * cross-entropy of the masks, and cross-entropies of the type: of the slice, and of the tumor's cells.

    :param task_weights: of "type" and of "cells".
    :returns: as :func:`paper_slice_loss`.
    """
    known = batch.mask_known[:, 0]
    dice = _mean_of_known(1 - _soft_dice(output.masks.sigmoid(), batch.masks), known)
    pixels = functional.softplus(output.masks) - output.masks * batch.masks
    bce = _mean_of_known(pixels.mean(dim=(1, 2, 3)), known)
    type_loss = functional.cross_entropy(output.labels["type"], batch.labels["type"], label_smoothing=LABEL_SMOOTHING)
    cells_loss = _cells_loss(output.cells, batch)
    total = dice + 3 * bce + task_weights["type"] * type_loss + task_weights["cells"] * cells_loss
    parts = {"dice_loss": dice, "bce": bce, "type": type_loss, "cells": cells_loss}
    return total, {name: part.detach() for name, part in parts.items()}


def _cells_loss(cells: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy of the type at the places that the tumor covers, every slice counting alike."""
    share = functional.adaptive_avg_pool2d(batch.masks, cells.shape[2:])[:, 0]
    there = batch.mask_known[:, 0] & (share.sum(dim=(1, 2)) > 0)
    truth = batch.labels["type"][:, None, None].expand(share.shape)
    losses = functional.cross_entropy(cells, truth, reduction="none", label_smoothing=LABEL_SMOOTHING)
    return _mean_of_known((losses * share).sum(dim=(1, 2)) / share.sum(dim=(1, 2)).clamp(min=1e-3), there)


def _soft_dice(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Equation 5 of the paper, slice by slice: (B, 1, H, W) twice -> (B,)."""
    overlap, both = (p * y).sum(dim=(1, 2, 3)), (p + y).sum(dim=(1, 2, 3))
    return (2 * overlap + DICE_SMOOTHING) / (both + DICE_SMOOTHING)


def _mean_of_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The mean of (B,) values over the slices that are known; 0, with a zero gradient, where none is."""
    return torch.where(known, values, 0).sum() / known.sum().clamp(min=1)
