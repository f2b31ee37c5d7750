"""Whole synthetic patients: what the bundled index remembers as a seed and shows as a scan."""

from dataclasses import dataclass

import numpy as np
import torch

from TumorRetrievalLib.imaging.box import Box, box_of_region
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.synthesis.fields import axes_of, streams
from TumorRetrievalLib.synthesis.lesions import CasePlan, plan_case
from TumorRetrievalLib.synthesis.painting import Style, paint
from TumorRetrievalLib.synthesis.raster import Geometry, rasterise

SPACING_MM = 1.5
SHAPE = (120, 144, 120)
CENTER_RAS = (0.0, -18.0, 4.0)
"""The grid of a whole scan: of the largest heads that `Anatomy` makes it cuts off a few mm."""


@dataclass(frozen=True, eq=False)
class SyntheticTumor:
    """One tumor of a synthetic scan, with the truth about it.

    :param number: its value in `SyntheticScan.lesions`.
    :param core: its core; :param whole: core and oedema; on the scan's grid.
    :param box: around the core, aligned with RAS.
    :param atlas_mm: where the middle of that box lies in MNI152.
    """

    number: int
    tumor_type: str
    kind: str
    core: LabelMap
    whole: LabelMap
    box: Box
    atlas_mm: np.ndarray


@dataclass(frozen=True, eq=False)
class SyntheticScan:
    """A synthetic patient on one grid; the same seed and type give the same scan."""

    seed: int
    tumor_type: str
    t1c: Volume
    flair: Volume
    brain: LabelMap
    core: LabelMap
    whole: LabelMap
    tumors: tuple[SyntheticTumor, ...]


def synthesize(
    seed: int, tumor_type: str, lesion_count: int | None = None, *, head: bool = False, grid: Grid | None = None
) -> SyntheticScan:
    """Make a synthetic patient: about one second on one core.

    :param tumor_type: one of `cohort.labels.TYPES`.
    :param lesion_count: how many tumors; drawn when None. Fewer appear if the head has no room for more.
    :param head: with skull and scalp; otherwise skull-stripped.
    :param grid: an upright RAS grid; a whole head at 1.5 mm when None.
    """
    grid = grid or Grid.around(CENTER_RAS, SPACING_MM, SHAPE)
    with torch.inference_mode():
        plan = plan_case(seed, tumor_type, lesion_count)
        geometry = rasterise(plan, grid)
        rng, generator = streams(seed, "scan")
        style = Style(wide=False, head=head, artefacts=bool(rng.random() < 0.4))
        painted = paint(geometry, axes_of(grid), style, rng, generator)
    label, core = geometry.label.numpy(), geometry.core.numpy()
    return SyntheticScan(
        seed,
        tumor_type,
        Volume(painted["t1c"].numpy(), grid.affine),
        Volume(painted["flair"].numpy(), grid.affine),
        LabelMap(geometry.brain.numpy(), grid.affine),
        LabelMap(core, grid.affine),
        LabelMap(label > 0, grid.affine),
        tuple(_tumors(plan, geometry, grid)),
    )


def _tumors(plan: CasePlan, geometry: Geometry, grid: Grid):
    lesion_of, core = geometry.lesion.numpy(), geometry.core.numpy()
    for number, lesion in enumerate(plan.lesions, start=1):
        mine = lesion_of == number
        mine_core = mine & core
        if not mine_core.any():
            continue
        region = tuple(
            slice(int(taken[0]), int(taken[-1]) + 1)
            for taken in (
                np.flatnonzero(mine_core.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)
            )
        )
        box = box_of_region(grid, region)
        yield SyntheticTumor(
            number,
            plan.tumor_type,
            lesion.kind,
            LabelMap(mine_core, grid.affine),
            LabelMap(mine, grid.affine),
            box,
            atlas_position(plan, box.center),
        )


def atlas_position(plan: CasePlan, point: np.ndarray) -> np.ndarray:
    """Where a point of a synthetic patient (RAS mm) lies in MNI152 mm: exact, no registration.

    A tumor takes the place that its tissue had before it was pushed away, so mass effect does not enter.
    """
    axes = tuple(torch.tensor([float(c)], dtype=torch.float32) for c in point)
    return plan.anatomy.to_atlas(axes)[:, 0, 0, 0].double().numpy()
