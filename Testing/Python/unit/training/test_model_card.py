"""The card of a model: made by the training or of its contract, and what is measured later is added to it."""

import json
import shutil

import pytest
import torch

from TumorRetrievalLib.errors import InvalidRequest, WeightsError
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.slices import SliceNetwork
from TumorRetrievalLib.networks.weights import save_model
from TumorRetrievalLib.training.model_card import (
    CARD_NAME,
    model_card,
    note_measured,
    read_card,
    require_architecture,
    require_same_weights,
    write_card,
)

TRAINING = {
    "recipe": {"name": "slices-best", "seed": 3, "batch_size": 16, "crop": 128},
    "steps": 40, "crops": 640, "minutes": 30.0, "final": {"loss": 0.5},
}  # fmt: skip
ENTRY = {
    "title": "Outlines", "about": "Two scans.", "command": "evaluate segmentation --cases scans",
    "scores": {"core": {"model": {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 2}}},
}  # fmt: skip


@pytest.fixture
def model(tmp_path):
    """A folder with weights and a contract, and no card."""
    contract = {"trained_on": "slices of patients", "training": TRAINING, "quality": {"held_out_dice": 0.6}}
    return save_model(tmp_path / "model", SliceNetwork(), contract | {"attribution": "A hospital, CC BY 4.0"})


def test_a_card_is_made_of_the_contract_where_there_is_none(model):
    card = read_card(model)

    assert card["name"] == "slices-best-40" and card["hours"] == 0.5 and card["seed"] == 3
    assert card["data"] == "slices of patients" and card["attribution"] == "A hospital, CC BY 4.0"
    assert card["batch"] == "16 x 128 x 128 pixels"
    assert card["metrics"] == {"held_out_dice": {"mean": 0.6, "low": None, "high": None, "n": None}}
    assert any("metastasis" in sentence for sentence in card["known_failures"])
    assert not (model / CARD_NAME).exists(), "reading writes nothing"


def test_what_is_measured_is_added_to_what_was_known_and_replaces_what_was_measured_before(model):
    contract = (model / "model.json").read_bytes()
    write_card(model, read_card(model) | {"device": "a GPU"})

    note_measured(model, "segmentation", ENTRY)
    note_measured(model, "retrieval", ENTRY)
    note_measured(model, "segmentation", ENTRY | {"title": "Outlines again"})

    card = json.loads((model / CARD_NAME).read_text())
    assert card["device"] == "a GPU" and card["measured"]["retrieval"] == ENTRY
    assert card["measured"]["segmentation"]["title"] == "Outlines again"
    assert (model / "model.json").read_bytes() == contract, "the contract stays as the training has left it"


def test_a_card_of_other_weights_is_not_taken_for_this_models(model):
    write_card(model, read_card(model))
    torch.manual_seed(9)
    save_model(model, SliceNetwork(), {"training": TRAINING})

    with pytest.raises(WeightsError, match="of other weights. Delete it"):
        read_card(model)


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_damaged_card_is_refused_with_the_way_out(model, content):
    (model / CARD_NAME).write_text(content)

    with pytest.raises(WeightsError, match="is damaged.*Delete it"):
        note_measured(model, "segmentation", ENTRY)


def test_a_contract_that_does_not_tell_of_its_training_makes_no_card(tmp_path):
    save_model(tmp_path, SliceNetwork(), {"training": {"recipe": "unknown"}})

    with pytest.raises(WeightsError, match="does not say how the model was trained"):
        read_card(tmp_path)


def test_scores_of_one_model_are_not_noted_in_the_card_of_another(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    torch.manual_seed(9)
    other = save_model(tmp_path / "other", SliceNetwork(), {})

    require_same_weights(copy, model)
    require_architecture(model, "slices_best")
    with pytest.raises(InvalidRequest, match="holds another"):
        require_same_weights(other, model)
    with pytest.raises(InvalidRequest, match="is a slices_best; slices_paper would be measured"):
        require_architecture(model, "slices_paper")
    with pytest.raises(WeightsError, match="no model in"):
        require_same_weights(tmp_path, model)


def test_a_batch_of_scans_is_counted_in_voxels():
    recipe = TRAINING["recipe"] | {"crop": [8, 16, 24]}
    network = DefaultNetwork(widths=(8, 8, 8))

    card = model_card(network, TRAINING | {"recipe": recipe}, data="scans", metrics={}, failures=[])

    assert card["batch"] == "16 x 8 x 16 x 24 voxels"
