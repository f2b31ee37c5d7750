"""The user's tasks through a real worker process, with a tiny model and an index of four cases."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.errors import (
    GeometryMismatch,
    IndexOfAnotherModel,
    InvalidRequest,
    MissingPackage,
    UnknownCase,
    UnknownLabel,
    UnreadableFile,
    WeightsError,
)
from TumorRetrievalLib.imaging.box import Box, parse_box
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_volume
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch
from TumorRetrievalLib.worker.client import WorkerClient

LONG = 300


@pytest.fixture(scope="module")
def client(cache_of_these_tests):
    with WorkerClient() as client:
        yield client


@pytest.fixture(scope="module")
def arguments(tiny_model, tiny_index) -> dict:
    return {"model": str(tiny_model), "index": str(tiny_index), "device": "cpu"}


@pytest.fixture
def query(sample, arguments) -> dict:
    """A request about the sample patient, without a place for its result."""
    box = sample["box"]
    return {
        **arguments,
        "t1c": str(sample["t1c"]),
        "boxes": [{"center_ras": box.center.tolist(), "size_mm": box.size.tolist()}],
        "k": 3,
    }


@pytest.fixture(scope="module")
def found(client, arguments, tmp_path_factory) -> tuple[Path, dict]:
    """Folder and result of a search for the sample patient."""
    facts = json.loads(resource("SampleCases", "demo.json").read_text(encoding="utf-8"))
    box = parse_box(facts["boxes"][0])
    out = tmp_path_factory.mktemp("found")
    request = {
        **arguments,
        "t1c": str(resource("SampleCases", facts["t1c"])),
        "flair": str(resource("SampleCases", facts["flair"])),
        "boxes": [{"center_ras": box.center.tolist(), "size_mm": box.size.tolist(), "axes": box.axes.tolist()}],
        "k": 3,
        "out": str(out),
    }
    return out, client.submit("find", request).future.result(LONG)


def ask(client, task, given):
    return client.submit(task, given).future.result(LONG)


def test_warming_up_says_what_is_ready(client, arguments, tiny_index):
    heard = []
    ready = client.submit("warm_up", arguments, lambda *told: heard.append(told)).future.result(LONG)

    assert ready["device"] == "cpu"
    assert ready["model"]["name"] == "tiny"
    assert ready["index"]["cases"] == 4 and ready["index"]["folder"] == str(tiny_index)
    assert heard[-1] == (1.0, "Ready")


def test_a_search_answers_with_what_it_has_written(found, sample):
    out, result = found

    assert result == json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert len(result["tumors"][0]["hits"]) == 3
    assert read_labels(out / result["masks"]["whole_tumor"]).grid.same_as(read_volume(sample["t1c"]).grid)


def test_ranking_again_without_a_wish_gives_the_same_hits(client, found):
    out, result = found

    assert ask(client, "rerank", {"result": str(out), "k": 3})["hits"] == result["tumors"][0]["hits"]


def test_ranking_again_takes_less_than_a_tenth_of_a_second(client, found):
    out, _ = found
    ask(client, "rerank", {"result": str(out)})
    seconds = []
    for step in range(10):
        began = time.perf_counter()
        ask(client, "rerank", {"result": str(out), "weights": {"position": step / 10}})
        seconds.append(time.perf_counter() - began)

    # The fastest: what the machine does besides is not the worker's doing.
    assert min(seconds) < 0.1


def test_sliders_filters_and_feedback_change_the_ranking(client, found):
    out, result = found
    best = {name: result["tumors"][0]["hits"][0][name] for name in ("case", "tumor")}

    turned = ask(client, "rerank", {"result": str(out), "k": 4, "weights": {"appearance": 0, "type": 0, "extent": 0}})
    gliomas = ask(client, "rerank", {"result": str(out), "filters": {"types": ["glioma"], "smallest_ml": 0.001}})
    fewer = ask(client, "rerank", {"result": str(out), "k": 4, "less": [best]})
    score_of = {hit["case"]: hit["score"] for hit in fewer["hits"]}

    assert all(hit["score"] == pytest.approx(hit["blocks"]["position"]) for hit in turned["hits"])
    assert {hit["type"] for hit in gliomas["hits"]} == {"glioma"}
    assert score_of[best["case"]] < result["tumors"][0]["hits"][0]["score"]


def test_the_side_can_be_ignored_and_look_alikes_asked_for_when_ranking_again(client, found):
    out, result = found
    best = result["tumors"][0]["hits"][0]

    usual = ask(client, "rerank", {"result": str(out), "k": 4})["hits"]
    either = ask(client, "rerank", {"result": str(out), "k": 4, "mirrored": True})["hits"]
    others = ask(client, "rerank", {"result": str(out), "k": 4, "look_alikes": True})
    together = ask(client, "rerank", {"result": str(out), "k": 4, "together": True, "one_per": "case"})

    score = {hit["case"]: hit["score"] for hit in usual}
    assert all(hit["score"] >= score[hit["case"]] for hit in either)
    assert others["look_alikes_of"] == best["type"] and best["type"] not in {hit["type"] for hit in others["hits"]}
    assert [hit["case"] for hit in together["hits"]] == [hit["case"] for hit in together["together"]]


def test_ranking_again_works_in_a_new_worker(found):
    out, result = found
    with WorkerClient() as another:
        again = ask(another, "rerank", {"result": str(out), "k": 3})["hits"]

    assert again == result["tumors"][0]["hits"]


def test_a_case_is_written_as_files_that_show_it(client, found, arguments, tmp_path):
    _, result = found
    hit = result["tumors"][0]["hits"][0]

    shown = ask(client, "case", {"case": hit["case"], "index": arguments["index"], "out": str(tmp_path / "case")})

    t1c, core = read_volume(tmp_path / "case" / shown["files"]["t1c"]), read_labels(tmp_path / "case" / "core.nii")
    tumor = next(one for one in shown["tumors"] if one["id"] == hit["tumor"])
    assert t1c.grid.same_as(core.grid)
    assert set(shown["files"]) == {"t1c", "flair", "core", "whole"}
    assert shown["provenance"].startswith("synthetic")
    assert core.data[Box.aligned(tumor["box"]["center_ras"], tumor["box"]["size_mm"]).voxel_hull(core.grid)].any()
    assert tumor["type"] == hit["type"] and tumor["core_ml"] == pytest.approx(hit["volume_ml"])


def test_a_case_says_where_it_lies_in_the_atlas_when_that_is_wanted(client, found, arguments):
    hit = found[1]["tumors"][0]["hits"][0]
    asked = {"case": hit["case"], "index": arguments["index"]}

    told, plain = ask(client, "case", {**asked, "atlas": True}), ask(client, "case", asked)

    assert told["files"] == {} and plain["case_to_atlas"] is None
    tumor = next(one for one in told["tumors"] if one["id"] == hit["tumor"])
    place = np.array(told["case_to_atlas"]) @ (*tumor["box"]["center_ras"], 1)
    # The truth of a synthetic case, before its tumor pushed the brain aside.
    assert np.linalg.norm(place[:3] - tumor["atlas_mm"]) < 12
    assert place[0] * tumor["atlas_mm"][0] > 0, "left stays left"


def test_drawing_the_box_again_says_of_every_listed_case_in_how_many_boxes_it_stays(client, found, arguments, sample):
    out, _ = found
    wishes = {"result": str(out), "k": 3, "weights": {"position": 2}}
    scans = {"t1c": str(sample["t1c"]), "flair": str(sample["flair"]), "model": arguments["model"], "device": "cpu"}
    heard = []

    call = client.submit("stability", {**wishes, **scans, "boxes": 2}, lambda *told: heard.append(told[1]))
    checked = call.future.result(LONG)["hits"]

    listed = ask(client, "rerank", wishes)["hits"]
    assert [one["case"] for one in checked] == [hit["case"] for hit in listed]
    assert all(one["stability"]["boxes"] == 2 and 0 <= one["stability"]["kept"] <= 2 for one in checked)
    assert "Box 1 of 2" in heard and "Box 2 of 2" in heard


def test_drawing_the_box_again_can_be_cancelled(client, found, arguments, sample):
    given = {"result": str(found[0]), "t1c": str(sample["t1c"]), "model": arguments["model"], "boxes": 50}
    call = client.submit("stability", given, lambda fraction, words: "Box" in words and client.cancel(call))

    assert type(call.future.exception(LONG)).__name__ == "Cancelled"


def test_the_map_shows_every_tumor_of_the_index_and_where_the_searched_ones_lie(client, found, arguments):
    out, result = found
    hit = result["tumors"][0]["hits"][0]

    told = ask(client, "map", {"result": str(out), "also": [{"case": hit["case"], "tumor": hit["tumor"]}]})

    assert len(told["points"]) == len(told["tumors"]) == told["known"] >= 4
    assert len(told["queries"]) == 1 and all(abs(number) <= 1 for number in told["queries"][0])
    (number,) = [
        number
        for number, (case, tumor, *_) in enumerate(told["tumors"])
        if [case, tumor] == [hit["case"], hit["tumor"]]
    ]
    assert told["also"] == [told["points"][number]]
    assert told["tumors"][number][2:] == [hit["type"], hit["area"], hit["left_right"]]
    without = ask(client, "map", {"index": arguments["index"]})
    assert without["points"] == told["points"] and without["queries"] == []


def test_tumors_are_outlined_in_the_whole_brain(client, arguments, sample, tmp_path):
    given = {"t1c": str(sample["t1c"]), "model": arguments["model"], "device": "cpu", "out": str(tmp_path)}
    heard = []

    told = client.submit("segment", given, lambda *progress: heard.append(progress)).future.result(LONG)

    assert told == json.loads((tmp_path / "segment.json").read_text(encoding="utf-8"))
    for name in told["masks"].values():
        assert read_labels(tmp_path / name).grid.same_as(read_volume(sample["t1c"]).grid)
    for box in told["boxes"]:
        assert all(edge > 0 for edge in box["size_mm"])
    assert len({message for _, message in heard}) > 1


def test_outlining_the_whole_brain_can_be_cancelled(client, arguments, sample, tmp_path):
    given = {"t1c": str(sample["t1c"]), "model": arguments["model"], "out": str(tmp_path)}
    call = client.submit("segment", given, lambda fraction, _: fraction > 0.1 and client.cancel(call))

    assert type(call.future.exception(LONG)).__name__ == "Cancelled"
    assert not (tmp_path / "segment.json").exists()


def test_a_search_without_a_report_answers_the_same(client, query, found, sample, tmp_path):
    given = {**query, "flair": str(sample["flair"]), "out": str(tmp_path), "report": False}

    assert ask(client, "find", given)["tumors"] == found[1]["tumors"]
    assert not (tmp_path / "report.html").exists() and (found[0] / "report.html").exists()


def test_an_index_of_another_model_is_named_with_the_way_out(client, query, tmp_path):
    with pytest.raises(IndexOfAnotherModel, match="[Bb]uild"):
        ask(client, "find", {**query, "model": None, "out": str(tmp_path)})


def test_a_flair_that_lies_elsewhere_is_refused_by_its_name(client, query, sample, tmp_path):
    scan = read_volume(sample["flair"])
    moved = scan.affine.copy()
    moved[:3, 3] += 400
    write_volume(tmp_path / "AX FLAIR.nii.gz", Volume(scan.data, moved))

    with pytest.raises(GeometryMismatch, match="AX FLAIR"):
        ask(client, "find", {**query, "flair": str(tmp_path / "AX FLAIR.nii.gz"), "out": str(tmp_path / "out")})


def test_a_flair_on_a_coarser_and_turned_grid_is_used(client, query, sample, tmp_path):
    scan = read_volume(sample["flair"])
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    middle = scan.grid.centre()
    affine = turn @ np.diag([2.0, 2.0, 5.0, 1.0])
    grid = Grid((100, 110, 36), affine)
    affine[:3, 3] = middle - (affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2))
    write_volume(tmp_path / "flair.nii.gz", resample(scan, Grid(grid.shape, affine)))

    result = ask(client, "find", {**query, "flair": str(tmp_path / "flair.nii.gz"), "out": str(tmp_path / "out")})

    assert len(result["tumors"][0]["hits"]) == 3


@pytest.mark.skipif(bool(shutil.which("nvidia-smi")), reason="there may be a GPU here")
def test_a_gpu_that_is_not_there_is_replaced_by_the_processor(client, arguments):
    assert ask(client, "warm_up", {**arguments, "device": "cuda"})["device"] == "cpu"


@pytest.mark.parametrize("package", ["faiss", "torch"])
def test_a_missing_package_is_named_or_done_without(arguments, tmp_path, monkeypatch, package):
    """A package of that name that cannot be imported stands before the real one."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise ImportError('no {package} here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerClient() as client:
        if package == "faiss":
            # Without FAISS the index is searched with NumPy.
            assert ask(client, "warm_up", arguments)["index"]["search"] == NumpySearch.name
        else:
            with pytest.raises(MissingPackage, match="no torch here.*pip install"):
                ask(client, "warm_up", arguments)


