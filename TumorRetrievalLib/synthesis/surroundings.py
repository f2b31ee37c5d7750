"""What else is bright in a scan: vessels and meninges, white-matter spots, and the head around the brain.

These are the distractors without which a network takes everything bright for tumor.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from TumorRetrievalLib.synthesis.fields import Axes, SmoothField, length, streams

AIR, FLUID, BONE, MARROW, FAT, MUSCLE = 0, 1, 2, 3, 4, 5
"""Labels of `Surroundings.head`."""


@dataclass(frozen=True)
class Surroundings:
    """Distractors, tensors of the raster's shape.

    :param vessels: how much of a voxel takes up contrast without being tumor, 0..1, float32.
    :param spots: how much brighter FLAIR is without being tumor, 0..1, float32.
    :param head: tissue outside the brain, one of AIR, FLUID, BONE, MARROW, FAT, MUSCLE, uint8.
    """

    vessels: torch.Tensor
    spots: torch.Tensor
    head: torch.Tensor


def draw_surroundings(
    seed: int, axes: Axes, tissue: torch.Tensor, atlas_points: torch.Tensor, depth: torch.Tensor, brain: torch.Tensor
) -> Surroundings:
    """Draw one patient's distractors.

    :param tissue: gray, white, CSF, ventricle fractions, shape (4, X, Y, Z).
    :param atlas_points: atlas mm, shape (3, X, Y, Z).
    :param depth: mm below the brain's surface, negative above it.
    :param brain: brain or tumor, bool.
    """
    vessels = _vessels(seed, axes, tissue, atlas_points, depth) * brain
    spots = _spots(seed, axes, tissue, atlas_points, depth) * brain
    return Surroundings(vessels, spots, _head(seed, axes, atlas_points, depth, brain))


def _vessels(seed: int, axes: Axes, tissue: torch.Tensor, at: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Cortical vessels, enhancing meninges, venous sinuses, choroid plexus, cavernous sinus and pituitary stalk."""
    rng, generator = streams(seed, "vessels")

    def noise(scale: float) -> torch.Tensor:
        return SmoothField(generator, scale).on(axes)

    chance = rng.random(6)
    one, two = noise(14.0), noise(14.0)
    tubes = (one.abs() < rng.uniform(0.05, 0.14)) & (two.abs() < rng.uniform(0.08, 0.2))
    vessels = (tubes & ((tissue[2] > 0.25) | (depth < 6) | (noise(20.0) > 1.2))).float()
    layers = [
        ((depth < rng.uniform(1, 3.5)) & (noise(rng.uniform(15, 40)) > rng.uniform(-0.5, 1.3))).float()
        * rng.uniform(0.3, 1),
        ((depth < rng.uniform(4, 9)) & (at[0].abs() < rng.uniform(2, 4.5)) & ((at[1] < -60) | (at[2] > 50))).float(),
        ((depth < rng.uniform(4, 9)) & ((at[2] + rng.uniform(14, 24)).abs() < 4) & (at[1] < -62)).float(),
        ((tissue[3] > 0.3) & (noise(10.0) > rng.uniform(0.4, 1.3))).float(),
        (_distance(at, (0.0, rng.uniform(0, 8), -30.0)) < rng.uniform(4, 9)).float(),
        ((depth < 12) & (_distance(at, (0.0, -5.0, -24.0)) < 22) & (one.abs() < 0.2)).float(),
    ]
    for drawn, share, layer in zip(chance, (0.7, 0.7, 0.6, 0.7, 0.4, 0.5), layers, strict=True):
        if drawn < share:
            vessels = torch.maximum(vessels, layer)
    return vessels


def _spots(seed: int, axes: Axes, tissue: torch.Tensor, at: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """FLAIR caps around the ventricles, white-matter spots, a bright rim, an uneven posterior fossa."""
    rng, generator = streams(seed, "spots")

    def noise(scale: float) -> torch.Tensor:
        return SmoothField(generator, scale).on(axes)

    chance = rng.random(4)
    ventricle = (tissue[3] > 0.4).float()
    caps = _widened(ventricle, round(4.0 / float(axes[0][1] - axes[0][0]))) - ventricle
    layers = [
        caps.clamp(0, 1) * (0.4 + 0.4 * noise(16.0)).clamp(0, 1) * (tissue[1] > 0.3),
        ((noise(9.0) > rng.uniform(1.5, 2.4)) & (tissue[1] > 0.6)).float() * rng.uniform(0.3, 1),
        ((depth < rng.uniform(1.5, 4)) & (noise(25.0) > rng.uniform(0.2, 1.2))).float() * rng.uniform(0.2, 0.8),
        ((noise(40.0) > 1.0) & (at[2] < -20)).float() * rng.uniform(0.1, 0.5),
    ]
    spots = torch.zeros_like(depth)
    for drawn, share, layer in zip(chance, (0.6, 0.4, 0.4, 0.3), layers, strict=True):
        if drawn < share:
            spots = torch.maximum(spots, layer)
    return spots


def _widened(mask: torch.Tensor, voxels: int) -> torch.Tensor:
    """Dilation by a cube of `voxels` to each side, one axis at a time."""
    widened = mask[None, None]
    for axis in range(3):
        size, padding = [1, 1, 1], [0, 0, 0]
        size[axis], padding[axis] = 2 * voxels + 1, voxels
        widened = F.max_pool3d(widened, size, 1, padding)
    return widened[0, 0]


def _head(seed: int, axes: Axes, at: torch.Tensor, depth: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Shells around the brain (fluid, bone with marrow, fat) and, below it, a mixture of muscle, fat, bone and air."""
    rng, generator = streams(seed, "head around")

    def noise(scale: float) -> torch.Tensor:
        return SmoothField(generator, scale).on(axes)

    above = -depth + 0.7 * noise(30.0)
    fluid = rng.uniform(1.0, 3.5) + 0.8 * noise(25.0)
    bone = fluid + rng.uniform(4.0, 8.0) + 1.2 * noise(40.0)
    skin = bone + rng.uniform(4.0, 9.0) + 2.0 * noise(50.0)
    head = torch.zeros(depth.shape, dtype=torch.uint8)
    head[above < skin] = FAT
    head[(above < skin) & (noise(8.0) > 0.9)] = MUSCLE
    head[above < bone] = BONE
    middle = (above - (fluid + bone) / 2).abs() < (bone - fluid) * rng.uniform(0.1, 0.3)
    head[middle & (noise(12.0) > -0.5)] = MARROW
    head[above < fluid] = FLUID
    # Face and neck: below the front of the brain and behind it, out to an ellipsoid.
    beneath = (at[2] < -18 + 0.25 * at[1].clamp(min=0)) & (above >= fluid)
    neck = ((at[0] / 72) ** 2 + ((at[1] + 8) / 95) ** 2 < 1) & beneath
    mix = noise(11.0) + 0.6 * noise(6.0)
    head[neck] = MUSCLE
    head[neck & (mix > 0.7)] = FAT
    head[neck & (mix < -0.6)] = BONE
    head[neck & (mix < -1.1)] = AIR
    head[brain] = AIR
    return head


def _distance(at: torch.Tensor, point: tuple[float, float, float]) -> torch.Tensor:
    return length(at - torch.tensor(point, dtype=torch.float32)[:, None, None, None])
