import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributions import Normal, kl_divergence

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.imaging.atomic import sha256_of
from TumorRetrievalLib.networks.autoencoder import MaskAutoencoder, coarsened
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.losses import divergence_from_standard_normal, reconstruction_loss
from TumorRetrievalLib.networks.weights import load_model, save_model

# MONAI warns of its own dependencies when it is loaded.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def tiny(**arguments):
    return MaskAutoencoder(**{"edge": 32, "latent": 8, "channels": 4} | arguments)


def cubes(*corners, edge=32):
    """One mask of a cube of 10 voxels for each corner."""
    masks = torch.zeros(len(corners), 1, edge, edge, edge)
    for mask, (i, j, k) in zip(masks, corners, strict=True):
        mask[0, i : i + 10, j : j + 10, k : k + 10] = 1
    return masks


def batch_of(masks):
    nobody = torch.zeros((0, 7), dtype=torch.int64)
    return Batch(masks, masks, nobody, {}, torch.ones(len(masks), 1, dtype=torch.bool))


@pytest.mark.parametrize(
    ("edge", "latent", "variational", "weights"),
    [
        (128, 1024, False, 604_821_761),
        (128, 1024, True, 906_812_673),
        (128, 8, True, 7_918_865),
        (64, 1024, False, 403_007_825),
        (64, 8, True, 5_072_225),
    ],
)
def test_each_autoencoder_has_as_many_weights_as_its_description_says(edge, latent, variational, weights):
    with torch.device("meta"):
        network = MaskAutoencoder(edge, latent, variational)

    assert sum(p.numel() for p in network.parameters()) == weights
    assert f"{weights:,}" in " ".join(MaskAutoencoder.__doc__.split())


def test_the_published_network_goes_down_to_16_voxels_in_three_steps_and_widens():
    with torch.device("meta"):
        network = MaskAutoencoder()
        features = network.encoder(torch.empty(1, 1, 128, 128, 128))
        steps = [m for m in network.encoder if isinstance(m, torch.nn.Conv3d) and m.stride == (2, 2, 2)]

        assert features.shape == (1, 72, 16, 16, 16)
        assert [step.out_channels for step in steps] == [24, 48, 72]
        assert network(torch.empty(1, 1, 128, 128, 128)).masks.shape == (1, 1, 128, 128, 128)


@pytest.mark.parametrize("edge", [32, 64])
@pytest.mark.parametrize("variational", [False, True])
def test_a_mask_comes_back_in_its_own_shape_with_a_vector_of_the_latent_length(edge, variational):
    output = tiny(edge=edge, variational=variational, channels=2)(torch.zeros(2, 1, edge, edge, edge))

    assert output.masks.shape == (2, 1, edge, edge, edge) and output.embedding.shape == (2, 8)
    assert (output.log_variance is not None) == variational


def test_a_vae_draws_at_random_in_training_and_never_afterwards():
    network, mask = tiny(variational=True), cubes((3, 3, 3))

    assert not torch.equal(network(mask).masks, network(mask).masks)
    network.eval()
    assert torch.equal(network(mask).masks, network(mask).masks)
    assert torch.equal(network(mask).embedding, network.encode(mask))


def test_the_divergence_is_the_one_of_normal_distributions():
    mean, log_variance = torch.randn(3, 8), torch.randn(3, 8)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum()

    assert divergence_from_standard_normal(mean, log_variance) == pytest.approx(float(expected), rel=1e-5)
    assert divergence_from_standard_normal(torch.zeros(2, 8), torch.zeros(2, 8)) == 0


def test_beta_weighs_the_divergence_and_nothing_else():
    batch = batch_of(cubes((3, 3, 3), (15, 9, 6)))
    with torch.no_grad():
        output = tiny(variational=True).eval()(batch.image)

    without, parts = reconstruction_loss(output, batch, {"divergence": 0.0})
    published, _ = reconstruction_loss(output, batch, {"divergence": 0.001})

    assert without == parts["dice_loss"]
    assert float(published) == pytest.approx(float(parts["dice_loss"] + 0.001 * parts["divergence"]))


def test_the_dice_loss_is_0_for_the_mask_itself_and_1_for_a_mask_elsewhere():
    here, there = cubes((3, 3, 3)), cubes((20, 20, 20))
    certain = replace(tiny()(here), masks=(here - 0.5) * 100)

    assert reconstruction_loss(certain, batch_of(here), {})[0] < 1e-4
    assert reconstruction_loss(certain, batch_of(there), {})[0] > 0.99


def test_an_autoencoder_learns_a_few_masks_by_heart():
    network, batch = tiny(channels=8), batch_of(cubes((2, 3, 4), (18, 5, 12)))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(180):
        loss, _ = reconstruction_loss(network(batch.image), batch, {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    found = network.eval()(batch.image).masks > 0
    assert 2 * (found & (batch.masks > 0)).sum() / (found.sum() + batch.masks.sum()) > 0.95


def test_a_coarser_mask_keeps_the_volume_and_the_place():
    fine = torch.zeros(1, 1, 64, 64, 64)
    fine[0, 0, 11:21, 30:37, 5:9] = 1

    coarse = coarsened(fine, 32)

    assert 8 * coarse.sum() == fine.sum() and coarse[0, 0, 5, 16, 3] == 0.5
    with pytest.raises(ValueError):
        coarsened(fine, 48)


def test_a_stored_autoencoder_gives_the_same_vectors(tmp_path):
    network, mask = tiny(variational=True).eval(), cubes((3, 3, 3))

    loaded = load_model(save_model(tmp_path, network, {}), "cpu").network

    assert torch.allclose(loaded.encode(mask), network.encode(mask), atol=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [{"edge": 48}, {"edge": 1 << 20}, {"latent": 1 << 40}, {"channels": 1 << 20}, {"latent": "many"}, {"rooms": 3}],
)
def test_a_contract_that_asks_for_an_absurd_autoencoder_is_refused(tmp_path, arguments):
    folder = save_model(tmp_path, tiny(), {})
    contract = json.loads((folder / "model.json").read_text())
    contract["arguments"] |= arguments
    (folder / "model.json").write_text(json.dumps(contract))

    with pytest.raises(WeightsError, match="arguments"):
        load_model(folder, "cpu")


def test_weights_of_a_vae_are_refused_where_the_contract_promises_an_autoencoder(tmp_path):
    folder = save_model(tmp_path / "ae", tiny(), {})
    other = save_model(tmp_path / "vae", tiny(variational=True), {})
    save_file(load_file(other / "weights.safetensors"), folder / "weights.safetensors")
    contract = json.loads((folder / "model.json").read_text())
    contract["weights_sha256"] = sha256_of(folder / "weights.safetensors")
    (folder / "model.json").write_text(json.dumps(contract))

    with pytest.raises(WeightsError, match="log_variance"):
        load_model(folder, "cpu")


def test_a_weight_file_that_was_cut_short_is_refused(tmp_path):
    path = save_model(tmp_path, tiny(), {}) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(WeightsError, match="damaged"):
        load_model(tmp_path, "cpu")
