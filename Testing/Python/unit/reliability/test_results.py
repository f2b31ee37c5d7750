"""What is killed at any moment leaves nothing that claims to be whole; strange names are names like others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.cohort.importers.archive import import_archive
from TumorRetrievalLib.engine.find import find_similar
from TumorRetrievalLib.engine.rerank import Query
from TumorRetrievalLib.errors import CannotWrite, TumorRetrievalError
from TumorRetrievalLib.imaging import atomic
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.imaging.files import read_volume, write_volume
from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

ROOT = Path(__file__).resolve().parents[4]
STRANGE = ["Ünïcode – 日本語 🧠", "with 'quotes\" and % $HOME", " spaces ", "-k", "x" * 255, "é" * 127]
"""Names of folders that a Linux file system takes."""


def test_while_a_search_writes_nothing_claims_to_be_its_result(request_for, monkeypatch):
    """What a kill would leave: the state of the folder at each moment at which a file gets its name."""
    request = request_for(report=False)
    request.out.mkdir()
    for name in ("result.json", "query.json", "report.html"):
        (request.out / name).write_text("of an earlier search")
    moments = []

    def replace(source, target, real=os.replace):
        if Path(target).parent == request.out:
            moments.append((Path(target).name, (request.out / "result.json").exists()))
        real(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    find_similar(request)

    assert moments[-1] == ("result.json", False) and len(moments) >= 4
    assert not any(claimed for _, claimed in moments)
    assert len(json.loads((request.out / "result.json").read_text())["tumors"]) == 1
    assert len(Query.kept(request.out).boxes) == 1
    assert not (request.out / "report.html").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_import_of_dicom_that_is_killed_at_any_moment_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    sys.path.insert(0, str(ROOT / "Testing" / "Python" / "unit" / "fuzz"))
    from fuzz_subjects import _study

    sys.path.pop(0)
    (tmp_path / "studies").mkdir()
    _study(tmp_path / "studies")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = Path(__file__).with_name("killed_import.py")

    def run(folder: Path) -> int:
        folder.mkdir()
        command = [sys.executable, str(script), str(tmp_path / "studies"), str(folder)]
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    kills = run(tmp_path / "killed")
    import_archive(tmp_path / "studies", tmp_path / "fresh", salt_file=tmp_path / "killed" / "salt")

    assert kills >= 5  # in the salt, the scan, the mask and the record, before and after each gets its name
    assert contents(tmp_path / "killed" / "copies") == contents(tmp_path / "fresh")
    assert {path.name for path in (tmp_path / "fresh").rglob("*.nii.gz")} == {"t1c.nii.gz", "mask.nii.gz"}


def contents(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, apart from the temporary files of those that were killed."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", STRANGE, ids=range(len(STRANGE)))
def test_any_name_of_a_folder_will_do(tmp_path, name):
    folder = tmp_path / name
    make_folder(folder)
    scan = Volume(np.arange(60, dtype=np.float32).reshape(5, 4, 3), np.eye(4))

    write_volume(folder / "scan.nii.gz", scan)
    CaseIndex.create(folder / "index", "a" * 64, search=NumpySearch).close()

    assert np.array_equal(read_volume(folder / "scan.nii.gz").data, scan.data)
    with CaseIndex.open(folder / "index", search=NumpySearch) as index:
        index.verify()


@pytest.mark.parametrize("name", ["x" * 248 + ".nii.gz", "é" * 124 + ".nii.gz", "脳" * 82 + ".nii.gz"], ids=range(3))
def test_a_file_may_have_the_longest_name_that_a_disk_takes(tmp_path, name):
    assert 250 <= len(os.fsencode(name)) <= 255
    write_volume(tmp_path / name, Volume(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.eye(4)))

    assert read_volume(tmp_path / name).shape == (2, 2, 2)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_no_disk_takes_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(CannotWrite, match="too long; choose a shorter one"), atomic_file(tmp_path / ("x" * 256)):
        pass
    with pytest.raises(CannotWrite, match="too long; choose a shorter one"):
        make_folder(tmp_path / ("x" * 256))
    for wrong in (tmp_path / ("x" * 256 + ".nii.gz"), Path("/" + "x/" * 3000 + "scan.nii.gz"), Path("a\0b.nii.gz")):
        with pytest.raises(TumorRetrievalError):
            read_volume(wrong)


def test_a_folder_in_the_place_of_which_there_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()

    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CannotWrite, match="choose another"):
            make_folder(folder)
