import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from TumorRetrievalLib.errors import Cancelled, WeightsError
from TumorRetrievalLib.networks.autoencoder import MaskAutoencoder
from TumorRetrievalLib.networks.weights import load_model
from TumorRetrievalLib.training.growth_recipes import (
    NETWORKS,
    growth_recipe,
    mask_batches,
    reconstruction_dice,
    train_autoencoder,
)

# MONAI warns of its own dependencies when it is loaded.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TINY = replace(growth_recipe("growth-vae8", 64), crop=32, max_minutes=None, max_steps=6, warmup_steps=0)


def ball(number):
    """Mask number n: a ball whose place and size depend on n."""
    rng = np.random.default_rng(number)
    center, radius = rng.uniform(10, 22, 3), rng.uniform(4, 9)
    return ((np.indices((32, 32, 32)).T - center) ** 2).sum(axis=-1) < radius**2


def test_the_recipes_at_full_resolution_are_the_published_ones():
    recipes = {name: growth_recipe(name) for name in NETWORKS}

    assert {name: recipe.learning_rate for name, recipe in recipes.items()} == {
        "growth-ae": 1e-5, "growth-vae8": 3e-5, "growth-vae1024": 3e-5
    }  # fmt: skip
    assert {recipe.batch_size for recipe in recipes.values()} == {2}
    assert recipes["growth-ae"].task_weights == {} and recipes["growth-ae"].max_steps == 300 * 750
    assert (
        recipes["growth-vae8"].task_weights == {"divergence": 0.001} and recipes["growth-vae8"].max_steps == 1000 * 750
    )
    for recipe in recipes.values():
        assert recipe.rate(0, 0.0) == recipe.rate(10**5, 0.99) == recipe.learning_rate and recipe.weight_decay == 0


def test_an_epoch_visits_every_mask_once_and_the_next_one_in_another_order():
    seen = []

    def read(index):
        seen.append(index)
        return ball(0)

    list(itertools.islice(mask_batches(read, 10, TINY)(0), 10))

    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10)) and seen[:10] != seen[10:]


def test_batches_from_a_later_step_are_those_that_would_have_come():
    batches = mask_batches(ball, 7, TINY)

    whole = list(itertools.islice(batches(0), 9))
    later = list(itertools.islice(batches(5), 4))

    assert all(torch.equal(a.image, b.image) for a, b in zip(whole[5:], later, strict=True))


def test_a_batch_holds_each_mask_on_the_grid_of_the_recipe_as_input_and_as_truth():
    batch = next(mask_batches(lambda index: ball(index).repeat(2, 0).repeat(2, 1).repeat(2, 2), 2, TINY)(0))

    assert batch.image.shape == (2, 1, 32, 32, 32) and torch.equal(batch.image, batch.masks)
    assert {int(mask.sum()) for mask in batch.masks} == {int(ball(0).sum()), int(ball(1).sum())}


def test_a_training_that_was_stopped_ends_like_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr("TumorRetrievalLib.training.trainer.LOG_EVERY_STEPS", 2)

    def stop(fraction, message):
        if fraction > 0.5:
            raise Cancelled("stopped by the test")

    train_autoencoder(ball, 8, TINY, tmp_path / "whole", {}, held_out=2)
    with pytest.raises(Cancelled):
        train_autoencoder(ball, 8, TINY, tmp_path / "parts", {}, held_out=2, progress=stop)
    train_autoencoder(ball, 8, TINY, tmp_path / "parts", {}, held_out=2)

    whole, parts = (load_model(tmp_path / name / "model", "cpu") for name in ("whole", "parts"))
    assert whole.sha256 == parts.sha256
    assert parts.contract["training"]["steps"] == 6 and parts.contract["training"]["recipe"]["name"] == "growth-vae8"


def test_the_run_of_another_autoencoder_is_not_continued(tmp_path):
    train_autoencoder(ball, 4, replace(TINY, max_steps=1), tmp_path, {}, held_out=1)

    with pytest.raises(WeightsError, match="another"):
        train_autoencoder(ball, 4, replace(TINY, seed=1), tmp_path, {}, held_out=1)


def test_the_contract_says_how_well_tumors_come_back_that_were_not_trained_on(tmp_path):
    folder = train_autoencoder(ball, 6, replace(TINY, max_steps=2), tmp_path, {"mask": "core"}, held_out=2)

    model = load_model(folder, "cpu")
    quality = model.contract["quality"]
    assert model.contract["mask"] == "core" and quality["held_out_tumors"] == 2
    measured = reconstruction_dice(model.network, [ball(4), ball(5)])
    assert quality["mean_reconstruction_dice"] == pytest.approx(measured.mean(), abs=2e-3)


def test_a_network_that_gives_everything_back_has_a_dice_of_one():
    class Mirror(MaskAutoencoder):
        def forward(self, image, boxes=None):
            return replace(super().forward(image), masks=image - 0.4)

    assert reconstruction_dice(Mirror(32, 2, channels=1), [ball(1), ball(2)]).tolist() == [1.0, 1.0]
