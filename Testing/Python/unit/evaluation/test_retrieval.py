"""The neighbours' labels as predictions: scores with known answers, and the whole command on a small index."""

import json

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.manifest import write_manifest
from TumorRetrievalLib.engine import patient
from TumorRetrievalLib.engine.archive import ReadWith, build_archive_index
from TumorRetrievalLib.engine.build_index import build_bundled_index
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.evaluation import retrieval
from TumorRetrievalLib.evaluation.neighbours import (
    LABELS,
    Labelled,
    chance,
    nearest,
    score_neighbours,
    similarity_matrix,
    vote,
)
from TumorRetrievalLib.evaluation.retrieval import evaluate_retrieval
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT as LAYOUT
from TumorRetrievalLib.retrieval.blocks import extent_features
from TumorRetrievalLib.retrieval.case_index import CaseIndex


def labelled(appearances: list, names: list[str], sizes: list[float]) -> Labelled:
    vectors = np.array([LAYOUT.combine({"appearance": np.array(one, float)}) for one in appearances])
    return Labelled(vectors, {label: np.array(names) for label in LABELS}, np.array(sizes, float))


def test_five_neighbours_vote_and_their_mean_size_is_the_prediction():
    near, far = [[1, 0.01 * n] for n in range(5)], [[0, 1]] * 9
    gallery = labelled([*near, *far], ["a", "a", "a", "b", "b"] + ["c"] * 9, [10] * 14)
    asking = labelled([[1, 0], [1, 0]], ["a", "b"], [13, 7])

    score = score_neighbours(nearest(similarity_matrix(asking.vectors, gallery.vectors, LAYOUT)), asking, gallery)

    assert score["type"] == 0.5, "both are taken for a: three of five neighbours are"
    assert score["linear_size_rmse_mm"] == 3.0


def test_of_equally_frequent_labels_the_nearest_wins():
    assert vote(np.array(["b", "a", "a", "b", "c"])) == "b"


def test_chance_is_the_most_frequent_label():
    gallery = labelled([[1, 0]] * 4, ["a", "a", "a", "b"], [10, 10, 10, 10])
    asking = labelled([[1, 0]] * 4, ["a", "b", "b", "b"], [12, 8, 12, 8])

    assert chance(asking, gallery) == {**dict.fromkeys(LABELS, 0.25), "linear_size_rmse_mm": 2.0}


def test_labels_and_sizes_that_nobody_has_said_neither_ask_nor_answer():
    gallery = labelled([[1, 0]] * 3, ["a", "b", "b"], [10, np.nan, 30])
    gallery.labels["type"] = np.array(["a", None, None], object)
    gallery.labels["area"] = np.array([None] * 3, object)
    asking = labelled([[1, 0]] * 2, ["a", "a"], [20, np.nan])
    asking.labels["type"] = np.array(["a", None], object)

    score = score_neighbours(nearest(similarity_matrix(asking.vectors, gallery.vectors, LAYOUT)), asking, gallery)

    assert score["type"] == 1.0 and score["linear_size_rmse_mm"] == 0.0
    assert "area" not in score and "area" not in chance(asking, gallery)
    assert score["left_right"] == 0.0, "b has more votes"


def test_among_fewer_cases_the_neighbours_are_less_alike():
    cases, vectors = [], {}
    for number in range(160):
        extent = LAYOUT.combine({"extent": extent_features(np.full(3, 5.0 + number / 2))})
        cases.append(Case(f"case{number}", f"patient{number}", tumors=(Tumor(type="glioma", linear_size_mm=number),)))
        vectors[f"case{number}"] = extent[None].astype(np.float32)
    asking, answers = retrieval._labelled(cases[::8], vectors), [case for n, case in enumerate(cases) if n % 8]

    table = retrieval._among_fewer(asking, answers, vectors, LAYOUT, seed=0)

    errors = [row["linear_size_rmse_mm"] for row in table.values()]
    assert list(table) == ["half of them", "a quarter", "an eighth"] and errors == sorted(errors) and errors[0] > 0
    assert all(row["type"] == 1.0 and "area" not in row for row in table.values())


