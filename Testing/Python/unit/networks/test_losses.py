import math
from dataclasses import replace

import pytest
import torch

from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.losses import default_loss, paper_loss


def answer(batch, mask_logit=0.0, **labels):
    """A network's output: the same logit in every voxel, and the given logits of the tasks."""
    masks = torch.full_like(batch.masks, mask_logit).requires_grad_()
    labels = {task: torch.tensor(logits).requires_grad_() for task, logits in labels.items()}
    return Output(masks, torch.zeros(len(batch.boxes), 4), labels)


@pytest.fixture
def two_tumors():
    """One crop of 2^3 voxels, two of them tumor; two tumors, the second without an area."""
    masks = torch.zeros(1, 1, 2, 2, 2)
    masks[0, 0, 0, 0] = 1
    boxes = torch.tensor([[0, 0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 1, 2]])
    labels = {"type": torch.tensor([0, 1]), "area": torch.tensor([2, -1])}
    return Batch(torch.zeros(1, 1, 2, 2, 2), masks, boxes, labels, torch.ones(1, 1, dtype=torch.bool))


def test_the_papers_loss_is_equation_1_by_hand(two_tumors):
    # Probability .25 of tumor in every voxel; types with odds 3:1 for class 0; three equally likely areas.
    odds = math.log(3)
    output = answer(two_tumors, -odds, type=[[odds, 0.0], [odds, 0.0]], area=[[0.0] * 3] * 2)

    total, parts = paper_loss(output, two_tumors, {"type": 1e-3, "area": 1e-3})

    segmentation = -(2 * math.log(0.25) + 6 * math.log(0.75)) / 8
    types = -math.log(0.75) - math.log(0.25)
    area = math.log(3)
    assert total.item() == pytest.approx(segmentation + 1e-3 * types + 1e-3 * area, rel=1e-5)
    assert parts["type"].item() == pytest.approx(types, rel=1e-5)
    assert parts["area"].item() == pytest.approx(area, rel=1e-5)


@pytest.mark.parametrize("loss", [paper_loss, default_loss])
def test_a_missing_label_changes_nothing(two_tumors, loss):
    without = replace(two_tumors, labels={"area": torch.tensor([2, -1])})
    modest = answer(without, area=[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    wild = answer(without, area=[[1.0, 2.0, 3.0], [50.0, -50.0, 7.0]])

    first, second = loss(modest, without, {"area": 1.0})[0], loss(wild, without, {"area": 1.0})[0]
    second.backward()

    assert first.item() == second.item()
    assert wild.labels["area"].grad[1].abs().max() == 0


@pytest.mark.parametrize("loss", [paper_loss, default_loss])
def test_a_batch_without_any_label_of_a_task_adds_nothing_and_can_still_be_trained_on(two_tumors, loss):
    output = answer(two_tumors, type=[[1.0, 2.0]] * 2, area=[[1.0, 2.0, 3.0]] * 2)
    unlabelled = replace(two_tumors, labels={"type": torch.tensor([-1, -1])})

    total, _ = loss(output, unlabelled, {"type": 5.0, "area": 5.0})
    total.backward()

    assert total.item() == pytest.approx(loss(output, two_tumors, {})[0].item())
    assert output.labels["type"].grad.abs().max() == output.labels["area"].grad.abs().max() == 0


@pytest.mark.parametrize("loss", [paper_loss, default_loss])
def test_an_unknown_mask_changes_nothing(batch, loss):
    known = torch.tensor([[True, True], [True, False]])
    partly = replace(batch, mask_known=known)
    other = batch.masks.clone()
    other[1, 1] = 1 - other[1, 1]
    output = answer(partly, 0.3)

    first = loss(output, partly, {})[0]
    second = loss(output, replace(partly, masks=other), {})[0]
    second.backward()

    assert first.item() == second.item()
    assert output.masks.grad[1, 1].abs().max() == 0 and output.masks.grad[1, 0].abs().max() > 0


def test_the_default_loss_is_dice_plus_three_times_cross_entropy_by_hand(two_tumors):
    output = answer(two_tumors, 0.0)

    total, parts = default_loss(output, two_tumors, {})

    dice = (2 * 1.0 + 20) / (4.0 + 2.0 + 20)
    assert parts["dice_0"].item() == pytest.approx(dice, rel=1e-5)
    assert total.item() == pytest.approx(1 - dice + 3 * math.log(2), rel=1e-5)


@pytest.mark.parametrize("loss", [paper_loss, default_loss])
def test_certain_answers_give_finite_losses_also_in_bfloat16(two_tumors, loss):
    output = answer(two_tumors, -1e4, type=[[1e4, -1e4]] * 2)
    output = replace(output, masks=output.masks.bfloat16())

    total, _ = loss(output, two_tumors, {"type": 0.2})
    total.backward()

    assert total.dtype == torch.float32 and torch.isfinite(total)


@pytest.mark.parametrize("loss", [paper_loss, default_loss])
def test_a_perfect_answer_costs_almost_nothing(two_tumors, loss):
    perfect = Output((two_tumors.masks * 2 - 1) * 30, torch.zeros(2, 4), {"type": torch.eye(2) * 30})

    assert loss(perfect, two_tumors, {"type": 1.0})[0].item() < 1e-4
