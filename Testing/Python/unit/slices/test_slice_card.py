"""What the evaluation of a network for slices leaves in its card."""

import json
import shutil
import sys

import numpy as np
import pytest

from TumorRetrievalLib import cli
from TumorRetrievalLib.evaluation.card_entries import slices_entry
from TumorRetrievalLib.evaluation.slices import scores
from TumorRetrievalLib.networks.slice_reader import SliceAnswer
from TumorRetrievalLib.networks.slices import SLICE_TYPES
from TumorRetrievalLib.training.slices import train_slices


@pytest.fixture(scope="module")
def trained(slices, tmp_path_factory):
    """The paper's network after one epoch of the first half of the slices."""
    half = slices.take(np.arange(12))
    return train_slices("paper", half, tmp_path_factory.mktemp("run"), data="half", epochs=1)


def evaluate(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(
        sys, "argv", ["tumor-retrieval", "evaluate", "slices", "--network", "paper", *map(str, arguments)]
    )
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


def test_only_slices_that_were_not_trained_on_are_noted(slices):
    answer = SliceAnswer(np.eye(len(SLICE_TYPES))[slices.labels], slices.masks.astype(float))
    perfect, half = scores(slices, answer), scores(slices.take(np.arange(12)), _half_wrong(answer))
    result = {"data": "slices.npz", "slices": 24, "note": "12 of 24.", **perfect}

    entry = slices_entry(result | {"not_trained_on": {"slices": 12, **half}}, "evaluate slices")

    accuracy = entry["scores"]["type, accuracy"]["model"]
    assert accuracy["mean"] == 0.5 and accuracy["n"] == 12 and accuracy["low"] < 0.5 < accuracy["high"]
    assert "Those 12 slices" in entry["about"] and "too narrow" in entry["about"]


def test_several_trainings_count_as_one_each():
    parts = {f"fold {n}": {"accuracy": share, "iou": share, "dice": share} for n, share in enumerate((0.7, 0.8, 0.9))}
    result = {"data": "slices.npz", "slices": 24, "note": "Unseen patients.", "trainings": parts}

    entry = slices_entry(result, "evaluate slices")

    accuracy = entry["scores"]["type, accuracy"]["model"]
    assert accuracy["mean"] == 0.8 and accuracy["n"] == 3 and accuracy["low"] < 0.7
    assert "Unseen patients." in entry["about"] and "too narrow" not in entry["about"]


def _half_wrong(answer: SliceAnswer) -> SliceAnswer:
    types = answer.types[:12].copy()
    types[:6] = np.roll(types[:6], 1, axis=1)
    return SliceAnswer(types, answer.masks[:12])


def test_the_command_notes_its_scores_in_the_card_of_the_measured_model_and_makes_its_page(
    file_of, trained, tmp_path, monkeypatch
):
    model = shutil.copytree(trained, tmp_path / "model")

    assert evaluate(monkeypatch, "--data", file_of(), "--model", trained, "--note-in", model) == 0

    card = json.loads((model / "model_card.json").read_text())
    entry = card["measured"]["slices, trained weights"]
    assert entry["command"] == "evaluate slices --network paper --data slices.npz", "no folder of this machine"
    assert entry["scores"]["type, accuracy"]["model"]["n"] == 12
    assert entry["title"] in (model / "model_card.html").read_text()


def test_nothing_is_noted_of_slices_that_were_all_trained_on_or_in_another_models_card(
    file_of, slices, trained, tiny_model, tmp_path, monkeypatch, capsys
):
    half = file_of(**{name: array[:12] for name, array in np.load(file_of()).items()})
    model = shutil.copytree(trained, tmp_path / "model")

    assert evaluate(monkeypatch, "--data", half, "--model", trained, "--note-in", model) == 1
    assert "Every slice of" in capsys.readouterr().err
    assert evaluate(monkeypatch, "--data", half, "--model", trained, "--note-in", tiny_model) == 1
    assert "holds another" in capsys.readouterr().err
    assert not (model / "model_card.json").exists() and not (tiny_model / "model_card.json").exists()
