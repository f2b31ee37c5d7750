"""Whatever happens to its files, an index is whole or says that it is not."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.errors import CannotWrite, IndexBusy, IndexDamaged, IndexOfAnotherModel, UnreadableFile
from TumorRetrievalLib.retrieval import kernel_features
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, EmbeddingLayout
from TumorRetrievalLib.retrieval.case_index import CaseIndex

from .conftest import MODEL, Cohort

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with an index that nobody has open."""
    folder = tmp_path_factory.mktemp("stored") / "index"
    Cohort(12).fill(folder).close()
    return folder


@pytest.fixture
def copied(stored, tmp_path):
    return Path(shutil.copytree(stored, tmp_path / "index"))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "writer.lock"}


def file_of(folder, kind):
    (path,) = folder.glob(f"{kind}*")
    return path


def watch_writers_die(*arguments):
    script = Path(__file__).with_name("killed_writer.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
class TestKilledWriters:
    def test_a_writer_killed_before_any_of_its_steps_leaves_the_index_before_or_after(self, tmp_path):
        result = watch_writers_die("steps", tmp_path / "index")

        assert result["steps"] > 12
        assert result["cases seen"] == [0, 40]

    def test_a_writer_killed_at_any_moment_leaves_a_whole_index(self, tmp_path):
        result = watch_writers_die("times", tmp_path / "index", 20)

        assert result["generations seen"] > 3

    @pytest.mark.slow
    def test_hundreds_of_killed_writers_leave_a_whole_index(self, tmp_path):
        result = watch_writers_die("times", tmp_path / "index", 400)

        assert result["generations seen"] > 50

    def test_readers_find_a_whole_index_while_one_writes(self, tmp_path):
        result = watch_writers_die("readers", tmp_path / "index")

        assert result["different"] > 1


def test_a_reader_keeps_what_it_opened_while_a_writer_goes_on(copied):
    query = Cohort(12).vectors[0][:1]
    with CaseIndex.open(copied) as reader:
        before = [(hit.case, hit.tumor, hit.score) for hit in reader.search(query, 50)[0]]
        with CaseIndex.open(copied, writable=True) as writer:
            writer.remove([f"case-{i:04d}" for i in range(12)])
            assert len(writer) == 0
        after = [(hit.case, hit.tumor, hit.score) for hit in reader.search(query, 50)[0]]

        assert after == before
        assert reader.get("case-0003").patient == "patient 1"


def test_a_second_writer_is_refused_and_readers_are_not(copied):
    with CaseIndex.open(copied, writable=True):
        with pytest.raises(IndexBusy, match=f"process {os.getpid()} on"):
            CaseIndex.open(copied, writable=True)
        CaseIndex.open(copied).close()
    CaseIndex.open(copied, writable=True).close()


def test_an_index_that_cannot_be_opened_is_not_left_locked(copied):
    for _ in range(2):
        with pytest.raises(IndexOfAnotherModel):
            CaseIndex.open(copied, "b" * 64, writable=True)


@pytest.mark.parametrize("kind", ["cases", "vectors", "manifest"])
def test_a_changed_byte_anywhere_is_noticed(copied, kind):
    path = file_of(copied, kind)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)

    for place in {0, len(whole) - 1, *rng.integers(len(whole), size=60).tolist()}:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(IndexDamaged, match="snapshot, or build it again|later version"):
            CaseIndex.open(copied)

    path.write_bytes(whole)
    CaseIndex.open(copied).close()


@pytest.mark.parametrize("kind", ["cases", "vectors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "shorter", "longer"])
def test_a_missing_or_cut_file_is_noticed(copied, kind, damage):
    path = file_of(copied, kind)
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "shorter": whole[:-100], "longer": whole + b"\0"}[damage])

    with pytest.raises(IndexDamaged, match=rf"{kind}.*(missing|checksum)"):
        CaseIndex.open(copied)


@pytest.mark.parametrize("kind", ["cases", "vectors"])
def test_a_file_of_another_generation_is_noticed(copied, kind, tmp_path):
    old = file_of(copied, kind).read_bytes()
    with CaseIndex.open(copied, writable=True) as index:
        index.remove(["case-0001"])
    file_of(copied, kind).write_bytes(old)

    with pytest.raises(IndexDamaged):
        CaseIndex.open(copied)


def test_a_manifest_of_a_later_version_says_so(copied):
    path = copied / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))

    with pytest.raises(IndexDamaged, match="later version"):
        CaseIndex.open(copied)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"kind": "TumorRetrieval case index"}', "\udcff"])