def test_a_cancelled_search_leaves_no_result(client, query, tmp_path):
    call = client.submit("find", {**query, "out": str(tmp_path)}, lambda fraction, _: client.cancel(call))

    assert type(call.future.exception(LONG)).__name__ == "Cancelled"
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"t1c": None}, InvalidRequest, "lacks `t1c`"),
        ({"t1c": 5}, InvalidRequest, "`t1c` cannot be 5"),
        ({"t1c": "/nowhere/scan.nii.gz"}, UnreadableFile, "/nowhere/scan.nii.gz"),
        ({"k": 0}, InvalidRequest, "`k`"),
        ({"boxes": [[1, 2]]}, InvalidRequest, "`boxes`"),
        ({"weights": {"colour": 1}}, InvalidRequest, "appearance"),
        ({"weights": {"type": -1}}, InvalidRequest, "at least 0"),
        ({"filters": {"types": ["tumor"]}}, UnknownLabel, "tumor"),
        ({"filters": {"types": "glioma"}}, InvalidRequest, "several names"),
        ({"filters": {"colour": "red"}}, InvalidRequest, "colour"),
        ({"filters": ["glioma"]}, InvalidRequest, "`filters`"),
        ({"colour": "red"}, InvalidRequest, "unknown arguments: colour"),
        ({"one_per": "hospital"}, InvalidRequest, "patient, case, tumor"),
        ({"like": "case"}, InvalidRequest, "`like`"),
        ({"model": "/nowhere"}, WeightsError, "nowhere"),
    ],
)
def test_what_cannot_be_understood_is_named(client, query, tmp_path, change, error, words):
    given = {**query, "out": str(tmp_path), **change}

    with pytest.raises(error, match=words):
        ask(client, "find", given)


@pytest.mark.parametrize(
    ("task", "given", "error"),
    [
        ("rerank", {"result": "/nowhere"}, UnreadableFile),
        ("rerank", {"tumor": 0}, InvalidRequest),
        ("case", {"case": "nobody"}, UnknownCase),
        ("case", {"case": "nobody", "atlas": "yes"}, InvalidRequest),
        ("stability", {"result": "/nowhere", "t1c": "/nowhere"}, UnreadableFile),
        ("map", {"index": "/nowhere"}, UnreadableFile),
        ("map", {"also": [{"case": "nobody"}]}, InvalidRequest),
    ],
)
def test_asking_for_what_is_not_there_is_refused(client, arguments, tmp_path, task, given, error):
    if task == "case":
        given = {**given, "index": arguments["index"], "out": str(tmp_path)}

    with pytest.raises(error):
        ask(client, task, given)


def test_a_box_number_that_the_search_did_not_have_is_refused(client, found):
    for number in (1, -1, True, "0"):
        with pytest.raises(InvalidRequest):
            ask(client, "rerank", {"result": str(found[0]), "tumor": number})
