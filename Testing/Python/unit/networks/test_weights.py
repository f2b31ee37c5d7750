import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.imaging.atomic import sha256_of
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.device import choose_device, run_with_fallback
from TumorRetrievalLib.networks.pisov import PisovNetwork
from TumorRetrievalLib.networks.weights import load_model, save_model

CPU = torch.device("cpu")


@pytest.fixture
def network():
    return DefaultNetwork(widths=(8, 16, 16)).eval()


@pytest.fixture
def model(tmp_path, network):
    """The folder of a saved model."""
    return save_model(tmp_path / "model", network, {"spacing_mm": 2.0, "labels": {"type": ["a", "b"]}})


def rewrite(folder, **changes):
    """Changes the contract of a model by hand."""
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_tensors(folder, change):
    """Changes the weights by hand and makes the checksum right again."""
    path = folder / "weights.safetensors"
    save_file(change(load_file(path)), path)
    rewrite(folder, weights_sha256=sha256_of(path))


def test_a_model_comes_back_with_its_contract(model, network, batch):
    loaded = load_model(model, CPU)

    assert loaded.contract["spacing_mm"] == 2.0 and loaded.contract["labels"] == {"type": ["a", "b"]}
    assert loaded.sha256 == loaded.contract["weights_sha256"] == sha256_of(model / "weights.safetensors")
    assert not loaded.network.training
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in loaded.network.parameters())


def test_storing_half_precision_changes_masks_and_vectors_by_less_than_a_thousandth(tmp_path, batch):
    network = DefaultNetwork().eval()
    loaded = load_model(save_model(tmp_path, network, {}), CPU).network

    with torch.no_grad():
        before, after = network(batch.image, batch.boxes), loaded(batch.image, batch.boxes)

    assert (tmp_path / "weights.safetensors").stat().st_size < 2.1 * sum(p.numel() for p in network.parameters())
    assert (before.masks.sigmoid() - after.masks.sigmoid()).abs().max() < 1e-3
    assert (before.embedding - after.embedding).abs().max() < 1e-3


def test_a_kernel_that_half_precision_would_damage_is_stored_in_full(tmp_path, network):
    with torch.no_grad():
        network.stem.weight.mul_(1e-9)
        network.to_middle.weight.mul_(1e7)

    loaded = load_model(save_model(tmp_path, network, {}), CPU).network

    assert torch.equal(loaded.stem.weight, network.stem.weight)
    assert torch.equal(loaded.to_middle.weight, network.to_middle.weight)


def test_the_running_statistics_of_the_papers_network_survive(tmp_path):
    network = PisovNetwork(channels=8, blocks=1)
    network(torch.randn(2, 1, 8, 8, 8), torch.zeros((0, 7), dtype=torch.int64))

    loaded = load_model(save_model(tmp_path, network, {}), CPU).network

    for name, buffer in network.named_buffers():
        assert torch.equal(dict(loaded.named_buffers())[name], buffer)


def test_the_contract_cannot_claim_another_identity(tmp_path, network):
    save_model(tmp_path, network, {"architecture": "pisov", "weights_sha256": "0" * 64})

    assert load_model(tmp_path, CPU).contract["architecture"] == "default"


def test_one_flipped_bit_in_the_weights_is_refused(model):
    path = model / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"SHA-256.*Install the tool again"):
        load_model(model, CPU)


def test_truncated_weights_are_refused(model):
    path = model / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(WeightsError, match="damaged"):
        load_model(model, CPU)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_missing_file_is_named(model, name):
    (model / name).unlink()

    with pytest.raises(WeightsError, match=name):
        load_model(model, CPU)


def test_a_foreign_file_is_refused_even_when_its_checksum_is_right(model):
    path = model / "weights.safetensors"
    path.write_bytes(b"\x80\x04not weights at all")
    rewrite(model, weights_sha256=sha256_of(path))

    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(model, CPU)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "stem.bias"}, "missing: stem.bias"),
        (lambda t: t | {"intruder": torch.zeros(1)}, "surplus: intruder"),
        (lambda t: t | {"stem.bias": torch.zeros(9)}, "of another shape: stem.bias"),
    ],
)
def test_every_tensor_must_be_accounted_for(model, change, complaint):
    replace_tensors(model, change)

    with pytest.raises(WeightsError, match=complaint):
        load_model(model, CPU)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"architecture": "resnet"}, "unknown architecture 'resnet'"),
        ({"architecture": ["default"]}, "unknown architecture"),
        ({"arguments": {"depth": 3}}, "arguments that default does not take"),
        ({"arguments": {"widths": [7, 7, 7]}}, "arguments that default does not take"),
        ({"arguments": {"widths": [8, 16, 32]}}, "do not fit"),
        ({"format": 99}, "format 99"),
    ],
)
def test_a_contract_that_does_not_fit_is_refused_with_the_reason(model, changes, complaint):
    rewrite(model, **changes)

    with pytest.raises(WeightsError, match=complaint):
        load_model(model, CPU)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}', "\x00", "[" * 100_000])
def test_a_contract_that_is_no_contract_is_refused(model, content):
    (model / "model.json").write_text(content)

    with pytest.raises(WeightsError, match=r"model\.json"):
        load_model(model, CPU)


def test_a_model_is_never_half_replaced(model, network, monkeypatch):
    before = load_model(model, CPU)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(Exception, match="disk is full"):
        save_model(model, network, {"spacing_mm": 1.0})

    assert load_model(model, CPU).contract == before.contract


def test_weights_of_one_model_do_not_work_with_the_contract_of_another(model, tmp_path):
    other = save_model(tmp_path / "other", DefaultNetwork(widths=(8, 16, 16)), {})
    shutil.copy(other / "weights.safetensors", model)

    with pytest.raises(WeightsError, match="belong to another contract"):
        load_model(model, CPU)


def test_only_registered_networks_can_be_saved(tmp_path):
    with pytest.raises(WeightsError, match="Linear"):
        save_model(tmp_path, torch.nn.Linear(1, 1), {})


def test_without_a_gpu_everything_runs_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert choose_device() == choose_device("cuda") == choose_device("cpu") == CPU


def test_with_a_gpu_it_is_used_unless_the_cpu_is_preferred(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    assert choose_device().type == "cuda" and choose_device("cpu") == CPU


def test_when_the_gpu_has_too_little_memory_the_cpu_takes_over_and_says_so():
    def work(device):
        if device.type == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return f"done on {device}"

    result, note = run_with_fallback(work, torch.device("cuda"))

    assert result == "done on cpu" and "CPU" in note


def test_other_errors_on_the_gpu_are_not_hidden():
    def work(device):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_with_fallback(work, torch.device("cuda"))
