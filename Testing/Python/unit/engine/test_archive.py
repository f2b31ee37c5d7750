"""A hospital's own cases on their way into an index: none lost, none twice, a bad one never in the way."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from TumorRetrievalLib.engine import archive as module
from TumorRetrievalLib.engine.archive import ReadWith, add_cases, build_archive_index, plan_build
from TumorRetrievalLib.engine.index_care import index_facts, relocate_archive, remove_cases
from TumorRetrievalLib.engine.known_cases import load_if_possible, load_known_case
from TumorRetrievalLib.errors import (
    Cancelled,
    IndexBusy,
    IndexOfAnotherModel,
    InvalidRequest,
    UnknownCase,
    UnreadableFile,
)
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

from .small_archive import MODEL, use_stand_in, write_case

ROOT = Path(__file__).resolve().parents[4]
HERE = ReadWith(workers=1)


@pytest.fixture(autouse=True)
def _read_by_the_stand_in(monkeypatch):
    use_stand_in(monkeypatch.setattr)


@pytest.fixture
def archive(tmp_path):
    """Three cases, one without a mask, beside one that cannot be used."""
    for name in ("one", "two"):
        write_case(tmp_path / "archive", name)
    write_case(tmp_path / "archive", "three", mask=False)
    write_case(tmp_path / "archive", "bad")
    return tmp_path / "archive"


def test_an_archive_becomes_an_index_and_what_is_wrong_is_named(archive, tmp_path):
    heard = []
    result = build_archive_index(archive, tmp_path / "index", HERE, lambda *said: heard.append(said))

    assert sorted(result["added"]) == ["one", "three", "two"] and result["already"] == []
    (problem,) = result["problems"]
    assert problem["path"].endswith("t1c.nii.gz") and "shows nothing" in problem["reason"]
    assert result["network_masks"] == ["three"] and "three: Its place is unknown." in result["notes"]
    assert result["index"]["cases"] == 3 and json.dumps(result)
    assert [fraction for fraction, _ in heard] == sorted(fraction for fraction, _ in heard) and heard[-1][0] == 1.0
    with CaseIndex.open(tmp_path / "index", MODEL) as index:
        index.verify()
        drawn = index.get("three")
        assert drawn.mask_origin == "network" and drawn.mask.is_relative_to(tmp_path / "index")
        assert index.get("one").mask_origin is None and index.get("one").mask == archive / "one" / "seg.nii.gz"
    assert sorted(path.name for path in (tmp_path / "index").iterdir() if path.is_dir()) == ["masks"]


def test_a_dry_run_says_the_same_and_writes_nothing(archive, tmp_path):
    plan = plan_build(archive, tmp_path / "index")

    assert {row["case"] for row in plan["cases"]} == {"one", "two", "three", "bad"} and plan["already"] == []
    assert not (tmp_path / "index").exists()
    build_archive_index(archive, tmp_path / "index", HERE)
    assert plan_build(archive, tmp_path / "index")["already"] == ["one", "three", "two"]


def test_building_again_adds_only_what_is_new(archive, tmp_path):
    build_archive_index(archive, tmp_path / "index", HERE)
    write_case(archive, "four")

    result = build_archive_index(archive, tmp_path / "index", HERE)

    assert (result["added"], sorted(result["already"])) == (["four"], ["one", "three", "two"])
    assert result["index"]["cases"] == 4


def test_a_build_that_was_stopped_reads_no_case_again(archive, tmp_path, monkeypatch):
    def stop_after_two(fraction, message):
        if len(list((tmp_path / "index" / "parts").glob("*.npz"))) == 2:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        build_archive_index(archive, tmp_path / "index", HERE, stop_after_two)
    read = []
    real = module.embed_case
    monkeypatch.setattr(module, "embed_case", lambda case, *rest: read.append(case.id) or real(case, *rest))

    result = build_archive_index(archive, tmp_path / "index", HERE)

    assert len(result["added"]) == 3 and "three: Its place is unknown." in result["notes"]
    assert len(read) == 2, "two of four had been read, the bad one among the others"
    assert not (tmp_path / "index" / "parts").exists()


def test_a_case_whose_mask_was_redrawn_meanwhile_is_read_again(archive, tmp_path, monkeypatch):
    with pytest.raises(Cancelled):
        build_archive_index(archive, tmp_path / "index", HERE, _stop_before_writing)
    labels = nibabel.load(archive / "one" / "seg.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(labels.dataobj)[::-1].copy(), np.eye(4)), archive / "one/seg.nii.gz")
    read = []
    real = module.embed_case
    monkeypatch.setattr(module, "embed_case", lambda case, *rest: read.append(case.id) or real(case, *rest))

    build_archive_index(archive, tmp_path / "index", HERE)

    assert sorted(read) == ["bad", "one"]


def _stop_before_writing(_fraction, message):
    if "Writing" in message:
        raise Cancelled("Stopped.")


def test_one_scan_under_two_names_is_indexed_once(archive, tmp_path):
    write_case(archive, "same", seed=5)
    write_case(archive, "sane", seed=5)

    result = build_archive_index(archive, tmp_path / "index", HERE)

    assert "same" in result["added"] and "sane" not in result["added"]
    assert any("that of the case same, voxel by voxel" in problem["reason"] for problem in result["problems"])
    again = add_cases(tmp_path / "index", [archive / "sane"], HERE)
    assert again["added"] == [] and "voxel by voxel" in again["problems"][0]["reason"]


def test_another_scan_of_a_known_name_is_not_mistaken_for_it(archive, tmp_path):
    build_archive_index(archive, tmp_path / "index", HERE)
    (tmp_path / "moved").mkdir()
    (archive / "two").rename(tmp_path / "moved" / "two")
    write_case(tmp_path / "other", "one", seed=77)

    moved = add_cases(tmp_path / "index", [tmp_path / "moved" / "two"], HERE)
    other = add_cases(tmp_path / "index", [tmp_path / "other" / "one"], HERE)

    assert moved["already"] == ["two"] and not moved["problems"]
    assert not other["added"] and "its scan differs" in other["problems"][0]["reason"]


def test_several_cases_are_added_at_once(archive, tmp_path):
    build_archive_index(archive, tmp_path / "index", HERE)
    new = [write_case(tmp_path / "new", name) for name in ("five", "six")]

    result = add_cases(tmp_path / "index", new, HERE)

    assert result["added"] == ["five", "six"] and result["index"]["cases"] == 5


def test_adding_needs_an_index_of_the_same_model_that_nobody_writes(archive, tmp_path):
    with pytest.raises(UnreadableFile, match="holds no case index"):
        add_cases(tmp_path / "none", [archive / "one"], HERE)
    CaseIndex.create(tmp_path / "other", "b" * 64).close()
    with pytest.raises(IndexOfAnotherModel):
        add_cases(tmp_path / "other", [archive / "one"], HERE)
    build_archive_index(archive, tmp_path / "index", HERE)
    with CaseIndex.open(tmp_path / "index", writable=True), pytest.raises(IndexBusy):
        add_cases(tmp_path / "index", [write_case(tmp_path / "new", "five")], HERE)


def test_no_file_tells_of_a_removed_case(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path / "cache"))
    manifest = "case,patient,t1c,provenance\nsecret-case,Secret Patient,three/t1c.nii.gz,secret clinic\n"
    (archive / "list.csv").write_text(manifest + "kept-case,Kept Patient,two/t1c.nii.gz,\n")
    folder = tmp_path / "index"
    build_archive_index(archive, folder, HERE)
    with CaseIndex.open(folder) as index:
        vector, mask = index.vectors_of("secret-case")[0].tobytes(), index.get("secret-case").mask.read_bytes()
        traces = [b"secret-case", b"Secret Patient", b"secret clinic", b"three", vector, vector[:32], mask[20:60]]
    # A build that was stopped has read it too, and a killed writer has left an old generation.
    parts = folder / "parts"
    parts.mkdir()
    (parts / f"{hashlib.sha256(b'secret-case').hexdigest()[:32]}-0123456789abcdef.npz").write_bytes(vector)
    (folder / "cases-1.sqlite").write_bytes(b"secret-case")
    assert all(any(trace in data for data in _everything(tmp_path)) for trace in traces)

    result = remove_cases(folder, ["secret-case"])

    assert result["removed"] == ["secret-case"] and result["index"]["cases"] == 1
    assert [trace for trace in traces if any(trace in data for data in _everything(tmp_path))] == []
    with CaseIndex.open(folder) as index:
        index.verify()
        assert index.get("kept-case").patient == "Kept Patient"
    assert (archive / "three" / "t1c.nii.gz").exists(), "the archive is not ours"


def _everything(folder):
    """The content of every file of index and cache."""
    return [path.read_bytes() for part in ("index", "cache") for path in (folder / part).rglob("*") if path.is_file()]


def test_removing_a_synthetic_case_empties_the_cache_of_it(tiny_index, tmp_path, monkeypatch):
    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path / "cache"))
    with CaseIndex.open(tiny_index) as index:
        index.snapshot(tmp_path / "index")
        load_known_case(index.get("SYN-GLI-0001"))
    assert len(list((tmp_path / "cache").iterdir())) == 1

    remove_cases(tmp_path / "index", ["SYN-GLI-0001"])

    assert list((tmp_path / "cache").iterdir()) == []


def test_the_bundled_index_is_never_changed_whatever_it_is_called(archive, monkeypatch):
    index = resource("Index")
    before = {path.name: path.stat().st_mtime_ns for path in index.iterdir()}
    monkeypatch.chdir(index)

    for name in (index, ".", index.parent / "Models" / ".." / "Index"):
        with pytest.raises(InvalidRequest, match="stay as they are. Make an index of your own: `index build"):
            add_cases(name, [archive])
        with pytest.raises(InvalidRequest, match="stay as they are"):
            build_archive_index(archive, name)
        with pytest.raises(InvalidRequest, match="stay as they are"):
            remove_cases(name, ["SYN-GLI-0001"])
        with pytest.raises(InvalidRequest, match="stay as they are"):
            relocate_archive(name, archive)
    assert {path.name: path.stat().st_mtime_ns for path in index.iterdir()} == before


def test_nothing_is_removed_if_one_case_is_unknown(archive, tmp_path):
    build_archive_index(archive, tmp_path / "index", HERE)

    with pytest.raises(UnknownCase, match="'nobody'"):
        remove_cases(tmp_path / "index", ["one", "nobody"])

    assert index_facts(tmp_path / "index")["cases"] == 3


def test_a_case_whose_scan_is_gone_is_still_found_and_says_what_to_do(archive, tmp_path):
    build_archive_index(archive, tmp_path / "index", HERE)
    archive.rename(tmp_path / "moved")
    folder = tmp_path / "index"

    with CaseIndex.open(folder) as index:
        assert index.search(index.vectors_of("two"), 1)[0][0].case == "two"
        with pytest.raises(UnreadableFile, match="index relocate"):
            load_known_case(index.get("two"))
        shown = load_if_possible(index.get("two"))
        assert shown.t1c is None and "cannot be shown" in shown.provenance
    assert index_facts(folder)["archives"] == [{"folder": str(archive), "cases": 3, "there": False}]

    relocate_archive(folder, tmp_path / "moved")

    with CaseIndex.open(folder) as index:
        assert load_known_case(index.get("two")).t1c is not None
        assert "outlined by the network" in load_known_case(index.get("three")).provenance
    with pytest.raises(UnreadableFile, match="There is no folder"):
        relocate_archive(folder, tmp_path / "nowhere")
    with pytest.raises(UnreadableFile, match="Say which archive"):
        relocate_archive(folder, tmp_path / "moved", tmp_path / "never")


def test_a_clock_that_goes_backwards_changes_nothing(archive, tmp_path):
    for path in archive.rglob("*.nii.gz"):
        os.utime(path, (2**33, 2**33))
    build_archive_index(archive, tmp_path / "index", HERE)
    for path in [*archive.rglob("*.nii.gz"), *(tmp_path / "index").rglob("*")]:
        os.utime(path, (0, 0))

    result = build_archive_index(archive, tmp_path / "index", HERE)

    assert len(result["already"]) == 3 and not result["added"]
    remove_cases(tmp_path / "index", ["one"])
    assert index_facts(tmp_path / "index")["cases"] == 2


def _killed(*arguments) -> dict:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("killed_archive.py")
    run = subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
class TestKilledAndCrowded:
    def test_builds_adds_and_removals_killed_at_any_moment_lose_nothing(self, tmp_path):
        assert _killed("kill", tmp_path, 10)["killed"] == 10

    @pytest.mark.slow
    def test_two_hundred_of_them(self, tmp_path):
        assert _killed("kill", tmp_path, 200)["states"] > 2

    def test_of_many_writers_at_once_one_writes_and_the_others_are_told(self, tmp_path):
        result = _killed("crowd", tmp_path, 6)

        assert result["done"] + result["busy"] == 6 and result["done"] >= 1
        with CaseIndex.open(tmp_path / "index", search=NumpySearch) as index:
            assert len(index.case_ids()) == 2 + result["done"]
