import numpy as np
import pytest
import torch

from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.raster import ENHANCING, NECROSIS, OEDEMA, cropped, healed, rasterise


def centres(grid: Grid, mask: torch.Tensor) -> np.ndarray:
    return grid.to_world(np.argwhere(mask.numpy()))


def around(lesion, spacing: float, voxels: int) -> Grid:
    return Grid.around(np.round(lesion.center), spacing, (voxels,) * 3)


@pytest.mark.parametrize("tumor_type", ["glioma", "metastasis", "meningioma", "schwannoma"])
def test_a_fine_and_a_coarse_raster_show_the_same_head_and_the_same_core(plan_of, tumor_type):
    plan = plan_of(tumor_type, 2)
    fine = rasterise(plan, around(plan.lesions[0], 1.5, 33))
    coarse = rasterise(plan, around(plan.lesions[0], 3.0, 17))
    every_other = (slice(None, None, 2),) * 3

    assert coarse.core.any()
    assert (fine.core[every_other] != coarse.core).float().mean() < 1e-3
    assert (fine.brain[every_other] != coarse.brain).float().mean() < 0.02
    assert torch.allclose(fine.white[every_other], coarse.white, atol=1e-3)


def test_the_oedema_of_a_fine_and_a_coarse_raster_is_nearly_the_same(plan_of):
    plan = plan_of("glioma", 3)
    fine = rasterise(plan, around(plan.lesions[0], 2.0, 57))
    coarse = rasterise(plan, around(plan.lesions[0], 4.0, 29))
    one, other = (fine.label == OEDEMA)[(slice(None, None, 2),) * 3], coarse.label == OEDEMA

    assert float(other.sum()) > 50
    assert 2 * float((one & other).sum()) / float(one.sum() + other.sum()) > 0.8


@pytest.mark.parametrize("tumor_type", ["glioma", "meningioma", "metastasis"])
def test_every_core_voxel_lies_within_the_reach_of_the_tumor_it_belongs_to(plan_of, coarse_head, tumor_type):
    plan = plan_of(tumor_type, 1, None if tumor_type == "glioma" else 5)
    drawn = rasterise(plan, coarse_head)

    for number, lesion in enumerate(plan.lesions, start=1):
        mine = centres(coarse_head, drawn.core & (drawn.lesion == number))
        assert len(mine) > 0
        assert np.linalg.norm(mine - lesion.center, axis=1).max() < 2 * lesion.radius + 4


def test_labels_numbers_and_oedema_strength_agree_voxel_by_voxel(glioma):
    assert bool(((glioma.label > 0) == (glioma.lesion > 0)).all())
    assert bool((glioma.oedema[glioma.core] == 1).all())
    assert not glioma.oedema[glioma.label == 0].any()
    assert bool((glioma.oedema[glioma.label == OEDEMA] > 0).all())
    assert bool(glioma.brain[glioma.label > 0].all())


def test_an_enhancing_ring_surrounds_its_necrosis(plan_of, coarse_head):
    plan = next(p for p in (plan_of("glioma", seed) for seed in range(1, 12)) if p.lesions[0].kind == "ring")
    drawn = rasterise(plan, around(plan.lesions[0], 1.5, 49))
    enhancing, necrotic = ((drawn.label == label).numpy() for label in (ENHANCING, NECROSIS))
    grid = around(plan.lesions[0], 1.5, 49)

    def spread(mask):
        points = grid.to_world(np.argwhere(mask))
        return np.linalg.norm(points - points.mean(0), axis=1).mean()

    assert enhancing.any() and necrotic.any()
    assert spread(enhancing) > spread(necrotic)


def test_a_tumor_without_oedema_has_none(plan_of, coarse_head):
    plan = plan_of("pituitary adenoma", 1)

    drawn = rasterise(plan, coarse_head)

    assert plan.lesions[0].oedema_mm == 0
    assert drawn.core.any()
    assert not (drawn.label == OEDEMA).any()


def test_oedema_stays_in_brain_tissue(glioma):
    oedema = glioma.label == OEDEMA

    assert bool((glioma.gray + glioma.white)[oedema].gt(0.3).all())


def test_a_tumor_smaller_than_a_voxel_still_marks_the_voxel_that_holds_its_centre(plan_of):
    plan = plan_of("metastasis", 1, 12)
    lesion = min(plan.lesions, key=lambda one: one.radius)
    # Its centre lies near a corner of a voxel, far from every voxel's middle.
    grid = Grid.around(lesion.center + (7.5, 7.5, 7.5), 16.0, (7, 7, 7))
    assert not (np.linalg.norm(grid.voxel_centres() - lesion.center, axis=1) < 1.3 * lesion.radius).any()

    marked = centres(grid, rasterise(plan, grid).core)

    assert np.abs(marked - lesion.center).max(axis=1).min() <= 8


def test_a_crop_that_a_tumor_only_reaches_with_its_oedema_gets_no_core_of_it(plan_of):
    plan = plan_of("metastasis", 1, 12)
    number = max(range(12), key=lambda n: plan.lesions[n].oedema_mm)
    lesion = plan.lesions[number]
    beside = lesion.center + (2.2 * lesion.radius + 10, 0, 0)

    drawn = rasterise(plan, Grid.around(beside, 2.0, (10, 10, 10)))

    mine = drawn.core & (drawn.lesion == number + 1)
    assert lesion.oedema_mm > 10
    assert not mine.any()


def test_a_growing_meningioma_pushes_the_brain_aside_and_replaces_little_of_it(plan_of):
    plan = plan_of("meningioma", 2)
    lesion = plan.lesions[0]
    grid = around(lesion, 3.0, 21)
    drawn = rasterise(plan, grid)
    world = torch.tensor(grid.voxel_centres().T.reshape(3, *grid.shape), dtype=torch.float32)
    was_brain = plan.head.read(plan.head.depth, world) > 0

    assert lesion.push >= 0.5
    # What the tumor takes up was brain, and the brain beside it is denser than before: tissue is moved, not deleted.
    kept = (drawn.gray + drawn.white + drawn.csf) > 0.5
    assert float(kept.sum()) > 0.8 * float(was_brain.sum())


def test_cutting_a_drawn_patient_cuts_everything_alike(glioma):
    region = (slice(3, 20), slice(10, 40), slice(5, 30))

    part = cropped(glioma, region)

    assert torch.equal(part.label, glioma.label[region])
    assert torch.equal(part.around.head, glioma.around.head[region])
    assert all(value.shape == (17, 30, 25) for value in vars(part).values() if isinstance(value, torch.Tensor))


def test_a_healed_patient_has_the_same_brain_without_its_tumor(glioma):
    before, after = glioma, healed(glioma)

    assert before.label.any() and not after.label.any() and not after.lesion.any() and not after.oedema.any()
    assert torch.equal(after.white, before.white) and torch.equal(after.around.vessels, before.around.vessels)
    assert bool((before.brain >= after.brain).all()) and bool(after.brain[before.white > 0.5].all())
