import numpy as np
import pytest
import torch

from TumorRetrievalLib.synthesis.anatomy import COARSE_GRID, atlas_maps, head_maps
from TumorRetrievalLib.synthesis.fields import axes_of

LEFT, RIGHT = (-45, -18, 20), (45, -18, 20)
FRONT, REAR = (0, 45, 10), (0, -80, 10)
HIGH, LOW = (0, -18, 60), (0, -18, -40)


def atlas_place(anatomy, point) -> np.ndarray:
    axes = tuple(torch.tensor([float(c)]) for c in point)
    return anatomy.to_atlas(axes)[:, 0, 0, 0].numpy()


def test_the_atlas_fractions_fill_its_brain_and_ventricles_lie_deep_inside():
    maps = atlas_maps().maps
    brain = maps[:3].sum(0)

    assert float(maps.min()) >= 0
    assert float(brain.max()) <= 1.01
    # About 1.9 litres with the fluid around it, and some tens of millilitres of ventricle.
    assert 1.2e6 < float((brain > 0.5).sum()) < 2.2e6
    assert 5e3 < float(maps[3].sum()) < 8e4


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_synthetic_head_keeps_left_front_and_top_where_they_are(plan_of, seed):
    anatomy = plan_of("glioma", seed).anatomy

    assert atlas_place(anatomy, LEFT)[0] < -20
    assert atlas_place(anatomy, RIGHT)[0] > 20
    assert atlas_place(anatomy, FRONT)[1] - atlas_place(anatomy, REAR)[1] > 80
    assert atlas_place(anatomy, HIGH)[2] - atlas_place(anatomy, LOW)[2] > 60


def test_two_seeds_make_two_different_heads(plan_of):
    one, other = (plan_of("glioma", seed).head.atlas_points for seed in (1, 2))

    assert float((one - other).abs().mean()) > 1.0


def test_tissue_fractions_are_shares_and_ventricles_are_fluid(plan_of):
    tissue = plan_of("glioma", 1).head.tissue

    assert float(tissue.min()) > -1e-6
    assert float(tissue[:3].sum(0).max()) < 1.05
    assert bool((tissue[3] <= tissue[2] + 1e-4).all())


def test_ventricles_that_grew_are_larger_than_the_atlas_own(plan_of):
    axes = axes_of(COARSE_GRID)
    plan = next(p for p in (plan_of("glioma", seed) for seed in range(1, 6)) if p.anatomy.ventricle_growth)
    usual = atlas_read(plan.head.atlas_points)

    assert float(plan.anatomy.tissue(axes, plan.head.atlas_points)[3].sum()) > 1.15 * float(usual[3].sum())


def atlas_read(points: torch.Tensor) -> torch.Tensor:
    from TumorRetrievalLib.synthesis.fields import sample

    atlas = atlas_maps()
    return sample(atlas.maps, atlas.origin, atlas.spacing, points)


def test_depth_counts_millimetres_below_the_surface_of_the_brain(plan_of):
    head = plan_of("glioma", 1).head
    brain = head.tissue[:3].sum(0) > 0.5

    assert bool(((head.depth > 0) == brain).all())
    assert 35 < float(head.depth.max()) < 90
    # Going one coarse voxel cannot change the depth by more than the step between the voxels (surface jump included).
    assert float(head.depth.diff(dim=2).abs().max()) <= 3.01


def test_surveying_a_head_twice_gives_the_same_maps(plan_of):
    plan = plan_of("glioma", 1)

    assert torch.equal(head_maps(plan.anatomy).depth, plan.head.depth)
