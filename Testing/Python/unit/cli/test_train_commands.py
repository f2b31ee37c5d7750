"""The command `train` passes on what it was told and leaves a page about the model; `evaluate markers` needs models."""

import json
import sys
from types import ModuleType

import pytest

from TumorRetrievalLib import cli

CARD = {
    "name": "plgg-1", "recipe": "plgg", "data": "synthetic", "seed": 1, "device": "CPU", "metrics": {},
    "known_failures": [],
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the training was asked for."""
    known = {}
    module = ModuleType("TumorRetrievalLib.training.commands")

    def train_recipe(name, out, *, progress, **request):
        known.update(request, name=name)
        (out / "model").mkdir(parents=True)
        (out / "model" / "model_card.json").write_text(json.dumps(CARD))
        return out / "model"

    module.train_recipe = train_recipe
    monkeypatch.setitem(sys.modules, "TumorRetrievalLib.training.commands", module)
    return known


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tumor-retrieval", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


def test_a_published_system_trains_with_one_command_and_leaves_a_page(asked, monkeypatch, tmp_path, capsys):
    code = run(monkeypatch, "train", "plgg", "--out", tmp_path, "--single-task", "--split", "3", "--data", "cohort.csv")

    assert code == 0
    assert asked["name"] == "plgg" and asked["single_task"] and asked["split"] == 3 and asked["data"] == "cohort.csv"
    assert asked["size"] is None and asked["minutes"] is None
    assert "plgg-1" in (tmp_path / "model" / "model_card.html").read_text()
    assert str(tmp_path / "model" / "model_card.html") in capsys.readouterr().out


def test_without_data_the_training_is_on_synthetic_patients(asked, monkeypatch, tmp_path):
    run(monkeypatch, "train", "med3d-unet", "--out", tmp_path, "--encoder", "50", "--checkpoint", "w.pth", "--freeze")

    assert asked["data"] == "SYNTHETIC" and asked["encoder"] == 50 and asked["freeze"]
    assert asked["checkpoint"].name == "w.pth"


def test_a_seventh_split_and_another_size_are_wrong_usage(asked, monkeypatch, tmp_path):
    assert run(monkeypatch, "train", "plgg", "--out", tmp_path, "--split", "7") == 2
    assert run(monkeypatch, "train", "plgg", "--out", tmp_path, "--size", "huge") == 2


def test_markers_cannot_be_evaluated_without_models_and_the_way_to_them_is_told(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "evaluate", "markers", "--runs", tmp_path) == 1
    assert "train plgg" in capsys.readouterr().err


def test_a_row_of_the_papers_tables_is_named_by_its_channels_and_tasks(asked, monkeypatch, tmp_path):
    run(monkeypatch, "train", "pisov", "--out", tmp_path, "--channels", "32", "--tasks", "segmentation, type")

    assert asked["channels"] == 32 and asked["tasks"] == ("segmentation", "type")