def test_a_manifest_that_is_none_is_refused(copied, text):
    (copied / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(IndexDamaged, match="manifest"):
        CaseIndex.open(copied)


@pytest.mark.parametrize("writable", [False, True])
def test_a_folder_without_an_index_is_left_as_it_is(tmp_path, writable):
    with pytest.raises(UnreadableFile, match="holds no case index"):
        CaseIndex.open(tmp_path, writable=writable)

    assert list(tmp_path.iterdir()) == []


def test_an_index_of_another_model_is_refused_with_the_way_out(copied):
    with pytest.raises(IndexOfAnotherModel, match=r"made by the model aaaa.*in use is bbbb.*build the index again"):
        CaseIndex.open(copied, "b" * 64)
    CaseIndex.open(copied, MODEL).close()


def test_an_index_whose_places_were_encoded_differently_is_refused(copied, monkeypatch):
    assert EmbeddingLayout(DEFAULT_LAYOUT.blocks).hash == DEFAULT_LAYOUT.hash
    monkeypatch.setattr(
        "TumorRetrievalLib.retrieval.blocks.POSITION_FREQUENCIES", kernel_features.POSITION_FREQUENCIES * 1.01
    )

    with pytest.raises(IndexOfAnotherModel, match="another version"):
        CaseIndex.open(copied)


def test_verify_finds_what_went_wrong_after_opening(copied):
    with CaseIndex.open(copied) as index:
        index.verify()
        path = file_of(copied, "vectors")
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(IndexDamaged, match="checksum"):
            index.verify()


@pytest.mark.parametrize("step", ["database", "vectors", "manifest"])
def test_a_full_disk_changes_nothing(copied, monkeypatch, step):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    resource = pytest.importorskip("resource")
    before = content(copied)
    query = Cohort(12).vectors[0][:1]
    with CaseIndex.open(copied, writable=True) as index:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with monkeypatch.context() as patch:
            if step == "database":
                resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
            elif step == "vectors":
                patch.setattr(np, "save", full)
            else:
                patch.setattr(Path, "write_bytes", full)
            try:
                with pytest.raises(CannotWrite, match="cannot be written"):
                    index.add([Case("new", "p", tumors=(Tumor(id="1", type="glioma"),))], [query])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        assert content(copied) == before
        assert "new" not in index
        assert index.search(query, 1)[0][0].case == "case-0000"
        index.add([Case("new", "p", tumors=(Tumor(id="1", type="glioma"),))], [query])
    with CaseIndex.open(copied) as index:
        assert "new" in index


def test_reading_leaves_no_trace_so_a_read_only_folder_will_do(copied):
    before = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}

    with CaseIndex.open(copied) as index:
        index.search(Cohort(12).vectors[0][:1], 3)
        index.verify()

    assert {path.name: path.stat().st_mtime_ns for path in copied.iterdir()} == before


def test_a_read_only_folder_cannot_be_opened_for_writing(copied, monkeypatch):
    real_open = os.open

    def refuse(path, flags, *rest, **options):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(CannotWrite, match="Read-only"):
        CaseIndex.open(copied, writable=True)


def test_a_folder_that_is_a_file_cannot_become_an_index(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CannotWrite, match="cannot be made"):
        CaseIndex.create(tmp_path / "file" / "index", MODEL)


def test_an_index_that_is_there_is_not_overwritten(copied):
    before = content(copied)

    with pytest.raises(CannotWrite, match="holds a case index already"):
        CaseIndex.create(copied, MODEL)

    assert content(copied) == before


@pytest.mark.parametrize("name", ["with space", "Größe 世界", "100%25 #1?mode=rw&x", "it's", "a;b"])
def test_any_folder_name_will_do(tmp_path, name, cohort):
    with cohort.fill(tmp_path / name) as index:
        index.remove(["case-0001"])
    with CaseIndex.open(tmp_path / name) as index:
        assert index.stats()["cases"] == 59


def test_an_index_can_be_moved(copied, tmp_path):
    moved = copied.rename(tmp_path / "moved")

    assert not any(str(tmp_path).encode() in data for data in content(moved).values())
    with CaseIndex.open(moved) as index:
        assert index.stats()["cases"] == 12


def test_only_our_own_litter_is_cleared(copied):
    ours = [
        copied / ".tmp-0a1b2c3d-cases-7.sqlite-journal",
        copied / "vectors-1.npy",
        copied / ".tmp-00ff00ff-manifest.json",
    ]
    others = [copied / "notes.txt", copied / "vectors.npy", copied / ".tmp-file", copied / "cases-1.sqlite.bak"]
    for path in (*ours, *others):
        path.write_text("x")

    CaseIndex.open(copied, writable=True).close()

    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


def test_two_and_a_half_thousand_tumors_need_less_than_three_megabytes(tmp_path):
    cohort = Cohort(1239)
    cohort.fill(tmp_path / "index").close()

    assert sum(len(case.tumors) for case in cohort.cases) > 2300
    assert sum(path.stat().st_size for path in (tmp_path / "index").iterdir()) < 3e6
