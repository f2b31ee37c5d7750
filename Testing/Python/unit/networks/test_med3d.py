"""MedicalNet's encoders, their checkpoints, and the U-Net beside them."""

import os
from pathlib import Path

import pytest
import torch

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.networks import med3d
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.losses import default_loss, voxel_loss
from TumorRetrievalLib.networks.med3d import Med3dUNet, MedicalNetEncoder
from TumorRetrievalLib.networks.medicalnet import load_medicalnet, read_medicalnet
from TumorRetrievalLib.networks.weights import load_model, save_model

NO_BOXES = torch.zeros((0, 7), dtype=torch.int64)


def norm(name, channels):
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def shapes_of(depth):
    """Names and shapes in MedicalNet's resnet_10.pth, resnet_18.pth and resnet_50.pth, written down from its code."""
    blocks = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    shapes = {"conv1.weight": (64, 1, 7, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        outputs = width * (4 if depth == 50 else 1)
        for block in range(count):
            name = f"layer{stage}.{block}"
            if depth == 50:
                kernels = {"conv1": (width, inputs, 1), "conv2": (width, width, 3), "conv3": (outputs, width, 1)}
            else:
                kernels = {"conv1": (width, inputs, 3), "conv2": (width, width, 3)}
            for number, (kernel, (out, into, edge)) in enumerate(kernels.items(), start=1):
                shapes |= {f"{name}.{kernel}.weight": (out, into, edge, edge, edge), **norm(f"{name}.bn{number}", out)}
            if block == 0 and depth != 18 and (stage > 1 or depth == 50):
                shapes |= {f"{name}.downsample.0.weight": (outputs, inputs, 1, 1, 1)}
                shapes |= norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    head = {"conv_seg.0.weight": (inputs, 32, 2, 2, 2), "conv_seg.0.bias": (32,), **norm("conv_seg.1", 32)}
    head |= {"conv_seg.3.weight": (32, 32, 3, 3, 3), **norm("conv_seg.4", 32)}
    return shapes | head | {"conv_seg.6.weight": (2, 32, 1, 1, 1)}


def stored(path, shapes, prefix="module.", **changes):
    """A checkpoint file; every tensor is one number, stretched, so that the file is small."""
    weights = {prefix + name: torch.full((1,), 0.01).expand(shape) for name, shape in shapes.items()}
    for name in [name for name in weights if name.endswith("running_var")]:
        weights[name] = torch.ones(1).expand(weights[name].shape)
    torch.save({"state_dict": weights | changes, "epoch": 1}, path)
    return path


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "resnet.pth"


@pytest.mark.parametrize("depth", [10, 18, 50])
def test_a_checkpoint_of_medicalnet_fits_the_encoder_tensor_by_tensor(file, depth):
    weights, left_out = read_medicalnet(stored(file, shapes_of(depth)), depth)

    with_counters = {name for name in weights if not name.endswith("num_batches_tracked")}
    assert with_counters == {name for name in shapes_of(depth) if not name.startswith("conv_seg")}
    assert len(left_out) == 12 and all(name.startswith("module.conv_seg.") for name in left_out)


def test_every_encoder_gets_the_weights_and_the_rest_of_the_network_none(file):
    torch.manual_seed(0)
    network = Med3dUNet(10, width=8)
    before = network.bottom[0].weight.clone()

    load_medicalnet(network, stored(file, shapes_of(10)))

    for encoder in network.encoders.values():
        assert torch.all(encoder.layer4[0].conv2.weight == 0.01) and torch.all(encoder.bn1.running_mean == 0.01)
    assert torch.equal(before, network.bottom[0].weight)


def test_a_checkpoint_without_the_prefix_and_without_the_wrapping_is_read_too(file):
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes_of(10).items()}, file)

    assert read_medicalnet(file, 10)[0]["conv1.weight"].shape == (64, 1, 7, 7, 7)


class RunsCode:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_file_that_would_run_code_is_refused(file, monkeypatch):
    torch.save({"state_dict": {"module.conv1.weight": RunsCode()}}, file)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("the file ran code"))

    with pytest.raises(WeightsError, match=r"resnet\.pth"):
        read_medicalnet(file, 10)


def test_a_missing_file_a_truncated_one_and_another_kind_of_file_are_refused(file):
    with pytest.raises(WeightsError, match="no checkpoint"):
        read_medicalnet(file, 10)
    stored(file, shapes_of(10))
    for content in (file.read_bytes()[:3000], b"", b"\x80\x02.", b"PK\x03\x04 not a zip"):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"resnet\.pth"):
            read_medicalnet(file, 10)


def without(shapes, name):
    return {key: shape for key, shape in shapes.items() if key != name}


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (without(shapes_of(10), "layer2.0.bn1.weight"), "1 missing (layer2.0.bn1.weight)"),
        (shapes_of(10) | {"fc.weight": (2, 512)}, "1 unknown (fc.weight)"),
        (shapes_of(10) | {"conv1.weight": (64, 3, 7, 7, 7)}, "1 of another shape (conv1.weight)"),
        (shapes_of(18), "unknown (layer1.1"),
        (shapes_of(10) | {"conv_seg": (1,)}, "1 unknown (conv_seg)"),
    ],
)
def test_what_does_not_fit_is_named(file, shapes, said):
    with pytest.raises(WeightsError) as refused:
        read_medicalnet(stored(file, shapes), 10)

    assert said in str(refused.value) and "ResNet-10" in str(refused.value)


