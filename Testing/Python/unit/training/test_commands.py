"""The command `train`: from a recipe's name to a model that the tool can use."""

import pytest

from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.training import calibration
from TumorRetrievalLib.training.commands import draw_bank, train_recipe


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


def test_patients_that_are_drawn_already_are_kept(tmp_path):
    draw_bank(tmp_path, 5, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}

    bank = draw_bank(tmp_path, 5, 2)

    assert len(bank.seeds()) == 2
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_an_unknown_recipe_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UnknownLabel, match="default, pisov"):
        train_recipe("resnet", tmp_path)
