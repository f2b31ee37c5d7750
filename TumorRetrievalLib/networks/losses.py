"""What the networks are trained for. Losses are computed in float32, whatever precision the network ran in."""

from collections.abc import Mapping

import torch
from torch.nn import functional

from TumorRetrievalLib.networks.autoencoder import Reconstruction
from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.slice_losses import paper_slice_loss, slice_loss

# Voxels added to both sides of the Dice fraction: a mask of a few voxels must not decide the step.
DICE_SMOOTHING = 20.0
BCE_WEIGHT = 3.0
EPSILON = 1e-5

PAPER_SEGMENTATION_WEIGHT = 1.0
PAPER_TASK_WEIGHT = 1e-3

Parts = dict[str, torch.Tensor]


def paper_loss(output: Output, batch: Batch, task_weights: Mapping[str, float]) -> tuple[torch.Tensor, Parts]:
    """Equation 1 of Pisov et al. 2018: weighted cross-entropies, summed over tumors, missing labels left out.

    The segmentation term is the mean over the voxels of the masks that are known.

    :param task_weights: task -> its weight (the paper: 1e-3 for each); a task that is not named is not trained.
        Only "segmentation" is trained, with the paper's weight of 1, unless it is named with another.
    :returns: the total (a scalar with a gradient) and its unweighted parts, detached, by name.
    """
    known = batch.mask_known[:, :, None, None, None].expand_as(batch.masks)
    voxels = functional.binary_cross_entropy_with_logits(output.masks.float(), batch.masks, reduction="none")
    segmentation = torch.where(known, voxels, 0).sum() / known.sum().clamp(min=1)
    weights = {"segmentation": PAPER_SEGMENTATION_WEIGHT, **task_weights}
    total = weights.pop("segmentation") * segmentation
    parts = {"segmentation": segmentation.detach()}
    for task, weight in weights.items():
        cross_entropy = _cross_entropy(output, batch, task)
        total = total + weight * cross_entropy
        parts[task] = cross_entropy.detach()
    return total, parts


def default_loss(output: Output, batch: Batch, task_weights: Mapping[str, float]) -> tuple[torch.Tensor, Parts]:
    """Soft Dice + 3 * cross-entropy over the known masks, plus weighted mean cross-entropies of the tasks.

    :param task_weights: task -> its weight; a task that is not named is not trained.
    :returns: the total (a scalar with a gradient) and its unweighted parts, detached, by name. `dice_0`, `dice_1`...
        are the soft Dice of each mask (higher is better); they are absent where no sample knows that mask.
    """
    logits, masks, known = output.masks.float(), batch.masks, batch.mask_known.float()
    axes = (2, 3, 4)
    probability = logits.sigmoid()
    overlap = (probability * masks).sum(axes)
    dice = (2 * overlap + DICE_SMOOTHING) / (probability.sum(axes) + masks.sum(axes) + DICE_SMOOTHING)
    # Binary cross-entropy from logits, written so that a CPU computes it in two passes.
    bce = (functional.softplus(logits) - logits * masks).mean(axes)
    count = known.sum().clamp(min=1)
    dice_loss, bce_loss = ((1 - dice) * known).sum() / count, (bce * known).sum() / count
    total = dice_loss + BCE_WEIGHT * bce_loss
    parts = {"bce": bce_loss.detach()}
    for index in range(masks.shape[1]):
        if known[:, index].any():
            parts[f"dice_{index}"] = (dice[:, index] * known[:, index]).sum().detach() / known[:, index].sum()
    for task, weight in task_weights.items():
        labelled = (batch.labels[task] >= 0).sum().clamp(min=1) if task in batch.labels else 1
        cross_entropy = _cross_entropy(output, batch, task) / labelled
        total = total + weight * cross_entropy
        parts[task] = cross_entropy.detach()
    return total, parts


