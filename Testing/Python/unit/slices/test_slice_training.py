"""Training the networks for slices: they learn, stop in time, and go on after a kill as if nothing had happened."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from TumorRetrievalLib.errors import Cancelled, InvalidSlices, TrainingFailed, UnknownLabel, WeightsError
from TumorRetrievalLib.networks.slice_reader import ask, load_slice_model
from TumorRetrievalLib.networks.slices import PaperSliceNetwork, SliceNetwork
from TumorRetrievalLib.training import slices as recipes
from TumorRetrievalLib.training.early_stopping import EpochRecipe, train_until_no_better
from TumorRetrievalLib.training.slice_batches import augmented, augmented_batches, batch_of, brain_masks, shuffled
from TumorRetrievalLib.training.slices import fit_slices, train_slices

RECIPE = EpochRecipe(name="test", loss="slices_paper", batch_size=8, max_epochs=6)


def weights(network):
    return torch.cat([tensor.flatten().float() for tensor in network.state_dict().values()])


def fit_paper(slices, folder, recipe=RECIPE, progress=None):
    torch.manual_seed(1)
    network = PaperSliceNetwork()
    images = network.prepare(slices.images)

    def batches(epoch):
        return [batch_of(slices, images, which) for which in shuffled(len(slices), 8, 0, epoch)]

    return train_until_no_better(network, batches, batches(0), recipe, folder, progress=progress)


def stop_after(epoch):
    def progress(_fraction, message):
        if int(message.split()[1].rstrip(",")) >= epoch:
            raise Cancelled("stopped by the test")

    return progress


def test_a_stopped_training_ends_with_the_same_weights_as_one_that_was_not(slices, tmp_path):
    whole = fit_paper(slices, tmp_path / "whole")
    with pytest.raises(Cancelled):
        fit_paper(slices, tmp_path / "stopped", progress=stop_after(3))

    resumed = fit_paper(slices, tmp_path / "stopped")

    assert torch.equal(weights(whole.network), weights(resumed.network))
    assert [row["step"] for row in resumed.log] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "stopped" / "curves.png").stat().st_size > 1000


def test_another_recipe_does_not_go_on_where_this_one_stopped(slices, tmp_path):
    fit_paper(slices, tmp_path, replace(RECIPE, max_epochs=1))

    with pytest.raises(WeightsError, match="learning_rate"):
        fit_paper(slices, tmp_path, replace(RECIPE, learning_rate=1e-4))


class Plateau(torch.nn.Module):
    """A network whose loss cannot fall, because nothing in it is trained."""

    def __init__(self):
        super().__init__()
        self.inner = PaperSliceNetwork(outline=False).eval()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def train(self, mode=True):
        return self

    def forward(self, image, boxes):
        output = self.inner(image)
        output.labels["type"] = output.labels["type"].detach() + 0 * self.unused
        return output


def test_training_stops_when_validation_no_longer_falls_and_halves_the_rate_before(slices, tmp_path):
    torch.manual_seed(0)
    network = Plateau()
    images = PaperSliceNetwork.prepare(slices.images)
    batches = [batch_of(slices, images, np.arange(8))]

    run = train_until_no_better(
        network, lambda epoch: batches, batches, replace(RECIPE, max_epochs=50, patience=7, plateau=3), tmp_path
    )

    assert run.best_epoch == 1 and run.epochs == 8
    rates = [row["learning_rate"] for row in run.log]
    assert rates == pytest.approx([1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 2)


def test_the_weights_of_the_best_epoch_are_the_result(slices, tmp_path):
    run = fit_paper(slices, tmp_path, replace(RECIPE, max_epochs=4, learning_rate=0.05))

    best = min(run.log, key=lambda row: row["validation_loss"])
    assert run.best_epoch == best["step"]


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_epochs_before(slices, tmp_path):
    torch.manual_seed(1)
    network = PaperSliceNetwork()
    images = network.prepare(slices.images)

    def batches(epoch):
        batch = batch_of(slices, images, np.arange(8))
        return [replace(batch, image=batch.image * float("nan"))] if epoch == 1 else [batch]

    with pytest.raises(TrainingFailed, match="epoch 2"):
        train_until_no_better(network, batches, batches(0), RECIPE, tmp_path)

    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert stored["epoch"] == 1 and all(torch.isfinite(tensor).all() for tensor in stored["best"].values())


@pytest.fixture
def narrow(monkeypatch):
    """Ours, narrow enough to be trained in seconds."""
    monkeypatch.setattr(recipes, "SliceNetwork", lambda: SliceNetwork((8, 8, 16, 16)))


def test_ours_learns_to_tell_and_to_outline_what_it_is_shown(slices, tmp_path, narrow):
    trained = fit_slices("best", slices, tmp_path, epochs=60)

    answer = ask(trained.network, slices.images)
    assert np.mean(answer.types.argmax(axis=1) == slices.labels) > 0.9
    shared = (answer.masks > 0.5) & slices.masks
    assert shared.sum() / ((answer.masks > 0.5) | slices.masks).sum() > 0.6


def test_a_stopped_training_of_ours_goes_on_to_the_same_weights(slices, tmp_path, narrow):
    whole = fit_slices("best", slices, tmp_path / "whole", epochs=20)
    with pytest.raises(Cancelled):
        fit_slices("best", slices, tmp_path / "stopped", epochs=20, progress=stop_after(25))

    resumed = fit_slices("best", slices, tmp_path / "stopped", epochs=20)

    assert torch.allclose(weights(whole.network), weights(resumed.network), atol=1e-6)


@pytest.mark.parametrize("name", ["paper", "best"])
def test_training_leaves_a_model_that_says_whose_data_it_saw(slices, tmp_path, narrow, name):
    folder = train_slices(name, slices, tmp_path, data="drawn", attribution="drawn by a test, CC0", epochs=1)

    contract = load_slice_model(folder).contract
    assert contract["attribution"] == "drawn by a test, CC0"
    assert contract["trained_on"] == "patients: 24 slices of drawn"
    assert contract["types_seen"] == {"none": 0, "meningioma": 8, "glioma": 8, "pituitary adenoma": 8}
    assert contract["slice_digests"].startswith(slices.digests()[0])
    json.dumps(contract)


def test_one_type_or_an_unknown_network_is_refused_before_training(slices, tmp_path):
    with pytest.raises(InvalidSlices, match="same type"):
        fit_slices("best", slices.take(slices.labels == 1), tmp_path / "one")
    with pytest.raises(UnknownLabel, match="paper, best"):
        fit_slices("better", slices, tmp_path / "unknown")
    assert not (tmp_path / "one").exists()


def test_batches_depend_on_seed_and_step_alone(slices):
    make = augmented_batches(slices, 8, seed=3)
    straight = make(0)
    for _ in range(4):
        next(straight)

    resumed = next(make(4))

    assert torch.equal(next(straight).image, resumed.image)
    assert not torch.equal(resumed.image, next(make(5)).image)


def test_what_bends_a_slice_bends_its_mask_and_its_box_alike(slices):
    images = SliceNetwork.prepare(slices.images)
    batch = batch_of(slices, images, np.arange(24))

    for seed in range(4):
        bent = augmented(batch, brain_masks(slices), torch.Generator().manual_seed(seed))
        for n in range(24):
            inside, outside = bent.image[n][bent.masks[n] > 0], bent.image[n][bent.masks[n] == 0]
            rim = outside[outside > 0.1].median()
            bright = slices.labels[n] != 2
            assert (inside.median() > rim) == bright
            top, bottom, left, right = bent.boxes[n, 1:].tolist()
            held = bent.masks[n, 0, top:bottom, left:right].sum() / bent.masks[n].sum()
            assert held > 0.6


def test_the_skull_is_taken_off_where_the_brain_is_found():
    rows, columns = np.mgrid[:128, :128]
    radius = np.hypot(rows - 64, columns - 64)
    image = np.select([radius < 40, radius < 46, radius < 52], [90, 20, 230], 0).astype(np.uint8)
    head = recipes.SliceSet(image[None], np.array([2]), np.zeros((1, 128, 128), bool), np.zeros(1, bool), None)

    brain = brain_masks(head)[0, 0].numpy()

    assert brain[radius < 38].all() and not brain[radius > 47].any()
