"""The main job, from files to files."""

import json
import socket
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from TumorRetrievalLib.engine import find
from TumorRetrievalLib.engine.find import find_similar
from TumorRetrievalLib.errors import (
    BoxOutsideVolume,
    Cancelled,
    CannotWrite,
    GeometryMismatch,
    IndexOfAnotherModel,
    InvalidBox,
    InvalidRequest,
    RegistrationFailed,
    UnknownCase,
)
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.filters import Filters


def test_a_scan_and_a_box_lead_to_similar_cases_masks_and_a_report(request_for, sample):
    request = request_for()

    result = find_similar(request)

    assert json.loads((request.out / "result.json").read_text()) == result
    (tumor,) = result["tumors"]
    assert len(tumor["hits"]) == 2
    for hit in tumor["hits"]:
        assert set(hit["blocks"]) == {"appearance", "type", "position", "extent"}
        assert sum(hit["blocks"].values()) == pytest.approx(hit["score"], abs=1e-6)
    assert sum(tumor["types"].values()) == pytest.approx(1, abs=1e-3)
    scan = read_volume(sample["t1c"])
    for name in result["masks"].values():
        assert read_labels(request.out / name).grid.same_as(scan.grid)
    page = (request.out / "report.html").read_text()
    assert "research use only" in page.lower() and "diagnosis" not in page.lower()


def test_a_hit_names_its_sides_and_its_largest_diameter(request_for, tiny_index):
    from TumorRetrievalLib.retrieval.case_index import CaseIndex

    result = find_similar(request_for())

    with CaseIndex.open(tiny_index) as index:
        for hit in result["tumors"][0]["hits"]:
            (record,) = [tumor for tumor in index.get(hit["case"]).tumors if tumor.id == hit["tumor"]]
            for name in ("left_right", "front_rear", "upper_lower", "linear_size_mm"):
                assert hit[name] == getattr(record, name) and hit[name]


def test_without_a_report_the_answer_is_the_same_and_no_case_is_made_ready(request_for, monkeypatch, tmp_path):
    with_report = find_similar(request_for())
    monkeypatch.setattr("TumorRetrievalLib.engine.find.load_if_possible", lambda record: pytest.fail("not needed"))

    result = find_similar(request_for(report=False, out=tmp_path / "other"))

    assert result["tumors"] == with_report["tumors"] and "report" not in result["seconds"]
    assert not (tmp_path / "other" / "report.html").exists() and (tmp_path / "other" / "tumor_core.nii.gz").exists()


def test_the_way_to_the_atlas_is_answered_and_leads_to_the_named_place(request_for):
    result = find_similar(request_for())

    (tumor,) = result["tumors"]
    place = np.array(result["patient_to_atlas"]) @ (*tumor["box"]["center_ras"], 1)
    assert np.allclose(place[:3], tumor["atlas_mm"], atol=0.02)


def test_the_sample_patients_place_is_found_where_the_synthesis_put_it(request_for):
    from TumorRetrievalLib.synthesis.scan import synthesize

    result = find_similar(request_for())

    truth = synthesize(7, "glioma").tumors[0].atlas_mm
    assert np.linalg.norm(np.array(result["tumors"][0]["atlas_mm"]) - truth) < 12
    assert result["tumors"][0]["atlas_mm"][0] < -10, "the tumor is on the left"


def test_what_the_box_does_not_touch_is_not_outlined(request_for, sample):
    request = request_for()

    find_similar(request)

    core = read_labels(request.out / "tumor_core.nii.gz")
    points = core.grid.to_world(np.argwhere(core.data))
    roomy = Box(sample["box"].center, sample["box"].size * 1.2 + 2, sample["box"].axes)
    assert roomy.contains(points).all()


def test_a_segmentation_gives_one_box_per_part(request_for, sample, tmp_path):
    scan = read_volume(sample["t1c"])
    mask = np.zeros(scan.shape, np.uint8)
    mask[30:40, 60:70, 60:70] = 1
    mask[70:78, 80:90, 60:66] = 1
    nibabel.save(nibabel.Nifti1Image(mask, scan.affine), tmp_path / "mask.nii.gz")

    result = find_similar(request_for(boxes=[], mask=tmp_path / "mask.nii.gz"))

    sizes = [tumor["box"]["size_mm"] for tumor in result["tumors"]]
    assert sizes == [[15.0, 15.0, 15.0], [12.0, 15.0, 9.0]]


def test_only_cases_that_pass_the_filter_are_found(request_for):
    result = find_similar(request_for(filters=Filters(types=("meningioma",))))

    assert {hit["type"] for hit in result["tumors"][0]["hits"]} == {"meningioma"}


def test_a_block_with_weight_zero_has_no_share(request_for):
    result = find_similar(request_for(weights={"position": 0.0}))

    assert all(hit["blocks"]["position"] == 0 for hit in result["tumors"][0]["hits"])


def test_without_a_place_in_the_atlas_the_other_blocks_decide_and_the_user_is_told(request_for, monkeypatch):
    def fail(*_, **__):
        raise RegistrationFailed("Nothing fits.")

    monkeypatch.setattr("TumorRetrievalLib.engine.patient.register_to_atlas", fail)

    result = find_similar(request_for())

    assert result["tumors"][0]["atlas_mm"] is None and result["tumors"][0]["area"] == ""
    assert all(hit["blocks"]["position"] == 0 for hit in result["tumors"][0]["hits"])
    assert any("Nothing fits." in note for note in result["notes"])
    assert result["patient_to_atlas"] is None


