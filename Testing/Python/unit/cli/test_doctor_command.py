"""The command `doctor`."""

import json

from TumorRetrievalLib.engine import doctor

EXAMINED = {
    "ok": False,
    "problems": ["Atlas/mni152_t1.nii.gz: missing; install the tool again"],
    "version": "0.1.0",
    "python": "3.11.7",
    "platform": "somewhere",
    "packages": {"numpy": "2.0", "faiss-cpu": None},
    "devices": {"cpu": "2 cores"},
    "files": {"Atlas/mni152_t1.nii.gz": "missing; install the tool again"},
    "models": {"default": {"architecture": "default", "sha256": "abc", "state": "ok"}},
    "indexes": {},
    "free_disk_gb": 12.5,
}


def test_doctor_prints_json_for_programs(call, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: EXAMINED)

    code, said, _ = call("doctor", "--json")

    assert code == 1
    assert json.loads(said) == EXAMINED


def test_doctor_marks_what_is_wrong_and_what_is_well(call, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: EXAMINED)

    code, said, error = call("doctor")

    assert code == 1
    assert any(line.startswith("BAD") and "Atlas/mni152_t1.nii.gz" in line for line in said.splitlines())
    assert any(line.startswith("ok") and "NumPy is used" in line for line in said.splitlines())
    assert "missing; install the tool again" in error