@pytest.fixture(scope="module")
def real_index(tmp_path_factory, tiny_model):
    """An index of ten patients' scans in files, whose places are known as the scans lie in the atlas already."""
    in_place = AtlasAlignment.remembered(np.eye(4))
    patch = pytest.MonkeyPatch()
    patch.setattr(patient, "register_to_atlas", lambda scan, progress=None: in_place)
    folder = tmp_path_factory.mktemp("hospital") / "archive"
    folder.mkdir()
    cases = []
    for number in range(10):
        grid = Grid.around((0, -18, 4), 8.0, (20, 24, 20))
        away = np.abs(np.indices(grid.shape) - np.array([6 + number % 8, 12, 10])[:, None, None, None]).max(0)
        image = 100 + 10 * np.random.default_rng(number).standard_normal(grid.shape) + 100 * (away < 2)
        image[:1] = 0
        files = {name: folder / f"{number}_{name}.nii.gz" for name in ("t1c", "mask")}
        write_volume(files["t1c"], Volume(image, grid.affine))
        write_labels(files["mask"], LabelMap(away < 2, grid.affine))
        cases.append(Case(f"case{number}", f"patient{number}", **files))
    write_manifest(folder / "manifest.csv", cases)
    build_archive_index(folder / "manifest.csv", folder.parent / "index", ReadWith(tiny_model, workers=1))
    yield folder.parent / "index"
    patch.undo()


def test_a_hospitals_index_gets_the_table_too_by_reading_its_scans_again(real_index, tiny_model):
    result = evaluate_retrieval(real_index, tiny_model)

    exact, distorted = result["ours"]["exact boxes"], result["ours"]["distorted boxes"]
    assert result["held_out_tumors"] == 2 and result["patients"] == "patients of this index"
    assert set(exact) == set(distorted) == {*LABELS, "linear_size_rmse_mm"} - {"type"}
    assert result["notes"] == ["Left out, as tumors without such a label ask or answer: type."]
    appearance = result["appearance alone"]
    assert set(appearance) == {"exact boxes", "distorted boxes"} and result["chance"]["most frequent label"]
    assert all(set(row) == set(exact) for row in result["ours among fewer cases"].values())


def test_boxes_are_drawn_anew_on_the_scans_and_other_boxes_are_other_embeddings(real_index, tiny_model):
    with CaseIndex.open(real_index) as index:
        case, exact = index.get("case0"), index.vectors_of("case0")
    reader, notes = patient.tumor_reader(tiny_model), []

    one, again, other = (retrieval._with_distorted_boxes([case], reader, seed, None, notes) for seed in (0, 0, 1))

    assert one["case0"].shape == exact.shape and not notes
    assert np.array_equal(one["case0"], again["case0"]) and not np.allclose(one["case0"], other["case0"])
    assert 0.3 < float(one["case0"][0] @ exact[0]) / float(exact[0] @ exact[0]) < 1.0


def test_a_scan_that_is_gone_is_named_and_the_others_are_measured(real_index, tiny_model, tmp_path):
    held_out = tmp_path / "patients.json"
    held_out.write_text(json.dumps({"training": [], "held out": ["patient1", "patient2", "nobody"]}))
    gone = real_index.parent / "archive" / "2_t1c.nii.gz"
    elsewhere = gone.rename(tmp_path / gone.name)

    result = evaluate_retrieval(real_index, tiny_model, asking=held_out)
    elsewhere.rename(gone)

    assert result["held_out_tumors"] == 2 and result["gallery_tumors"] == 8
    assert "No distorted boxes for case2" in result["notes"][0] and "2_t1c.nii.gz" in result["notes"][0]
    assert result["ours"]["distorted boxes"]


def test_patients_that_are_not_in_the_index_cannot_ask(real_index, tiny_model, tmp_path):
    held_out = tmp_path / "patients.json"
    held_out.write_text(json.dumps({"held out": ["nobody"]}))
    with pytest.raises(UnreadableFile, match="0 cases would ask"):
        evaluate_retrieval(real_index, tiny_model, asking=held_out)
    held_out.write_text("[]")
    with pytest.raises(UnreadableFile, match="does not say which patients"):
        evaluate_retrieval(real_index, tiny_model, asking=held_out)


@pytest.mark.slow
def test_the_command_compares_ours_each_block_chance_and_the_paper(tiny_model, tmp_path):
    build_bundled_index(tmp_path / "index", tiny_model, workers=2, limit=8)

    result = evaluate_retrieval(tmp_path / "index", tiny_model, tmp_path / "table.json")

    assert json.loads((tmp_path / "table.json").read_text()) == result
    for name in ("ours", "appearance alone", "type alone", "position alone", "extent alone"):
        assert set(result[name]) == {"exact boxes", "distorted boxes"}
    position = result["position alone"]["exact boxes"]
    assert position["left_right"] > 0.8, "neighbours in space are on the same side"
    assert result["gallery_tumors"] > result["held_out_tumors"] > 0
