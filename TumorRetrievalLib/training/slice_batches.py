"""Training samples for the networks of slices: shuffled, and for ours bent, dimmed, noisy and without a skull."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.slices import EDGE, SliceNetwork, whole_slices
from TumorRetrievalLib.training.slice_data import SliceSet

WITHOUT_SKULL = 0.2
WITH_BOX = 0.3
_TURN, _STRETCH, _SHIFT = math.radians(12), 0.12, 0.1
"""Largest turn, logarithm of a factor, and shift as a share of half the slice."""
_BEND = 0.02
"""Typical elastic displacement, as a share of half the slice."""


def batch_of(slices: SliceSet, images: torch.Tensor, which: np.ndarray) -> Batch:
    """Slices and the truth about them, unchanged; the box of each is the whole slice."""
    masks = torch.from_numpy(slices.masks[which][:, None].astype(np.float32))
    return Batch(
        images[which],
        masks,
        whole_slices(len(which)),
        {"type": torch.from_numpy(slices.labels[which])},
        torch.from_numpy(slices.mask_known[which][:, None]),
    )


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The places of the slices of every batch of an epoch; the order depends on seed and epoch alone."""
    order = np.random.default_rng((seed, epoch)).permutation(count)
    return [order[start : start + batch_size] for start in range(0, count, batch_size)]


def augmented_batches(slices: SliceSet, batch_size: int, seed: int) -> Callable[[int], Iterator[Batch]]:
    """A function for the trainer: given the steps taken, the batches from there on, endlessly and reproducibly."""
    images, brains = SliceNetwork.prepare(slices.images), brain_masks(slices)
    per_epoch = -(-len(slices) // batch_size)

    @lru_cache(maxsize=2)
    def places(epoch: int) -> list[np.ndarray]:
        return shuffled(len(slices), batch_size, seed, epoch)

    def from_step(step: int) -> Iterator[Batch]:
        while True:
            epoch, n = divmod(step, per_epoch)
            which = places(epoch)[n]
            random = torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))
            yield augmented(batch_of(slices, images, which), brains[which], random)
            step += 1

    return from_step


def augmented(batch: Batch, brains: torch.Tensor, random: torch.Generator) -> Batch:
    """The same slices as they might have looked in another patient, scanner or program.

    :param batch: from :func:`batch_of`.
    :param brains: bool (B, 1, 128, 128); all False where the brain was not found, and then the skull stays.
    """
    count = len(batch)
    strip = (torch.rand(count, generator=random) < WITHOUT_SKULL) & brains.flatten(1).any(dim=1)
    image = torch.where(strip[:, None, None, None], batch.image * brains, batch.image)
    field = _random_field(count, random)
    image = functional.grid_sample(image, field, align_corners=False)
    masks = (functional.grid_sample(batch.masks, field, align_corners=False) > 0.5).float()
    return Batch(
        _other_scanner(image, random), masks, _drawn_boxes(masks, batch.mask_known, random), batch.labels,
        batch.mask_known,
    )  # fmt: skip


def _random_field(count: int, random: torch.Generator) -> torch.Tensor:
    """Where every pixel comes from: mirrored, turned, stretched, shifted and bent; (count, 128, 128, 2)."""

    def uniform(limit: float) -> torch.Tensor:
        return (2 * torch.rand(count, generator=random) - 1) * limit

    turn, mirror = uniform(_TURN), torch.sign(uniform(1.0))
    wide, high = torch.exp(uniform(_STRETCH)), torch.exp(uniform(_STRETCH / 2))
    cos, sin = turn.cos(), turn.sin()
    rows = [cos * wide * mirror, -sin * wide * high, uniform(_SHIFT), sin * wide * mirror, cos * wide * high]
    theta = torch.stack([*rows, uniform(_SHIFT)], dim=1).view(count, 2, 3)
    field = functional.affine_grid(theta, [count, 1, EDGE, EDGE], align_corners=False)
    bend = _BEND * torch.randn(count, 2, 6, 6, generator=random)
    return field + functional.interpolate(bend, (EDGE, EDGE), mode="bicubic").permute(0, 2, 3, 1)


def _other_scanner(image: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Another contrast, coil, resolution and noise; what is 0 (outside) stays near 0."""
    count = len(image)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, 1, 1, 1, generator=random) * (high - low) + low

    image = (3 * image).clamp(min=0) ** torch.exp(uniform(-0.25, 0.25)) / 3  # the median stays one third
    coil = 0.1 * torch.randn(count, 1, 3, 3, generator=random)
    image = image * torch.exp(uniform(-0.2, 0.2) + functional.interpolate(coil, (EDGE, EDGE), mode="bicubic"))
    blurred = functional.avg_pool2d(image, 3, stride=1, padding=1)
    image = torch.lerp(image, blurred, uniform(-0.5, 1.0).clamp(min=0))
    noise = torch.randn(image.shape, generator=random) * uniform(-0.02, 0.04).clamp(min=0)
    return (image + noise).clamp(0, 2)


def _drawn_boxes(masks: torch.Tensor, known: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Around some of the tumors a box, a little careless; else the whole slice. int64 (B, 5)."""
    boxes = whole_slices(len(masks))
    drawn = (torch.rand(len(masks), generator=random) < WITH_BOX) & known[:, 0]
    for n in torch.nonzero(drawn)[:, 0].tolist():
        taken = torch.nonzero(masks[n, 0])
        if len(taken) == 0:
            continue
        low, high = taken.amin(dim=0), taken.amax(dim=0) + 1
        careless = (torch.rand(2, 2, generator=random) * 0.45 - 0.1) * (high - low) + 1
        low, high = (low - careless[0]).floor().clamp(min=0), (high + careless[1]).ceil().clamp(max=EDGE)
        boxes[n, 1:] = torch.stack([low, high], dim=1).flatten().long()
    return boxes


def brain_masks(slices: SliceSet) -> torch.Tensor:
    """Where the brain is in each slice, bool (n, 1, 128, 128); all False where it could not be found.

    Rough, and meant for training only: a network that has seen slices cut out this way takes the absence of a skull
    for what it is.
    """
    found = np.zeros((len(slices), 1, EDGE, EDGE), bool)
    for n, (image, mask) in enumerate(zip(slices.images, slices.masks, strict=True)):
        brain = _brain_in_slice(image.astype(np.float32))
        # A tumor outside it, in the sella or under the scalp, says that this is not the brain.
        if brain.any() and (not mask.any() or (brain & mask).sum() > 0.5 * mask.sum()):
            found[n, 0] = brain | mask
    return torch.from_numpy(found)


def _brain_in_slice(image: np.ndarray) -> np.ndarray:
    """As `registration.brain`, in two dimensions: peel off what is thin, keep the largest part, let it grow back."""
    from scipy import ndimage

    head = ndimage.binary_fill_holes(image > 0.1 * np.percentile(image, 99))
    middle = ndimage.binary_erosion(head, iterations=14)
    if middle.sum() < 400:
        return np.zeros(image.shape, bool)
    median = np.median(image[middle])
    ordinary = head & (image > 0.5 * median) & (image < 2.0 * median)
    parts, count = ndimage.label(ndimage.binary_erosion(ordinary, iterations=4))
    if count == 0:
        return np.zeros(image.shape, bool)
    core = parts == 1 + np.argmax(np.bincount(parts[middle], minlength=count + 1)[1:])
    brain = ndimage.binary_fill_holes(ndimage.binary_dilation(core, iterations=5) & head)
    return brain if brain.sum() > 0.3 * head.sum() else np.zeros(image.shape, bool)
