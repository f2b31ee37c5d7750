"""Patches for the network of the paper: whole tumors, true labels, a network that learns from them."""

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.networks.losses import paper_loss
from TumorRetrievalLib.networks.pisov import PisovNetwork
from TumorRetrievalLib.training.paper_samples import SHARES, TASKS, PaperPatches, collate, paper_batches

EDGE = 56


@pytest.fixture(scope="module")
def patches() -> list:
    source = PaperPatches(crop=EDGE, seed=3)
    return [source[number] for number in range(6)]


def test_every_box_holds_a_tumor_that_lies_wholly_in_the_patch(patches):
    boxes = [(mask, box) for _, mask, several, _ in patches for box in several]
    assert boxes, "a patch is drawn around a tumor"
    for mask, box in boxes:
        assert all(0 < low < high < EDGE for low, high in zip(box[::2], box[1::2], strict=True))
        inside = mask[0, box[0] : box[1], box[2] : box[3], box[4] : box[5]].numpy()
        for axis in range(3):
            assert inside.take(0, axis).any() and inside.take(-1, axis).any(), "the box is tight"


def test_labels_are_of_the_papers_types_and_tasks(patches):
    labels = [one for _, _, _, several in patches for one in several]
    assert all(set(one) == set(TASKS) for one in labels)
    assert {ALLOWED["type"][one["type"]] for one in labels} <= set(SHARES)


def test_the_same_number_gives_the_same_patch(patches):
    again = PaperPatches(crop=EDGE, seed=3)[2]

    assert torch.equal(again[0], patches[2][0]) and again[2:] == patches[2][2:]


def test_the_papers_network_learns_from_a_batch_of_them(patches):
    torch.manual_seed(0)
    batch = collate(patches[:2])
    network = PisovNetwork(channels=8, blocks=1, tasks=TASKS)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    weights = dict.fromkeys(TASKS, 1e-3)

    losses = []
    for _ in range(6):
        loss, _ = paper_loss(network(batch.image, batch.boxes), batch, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0]


def test_batches_begin_where_a_resumed_training_stands(patches):
    from_third = next(iter(paper_batches(PaperPatches(crop=EDGE, seed=3), batch_size=2, workers=0)(2)))

    assert torch.equal(from_third.image[0], patches[4][0])
