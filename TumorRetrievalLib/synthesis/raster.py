"""Draws a planned patient on a raster: tissue, tumors and oedema with exact masks, before any contrast is chosen."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.fields import Axes, SmoothField, axes_of, length, streams
from TumorRetrievalLib.synthesis.lesions import CasePlan, Lesion
from TumorRetrievalLib.synthesis.surroundings import Surroundings, draw_surroundings

NECROSIS, OEDEMA, NONENHANCING, ENHANCING = 1, 2, 3, 4
"""Labels of `Geometry.label`, numbered as in BraTS 2013."""

_OEDEMA_MM = 2.5
"""Resolution at which the spread of oedema is computed; its edge is smooth, so no finer is needed."""


_SPARES_CORTEX = 0.65
"""Share of tumors whose oedema ends at the cortex."""
_CORTEX_NOISE = 0.15
"""By how much of a tissue fraction that border varies."""


@dataclass(frozen=True)
class Geometry:
    """A drawn patient, all tensors of the raster's shape.

    :param gray: :param white: :param csf: tissue fractions 0..1, float32; zero outside the brain.
    :param label: 0 or one of NECROSIS, OEDEMA, NONENHANCING, ENHANCING, uint8.
    :param lesion: which tumor a labelled voxel belongs to, counted from 1, uint8.
    :param oedema: strength 0..1, float32; one in the core.
    :param brain: brain or tumor, bool.
    :param around: vessels, white-matter spots and the rest of the head.
    """

    gray: torch.Tensor
    white: torch.Tensor
    csf: torch.Tensor
    label: torch.Tensor
    lesion: torch.Tensor
    oedema: torch.Tensor
    brain: torch.Tensor
    around: Surroundings

    @property
    def core(self) -> torch.Tensor:
        """The tumor core (everything but oedema), bool."""
        return (self.label > 0) & (self.label != OEDEMA)


def rasterise(plan: CasePlan, grid: Grid) -> Geometry:
    """Draw a patient on an upright grid (a whole head, or a crop of one)."""
    axes = axes_of(grid)
    world = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    pull = _mass_effect(plan, world)
    atlas_points = plan.anatomy.to_atlas(axes, pull)
    tissue = plan.anatomy.tissue(axes, atlas_points)
    depth = plan.head.read(plan.head.depth, world if pull is None else world - pull)
    inside = tissue[:3].sum(0) > 0.5
    tissue = tissue * inside
    label = torch.zeros(grid.shape, dtype=torch.uint8)
    lesion_of = torch.zeros(grid.shape, dtype=torch.uint8)
    strength = torch.zeros(grid.shape)
    for number, lesion in enumerate(plan.lesions, start=1):
        part = _region(axes, lesion.center, lesion.radius * 1.7 + lesion.oedema_mm + 4)
        if part is None:
            continue
        near = (slice(None), *part)
        spot = _LesionRaster(plan, number, lesion, tuple(a[p] for a, p in zip(axes, part, strict=True)), world[near])
        spot.draw_core(inside[part], tissue[near], depth[part], _holds(grid, lesion.center))
        spot.spread_oedema(tissue[near], inside[part])
        spot.paste(label[part], lesion_of[part], strength[part])
    brain = inside | (label > 0)
    around = draw_surroundings(plan.seed, axes, tissue, atlas_points, depth, brain)
    return Geometry(tissue[0], tissue[1], tissue[2], label, lesion_of, strength, brain, around)


def _mass_effect(plan: CasePlan, world: torch.Tensor) -> torch.Tensor | None:
    """How far (patient mm, shape (3, ...)) the tissue at each point has been pushed away by the tumors' cores."""
    pull = None
    for lesion in plan.lesions:
        if lesion.push <= 0:
            continue
        arm = world - torch.tensor(lesion.center, dtype=torch.float32)[:, None, None, None]
        distance = length(arm).clamp(min=1e-3)
        radius = lesion.lobes[0][1]
        reach = lesion.push * radius * torch.exp(-(((distance - radius).clamp(min=0) / (1.3 * radius)) ** 2))
        moved = arm / distance * torch.minimum(reach, 0.95 * distance)
        pull = moved if pull is None else pull + moved
    return pull


def _region(axes: Axes, center: np.ndarray, reach: float) -> tuple[slice, slice, slice] | None:
    """The index range of the raster within `reach` mm of a point, or None if there is none."""
    parts = []
    for axis, middle in zip(axes, center, strict=True):
        near = ((axis - float(middle)).abs() <= reach).nonzero()
        if len(near) == 0:
            return None
        parts.append(slice(int(near[0]), int(near[-1]) + 1))
    return tuple(parts)


