"""The tables and figures of Pisov et al. 2018 from networks that nobody has trained, on a few patients."""

import json
import shutil

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.errors import UnreadableFile, WeightsError
from TumorRetrievalLib.evaluation import paper_patients, pisov
from TumorRetrievalLib.evaluation.neighbours import LABELS, Labelled
from TumorRetrievalLib.evaluation.paper_patients import BOXES, Cohort, kept, read_patient
from TumorRetrievalLib.evaluation.pisov import (
    COLUMNS,
    TABLES,
    Embedded,
    _read_with_network,
    _read_with_ours,
    evaluate_pisov,
    rows_of,
)
from TumorRetrievalLib.imaging.intensity import normalise_crop
from TumorRetrievalLib.networks.pisov import PisovNetwork, read_patch
from TumorRetrievalLib.networks.weights import load_model, save_model
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, extent_features, position_features
from TumorRetrievalLib.training.commands import TRAINED_ON
from TumorRetrievalLib.training.paper_samples import COHORT, PATIENTS
from TumorRetrievalLib.training.pisov import TASKS

SMALL_COHORT = Cohort(10, 32, 4.0)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """A folder for painted patients."""
    return tmp_path_factory.mktemp("patients")


@pytest.fixture(scope="module")
def painted(patients):
    return [read_patient(patients, number, SMALL_COHORT) for number in range(5)]


def test_a_fifth_of_the_cohort_is_held_out_and_none_of_it_was_trained_on():
    for patients in (10, 100, COHORT):
        cohort = Cohort(patients, 40, 3.0)
        assert len(cohort.gallery) + len(cohort.held_out) == patients
        assert len(cohort.held_out) == pytest.approx(patients / 5, abs=1)
        assert max(cohort.gallery) < PATIENTS <= min(cohort.held_out) and max(cohort.held_out) < COHORT


def test_each_tumor_lies_wholly_in_its_patch_with_its_box_around_it(painted):
    assert sum(len(patient.sizes) for patient in painted) >= 5
    for patient in painted:
        for patch, box in zip(patient.patch_of, patient.boxes["exact boxes"], strict=True):
            hull = box.voxel_hull(patient.grids[patch])
            assert all(0 < part.start < part.stop < SMALL_COHORT.crop for part in hull)
            core = patient.cores[patch][hull]
            assert all(core.take(end, axis).any() for axis in range(3) for end in (0, -1)), "the box is tight"


def test_distorted_boxes_differ_from_the_exact_ones_and_labels_do_not_depend_on_them(painted):
    for patient in painted:
        for exact, distorted in zip(*patient.boxes.values(), strict=True):
            assert not np.allclose(exact.size, distorted.size) and not np.allclose(exact.center, distorted.center)
        assert all(set(patient.labels[label]) <= set(ALLOWED[label]) for label in LABELS)


def test_a_painted_patient_is_kept_and_not_painted_again(tmp_path, monkeypatch):
    first = read_patient(tmp_path, 0, SMALL_COHORT)
    monkeypatch.setattr(paper_patients, "_painted", lambda *asked: pytest.fail("painted again"))

    again = read_patient(tmp_path, 0, SMALL_COHORT)

    assert np.array_equal(first.images, again.images) and np.array_equal(first.cores, again.cores)


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    (tmp_path / "7.npz").write_bytes(b"no archive")

    with pytest.raises(UnreadableFile, match=r"7\.npz.*made again"):
        kept(tmp_path / "7.npz", dict)


def test_each_box_has_the_embedding_that_the_network_gives_it_alone(painted, tmp_path):
    loaded = load_model(save_row(tmp_path, TASKS), "cpu")
    patient = max(painted, key=lambda one: len(one.sizes))

    found = _read_with_network(loaded, patient, BOXES)

    for kind in BOXES:
        for tumor, (patch, box) in enumerate(zip(patient.patch_of, patient.boxes[kind], strict=True)):
            raw = patient.images[patch]
            image = normalise_crop(raw, raw > 0, patient.brains[patch], np.zeros(raw.shape, bool))
            hull = box.voxel_hull(patient.grids[patch])
            alone, _ = read_patch(loaded.network, image, [[end for part in hull for end in (part.start, part.stop)]])
            assert np.allclose(found[kind][tumor], alone[0])
    assert len(found["dice"]) == len(patient.grids)


def test_ours_is_asked_about_the_same_boxes_in_the_same_places(painted, tiny_model):
    patient = painted[0]

    found = _read_with_ours(tumor_reader(tiny_model), patient, BOXES)

    for kind in BOXES:
        for vector, place, box in zip(found[kind], patient.atlas_mm[kind], patient.boxes[kind], strict=True):
            expected = DEFAULT_LAYOUT.combine(
                {"position": position_features(place), "extent": extent_features(box.size)}
            )
            known = expected != 0
            assert np.allclose(vector[known], expected[known])


