"""A growth simulation through a real worker process: fitted to the sample patient, grown again, refused, cancelled."""

import json
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.engine.find import MASKS
from TumorRetrievalLib.errors import GeometryMismatch, InvalidRequest, InvalidTumorMask, UnreadableFile
from TumorRetrievalLib.imaging.files import read_labels, write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.synthesis.scan import synthesize
from TumorRetrievalLib.worker.client import WorkerClient
from TumorRetrievalLib.worker.growth_files import read_overlay, read_stages

LONG = 300


@pytest.fixture(scope="module")
def client():
    with WorkerClient() as client:
        yield client


@pytest.fixture(scope="module")
def case():
    """A made-up patient with the truth: a glioma on the left."""
    return synthesize(7, "glioma")


@pytest.fixture(scope="module")
def search(tmp_path_factory, case) -> Path:
    """A folder as a search leaves it: two boxes, the glioma in the first and a small speck in the second."""
    folder = tmp_path_factory.mktemp("search")
    write_volume(folder / "t1c.nii", case.t1c)
    speck = np.zeros(case.t1c.shape, bool)
    middle = np.rint(case.t1c.grid.to_voxel(speck_center(case))).astype(int)
    speck[tuple(slice(at - 2, at + 3) for at in middle)] = True
    for name, mask in (("tumor_core", case.tumors[0].core), ("whole_tumor", case.tumors[0].whole)):
        write_labels(folder / MASKS[name], LabelMap((mask.data != 0) | speck, mask.affine))
    boxes = [(centroid(case.tumors[0].core), (12, 12, 12)), (speck_center(case), (8, 8, 8))]
    tumors = [{"box": {"center_ras": np.asarray(at).tolist(), "size_mm": size}} for at, size in boxes]
    (folder / "result.json").write_text(json.dumps({"tumors": tumors}), encoding="utf-8")
    return folder


def speck_center(case) -> np.ndarray:
    """The mirror image of the tumor."""
    return centroid(case.tumors[0].core) * (-1, 1, 1)


@pytest.fixture(scope="module")
def masks(search, case) -> dict:
    """Arguments that say where the glioma is: segmentations on the scan's grid."""
    for name in ("core", "whole"):
        write_labels(search / f"{name}.nii", getattr(case.tumors[0], name))
    return {"t1c": str(search / "t1c.nii"), "core": str(search / "core.nii"), "whole": str(search / "whole.nii")}


@pytest.fixture(scope="module")
def fitted(client, search, tmp_path_factory) -> tuple[Path, dict, list]:
    """Folder, answer and reports of progress of a fit to the first tumor of the search, along a bent way."""
    out, heard = tmp_path_factory.mktemp("fitted"), []
    given = {"t1c": str(search / "t1c.nii"), "out": str(out), "result": str(search), "tumor": 0, "k": 4}
    result = client.submit("growth", given, lambda *told: heard.append(told)).future.result(LONG)
    return out, result, heard


def centroid(image) -> np.ndarray:
    return np.average(image.grid.voxel_centres(), axis=0, weights=image.data.ravel().astype(float))


def ask(client, task, given):
    return client.submit(task, given).future.result(LONG)


def to_patient(overlay, points) -> np.ndarray:
    """Atlas RAS mm to patient RAS mm, through both parts of the way."""
    from TumorRetrievalLib.registration.flow import displacement_at

    straight = points + displacement_at(overlay.bend.to_straight, overlay.bend.grid, points)
    return (np.c_[straight, np.ones(len(straight))] @ np.linalg.inv(overlay.patient_to_atlas).T)[:, :3]


def test_the_answer_is_the_fit_and_what_lies_in_the_folder(fitted):
    out, result, _ = fitted

    assert result == json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert [match["combined"] for match in result["matches"]] == sorted(
        (match["combined"] for match in result["matches"]), reverse=True
    )
    assert len(result["matches"]) == 4 and result["registration"]["stage"] == "deformable"
    assert {"lambda_mm2", "tau", "same_tumor"} < set(result["parameters"])
    assert {path.name for path in out.iterdir()} == {"result.json", result["files"]["overlay"]}


def test_the_last_age_lies_on_the_tumor_and_on_its_side(fitted, case):
    out, result, _ = fitted
    overlay = read_overlay(out / result["files"]["overlay"])
    last = overlay.stages[-1]
    dense = last.data.ravel() >= 0.6

    middle = to_patient(overlay, last.grid.voxel_centres()[dense]).mean(axis=0)
    assert np.linalg.norm(middle - centroid(case.tumors[0].core)) < 8
    assert middle[0] < -10


