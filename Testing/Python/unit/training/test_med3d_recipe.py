"""Training as Epstein & Shimshi 2021."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.case import Case, MaskLabels
from TumorRetrievalLib.cohort.label_schemes import ENHANCING_IS_4
from TumorRetrievalLib.cohort.manifest import write_manifest
from TumorRetrievalLib.errors import GeometryMismatch, InvalidImage, ManifestError, UnknownLabel, WeightsError
from TumorRetrievalLib.evaluation.brats import evaluate_brats
from TumorRetrievalLib.evaluation.segmentation import dice
from TumorRetrievalLib.imaging.files import read_labels, write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.networks.med3d import REGIONS, Med3dUNet, MedicalNetEncoder
from TumorRetrievalLib.networks.weights import load_model, save_model
from TumorRetrievalLib.training import med3d as module
from TumorRetrievalLib.training.commands import train_recipe
from TumorRetrievalLib.training.med3d import med3d_task, real_scan, scans_of, synthetic_glioma
from TumorRetrievalLib.training.recipes import MED3D
from TumorRetrievalLib.training.task import TrainingRequest
from TumorRetrievalLib.training.whole_scans import normalised, read_in_windows


def quiet(fraction, message):
    pass


def asked(out, **changes):
    return TrainingRequest(**({"out": out, "size": "small", "patients": 20} | changes))


@pytest.fixture
def checkpoint(tmp_path):
    """Weights of an encoder as MedicalNet names and wraps them."""
    torch.manual_seed(5)
    weights = {f"module.{name}": tensor for name, tensor in MedicalNetEncoder(10).state_dict().items()}
    torch.save({"state_dict": weights | {"module.conv_seg.0.bias": torch.zeros(32)}}, tmp_path / "resnet_10.pth")
    return tmp_path / "resnet_10.pth"


def test_the_published_recipe_is_the_papers():
    assert (MED3D.batch_size, MED3D.learning_rate, MED3D.max_steps) == (1, 1e-3, 3340) and MED3D.loss == "voxels"


def test_the_regions_of_a_synthetic_glioma_are_nested():
    scan = synthetic_glioma(4_000_000, 4.0)

    whole, core, enhancing = scan.masks
    assert scan.image.shape == (2, 40, 48, 40) and whole.sum() > core.sum() > 0
    assert not (core & ~whole).any() and not (enhancing & ~core).any()


def test_a_training_with_frozen_encoders_leaves_them_as_the_checkpoint_has_them(tmp_path, coarse, checkpoint):
    model = train_recipe(
        "med3d-unet", tmp_path / "run", steps=2, size="small", patients=20, checkpoint=checkpoint, freeze=True
    )

    loaded = load_model(model, "cpu")
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]["module.layer4.0.conv2.weight"]
    assert torch.allclose(loaded.network.encoders["flair"].layer4[0].conv2.weight, stored, atol=1e-3)
    encoders = loaded.contract["encoders"]
    assert encoders["medicalnet"] == {"file": "resnet_10.pth", "left_out": ["module.conv_seg.0.bias"]}
    card = json.loads((model / "model_card.json").read_text())
    assert set(card["metrics"]) == {f"held_out_dice_{region}" for region in loaded.contract["masks"]}


def test_freezing_encoders_that_know_nothing_and_unknown_depths_are_refused(tmp_path, coarse):
    with pytest.raises(UnknownLabel, match="--checkpoint"):
        med3d_task(asked(tmp_path, freeze=True), quiet)
    with pytest.raises(UnknownLabel, match="10, 18, 50"):
        med3d_task(asked(tmp_path, encoder=34), quiet)


def test_a_run_is_not_continued_with_another_encoder_or_another_recipe(tmp_path, coarse):
    train_recipe("med3d-unet", tmp_path, steps=1, size="small", patients=20)

    with pytest.raises(WeightsError, match="another network"):
        train_recipe("med3d-unet", tmp_path, steps=2, size="small", patients=20, encoder=18)
    with pytest.raises(WeightsError, match="another recipe"):
        train_recipe("plgg", tmp_path, steps=2, size="small", patients=20)


def test_a_manifest_trains_the_same_way_and_its_scans_can_be_evaluated(tmp_path, coarse, hospital):
    manifest = hospital(6)
    model = train_recipe("med3d-unet", tmp_path / "run", data=manifest, steps=2, size="small")

    result = evaluate_brats(manifest, model, json_path=tmp_path / "brats.json")

    assert len(result["cases"]) == 6 and result["mean"]["whole_tumor"]["n"] == 6
    assert result["paper"]["ResNet-10, trained"]["whole_tumor"] == 0.741
    assert json.loads((tmp_path / "brats.json").read_text()) == result


def test_a_patient_read_from_files_is_the_patient_of_the_training_and_scores_the_same(tmp_path, monkeypatch):
    """Same channels, same intensities, same place: what a network has learned holds for scans on disk."""
    painted = []
    monkeypatch.setattr(module, "normalised", lambda volume: painted.append(volume) or normalised(volume))
    scan = synthetic_glioma(4_000_002, 4.0)
    mirrored = painted[0].affine @ np.diag([-1.0, 1, 1, 1])
    mirrored[:3, 3] = painted[0].grid.to_world((scan.image.shape[1] - 1, 0, 0))
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("t1c", "flair", "mask")}
    for name, volume, scale in zip(files, list(painted), (100.0, 7.0), strict=False):
        write_volume(files[name], Volume(scale * volume.data[::-1], mirrored))
    labels = np.select([*scan.masks[::-1]], [4, 1, 2]).astype(np.uint8)
    write_labels(files["mask"], LabelMap(labels[::-1], mirrored))
    case = Case("glioma", "glioma", **files, mask_labels=ENHANCING_IS_4)
    write_manifest(tmp_path / "manifest.csv", [case])

    read = real_scan(case, 4.0)

    assert np.array_equal(read.masks, scan.masks)
    assert np.abs(read.image - scan.image).max() < 0.01
    torch.manual_seed(3)
    network = Med3dUNet(10, 8).eval()
    torch.nn.init.normal_(network.masks.weight)
    torch.nn.init.zeros_(network.masks.bias)
    contract = {"spacing_mm": [4.0, 4.0], "window": [32, 32, 32], "channels": ["t1c", "flair"]}
    scores = evaluate_brats(tmp_path / "manifest.csv", save_model(tmp_path / "model", network, contract))["cases"]
    chances, _ = read_in_windows(network, scan.image, (32, 32, 32), torch.device("cpu"))
    for region, chance, truth in zip(REGIONS, chances, scan.masks, strict=True):
        assert scores["glioma"][region] == pytest.approx(dice(chance > 0.5, truth), abs=0.01)


def test_the_regions_of_a_manifest_follow_its_label_scheme(tmp_path, coarse, hospital):
    store, parts = scans_of(asked(tmp_path, data=hospital(4)), quiet)

    whole, core, enhancing = store.read(parts["training"][0]).masks
    assert (whole.sum(), core.sum(), enhancing.sum()) == (5**3, 3**3, 3**3 - 1)


def test_labels_of_unknown_meaning_are_refused_with_the_way_out(tmp_path, coarse, hospital):
    own = MaskLabels(core=(1,), whole=(1, 2), scheme="ours")
    for labels in (own, None):
        manifest = hospital(4, change=lambda number, case, labels=labels: replace(case, mask_labels=labels))
        with pytest.raises(ManifestError, match="mask_scheme"):
            med3d_task(asked(tmp_path, data=manifest), quiet)


def test_masks_that_do_not_fit_or_are_empty_are_refused_with_the_case(tmp_path, coarse, hospital):
    manifest = hospital(4)
    path = tmp_path / "hospital" / "1_mask.nii.gz"
    mask = read_labels(path)
    write_labels(path, LabelMap(mask.data[1:], mask.affine))
    with pytest.raises(GeometryMismatch, match="case1"):
        med3d_task(asked(tmp_path / "a", data=manifest), quiet)
    write_labels(path, LabelMap(np.zeros_like(mask.data), mask.affine))
    with pytest.raises(InvalidImage, match=r"case1.*empty"):
        med3d_task(asked(tmp_path / "b", data=manifest), quiet)


def test_a_model_of_another_architecture_is_not_evaluated(tmp_path, tiny_model):
    with pytest.raises(WeightsError, match="is a default"):
        evaluate_brats(tmp_path, tiny_model)