def test_nothing_leaves_the_machine(request_for, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    find_similar(request_for())


def test_stopping_in_the_middle_leaves_no_result(request_for):
    def stop_at_half(fraction, _message):
        if fraction > 0.5:
            raise Cancelled("stopped")

    request = request_for()
    with pytest.raises(Cancelled):
        find_similar(request, stop_at_half)

    assert not (request.out / "result.json").exists()


def test_bad_input_is_refused_before_the_work_begins(request_for, sample, tmp_path):
    with pytest.raises(InvalidBox, match="at least one box"):
        find_similar(request_for(boxes=[]))
    with pytest.raises(BoxOutsideVolume, match="signs"):
        find_similar(request_for(boxes=[Box.aligned((500, 0, 0), (10, 10, 10))]))
    with pytest.raises(InvalidBox, match="one of core, whole"):
        find_similar(request_for(around="tumour"))
    scan = read_volume(sample["t1c"])
    shifted = scan.affine.copy()
    shifted[:3, 3] += 300
    nibabel.save(nibabel.Nifti1Image(scan.data, shifted), tmp_path / "elsewhere.nii.gz")
    with pytest.raises(GeometryMismatch, match="elsewhere"):
        find_similar(request_for(flair=tmp_path / "elsewhere.nii.gz"))
    nibabel.save(nibabel.Nifti1Image((scan.data > 1).astype(np.uint8), shifted), tmp_path / "mask.nii.gz")
    with pytest.raises(GeometryMismatch, match="Resample"):
        find_similar(request_for(boxes=[], mask=tmp_path / "mask.nii.gz"))


def test_a_box_on_empty_space_is_refused(request_for):
    with pytest.raises(InvalidBox, match="background"):
        find_similar(request_for(boxes=[Box.aligned((-80, -80, 60), (6, 6, 6))]))


def test_an_index_of_another_model_is_refused_with_the_way_out(request_for, tmp_path):
    import torch

    from TumorRetrievalLib.cohort.labels import TYPES
    from TumorRetrievalLib.networks.default import DefaultNetwork
    from TumorRetrievalLib.networks.weights import save_model

    torch.manual_seed(2)
    other = save_model(tmp_path / "other", DefaultNetwork(widths=(8, 8, 8)), {"labels": {"type": list(TYPES)}})
    with pytest.raises(IndexOfAnotherModel):
        find_similar(request_for(model=other))


def test_a_result_folder_that_cannot_be_made_is_said_at_once(request_for, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(CannotWrite, match="choose another"):
        find_similar(request_for(out=tmp_path / "file" / "result"))


def test_several_tumors_in_one_box_are_told_with_what_to_do(request_for, monkeypatch):
    read_in_box = find.read_in_box
    monkeypatch.setattr(find, "read_in_box", lambda *asked: replace(read_in_box(*asked), boxes=[asked[1]] * 3))

    result = find_similar(request_for())

    (tumor,) = result["tumors"]
    assert tumor["boxes_inside"] == [tumor["box"]] * 3
    assert any("Box 1 seems to hold 3 tumors" in note and "draw a box around each" in note for note in result["notes"])


def test_a_tumor_is_familiar_only_if_the_model_sees_it_without_the_box_too(request_for, monkeypatch):
    for seen, similar in ((0.9, True), (0.05, False)):
        monkeypatch.setattr(TumorReader, "seen_without_box", lambda *_, seen=seen: seen)
        request = request_for()

        result = find_similar(request)

        familiarity = result["tumors"][0]["familiarity"]
        assert familiarity["similar"] is similar and familiarity["seen_without_box"] == seen
        assert familiarity["best_score"] == pytest.approx(result["tumors"][0]["hits"][0]["score"])
        said = [note for note in result["notes"] if "Nothing in this index" in note]
        assert bool(said) is not similar
        assert ("Nothing in this index" in (request.out / "report.html").read_text()) is not similar


def test_boxes_together_are_answered_by_cases_and_each_box_shows_its_partners(request_for, sample):
    second = Box.aligned(sample["box"].center + (30, 20, 10), (15, 15, 15))

    result = find_similar(request_for(boxes=[sample["box"], second], together=True, k=4, report=False))

    assert result["together"] and [hit["score"] for hit in result["together"]] == sorted(
        (hit["score"] for hit in result["together"]), reverse=True
    )
    for number, tumor in enumerate(result["tumors"]):
        partners = [
            (hit["case"], pair["tumor"]) for hit in result["together"] for pair in hit["pairs"] if pair["box"] == number
        ]
        assert [(hit["case"], hit["tumor"]) for hit in tumor["hits"]] == partners


def test_look_alikes_are_of_another_type_and_said_to_be(request_for):
    best = find_similar(request_for(report=False))["tumors"][0]["hits"][0]["type"]

    result = find_similar(request_for(report=False, look_alikes=True))

    assert result["tumors"][0]["look_alikes_of"] == best
    assert best not in {hit["type"] for hit in result["tumors"][0]["hits"]}
    assert any("look alike" in note and best in note for note in result["notes"])
    with pytest.raises(InvalidRequest, match="single tumors"):
        find_similar(request_for(look_alikes=True, together=True))


def test_an_example_that_is_not_in_the_index_is_said_before_the_scan_is_brought_to_the_atlas(request_for, monkeypatch):
    monkeypatch.setattr("TumorRetrievalLib.engine.patient.register_to_atlas", lambda *_, **__: pytest.fail("too late"))

    with pytest.raises(UnknownCase, match="nobody"):
        find_similar(request_for(liked=["nobody"]))