def test_numbers_that_are_none_things_that_are_no_tensors_and_names_given_twice_are_refused(file):
    bad = torch.full((64,), torch.nan)
    for changes, said in (
        ({"module.bn1.bias": bad}, "1 not finite"),
        ({"module.bn1.bias": "text"}, "no tensor"),
        ({"bn1.bias": torch.zeros(64)}, "twice"),
    ):
        with pytest.raises(WeightsError, match=said):
            read_medicalnet(stored(file, shapes_of(10), **changes), 10)
    torch.save([1, 2], file)
    with pytest.raises(WeightsError, match="no dictionary"):
        read_medicalnet(file, 10)


@pytest.mark.parametrize("depth", [10, 18, 50])
def test_an_encoder_ends_at_an_eighth_of_the_resolution_as_medicalnets_dilated_one_does(depth):
    encoder = MedicalNetEncoder(depth).eval()

    with torch.no_grad():
        assert encoder(torch.randn(1, 1, 16, 24, 8)).shape[2:] == (2, 3, 1)
    assert encoder.layer3[-1].conv2.dilation == (2, 2, 2) and encoder.layer4[-1].conv2.dilation == (4, 4, 4)


def test_the_network_outlines_three_regions_and_comes_back_from_disk(tmp_path):
    torch.manual_seed(0)
    network = Med3dUNet(10, width=8, frozen=True).eval()
    image = torch.randn(1, 2, 16, 24, 16)

    loaded = load_model(save_model(tmp_path, network, {}), "cpu").network

    with torch.no_grad():
        masks = network(image, NO_BOXES).masks
        assert masks.shape == (1, 3, 16, 24, 16)
        assert (masks.sigmoid() - loaded(image, NO_BOXES).masks.sigmoid()).abs().max() < 5e-3


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_keeps_its_weights_and_statistics_and_a_free_one_does_not(frozen):
    torch.manual_seed(0)
    network = Med3dUNet(10, width=8, frozen=frozen).train()
    before = {name: tensor.clone() for name, tensor in network.encoders.state_dict().items()}
    masks = torch.ones(1, 3, 16, 16, 16)
    batch = Batch(torch.randn(1, 2, 16, 16, 16), masks, NO_BOXES, {}, torch.ones(1, 3, dtype=torch.bool))
    optimizer = torch.optim.Adam([weight for weight in network.parameters() if weight.requires_grad])

    voxel_loss(network(batch.image, NO_BOXES), batch, {})[0].backward()
    optimizer.step()

    same = [torch.equal(before[name], tensor) for name, tensor in network.encoders.state_dict().items()]
    assert all(same) if frozen else not any(same[:3])


def test_each_modality_has_an_encoder_of_its_own():
    torch.manual_seed(0)
    network = Med3dUNet(10, width=8).eval()
    image = torch.randn(1, 2, 16, 16, 16)

    with torch.no_grad():
        straight, swapped = network(image, NO_BOXES).masks, network(image.flip(1), NO_BOXES).masks

    assert not torch.allclose(straight, swapped)


class NoEncoder(torch.nn.Module):
    """In place of an encoder, to be quick: it sees nothing."""

    outputs = 8

    def __init__(self, depth):
        super().__init__()

    def forward(self, x):
        return x.new_zeros(len(x), self.outputs, *(size // 8 for size in x.shape[2:]))


def test_a_short_training_finds_every_region(monkeypatch):
    """With weights of any sign in the last layer, it was a matter of luck which regions stayed background."""
    monkeypatch.setattr(med3d, "MedicalNetEncoder", NoEncoder)
    torch.manual_seed(0)
    network = Med3dUNet(10, 8)
    assert (network.masks.weight > 0).all(), "at the start"
    masks = torch.zeros(1, 3, 16, 16, 16)
    for region, reach in enumerate((6, 4, 3)):
        inside = slice(8 - reach, 8 + reach)
        masks[0, region, inside, inside, inside] = 1
    image = masks[:, [1, 0]] + 0.4 * torch.randn(1, 2, 16, 16, 16)
    batch = Batch(image, masks, NO_BOXES, {}, torch.ones(1, 3, dtype=torch.bool))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)

    for _ in range(60):
        optimizer.zero_grad()
        default_loss(network(image, NO_BOXES), batch, {})[0].backward()
        optimizer.step()

    found, truth = network(image, NO_BOXES).masks > 0, masks > 0
    overlap = 2 * (found & truth).sum((0, 2, 3, 4)) / (found.sum((0, 2, 3, 4)) + truth.sum((0, 2, 3, 4)))
    assert overlap.min() > 0.8