def test_the_nearest_in_distance_vote_whatever_the_length_of_their_vectors():
    gallery = labelled([[1, 0], [9, 0], [9, 1]], ["a", "b", "b"], [10, 30, 30])
    asking = labelled([[2, 0.5]], ["a"], [10])

    scores = Embedded(gallery, {BOXES[0]: asking}, None, None).scores(BOXES[0], k=1)

    assert scores["type"] == 1.0 and scores["linear_size_rmse_mm"] == 0.0


def labelled(vectors: list, names: list[str], sizes: list[float]) -> Labelled:
    return Labelled(np.array(vectors, float), {label: np.array(names) for label in LABELS}, np.array(sizes, float))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two rows of the tables, of networks with four channels that nobody has trained."""
    monkeypatch.setattr(pisov, "ROWS", {"all-64": (4, TASKS), "type-64": (4, ("type",))})
    for name, (_, tasks) in pisov.ROWS.items():
        save_row(tmp_path / "runs" / name / "model", tasks)
    return tmp_path / "runs"


def save_row(folder, tasks, **changes):
    torch.manual_seed(1)
    network = PisovNetwork(4, blocks=1, tasks={task: len(ALLOWED[task]) for task in tasks if task in ALLOWED})
    contract = {
        "solved_tasks": list(tasks), "crop": SMALL_COHORT.crop, "spacing_mm": [SMALL_COHORT.spacing] * 2,
        "training": {"steps": 7, "minutes": 0.5}, "trained_on": TRAINED_ON,
    }  # fmt: skip
    return save_model(folder, network, contract | changes)


def test_the_networks_scores_stand_beside_the_papers_and_ours(runs, patients, tiny_model, tmp_path):
    def evaluate():
        return evaluate_pisov(
            runs, tmp_path / "out", tmp_path / "t.json", patients=10, cases=patients, model=tiny_model
        )

    result = evaluate()

    assert json.loads((tmp_path / "t.json").read_text()) == result
    assert all((tmp_path / "out" / name).stat().st_size > 5000 for name in ("figure_4.png", "figure_5.png"))
    assert result["cohort"]["gallery_tumors"] > result["cohort"]["held_out_tumors"] > 0
    assert result["runs"]["type-64"]["steps"] == 7
    everything = dict(result["table_3"]["All"]["retrained"])
    assert 0 <= everything.pop("dice") <= 1
    assert everything == result["table_4"]["retrained"][BOXES[0]] and set(everything) == set(COLUMNS)
    assert result["table_3"]["Type"]["retrained"]["dice"] is None, "it was not taught to outline"
    assert result["table_2"]["96 channels"]["retrained"] is None, "it was not trained"
    assert result["figure_4"]["ours"]["5"] == result["table_4"]["ours"][BOXES[0]]
    shown = {f"{row}, {whose}" for row in TABLES["table_2"] for whose in ("paper", "retrained")}
    assert set(rows_of(result, "table_2")) == shown
    assert evaluate() == result, "nothing is left to chance"


def test_a_row_that_is_missing_is_trained_and_the_others_are_kept(runs, patients, tiny_model, tmp_path, monkeypatch):
    asked = []

    def train_recipe(name, out, *, progress, **request):
        asked.append((name, out.name, request))
        return save_row(out / "model", request["tasks"])

    monkeypatch.setattr(pisov, "train_recipe", train_recipe)
    shutil.rmtree(runs / "all-64")

    evaluate_pisov(runs, tmp_path / "out", patients=10, cases=patients, minutes_each=3, size="small", model=tiny_model)

    assert asked == [("pisov", "all-64", {"minutes": 3, "size": "small", "channels": 4, "tasks": TASKS})]


def test_two_models_of_one_row_are_refused(runs, tmp_path):
    save_row(runs / "again", TASKS)

    with pytest.raises(UnreadableFile, match="two models of the row all-64"):
        evaluate_pisov(runs, tmp_path / "out")


def test_models_of_two_sizes_are_not_compared(runs, tmp_path):
    save_row(runs / "type-64" / "model", ("type",), spacing_mm=[1.0, 1.0])

    with pytest.raises(UnreadableFile, match="different sizes"):
        evaluate_pisov(runs, tmp_path / "out")


def test_a_network_that_has_seen_other_patients_is_not_asked_about_these(runs, tmp_path):
    save_row(runs / "all-64" / "model", TASKS, trained_on="12 patients of cohort.csv")

    with pytest.raises(WeightsError, match="evaluate retrieval"):
        evaluate_pisov(runs, tmp_path / "out")


def test_without_the_network_of_all_tasks_the_way_to_it_is_told(runs, tmp_path):
    shutil.rmtree(runs / "all-64")

    with pytest.raises(UnreadableFile, match="--minutes-each"):
        evaluate_pisov(runs, tmp_path / "out")
