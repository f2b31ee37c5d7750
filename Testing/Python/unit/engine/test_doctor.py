"""The doctor finds what is damaged and calls nothing damaged that is not."""

import hashlib
import json
import sys

import pytest

from TumorRetrievalLib import resources
from TumorRetrievalLib.engine import doctor
from TumorRetrievalLib.engine.doctor import as_rows, as_text, examine
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedding import model_identity


def list_files(*folders):
    """Write the list of bundled files of some folders, as they are now."""
    for folder in folders:
        names = sorted(path.name for path in folder.iterdir() if path.name not in ("SHA256SUMS", "writer.lock"))
        sums = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names)
        listing = "".join(f"{digest}  {name}\n" for digest, name in zip(sums, names, strict=True))
        (folder / "SHA256SUMS").write_text(listing, newline="")


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A small installation in good order: one atlas file and one model."""
    monkeypatch.setattr(resources, "LIBRARY", tmp_path / "TumorRetrievalLib")
    bundled = tmp_path / "Resources"
    (bundled / "Atlas").mkdir(parents=True)
    (bundled / "Atlas" / "brain.nii").write_bytes(b"brain")
    model = bundled / "Models" / "default"
    model.mkdir(parents=True)
    (model / "weights.safetensors").write_bytes(b"weights")
    contract = {"architecture": "default", "weights_sha256": hashlib.sha256(b"weights").hexdigest()}
    (model / "model.json").write_text(json.dumps(contract))
    list_files(bundled / "Atlas", model)
    return bundled


def test_files_and_models_in_good_order_are_ok(installation):
    found = examine(probe_devices=False)

    assert set(found["files"]) == {"Atlas/brain.nii", "Models/default/model.json", "Models/default/weights.safetensors"}
    assert set(found["files"].values()) == {"ok"}
    assert found["models"]["default"]["state"] == "ok"
    assert found["models"]["default"]["sha256"] == hashlib.sha256(b"weights").hexdigest()[:12]


@pytest.mark.parametrize(("content", "word"), [(b"drain", "damaged"), (None, "missing")])
def test_a_damaged_or_missing_file_is_named(installation, content, word):
    path = installation / "Atlas" / "brain.nii"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    found = examine(probe_devices=False)

    assert not found["ok"]
    assert word in found["files"]["Atlas/brain.nii"]
    assert any(problem.startswith("Atlas/brain.nii") for problem in found["problems"])


def test_a_folder_that_lost_the_list_of_its_files_is_named(installation):
    (installation / "Models" / "default" / "SHA256SUMS").unlink()

    found = examine(probe_devices=False)

    assert "missing" in found["files"]["Models/default/SHA256SUMS"] and not found["ok"]


def test_damaged_weights_are_found_without_loading_them(installation, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (installation / "Models" / "default" / "weights.safetensors").write_bytes(b"weigths")

    found = examine(probe_devices=False)

    assert "damaged" in found["models"]["default"]["state"] and not found["ok"]


@pytest.mark.parametrize("contract", ["not json", "[]", "{}", '{"architecture": "default"}'])
def test_a_contract_that_cannot_be_read_is_a_finding_and_no_crash(installation, contract):
    (installation / "Models" / "default" / "model.json").write_text(contract)

    assert "cannot be read" in examine(probe_devices=False)["models"]["default"]["state"]


def test_a_model_without_weights_is_a_finding(installation):
    (installation / "Models" / "default" / "weights.safetensors").unlink()

    assert examine(probe_devices=False)["models"]["default"]["state"] != "ok"


@pytest.fixture
def index_of_the_model(installation):
    """An index, empty but whole, that the bundled model made."""
    contract = json.loads((installation / "Models" / "default" / "model.json").read_text())
    CaseIndex.create(installation / "Index", model_identity(contract)).close()
    list_files(installation / "Index")
    return installation / "Index"


def test_everything_in_good_order_leaves_no_problem(index_of_the_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)

    found = examine(probe_devices=False)

    assert found["indexes"]["bundled"]["state"] == "ok"
    assert found["ok"] and found["problems"] == []


def test_a_damaged_index_is_found(index_of_the_model):
    database = next(index_of_the_model.glob("cases-*.sqlite"))
    database.write_bytes(database.read_bytes()[:-1] + b"?")

    found = examine(probe_devices=False)

    assert found["indexes"]["bundled"]["state"] != "ok" and not found["ok"]


def test_an_index_of_another_model_is_found(installation):
    CaseIndex.create(installation / "Index", "another model").close()

    assert "another model" in examine(probe_devices=False)["indexes"]["bundled"]["state"]


def test_an_empty_installation_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "LIBRARY", tmp_path / "TumorRetrievalLib")

    found = examine(probe_devices=False)

    assert not found["ok"]
    assert any("Atlas" in problem for problem in found["problems"])
    assert "No model is installed." in found["problems"]


def test_a_missing_package_is_a_problem_unless_something_replaces_it(installation, monkeypatch):
    present = doctor._version_of
    absent = ("faiss-cpu", "nibabel")
    monkeypatch.setattr(doctor, "_version_of", lambda name: None if name in absent else present(name))

    found = examine(probe_devices=False)

    assert "The package nibabel is not installed." in found["problems"]
    assert not any("faiss" in problem for problem in found["problems"])
    states = {item: well for section, item, _, well in as_rows(found) if section == "package"}
    assert states["faiss-cpu"] and not states["nibabel"]


def test_the_devices_include_the_cpu():
    assert "cores" in examine()["devices"]["cpu"]


def test_the_plain_text_marks_only_what_is_bad(installation):
    (installation / "Atlas" / "brain.nii").write_bytes(b"drain")

    lines = as_text(examine(probe_devices=False)).splitlines()

    assert [line.split()[2] for line in lines if line.startswith("BAD") and " file " in line] == ["Atlas/brain.nii"]
