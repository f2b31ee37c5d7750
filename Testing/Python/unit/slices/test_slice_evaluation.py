"""The evaluation of networks for slices: what it counts, and what it says about slices that were trained on."""

import json

import numpy as np
import pytest

from TumorRetrievalLib.errors import InvalidRequest, InvalidSlices
from TumorRetrievalLib.evaluation import slices as evaluation
from TumorRetrievalLib.evaluation.slices import evaluate_slices, scores
from TumorRetrievalLib.networks.slice_reader import SliceAnswer
from TumorRetrievalLib.training.slices import train_slices


@pytest.fixture(scope="module")
def trained(slices, tmp_path_factory):
    """The paper's network after one epoch of the first half of the slices."""
    half = slices.take(np.arange(12))
    return train_slices("paper", half, tmp_path_factory.mktemp("run"), data="half", epochs=1)


@pytest.fixture
def one_epoch(monkeypatch):
    """Protocols that train for one epoch only."""
    fit = evaluation.fit_slices
    seen = {}

    def short(name, slices, folder, **others):
        seen[folder.name] = (slices, others["validation"])
        return fit(name, slices, folder, epochs=1, **others)

    monkeypatch.setattr(evaluation, "fit_slices", short)
    return seen


def test_a_perfect_answer_scores_one_and_a_shifted_mask_less(slices):
    right = np.eye(4)[slices.labels]

    perfect = scores(slices, SliceAnswer(right, slices.masks.astype(float)))
    shifted = scores(slices, SliceAnswer(right, np.roll(slices.masks, 3, axis=1).astype(float)))

    for name in ("accuracy", "precision", "recall", "iou", "dice", "iou_pooled"):
        assert perfect[name] == 1
    assert shifted["accuracy"] == 1 and 0.3 < shifted["iou"] < 0.9
    assert shifted["dice"] > shifted["iou"]


def test_each_type_is_counted_by_itself(slices):
    always_glioma = np.tile(np.eye(4)[2], (24, 1))

    result = scores(slices, SliceAnswer(always_glioma, None))

    assert result["accuracy"] == pytest.approx(1 / 3, abs=1e-4)
    assert result["iou"] is None and result["iou_pooled"] is None
    assert result["per_class"]["glioma"] == {"slices": 8, "recall": 1.0, "precision": 0.3333, "iou": None}
    assert result["per_class"]["meningioma"]["precision"] is None
    assert result["confusion"]["meningioma"] == {"none": 0, "meningioma": 0, "glioma": 8, "pituitary adenoma": 0}
    assert "none" not in result["per_class"], "a type that does not occur has no score"


def test_slices_without_a_mask_do_not_count_in_the_overlap(slices):
    known = np.arange(24) < 12
    part = type(slices)(slices.images, slices.labels, slices.masks, known, None)
    half_right = np.where(known[:, None, None], slices.masks, False).astype(float)

    assert scores(part, SliceAnswer(np.eye(4)[slices.labels], half_right))["iou"] == 1


def test_slices_that_were_trained_on_are_said_and_the_others_measured_apart(file_of, trained, tmp_path):
    result = evaluate_slices(file_of(), network="paper", model=trained, json_path=tmp_path / "scores.json")

    assert result["slices_trained_on"] == 12 and result["not_trained_on"]["slices"] == 12
    assert "12 of these 24 slices were trained on" in result["note"]
    assert result["parameters"] == 608_645
    assert json.loads((tmp_path / "scores.json").read_text()) == result
    assert {"accuracy", "iou", "parameters", "per_class"} <= result.keys()


def test_in_the_protocol_of_patients_no_training_sees_a_patient_it_is_tested_on(file_of, slices, one_epoch):
    result = evaluate_slices(file_of(), network="paper", protocol="patients")

    assert set(result["trainings"]) == {"fold 1", "fold 2"} and result["slices"] == 24
    for name, (train, validation) in one_epoch.items():
        assert validation is None, "the validation slices come out of the training folds"
        assert set(train.folds) == {3 - int(name[-1])}
    accuracies = [row["accuracy"] for row in result["trainings"].values()]
    assert result["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-4)


def test_the_papers_protocol_tests_five_networks_on_one_random_fifth_and_says_that_it_leaks(file_of, one_epoch):
    result = evaluate_slices(file_of(), network="paper", protocol="random")

    assert len(result["trainings"]) == 5 and set(result["sd"]) >= {"accuracy", "iou"}
    assert all(row["slices"] == 5 for row in result["trainings"].values()) and result["slices"] == 5
    assert "same patients" in result["note"]
    for train, validation in one_epoch.values():
        assert len(train) + len(validation) == 19
        assert not set(train.digests()) & set(validation.digests())


def test_where_no_weights_are_bundled_the_networks_are_trained(file_of, one_epoch, monkeypatch):
    monkeypatch.setattr(evaluation, "is_bundled", lambda *_: False)

    assert evaluate_slices(file_of(), network="paper", limit=1)["protocol"] == "patients"
    assert evaluate_slices(file_of(fold=None), network="paper", limit=1)["protocol"] == "random"


def test_what_cannot_be_evaluated_is_refused(file_of, trained):
    with pytest.raises(InvalidRequest, match="patients, random"):
        evaluate_slices(file_of(), protocol="leaky")
    with pytest.raises(InvalidSlices, match="not divided by patients"):
        evaluate_slices(file_of(fold=None), protocol="patients")
    with pytest.raises(InvalidSlices, match="same type"):
        evaluate_slices(file_of(label=np.ones(24, np.uint8)), protocol="random")
