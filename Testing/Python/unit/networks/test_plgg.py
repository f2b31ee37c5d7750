"""The network and the loss of Vafaeikia et al. 2021."""

import pytest
import torch

from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.losses import plgg_loss
from TumorRetrievalLib.networks.plgg import PlggNetwork

NO_BOXES = torch.zeros((0, 7), dtype=torch.int64)


def answer(masks, markers=None):
    return Output(masks, torch.zeros(len(masks), 4), {} if markers is None else {"marker": markers})


def truth(masks, markers=(-1, -1)):
    known = torch.ones(len(masks), 1, dtype=torch.bool)
    return Batch(masks, masks, NO_BOXES, {"marker": torch.tensor(markers)}, known)


def test_a_patch_of_any_multiple_of_eight_gets_a_mask_of_its_size_and_one_marker():
    network = PlggNetwork(filters=8).eval()

    with torch.no_grad():
        output = network(torch.randn(2, 1, 16, 24, 8), NO_BOXES)

    assert output.masks.shape == (2, 1, 16, 24, 8) and output.labels["marker"].shape == (2, 3)


def test_the_published_encoder_starts_with_32_filters_and_doubles_them_with_each_halving():
    network = PlggNetwork()

    assert [network.stem.out_channels, *(down.out_channels for down in network.down)] == [32, 64, 128, 256]
    assert all(down.stride == (2, 2, 2) for down in network.down)
    assert {part.kernel_size for part in network.encode.modules() if hasattr(part, "kernel_size")} == {(3, 3, 3)}


def test_the_single_task_network_is_the_same_without_the_branch():
    single, several = PlggNetwork(8, markers=0), PlggNetwork(8)

    assert single(torch.randn(1, 1, 8, 8, 8), NO_BOXES).labels == {}
    names = {name for name in several.state_dict() if not name.startswith("marker.")}
    assert names == set(single.state_dict())


def test_both_tasks_teach_the_shared_encoder():
    network = PlggNetwork(8)
    output = network(torch.randn(1, 1, 16, 16, 16), NO_BOXES)

    output.labels["marker"].sum().backward()

    assert network.stem.weight.grad.abs().sum() > 0


def test_the_mask_is_judged_by_equation_2():
    logits = torch.tensor([[[[[2.0, -1.0], [0.5, -3.0]]]]])
    masks = torch.tensor([[[[[1.0, 0.0], [1.0, 0.0]]]]])
    p = logits.sigmoid()
    expected = 1 - 2 * (p * masks).sum() / (p.square().sum() + masks.sum() + 1e-5)

    total, parts = plgg_loss(answer(logits), truth(masks), {})

    assert float(total) == pytest.approx(float(expected)) and float(parts["dice_0"]) == pytest.approx(1 - float(total))


def test_a_patch_without_tumor_still_teaches_that_there_is_none():
    logits = torch.zeros(2, 1, 4, 4, 4, requires_grad=True)
    masks = torch.zeros(2, 1, 4, 4, 4)
    masks[0, 0, 0] = 1

    plgg_loss(answer(logits), truth(masks), {})[0].backward()

    assert (logits.grad[1] > 0).all()


def test_the_marker_counts_three_tenths_and_its_classes_as_they_are_weighted():
    masks = torch.ones(2, 1, 2, 2, 2)
    markers = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    weights = torch.tensor([1.0, 5.0, 1.0])
    batch = truth(masks, (1, 0))
    alone = plgg_loss(answer(9 * masks), batch, {})[0]

    total, parts = plgg_loss(answer(9 * masks, markers), batch, {"marker": 0.3}, weights)

    expected = torch.nn.functional.cross_entropy(markers, torch.tensor([1, 0]), weights)
    assert float(parts["marker"]) == pytest.approx(float(expected))
    assert float(total) == pytest.approx(float(alone + 0.3 * expected))


def test_a_batch_without_any_known_marker_has_a_finite_loss():
    total, _ = plgg_loss(
        answer(torch.zeros(2, 1, 2, 2, 2), torch.zeros(2, 3)), truth(torch.ones(2, 1, 2, 2, 2)), {"marker": 0.3}
    )

    assert torch.isfinite(total)
