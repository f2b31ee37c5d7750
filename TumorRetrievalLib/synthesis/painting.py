"""Turns drawn anatomy into T1c and FLAIR scans: contrasts, textures and everything a scanner does to them.

Two thirds of the training scans have plausible contrasts with small variations, one third has contrasts drawn from wide
ranges; that mixture did best on real scans. A painted scan is not normalised: that is the reader's first step, the same
for real and for painted scans.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from TumorRetrievalLib.synthesis.fields import Axes, SmoothField
from TumorRetrievalLib.synthesis.raster import ENHANCING, NECROSIS, NONENHANCING, OEDEMA, Geometry
from TumorRetrievalLib.synthesis.surroundings import BONE, FAT, FLUID, MARROW, MUSCLE


@dataclass(frozen=True)
class Style:
    """How a scan is painted.

    :param wide: contrasts from wide ranges instead of plausible ones.
    :param head: paint skull, scalp and neck; otherwise the scan is skull-stripped (0 outside the brain).
    :param artefacts: bias field, blur, thick slices, shifts and strong noise.
    """

    wide: bool
    head: bool
    artefacts: bool


_NARROW = {
    "t1c": {"gray": (0.72, 0.88), "csf": (0.22, 0.42), "oedema": (0.75, 0.95), "necrosis": (0.3, 0.65),
            "enhancing": (1.5, 2.3), "nonenhancing": (0.68, 0.92), "vessel": (1.5, 2.4), "texture": (0.01, 0.04)},
    "flair": {"gray": (1.08, 1.3), "csf": (0.15, 0.45), "oedema": (1.5, 2.1), "necrosis": (0.5, 1.4),
              "enhancing": (1.2, 1.8), "nonenhancing": (1.4, 2.0), "vessel": (0.4, 0.9), "texture": (0.01, 0.04)},
}  # fmt: skip
_WIDE = {
    "t1c": {"gray": (0.6, 1.02), "csf": (0.08, 0.6), "oedema": (0.6, 1.02), "necrosis": (0.15, 0.95),
            "enhancing": (1.15, 2.8), "nonenhancing": (0.5, 1.08), "vessel": (1.1, 2.8), "texture": (0.0, 0.07)},
    "flair": {"gray": (0.85, 1.6), "csf": (0.05, 0.75), "oedema": (1.3, 2.6), "necrosis": (0.2, 2.3),
              "enhancing": (0.9, 2.4), "nonenhancing": (1.15, 2.6), "vessel": (0.3, 1.3), "texture": (0.0, 0.07)},
}  # fmt: skip
_HEAD = {
    "t1c": {FLUID: (0.15, 0.6), BONE: (0.05, 0.3), MARROW: (0.5, 1.3), FAT: (1.2, 2.8), MUSCLE: (0.6, 1.2)},
    "flair": {FLUID: (0.05, 0.6), BONE: (0.05, 0.3), MARROW: (0.3, 1.0), FAT: (0.5, 1.8), MUSCLE: (0.4, 1.0)},
}
"""Mean intensities relative to white matter."""


_CAVITY = {"t1c": (0.18, 0.4), "flair": (0.08, 0.45)}
_BLOOD = {"t1c": (1.2, 2.0), "flair": (0.3, 1.7)}
"""Necrosis that is as dark as CSF in both images, and blood in it; relative to white matter."""


def draw_style(rng: np.random.Generator) -> Style:
    """A style for a training scan: a third wide contrasts, a third with the head, artefacts in three of five."""
    return Style(wide=bool(rng.random() < 0.35), head=bool(rng.random() < 0.35), artefacts=bool(rng.random() < 0.6))


def paint(
    geometry: Geometry, axes: Axes, style: Style, rng: np.random.Generator, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Paint one patient.

    :returns: "t1c" and "flair", float32 (X, Y, Z), white matter near 1 before artefacts, 0 where there is no signal.
    """
    textures = [SmoothField(generator, scale).on(axes) for scale in (7.0, 12.0, 24.0)]
    cavity, bleeding = rng.random() < 0.15, rng.random() < 0.1
    painted = {}
    for channel in ("t1c", "flair"):
        ranges = (_WIDE if style.wide else _NARROW)[channel]
        look = {name: float(rng.uniform(*bounds)) for name, bounds in ranges.items()}
        if channel == "t1c" and rng.random() < 0.12:
            look["enhancing"] = float(rng.uniform(1.1, 1.5))
        if cavity:
            look["necrosis"] = float(rng.uniform(*_CAVITY[channel]))
        if bleeding:
            look["blood"] = float(rng.uniform(*_BLOOD[channel]))
        image = _paint_brain(geometry, channel, look, textures, rng)
        image = image * geometry.brain
        if style.head:
            image = image + _paint_head(geometry, channel, textures, rng)
        painted[channel] = _scanner(image, channel, axes, style, rng, generator)
    if not style.head:
        mask = _stripped_edge(geometry, axes, style, rng, generator)
        painted = {channel: image * mask for channel, image in painted.items()}
    return painted