def _holds(grid: Grid, point: np.ndarray) -> bool:
    """Whether a point (RAS mm) lies in one of a grid's voxels."""
    half = np.asarray(grid.shape) / 2
    return bool(np.all(np.abs(grid.to_voxel(point) + 0.5 - half) <= half))


class _LesionRaster:
    """One tumor on the part of the raster that it can reach."""

    def __init__(self, plan: CasePlan, number: int, lesion: Lesion, axes: Axes, world: torch.Tensor):
        self.plan, self.lesion, self.axes, self.world, self.number = plan, lesion, axes, world, number
        self.rng, self.generator = streams(plan.seed, f"lesion {number}")
        self.label = torch.zeros(world.shape[1:], dtype=torch.uint8)
        self.strength = torch.zeros(world.shape[1:])

    def _noise(self, scale_mm: float) -> torch.Tensor:
        return SmoothField(self.generator, scale_mm).on(self.axes)

    def _depth_below_surface(self) -> torch.Tensor:
        """About how many mm each point lies below the surface of the union of lobes; negative outside."""
        depth = None
        for center, radius in self.lesion.lobes:
            turn = torch.linalg.qr(torch.randn(3, 3, generator=self.generator))[0]
            half_axes = torch.tensor(1 + self.lesion.anisotropy * self.rng.uniform(-1, 1, 3), dtype=torch.float32)
            arm = self.world - torch.tensor(center, dtype=torch.float32)[:, None, None, None]
            arm = (turn @ arm.reshape(3, -1)).reshape(arm.shape) / half_axes[:, None, None, None]
            rough = self._noise(max(5.0, 1.2 * radius)) + 0.5 * self._noise(max(3.0, 0.5 * radius))
            lobe = radius * (1 - length(arm) / radius - 0.6 * self.lesion.roughness * rough)
            depth = lobe if depth is None else torch.maximum(depth, lobe)
        return depth

    def draw_core(self, inside: torch.Tensor, tissue: torch.Tensor, brain_depth: torch.Tensor, in_sight: bool) -> None:
        """Label the core: which part enhances, which is necrotic, which does neither.

        :param in_sight: whether the raster holds the tumor's centre; else it may show a part of it, or nothing.
        """
        depth = self._depth_below_surface()
        if self.lesion.extra_axial:
            # Meninges, nerve and gland lie just outside the brain that the atlas shows.
            allowed = brain_depth > -(3.0 if self.plan.tumor_type == "meningioma" else 14.0)
        else:
            keeps_to_tissue = self.rng.random() < 0.6
            allowed = inside & ((tissue[0] + tissue[1] > 0.3) | (not keeps_to_tissue))
        core = (depth > 0) & allowed
        if in_sight and not core.any():
            # A tumor smaller than the raster's voxels still marks the one that holds its centre.
            middle = length(self.world - torch.tensor(self.lesion.center, dtype=torch.float32)[:, None, None, None])
            core = middle == middle.min()
        getattr(self, f"_draw_{self.lesion.kind}")(core, depth)
        self.strength[core] = 1.0

    def _draw_ring(self, core: torch.Tensor, depth: torch.Tensor) -> None:
        rim = self.rng.uniform(1.2, 8.0) if self.plan.tumor_type == "glioma" else self.rng.uniform(1.5, 4.0)
        thickness = (rim * (1 + 0.45 * self._noise(10.0) + 0.35 * self._noise(6.0))).clamp(min=0.9)
        self.label[core] = ENHANCING
        self.label[core & (depth > thickness)] = NECROSIS
        if self.plan.tumor_type == "glioma" and self.rng.random() < 0.6:
            silent = self._noise(self.rng.uniform(8, 25)) > self.rng.uniform(0.5, 1.5)
            self.label[core & silent & (self.label == ENHANCING)] = NONENHANCING

    def _draw_solid(self, core: torch.Tensor, depth: torch.Tensor) -> None:
        self.label[core] = ENHANCING
        if self.plan.tumor_type == "glioma":
            self.label[core & (self._noise(8.0) > self.rng.uniform(1, 2))] = NECROSIS

    def _draw_patchy(self, core: torch.Tensor, depth: torch.Tensor) -> None:
        self.label[core] = NONENHANCING
        self.label[core & (self._noise(self.rng.uniform(6, 14)) > self.rng.uniform(0.2, 1.0))] = ENHANCING
        self.label[core & (self._noise(10.0) > 1.5)] = NECROSIS

    def _draw_nonenhancing(self, core: torch.Tensor, depth: torch.Tensor) -> None:
        self.label[core] = NONENHANCING
        self.label[core & (self._noise(12.0) > 1.6)] = NECROSIS

    def _draw_homogeneous(self, core: torch.Tensor, depth: torch.Tensor) -> None:
        self.label[core] = ENHANCING

    def _draw_cystic(self, core: torch.Tensor, depth: torch.Tensor) -> None:
        self.label[core] = ENHANCING
        self.label[core & (self._noise(7.0) > self.rng.uniform(0.3, 1.2)) & (depth > 2)] = NECROSIS

    def spread_oedema(self, tissue: torch.Tensor, inside: torch.Tensor) -> None:
        """Let oedema run out from the core, fastest along white matter and hardly across CSF.

        In most tumors it ends at the cortex: on a FLAIR its outline has the fingers of the white matter.
        """
        reach = self.lesion.oedema_mm
        if reach <= 0:
            return
        gray_share = float(self.rng.uniform(0.05, 0.6))
        shape = [max(4, int(np.ceil((float(a[-1] - a[0])) / _OEDEMA_MM)) + 1) for a in self.axes]
        coarse = F.interpolate(tissue[None, :3], size=shape, mode="trilinear", align_corners=True)[0]
        coarse_axes = tuple(torch.linspace(float(a[0]), float(a[-1]), n) for a, n in zip(self.axes, shape, strict=True))
        speed = (coarse[1] + gray_share * coarse[0] + 0.05 * coarse[2]).clamp(0.03, 1.0)
        speed = speed * torch.exp(0.45 * SmoothField(self.generator, 18.0).on(coarse_axes))
        core = _resized((self.strength > 0).float(), shape)
        spread = _spread(core, _OEDEMA_MM / (reach * speed), int(1.6 * reach / _OEDEMA_MM) + 2)
        spread = _resized(spread, self.strength.shape)
        core_here = self.strength > 0
        faintest = self.rng.uniform(0.03, 0.3)
        oedema = (spread > faintest) & inside & (tissue[0] + tissue[1] > 0.3) & ~core_here
        if self.rng.random() < _SPARES_CORTEX:
            oedema &= tissue[1] + _CORTEX_NOISE * self._noise(6.0) > tissue[0] * self.rng.uniform(0.5, 1.2)
        self.label[oedema] = OEDEMA
        self.strength = torch.where(core_here, self.strength, spread * oedema)

    def paste(self, label: torch.Tensor, lesion_of: torch.Tensor, strength: torch.Tensor) -> None:
        """Add this tumor to the patient; a core lies above another tumor's oedema, and the stronger oedema wins."""
        core = (self.label > 0) & (self.label != OEDEMA)
        taken = (label > 0) & (label != OEDEMA)
        wins = (core & ~taken) | ((self.label == OEDEMA) & ~taken & (self.strength > strength))
        label[wins] = self.label[wins]
        lesion_of[wins] = self.number
        strength[wins] = self.strength[wins]