def plgg_loss(
    output: Output, batch: Batch, task_weights: Mapping[str, float], class_weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, Parts]:
    """Equations 1 and 2 of Vafaeikia et al. 2021: soft Dice loss over the batch + 0.3 * weighted cross-entropy.

    The sums of Equation 2 run over all voxels of the batch, so that a patch without tumor still counts.

    :param task_weights: {"marker": 0.3}, or nothing for the single-task network.
    :param class_weights: of the markers, shape (classes,); None = all alike.
    :returns: the total (a scalar with a gradient) and its unweighted parts, detached, by name.
    """
    chance, truth = output.masks.float().sigmoid(), batch.masks
    overlap = 2 * (chance * truth).sum() / (chance.square().sum() + truth.square().sum() + EPSILON)
    total, parts = 1 - overlap, {"dice_0": overlap.detach()}
    for task, weight in task_weights.items():
        logits, classes = output.labels[task].float(), batch.labels[task]
        weights = None if class_weights is None else class_weights.to(logits)
        # The mean over no label at all would be 0 / 0.
        known = bool((classes >= 0).any())
        cross_entropy = (
            functional.cross_entropy(logits, classes, weights, ignore_index=-1) if known else logits.sum() * 0.0
        )
        total = total + weight * cross_entropy
        parts[task] = cross_entropy.detach()
    return total, parts


def voxel_loss(output: Output, batch: Batch, task_weights: Mapping[str, float]) -> tuple[torch.Tensor, Parts]:
    """The cross-entropy of each voxel of each mask (Epstein & Shimshi 2021); the Dice of each mask is only watched."""
    logits = output.masks.float()
    loss = functional.binary_cross_entropy_with_logits(logits, batch.masks)
    found, axes = logits.detach() > 0, (0, 2, 3, 4)
    size = found.sum(axes) + batch.masks.sum(axes)
    dice = 2 * (found * batch.masks).sum(axes) / size.clamp(min=1)
    return loss, {f"dice_{mask}": dice[mask] for mask in range(len(dice)) if size[mask] > 0}


def reconstruction_loss(
    output: Reconstruction, batch: Batch, task_weights: Mapping[str, float]
) -> tuple[torch.Tensor, Parts]:
    """Section 3.4 of Rosier 2022: MONAI's Dice loss of the reconstructed masks, plus, for a VAE, beta * D_KL.

    The divergence is summed over the latent dimensions and over the batch, as in the author's public program: beta has
    the meaning that it has there only with batches of two.

    :param task_weights: {"divergence": beta} for a VAE, nothing for an autoencoder.
    :returns: the total (a scalar with a gradient) and its unweighted parts, detached, by name.
    """
    from monai.losses import DiceLoss  # loading it takes seconds, and only this loss needs it

    dice_loss = DiceLoss(sigmoid=True, smooth_nr=0.0, smooth_dr=1e-5)(output.masks, batch.masks)
    total, parts = dice_loss, {"dice_loss": dice_loss.detach()}
    if output.log_variance is not None:
        divergence = divergence_from_standard_normal(output.embedding, output.log_variance)
        total = total + task_weights["divergence"] * divergence
        parts["divergence"] = divergence.detach()
    return total, parts


def divergence_from_standard_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """The Kullback-Leibler divergence of independent normal distributions from the standard one; a scalar, summed."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


LOSSES = {
    "default": default_loss,
    "plgg": plgg_loss,
    "voxels": voxel_loss,
    "paper": paper_loss,
    "reconstruction": reconstruction_loss,
    "slices": slice_loss,
    "slices_paper": paper_slice_loss,
}


def _cross_entropy(output: Output, batch: Batch, task: str) -> torch.Tensor:
    """Cross-entropy summed over the labelled tumors; 0 (with a zero gradient) when there are none."""
    logits = output.labels[task].float()
    if task not in batch.labels or len(logits) == 0:
        return logits.sum() * 0.0
    return functional.cross_entropy(logits, batch.labels[task], ignore_index=-1, reduction="sum")
