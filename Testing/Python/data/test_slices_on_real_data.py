"""The bundled network for slices, on slices that it was trained on, on others, and on whole scans."""

import json
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.engine.slice_evidence import slice_evidence
from TumorRetrievalLib.evaluation.slices import evaluate_slices
from TumorRetrievalLib.imaging.box import boxes_around_components
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.resources import resource


def part_of(path: Path, which: slice, out: Path) -> Path:
    with np.load(path) as arrays:
        np.savez(out, **{name: arrays[name][which] for name in ("image", "label", "mask_packed") if name in arrays})
    return out


def test_contract_and_card_name_whose_slices_the_weights_were_trained_on_and_how_good_they_are():
    model = resource("Models", "slices-best")
    card = json.loads((model / "model_card.json").read_text(encoding="utf-8"))

    for words in ("Jun Cheng", "1512427", "CC BY 4.0", "patients: 2400 slices"):
        assert words in (model / "model.json").read_text(encoding="utf-8")
        assert words in card["attribution"] + card["data"]
    on_unseen_patients = card["measured"]["slices, patients"]["scores"]["type, accuracy"]["model"]
    assert on_unseen_patients["n"] == 4, "every fold of the patients"
    assert 0.9 < on_unseen_patients["mean"] < 1


def test_slices_of_the_training_set_are_recognised_and_read_well(real_data, tmp_path):
    data = part_of(real_data / "brain2d" / "figshare_128.npz", slice(0, None, 24), tmp_path / "some.npz")

    result = evaluate_slices(data)

    assert result["slices_trained_on"] == result["slices"] == 100
    assert "say nothing about new patients" in result["note"]
    assert result["accuracy"] > 0.95 and result["iou"] > 0.55


def test_tumors_of_another_collection_are_mostly_called_what_they_are(real_data):
    result = evaluate_slices(real_data / "brain2d" / "sartaj_128.npz")

    assert result["slices_trained_on"] == 0 and result["iou"] is None
    assert result["per_class"]["none"]["recall"] == 0, "it was never shown a slice without a tumor"
    assert (
        result["per_class"]["meningioma"]["recall"] > 0.6 and result["per_class"]["pituitary adenoma"]["recall"] > 0.6
    )


@pytest.mark.parametrize("name", ["BRATS2013_pat0001", "BraTS-GLI-00000-000"])
def test_gliomas_without_a_skull_are_called_gliomas(real_data, name):
    folder = real_data / "brats3d" / name
    (box, *_) = boxes_around_components(read_labels(folder / "seg.nii.gz"))

    found = slice_evidence(read_volume(folder / "t1c.nii.gz"), box)

    assert max(found["types"], key=found["types"].get) == "glioma"