def _resized(values: torch.Tensor, shape) -> torch.Tensor:
    return F.interpolate(values[None, None], size=shape, mode="trilinear", align_corners=True)[0, 0]


def _spread(start: torch.Tensor, cost: torch.Tensor, steps: int) -> torch.Tensor:
    """Distance to the start, as strength falling from 1 to 0: each step passes the largest neighbour less its cost.

    Steps to face and to corner neighbours alternate, which keeps the front round.
    """
    field = start.clone()
    for step in range(steps):
        if step % 3 == 2:
            widest, price = F.max_pool3d(field[None, None], 3, 1, 1)[0, 0], 1.3 * cost
        else:
            x = field[None, None]
            widest = torch.maximum(
                torch.maximum(F.max_pool3d(x, (3, 1, 1), 1, (1, 0, 0)), F.max_pool3d(x, (1, 3, 1), 1, (0, 1, 0))),
                F.max_pool3d(x, (1, 1, 3), 1, (0, 0, 1)),
            )[0, 0]
            price = cost
        field = torch.maximum(field, widest - price)
    return field.clamp(0, 1)


def healed(geometry: Geometry) -> Geometry:
    """The same patient without tumors and oedema; the tissue that was pushed aside stays where it is."""
    nothing = torch.zeros_like(geometry.label)
    brain = geometry.gray + geometry.white + geometry.csf > 0
    return replace(geometry, label=nothing, lesion=nothing, oedema=torch.zeros_like(geometry.oedema), brain=brain)


def cropped(geometry: Geometry, region: tuple[slice, slice, slice]) -> Geometry:
    """A part of a drawn patient."""
    around = Surroundings(*(getattr(geometry.around, name)[region] for name in ("vessels", "spots", "head")))
    names = ("gray", "white", "csf", "label", "lesion", "oedema", "brain")
    return Geometry(*(getattr(geometry, name)[region] for name in names), around)