def _paint_brain(
    geometry: Geometry, channel: str, look: dict[str, float], textures: list[torch.Tensor], rng: np.random.Generator
) -> torch.Tensor:
    fine, middle, coarse = textures
    image = geometry.gray * look["gray"] + geometry.white + geometry.csf * look["csf"]
    image = image * (1 + look["texture"] * fine + look["texture"] * coarse)
    vessels, spots = geometry.around.vessels, geometry.around.spots
    if channel == "flair":
        image = image * (1 + spots * rng.uniform(0.2, 1.0))
        image = image + (look["vessel"] - image) * vessels * 0.6
        swollen = look["oedema"] * (1 + 0.12 * middle)
    else:
        image = image * (1 - 0.1 * spots)
        image = image + (look["vessel"] - image) * vessels * rng.uniform(0.5, 1.0)
        swollen = look["oedema"] * image * (1 + 0.06 * middle)
    weight = ((geometry.label == OEDEMA) * (0.35 + 1.3 * geometry.oedema)).clamp(0, 1)
    image = image + (swollen - image) * weight * rng.uniform(0.7, 1.0)
    for label, name in ((NECROSIS, "necrosis"), (NONENHANCING, "nonenhancing"), (ENHANCING, "enhancing")):
        roughness = rng.uniform(0.0, 0.14)
        value = look[name] * (1 + roughness * fine + roughness * middle)
        if label == NONENHANCING and rng.random() < 0.5:
            value = value * 0.6 + 0.4 * image
        if label == NECROSIS and "blood" in look:
            value = torch.where(middle > 0.6, look["blood"] * (1 + roughness * fine), value)
        image = torch.where(geometry.label == label, value, image)
    return image.clamp(min=0)


def _paint_head(
    geometry: Geometry, channel: str, textures: list[torch.Tensor], rng: np.random.Generator
) -> torch.Tensor:
    image = torch.zeros_like(geometry.gray)
    for label, bounds in _HEAD[channel].items():
        value = float(rng.uniform(*bounds)) * (1 + 0.12 * textures[0] + 0.08 * textures[1])
        image = torch.where(geometry.around.head == label, value, image)
    return image.clamp(min=0)


def _scanner(
    image: torch.Tensor, channel: str, axes: Axes, style: Style, rng: np.random.Generator, generator: torch.Generator
) -> torch.Tensor:
    """What lies between anatomy and file: coil sensitivity, blur, slice thickness, misalignment, noise, gamma."""
    voxel = float(axes[0][1] - axes[0][0])
    if not style.artefacts:
        image = _blur(image, [0.45] * 3)
        return (image + rng.uniform(0.01, 0.035) * torch.randn(image.shape, generator=generator)).clamp(min=0)
    image = image * torch.exp(rng.uniform(0, 0.25) * SmoothField(generator, rng.uniform(60, 110)).on(axes))
    sigma = rng.uniform(0, 0.9)
    image = _blur(image, [sigma * rng.uniform(0.6, 1.2) for _ in range(3)])
    if rng.random() < (0.5 if channel == "flair" else 0.3):
        image = _thick_slices(image, int(rng.choice(3, p=[0.12, 0.13, 0.75])), rng.uniform(2.0, 7.0) / voxel)
    if channel == "flair" and rng.random() < 0.25:
        image = torch.roll(image, int(rng.integers(-1, 2)), int(rng.integers(0, 3)))
    noise = rng.uniform(0.005, 0.09) * (1.0 if rng.random() < 0.6 else 0.5)
    image = (image + noise * torch.randn(image.shape, generator=generator)).clamp(min=0)
    return image ** rng.uniform(0.7, 1.4) if rng.random() < 0.5 else image


def _blur(image: torch.Tensor, sigmas: list[float]) -> torch.Tensor:
    """Gaussian along each axis; sigmas in voxels, below 0.15 none."""
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.15:
            continue
        radius = max(1, math.ceil(2 * sigma))
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).float() / sigma) ** 2)
        shape, padding = [1, 1, 1], [0, 0, 0]
        shape[axis], padding[axis] = 2 * radius + 1, radius
        image = F.conv3d(image[None, None], (kernel / kernel.sum()).view(1, 1, *shape), padding=padding)[0, 0]
    return image


def _thick_slices(image: torch.Tensor, axis: int, factor: float) -> torch.Tensor:
    """Average along an axis to slices `factor` voxels thick, then interpolate back."""
    if factor <= 1.1:
        return image
    sigmas = [0.0] * 3
    sigmas[axis] = 0.4 * factor
    thin = list(image.shape)
    few = list(image.shape)
    few[axis] = max(6, round(thin[axis] / factor))
    image = F.interpolate(_blur(image, sigmas)[None, None], size=few, mode="trilinear")
    return F.interpolate(image, size=thin, mode="trilinear")[0, 0]


def _stripped_edge(
    geometry: Geometry, axes: Axes, style: Style, rng: np.random.Generator, generator: torch.Generator
) -> torch.Tensor:
    """The brain mask that a skull-stripping tool might have left: sometimes eaten at the edge, never into a core."""
    if not style.artefacts or rng.random() < 0.4:
        return geometry.brain
    eaten = -F.max_pool3d(-geometry.brain.float()[None, None], 3, 1, 1)[0, 0] > 0
    where = SmoothField(generator, 20.0).on(axes) > rng.uniform(-0.5, 1.0)
    return torch.where(where, eaten, geometry.brain) | geometry.core