def test_the_tumor_grows_with_every_age_up_to_the_volume_that_was_fitted(fitted):
    out, result, _ = fitted
    overlay = read_overlay(out / result["files"]["overlay"])
    volumes = [np.count_nonzero(stage.data >= 0.2) for stage in overlay.stages]

    assert len(volumes) == 10 and volumes == sorted(volumes) and volumes[0] < volumes[-1]
    assert overlay.spread.grid.same_as(overlay.stages[0].grid) and 0 < overlay.spread.data.max() <= 0.51


def test_of_two_tumors_the_other_can_be_meant(client, search, tmp_path, case):
    """The speck on the other side: 5 x 5 x 5 voxels of the scan."""
    given = {"t1c": str(search / "t1c.nii"), "out": str(tmp_path), "result": str(search), "tumor": 1, "k": 2}
    result = ask(client, "growth", {**given, "deformable": False})

    assert result["tumor"]["whole_ml"] == pytest.approx(125 * case.t1c.grid.voxel_ml, abs=0.01)
    assert result["parameters"]["origin_patient_mm"][0] > 10


def test_a_match_can_be_grown_from_its_parameters_alone(client, fitted, tmp_path):
    match = fitted[1]["matches"][2]
    given = {name: match[name] for name in ("origin_atlas_mm", "lambda_mm2", "tau")}
    answer = ask(client, "growth_stages", {**given, "out": str(tmp_path)})
    stages = read_stages(tmp_path / answer["files"]["stages"])

    first = stages[0]
    assert len(stages) == 10 and stages[-1].data.max() > 0.9
    densest = first.grid.to_world(np.unravel_index(first.data.argmax(), first.shape))
    assert np.linalg.norm(densest - match["origin_atlas_mm"]) < 10


def test_progress_only_goes_forward_and_ends_with_done(fitted):
    fractions = [fraction for fraction, _ in fitted[2]]

    assert fractions == sorted(fractions) and fitted[2][-1] == (1.0, "Done")


def test_a_cancelled_fit_leaves_no_result(client, masks, tmp_path):
    call = client.submit("growth", {**masks, "out": str(tmp_path)}, lambda *_: client.cancel(call))

    assert type(call.future.exception(LONG)).__name__ == "Cancelled"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"t1c": None}, InvalidRequest, "lacks `t1c`"),
        ({"k": 0}, InvalidRequest, "`k`"),
        ({"deformable": "yes"}, InvalidRequest, "`deformable`"),
        ({"colour": "red"}, InvalidRequest, "unknown arguments: colour"),
        ({"result": "/nowhere"}, InvalidRequest, "not both"),
        ({"core": None, "whole": None, "result": "/nowhere"}, UnreadableFile, "search again"),
        ({"whole": "/nowhere/whole.nii"}, UnreadableFile, "/nowhere/whole.nii"),
        ({"box": {"center_ras": [0, 0, 60], "size_mm": [4, 4, 4]}}, InvalidTumorMask, "lies in the box"),
    ],
)
def test_what_cannot_be_understood_is_named(client, masks, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        ask(client, "growth", {**masks, "out": str(tmp_path), **change})


def test_a_box_number_that_the_search_did_not_have_is_refused(client, search, tmp_path):
    given = {"t1c": str(search / "t1c.nii"), "out": str(tmp_path), "result": str(search), "tumor": 2}

    with pytest.raises(InvalidRequest, match="had 2 boxes"):
        ask(client, "growth", given)


def test_masks_of_another_geometry_are_refused(client, masks, tmp_path):
    small = read_labels(masks["core"])
    write_labels(tmp_path / "small.nii", LabelMap(small.data[:-1], small.affine))

    with pytest.raises(GeometryMismatch, match=r"small\.nii"):
        ask(client, "growth", {**masks, "core": str(tmp_path / "small.nii"), "out": str(tmp_path)})


@pytest.mark.parametrize(
    "change",
    [{"tau": -1.0}, {"lambda_mm2": 0.0}, {"origin_atlas_mm": [0, 0]}, {"origin_atlas_mm": [0, 0, 500]}, {"tau": "old"}],
    ids=str,
)
def test_a_tumor_that_cannot_grow_is_refused(client, tmp_path, change):
    given = {"origin_atlas_mm": [30.0, -20.0, 25.0], "lambda_mm2": 4.0, "tau": 10.0, "out": str(tmp_path)}

    with pytest.raises(InvalidRequest):
        ask(client, "growth_stages", {**given, **change})
