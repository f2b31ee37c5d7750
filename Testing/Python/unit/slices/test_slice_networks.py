"""The networks for slices: the published numbers of weights, shapes, losses, and looking where the tumor is."""

import numpy as np
import pytest
import torch

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.pisov import PisovNetwork
from TumorRetrievalLib.networks.slice_losses import paper_slice_loss, slice_loss
from TumorRetrievalLib.networks.slice_reader import ask, load_slice_model
from TumorRetrievalLib.networks.slices import (
    SLICE_TYPES,
    PaperSliceNetwork,
    SliceNetwork,
    inside_boxes,
    weights_in_keras,
    whole_slices,
)
from TumorRetrievalLib.networks.weights import load_model, save_model

SMALL = (8, 8, 16, 16)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 255, (3, 128, 128), dtype=np.uint8)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return SliceNetwork(SMALL).eval()


def batch_for(network, images, known=(True, True, True)) -> Batch:
    masks = torch.zeros(3, 1, 128, 128)
    masks[:, :, 40:60, 50:70] = 1
    labels = {"type": torch.tensor([1, 2, 3])}
    return Batch(network.prepare(images), masks, whole_slices(3), labels, torch.tensor(known)[:, None])


def test_the_papers_network_has_the_papers_number_of_weights_with_and_without_its_decoder():
    assert weights_in_keras(PaperSliceNetwork()) == 608_645
    assert weights_in_keras(PaperSliceNetwork(outline=False)) == 362_020


@pytest.mark.parametrize(("make", "masks"), [(PaperSliceNetwork, 1), (lambda: PaperSliceNetwork(False), 0)])
def test_the_papers_network_gives_a_mask_as_large_as_the_slice_and_four_types(images, make, masks):
    network = make().eval()

    output = network(network.prepare(images))

    assert output.masks.shape == (3, masks, 128, 128)
    assert output.labels["type"].shape == (3, len(SLICE_TYPES))
    assert output.embedding.shape == (3, 128)


def test_ours_gives_a_mask_a_type_and_the_types_of_its_cells(images, small):
    output = small(small.prepare(images), whole_slices(3))

    assert output.masks.shape == (3, 1, 128, 128)
    assert output.labels["type"].shape == (3, 4)
    assert output.cells.shape == (3, 4, 24, 24)


def test_scale_and_background_of_a_scan_do_not_change_what_ours_sees(images):
    scaled = images.astype(np.float32) * 7.5

    assert torch.allclose(SliceNetwork.prepare(images), SliceNetwork.prepare(scaled), atol=1e-5)
    assert torch.isfinite(SliceNetwork.prepare(np.zeros((1, 128, 128), np.uint8))).all()


def test_the_box_says_of_which_tumor_the_type_is_asked(small):
    image = np.full((1, 128, 128), 60.0)
    image[0, 30:50, 30:50] = 200
    image[0, 80:100, 80:100] = 20
    with torch.no_grad():
        small.mask.bias.fill_(3.0)  # everything is tumor: the box alone decides

    first = ask(small, image, np.array([[30, 50, 30, 50]])).types
    second = ask(small, image, np.array([[80, 100, 80, 100]])).types

    assert np.abs(first - second).max() > 1e-4


def test_a_box_marks_its_rows_and_columns():
    inside = inside_boxes(torch.tensor([[0, 10, 20, 30, 50]]), torch.zeros(1, 1, 128, 128))[0, 0]

    assert inside.sum() == 10 * 20 and inside[10:20, 30:50].all()


def test_a_mirrored_slice_is_read_alike_and_its_mask_is_the_mirror_image(images, small):
    boxes = np.array([[10, 90, 5, 60]] * 3)
    mirrored_boxes = np.array([[10, 90, 68, 123]] * 3)

    straight = ask(small, images, boxes)
    mirrored = ask(small, images[:, :, ::-1], mirrored_boxes)

    assert np.allclose(straight.types, mirrored.types, atol=1e-5)
    assert np.allclose(straight.masks, mirrored.masks[:, :, ::-1], atol=1e-5)


def test_a_slice_without_a_mask_counts_for_its_type_alone(images):
    torch.manual_seed(0)
    network = PaperSliceNetwork().eval()
    batch = batch_for(network, images, known=(False, False, False))
    output = network(batch.image)

    total, parts = paper_slice_loss(output, batch, {})

    assert total.item() == pytest.approx(parts["classification"].item())
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in network.decoder.parameters())


@pytest.mark.parametrize("loss", [paper_slice_loss, slice_loss])
def test_what_an_unknown_mask_holds_changes_no_loss(images, small, loss):
    network = small if loss is slice_loss else PaperSliceNetwork().eval()
    batch = batch_for(network, images, known=(True, False, True))
    output = network(batch.image, batch.boxes)
    weights = {"type": 1.0, "cells": 0.5}

    before, _ = loss(output, batch, weights)
    batch.masks[1] = 1 - batch.masks[1]
    after, _ = loss(output, batch, weights)

    assert before.item() == pytest.approx(after.item())


def test_the_papers_loss_is_its_equations():
    p, q = 0.8, 0.3
    logits = torch.log(torch.tensor([[0.1, p, 0.05, 0.05]]))
    masks = torch.full((1, 1, 2, 2), float(np.log(q / (1 - q))))
    truth = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    output = Output(masks, torch.zeros(1, 1), {"type": logits})
    batch = Batch(truth, truth, whole_slices(1), {"type": torch.tensor([1])}, torch.ones(1, 1, dtype=torch.bool))

    total, _ = paper_slice_loss(output, batch, {})

    classification = -0.25 * (1 - p) ** 2 * np.log(p)
    focal = (-0.25 * (1 - q) ** 2 * np.log(q) - 3 * 0.25 * q**2 * np.log(1 - q)) / 4
    dice = 1 - (2 * q + 1) / (1 + 4 * q + 1)
    assert float(total) == pytest.approx(classification + focal + dice, rel=1e-5)


def test_a_perfect_answer_costs_less_than_any_other(images, small):
    batch = batch_for(small, images)
    output = small(batch.image, batch.boxes)
    perfect = 20 * (2 * batch.masks - 1)
    sure = 8 * torch.nn.functional.one_hot(batch.labels["type"], 4).float()

    right = type(output)(perfect, output.embedding, {"type": sure}, sure[:, :, None, None].expand(-1, -1, 32, 32))
    weights = {"type": 1.0, "cells": 0.5}

    assert slice_loss(right, batch, weights)[0] < 0.6 * slice_loss(output, batch, weights)[0]


@pytest.mark.parametrize("make", [lambda: SliceNetwork(SMALL), PaperSliceNetwork])
def test_stored_weights_answer_as_before(images, make, tmp_path):
    torch.manual_seed(0)
    network = make().eval()

    loaded = load_slice_model(save_model(tmp_path, network, {}))

    assert np.allclose(ask(network, images).types, ask(loaded.network, images).types, atol=2e-3)


def test_a_model_for_volumes_is_refused(tmp_path):
    save_model(tmp_path, PisovNetwork(channels=8, blocks=1), {})
    load_model(tmp_path)

    with pytest.raises(WeightsError, match="not one for slices"):
        load_slice_model(tmp_path)
