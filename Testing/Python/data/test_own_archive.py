"""The whole story of a hospital's own cases, as a new user would try it, on real scans."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.cohort.labels import SIDES
from TumorRetrievalLib.engine.archive import ReadWith, add_cases, build_archive_index
from TumorRetrievalLib.engine.find import FindRequest, find_similar
from TumorRetrievalLib.engine.index_care import index_facts, remove_cases
from TumorRetrievalLib.engine.known_cases import load_known_case
from TumorRetrievalLib.evaluation.audit import audit_index
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.portable import export_index, import_index

CASES = ("BRATS2013_pat0002", "BraTS-GLI-00000-000", "TCGA-DU-7294")
UNDRAWN = "BraTS-MET-00110-000"


@pytest.fixture(scope="module")
def archive(real_data, tmp_path_factory):
    """Links to a few real cases, the first three with an expert's mask."""
    folder = tmp_path_factory.mktemp("hospital") / "archive"
    folder.mkdir()
    for name in CASES:
        (folder / name).symlink_to(real_data / "brats3d" / name)
    return folder


def test_build_find_add_remove_verify_export_import_and_audit(real_data, archive, tmp_path):
    folder = tmp_path / "my-index"

    built = build_archive_index(archive, folder, ReadWith(device="cpu", workers=1))
    assert sorted(built["added"]) == sorted(CASES) and not built["problems"]
    with CaseIndex.open(folder) as index:
        for name in CASES:
            (tumor,) = index.get(name).tumors
            assert tumor.left_right in SIDES and tumor.area and tumor.core_ml > 5 and 20 < tumor.linear_size_mm < 120
        assert index.get("BraTS-GLI-00000-000").tumors[0].type == "glioma"
        assert index.get("TCGA-DU-7294").tumors[0].type is None, "nobody has said"

    added = add_cases(folder, [real_data / "brats3d" / UNDRAWN], ReadWith(device="cpu", workers=1))
    assert (added["added"], added["network_masks"]) == ([UNDRAWN], [UNDRAWN])
    with CaseIndex.open(folder) as index:
        drawn = load_known_case(index.get(UNDRAWN))
        box = index.get("TCGA-DU-7294").tumors[0].box
    assert "outlined by the network" in drawn.provenance and drawn.core.volume_ml() > 0.3

    (archive / CASES[0]).rename(archive.parent / "moved away")
    scan = archive / "TCGA-DU-7294"
    request = FindRequest(
        t1c=scan / "t1c.nii.gz", flair=scan / "flair.nii.gz", boxes=[box], k=4, out=tmp_path / "found", index=folder
    )
    result = find_similar(request)
    first, second = result["tumors"][0]["hits"][:2]
    assert first["case"] == "TCGA-DU-7294" and first["score"] > 0.999, "the same scan and box: itself"
    assert second["score"] < 0.9
    assert CASES[0] in {hit["case"] for hit in result["tumors"][0]["hits"]}, "found although its scan is not there"
    page = (tmp_path / "found" / "report.html").read_text()
    assert "not at hand" in page and "index relocate" in page and "outlined by the network" in page
    (archive.parent / "moved away").rename(archive / CASES[0])

    export_index(folder, tmp_path / "my-index.zip")
    remove_cases(folder, [UNDRAWN])
    assert index_facts(folder)["cases"] == 3 and not (folder / "masks").exists()
    assert import_index(tmp_path / "my-index.zip", tmp_path / "theirs")["cases"] == 4
    with CaseIndex.open(tmp_path / "theirs") as theirs, CaseIndex.open(folder) as ours:
        theirs.verify()
        ours.verify()
        assert np.array_equal(theirs.vectors_of(CASES[0]), ours.vectors_of(CASES[0]))

    audit = audit_index(folder, tmp_path / "audit")
    assert audit["patients"] == 3 and audit["near_duplicates"] == [] and audit["same_scans"] == []
    assert audit["labels"]["left_right"]["tumors"] == 3
    assert json.loads((tmp_path / "audit" / "audit.json").read_text()) == audit


def test_the_command_lists_before_it_works(archive, tmp_path):
    arguments = ["index", "build", str(archive), "--into", str(tmp_path / "index"), "--dry-run", "--json", "plan.json"]
    command = [sys.executable, "-m", "TumorRetrievalLib.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    assert run.returncode == 0, run.stderr
    assert "3 cases would be indexed, 0 left out" in run.stdout
    assert {row["case"] for row in json.loads((tmp_path / "plan.json").read_text())["cases"]} == set(CASES)
    assert not (tmp_path / "index").exists()
