"""The command `train`: from a recipe's name to a model that the tool can use."""

import json

import pytest

from TumorRetrievalLib.errors import UnknownLabel, WeightsError
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.weights import load_model, save_model
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.training import calibration
from TumorRetrievalLib.training.commands import draw_bank, train_recipe
from TumorRetrievalLib.training.model_card import CARD_NAME
from TumorRetrievalLib.training.samples import TASKS


def test_a_recipe_leaves_a_model_that_can_read_tumors(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "SAMPLES", 3)
    told = []

    model = train_recipe("default", tmp_path, steps=2, drawings=2, progress=lambda f, m: told.append(f))

    reader = TumorReader.load(model, "cpu")
    contract = reader.model.contract
    assert reader.types[0] == "glioma" and "no patient" in contract["trained_on"]
    assert reader.threshold("core", "core") == contract["thresholds"]["core"]["core"] and reader.temperature > 0
    assert contract["training"]["steps"] == 2 and contract["channels"][0] == "t1c"
    assert (tmp_path / "curves.png").exists() and told == sorted(told)


def test_a_training_goes_on_from_the_weights_of_a_model_and_says_whose_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "SAMPLES", 3)
    first = load_model(train_recipe("default", tmp_path / "a", steps=1, drawings=2), "cpu")

    on = train_recipe("default", tmp_path / "b", steps=1, drawings=2, start=tmp_path / "a/model")

    second = load_model(on, "cpu")
    training, card = second.contract["training"], json.loads((on / CARD_NAME).read_text())
    assert training["started_from"] == card["started_from"] == first.sha256
    assert training["recipe"]["learning_rate"] < first.contract["training"]["recipe"]["learning_rate"]
    fresh = DefaultNetwork(tasks=TASKS)
    moved, elsewhere = (_distance(first.network, other) for other in (second.network, fresh))
    assert 0 < moved < 0.05 < elsewhere


def _distance(one, other) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def test_a_training_cannot_start_from_a_model_of_another_recipe(tmp_path):
    save_model(tmp_path / "other", DefaultNetwork(widths=(8, 8, 8)), {})

    with pytest.raises(WeightsError, match="cannot start from .*same recipe"):
        train_recipe("default", tmp_path / "run", steps=1, drawings=2, start=tmp_path / "other")


def test_patients_that_are_drawn_already_are_kept(tmp_path):
    draw_bank(tmp_path, 5, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}

    bank = draw_bank(tmp_path, 5, 2)

    assert len(bank.seeds()) == 2
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_an_unknown_recipe_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UnknownLabel, match="default, pisov"):
        train_recipe("resnet", tmp_path)
