"""The bill of materials names everything that is installed for the tool, in the form that CycloneDX 1.6 asks for."""

import hashlib
import importlib.metadata
import json
import re
import shutil
import sys
import uuid
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from TumorRetrievalLib import resources
from TumorRetrievalLib.cli import app
from TumorRetrievalLib.engine.doctor import PACKAGES
from TumorRetrievalLib.engine.sbom import OPTIONAL, bill_of_materials
from TumorRetrievalLib.errors import CannotWrite, MissingResource
from TumorRetrievalLib.resources import bundled_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def bill():
    return json.loads(json.dumps(bill_of_materials()))


def test_the_bill_has_what_the_schema_requires(bill):
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert uuid.UUID(bill["serialNumber"].removeprefix("urn:uuid:")).version == 4
    assert set(bill) == {
        "bomFormat",
        "specVersion",
        "serialNumber",
        "version",
        "metadata",
        "components",
        "dependencies",
    }
    for component in [bill["metadata"]["component"], *bill["components"]]:
        assert component["type"] in {"application", "library", "file", "machine-learning-model"}
        assert component["name"] and component["version"]
        for one in component.get("licenses", []):
            assert set(one) in ({"license"}, {"expression"})
            assert "expression" in one or ("id" in one["license"]) != ("name" in one["license"])
        assert len(component.get("licenses", [])) <= 1 or all("license" in one for one in component["licenses"])


def test_every_reference_is_there_once(bill):
    references = [component["bom-ref"] for component in [bill["metadata"]["component"], *bill["components"]]]
    named = [entry["ref"] for entry in bill["dependencies"]]

    assert len(set(references)) == len(references) and len(set(named)) == len(named)
    assert {ref for entry in bill["dependencies"] for ref in [entry["ref"], *entry["dependsOn"]]} <= set(references)


def test_every_package_that_the_tool_needs_is_listed_with_its_version_and_nothing_else_is(bill):
    listed = {c["name"].lower().replace("_", "-"): c for c in bill["components"] if c["type"] == "library"}

    for name in PACKAGES:
        assert listed[name.lower()]["version"] == importlib.metadata.version(name)
        version = importlib.metadata.version(name).replace("+", "%2B")
        assert re.fullmatch(rf"pkg:pypi/[a-z0-9-]+@{re.escape(version)}", listed[name.lower()]["purl"])
    assert "mpmath" in listed  # of sympy, of PyTorch
    assert not {"pytest", "ruff", "slicer-core", "hypothesis"} & set(listed)


def test_the_optional_packages_are_those_that_users_can_choose():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    names = {Requirement(text).name for extra, texts in extras.items() if extra != "dev" for text in texts}

    assert names <= set(OPTIONAL)


def test_every_bundled_file_is_listed_with_its_checksum_and_licence(bill):
    listed = {c["name"]: c for c in bill["components"] if c["type"] != "library"}
    root = bundled_folder()

    assert "Resources/Models/default/weights.safetensors" in listed
    for name, component in listed.items():
        content = (root / name.removeprefix("Resources/")).read_bytes()
        assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
    assert "McConnell" in listed["Resources/Atlas/mni152_t1.nii.gz"]["licenses"][0]["license"]["text"]["content"]
    assert listed["Resources/Labels/types.json"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]


def test_a_damaged_file_is_not_listed_as_if_it_were_the_one_of_the_release(tmp_path, monkeypatch):
    labels = shutil.copytree(bundled_folder() / "Labels", tmp_path / "Resources" / "Labels")
    monkeypatch.setattr(resources, "LIBRARY", tmp_path / "TumorRetrievalLib")
    (labels / "types.json").write_text("{}")

    with pytest.raises(MissingResource, match=r"types\.json is damaged"):
        bill_of_materials()


def test_the_same_installation_has_the_same_number(bill):
    assert bill_of_materials()["serialNumber"] == bill["serialNumber"]


def test_the_command_writes_the_file_whole_or_not_at_all(tmp_path):
    done = CliRunner().invoke(app, ["sbom", "--out", str(tmp_path / "bill.json")])
    failed = CliRunner().invoke(app, ["sbom", "--out", str(tmp_path / "nowhere" / "bill.json")])

    assert done.exit_code == 0 and json.loads((tmp_path / "bill.json").read_text())["bomFormat"] == "CycloneDX"
    assert isinstance(failed.exception, CannotWrite)
    assert json.loads(CliRunner().invoke(app, ["sbom"]).stdout)["specVersion"] == "1.6"
