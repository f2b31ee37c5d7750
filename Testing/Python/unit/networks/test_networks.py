from contextlib import nullcontext

import pytest
import torch

from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.device import mixed_precision
from TumorRetrievalLib.networks.pisov import PisovNetwork


@pytest.fixture
def small():
    return DefaultNetwork(widths=(8, 16, 16)).eval()


def number_of_parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_default_network_has_about_two_million_parameters():
    assert 1.8e6 < number_of_parameters(DefaultNetwork()) < 2.2e6


def test_it_answers_with_two_masks_and_one_vector_per_box(small, batch):
    output = small(batch.image, batch.boxes)

    assert output.masks.shape == batch.masks.shape
    assert output.embedding.shape == (3, 32)
    assert output.labels["type"].shape == (3, 5)


@pytest.mark.parametrize("shape", [(8, 8, 8), (16, 24, 40), (64, 8, 16)])
def test_any_crop_whose_edges_are_multiples_of_eight_is_accepted(small, shape):
    output = small(torch.randn(1, 4, *shape), torch.tensor([[0, 0, 8, 0, 8, 0, 8]]))

    assert output.masks.shape == (1, 2, *shape)


def test_a_scan_can_be_segmented_without_any_box(small):
    output = small(torch.randn(1, 4, 16, 16, 16), torch.zeros((0, 7), dtype=torch.int64))

    assert output.embedding.shape == (0, 32) and output.labels["type"].shape == (0, 5)


def test_an_appearance_vector_has_length_one(small, batch):
    lengths = small(batch.image, batch.boxes).embedding.norm(dim=1)

    assert torch.allclose(lengths, torch.ones(3), atol=1e-5)


def test_a_box_looks_the_same_whatever_other_boxes_are_asked_about(small, batch):
    together = small(batch.image, batch.boxes).embedding
    alone = small(batch.image, batch.boxes[1:2]).embedding

    assert torch.allclose(together[1], alone[0], atol=1e-6)


def test_bfloat16_says_the_same_as_float32_within_its_precision(small, batch):
    with torch.no_grad():
        exact = small(batch.image, batch.boxes)
        with mixed_precision(torch.device("cpu")):
            quick = small(batch.image, batch.boxes)

    assert quick.masks.dtype == quick.embedding.dtype == torch.float32
    assert (quick.masks.sigmoid() - exact.masks.sigmoid()).abs().max() < 0.05
    assert torch.nn.functional.cosine_similarity(quick.embedding, exact.embedding).min() > 0.99


def test_further_tasks_can_be_read_from_the_same_vector(batch):
    network = DefaultNetwork(widths=(8, 8, 8), tasks={"type": 3, "enhancement": 4}).eval()

    labels = network(batch.image, batch.boxes).labels

    assert {task: logits.shape[1] for task, logits in labels.items()} == {"type": 3, "enhancement": 4}


def test_the_papers_network_gives_64_channels_at_full_resolution():
    network = PisovNetwork().eval()

    with torch.no_grad():
        features = network.features(torch.randn(1, 1, 12, 8, 8))

    assert features.shape == (1, 64, 12, 8, 8)


def test_the_papers_embedding_is_the_maximum_of_the_feature_map_inside_the_box():
    network = PisovNetwork(channels=8, blocks=1).eval()
    image = torch.randn(1, 1, 10, 11, 13)

    with torch.no_grad():
        output = network(image, torch.tensor([[0, 2, 7, 3, 9, 1, 13]]))
        inside = network.features(image)[0, :, 2:7, 3:9, 1:13]

    assert torch.allclose(output.embedding[0], inside.amax(dim=(1, 2, 3)))
    assert output.masks.shape == (1, 1, 10, 11, 13)


def test_the_papers_heads_are_one_linear_layer_per_task():
    network = PisovNetwork(channels=32)

    heads = {name: tuple(p.shape) for name, p in network.heads.named_parameters() if name.endswith("weight")}

    assert heads == {
        "layers.type_head.weight": (3, 32),
        "layers.area_head.weight": (11, 32),
        "layers.left_right_head.weight": (2, 32),
        "layers.front_rear_head.weight": (2, 32),
        "layers.upper_lower_head.weight": (2, 32),
    }


def test_the_gradients_of_all_kernels_point_in_bfloat16_where_they_do_in_float32():
    """Guards against kernels that are wrong for some shape, which a falling loss would hide."""
    network = DefaultNetwork(widths=(8, 16, 16)).to(memory_format=torch.channels_last_3d)
    image, no_boxes = torch.randn(2, 4, 24, 24, 32), torch.zeros((0, 7), dtype=torch.int64)

    def gradients(context):
        network.zero_grad()
        with context:
            output = network(image, no_boxes)
        output.masks.square().mean().backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None and p.ndim > 1}

    exact, quick = gradients(nullcontext()), gradients(mixed_precision(torch.device("cpu")))

    for name, gradient in exact.items():
        alike = torch.nn.functional.cosine_similarity(gradient.flatten(), quick[name].flatten(), dim=0)
        assert alike > 0.95, name


def test_crops_that_are_too_small_to_train_on_are_refused():
    with pytest.raises(ValueError, match="at least 24"):
        DefaultNetwork(widths=(8, 8, 8))(torch.randn(1, 4, 16, 32, 32), torch.zeros((0, 7), dtype=torch.int64))
