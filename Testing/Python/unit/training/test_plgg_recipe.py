"""Training as Vafaeikia et al. 2021: the patients, their division, and what comes out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from TumorRetrievalLib.errors import GeometryMismatch, InvalidImage, ManifestError, UnknownLabel
from TumorRetrievalLib.evaluation.markers import evaluate_markers, table_of
from TumorRetrievalLib.imaging.files import read_labels, write_labels
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.networks.plgg import MARKERS
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.training.commands import train_recipe
from TumorRetrievalLib.training.plgg import class_weights, marker_data, plgg_task, synthetic_patient
from TumorRetrievalLib.training.recipes import PLGG
from TumorRetrievalLib.training.task import TrainingRequest


def quiet(fraction, message):
    pass


def asked(out, **changes):
    return TrainingRequest(**({"out": out, "size": "small", "patients": 20} | changes))


def test_the_published_recipe_is_the_papers():
    assert (PLGG.batch_size, PLGG.crop, PLGG.learning_rate) == (4, (128, 128, 112), 1e-4)
    assert PLGG.task_weights == {"marker": 0.3} and PLGG.max_steps == 400 * 218 // 4 and PLGG.weight_decay == 0


def test_a_synthetic_patient_lies_in_the_atlas_with_its_tumor_bright_and_inside_the_brain():
    scan = synthetic_patient(3_000_001, 4.0)

    atlas = load_atlas().brain
    assert scan.image.shape == (1, 40, 48, 40) and scan.label in range(len(MARKERS))
    assert scan.image[0][scan.masks[0]].mean() > 1
    found = (scan.image[0] > -3).sum() * 64 / (atlas.data > 0).sum()
    assert 0.75 < found <= 1.05


def test_patients_are_divided_70_15_15_and_otherwise_in_each_split(tmp_path, coarse):
    one, two = (marker_data(asked(tmp_path, split=split), quiet).parts for split in (1, 2))

    assert [len(names) for names in one.values()] == [14, 3, 3]
    assert len({name for names in one.values() for name in names}) == 20
    assert set(one["test"]) != set(two["test"])


def test_rare_markers_weigh_more():
    weights = class_weights([0] * 6 + [1] * 3 + [2] + [-1] * 5)

    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])


def test_training_leaves_a_model_a_card_and_a_table_with_both_kinds(tmp_path, coarse):
    cases = tmp_path / "cases"
    for name, single in (("several", False), ("single", True)):
        train_recipe("plgg", tmp_path / name, steps=3, size="small", patients=20, cases=cases, single_task=single)

    result = evaluate_markers(tmp_path, cases=cases, json_path=tmp_path / "table.json")

    card = json.loads((tmp_path / "several" / "model" / "model_card.json").read_text())
    assert card["seed"] == 1 and card["steps"] == 3 and "no patient" in card["data"] and card["device"] == "CPU"
    assert card["metrics"]["test_dice"]["n"] == 3 and "means nothing" in card["known_failures"][0]
    dice = result["ours"]["test"]["multitask"]["dice"]
    assert dice["mean"] == pytest.approx(card["metrics"]["test_dice"]["mean"], abs=2e-3)
    assert set(result["ours"]["test"]) == {"single task", "multitask"}
    assert "accuracy" in result["ours"]["test"]["multitask"] and "accuracy" not in result["ours"]["test"]["single task"]
    assert json.loads((tmp_path / "table.json").read_text())["ours"] == result["ours"]
    rows = table_of(result)
    assert rows["Dice, run 1, paper"]["test, multitask"] == 0.83 and "Dice, split 1, ours" in rows


def test_the_same_training_gives_the_same_weights(tmp_path, coarse):
    def weights(folder):
        train_recipe("plgg", tmp_path / folder, steps=2, size="small", patients=20, cases=tmp_path / "cases")
        return (tmp_path / folder / "model" / "weights.safetensors").read_bytes()

    assert weights("one") == weights("two")


def test_a_hospitals_manifest_trains_the_same_way(tmp_path, coarse, in_atlas_already, hospital):
    model = train_recipe("plgg", tmp_path / "run", data=hospital(), steps=2, size="small")

    contract = json.loads((model / "model.json").read_text())
    assert contract["trained_on"] == "8 patients of manifest.csv, split 1 of 6"
    assert not contract["data"]["synthetic"] and str(tmp_path) not in json.dumps(contract)
    assert evaluate_markers(tmp_path / "run", hospital(), cases=tmp_path / "run" / "cases")["data"]


def test_a_manifests_mask_and_marker_reach_the_network_as_they_are(tmp_path, coarse, in_atlas_already, hospital):
    data = marker_data(asked(tmp_path, data=hospital()), quiet)

    scans = [data.store.read(name) for names in data.parts.values() for name in names]
    assert sorted(scan.label for scan in scans) == [0, 0, 0, 1, 1, 1, 2, 2]
    assert all(scan.masks.sum() == 5**3 for scan in scans)


def test_one_marker_only_is_refused_unless_the_marker_is_not_asked_for(tmp_path, coarse, in_atlas_already, hospital):
    def alike(number, case):
        return replace(case, tumors=(replace(case.tumors[0], marker="other"),))

    manifest = hospital(change=alike)
    with pytest.raises(ManifestError, match="at least two kinds"):
        plgg_task(asked(tmp_path, data=manifest), quiet)
    assert plgg_task(asked(tmp_path, data=manifest, single_task=True), quiet).recipe.task_weights == {}


def test_a_marker_that_is_none_of_the_three_is_refused_with_the_case(tmp_path, coarse, in_atlas_already, hospital):
    def strange(number, case):
        return replace(case, tumors=(replace(case.tumors[0], marker="IDH mutant"),)) if number == 5 else case

    with pytest.raises(UnknownLabel, match=r"case5.*IDH mutant.*BRAF V600E, BRAF fusion, other"):
        plgg_task(asked(tmp_path, data=hospital(change=strange)), quiet)


def test_masks_that_do_not_fit_or_are_empty_are_refused_with_the_case(tmp_path, coarse, in_atlas_already, hospital):
    manifest = hospital()
    path = tmp_path / "hospital" / "3_mask.nii.gz"
    mask = read_labels(path)
    write_labels(path, LabelMap(mask.data[:-1], mask.affine))
    with pytest.raises(GeometryMismatch, match=r"case3.*19, 24, 20"):
        plgg_task(asked(tmp_path / "a", data=manifest), quiet)
    write_labels(path, LabelMap(np.zeros_like(mask.data), mask.affine))
    with pytest.raises(InvalidImage, match=r"case3.*empty"):
        plgg_task(asked(tmp_path / "b", data=manifest), quiet)


def test_too_few_patients_and_files_that_are_not_there_are_refused(tmp_path, coarse, in_atlas_already, hospital):
    with pytest.raises(ManifestError, match="has 5 patients"):
        plgg_task(asked(tmp_path, data=hospital(5)), quiet)
    manifest = hospital()
    (tmp_path / "hospital" / "2_flair.nii.gz").unlink()
    with pytest.raises(ManifestError, match="2_flair"):
        plgg_task(asked(tmp_path, data=manifest), quiet)


def test_a_newer_file_is_prepared_again(tmp_path, coarse, in_atlas_already, hospital):
    manifest = hospital()
    before = set(marker_data(asked(tmp_path, data=manifest), quiet).parts["training"])
    hospital()

    assert before.isdisjoint(marker_data(asked(tmp_path, data=manifest), quiet).parts["training"])


def test_a_network_learns_what_a_marker_looks_like_and_where_the_tumor_is(tmp_path, coarse):
    """One batch, by heart: mask and marker together."""
    from TumorRetrievalLib.training.trainer import train

    torch.manual_seed(0)
    task = plgg_task(asked(tmp_path), quiet)
    budget = {"max_steps": 80, "max_minutes": None, "warmup_steps": 5, "learning_rate": 2e-3}
    recipe = replace(task.recipe, batch_size=6, **budget)
    batch = next(b for b in task.batches(recipe)(0) if len(set(b.labels["marker"].tolist()) - {-1}) == 3)

    run = train(task.network, [batch] * 80, recipe, tmp_path / "run", loss=task.loss)

    assert run.log[-1]["dice_0"] > 0.7 and run.log[-1]["marker"] < 0.5 * run.log[0]["marker"]
