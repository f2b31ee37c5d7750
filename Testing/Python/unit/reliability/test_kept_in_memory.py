"""What is kept in memory or in a cache is used as long as its file is what it was, whatever the clock says."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, SyntheticRecipe
from TumorRetrievalLib.engine import known_cases
from TumorRetrievalLib.engine.growth import load_simulations
from TumorRetrievalLib.engine.known_cases import load_known_case
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.errors import CannotWrite
from TumorRetrievalLib.imaging.atomic import atomic_file, file_state

CASE = Case(id="s", patient="s", recipe=SyntheticRecipe(seed=3, tumor_type="glioma", lesion_count=1))
A_DAY = 86_400


def replaced(path: Path, content: bytes, *, mtime_ns: int) -> None:
    """Another file of that name with the time of modification that somebody wants."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
        os.utime(temporary, ns=(mtime_ns, mtime_ns))


@pytest.mark.parametrize("later", [-A_DAY, 0, A_DAY])
def test_a_file_that_was_replaced_is_noticed_whatever_time_it_is_given(tmp_path, later):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = file_state(path)

    replaced(path, b"two", mtime_ns=before[2] + later * 10**9)

    assert file_state(path) != before


def test_a_file_that_was_changed_in_place_and_given_its_old_time_is_noticed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = file_state(path)
    time.sleep(0.02)  # the ticks of a file system's clock

    path.write_bytes(b"two")
    os.utime(path, ns=(before[2], before[2]))

    assert file_state(path) != before
    assert file_state(tmp_path / "nothing") is None


def test_a_model_that_was_replaced_with_the_time_of_the_old_one_is_read_again(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    contract = folder / "model.json"
    old = tumor_reader(folder, "cpu")
    assert tumor_reader(folder, "cpu") is old

    text = contract.read_bytes().replace(b'"tiny"', b'"TINY"')
    replaced(contract, text, mtime_ns=contract.stat().st_mtime_ns)

    assert tumor_reader(folder, "cpu").model.contract["name"] == "TINY"


def test_a_database_that_was_replaced_with_the_time_of_the_old_one_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "a.growth"
    path.write_bytes(b"one")
    monkeypatch.setattr("TumorRetrievalLib.engine.growth.read_database", lambda path: path.read_bytes())
    assert load_simulations(path) == b"one"

    replaced(path, b"two", mtime_ns=path.stat().st_mtime_ns)

    assert load_simulations(path) == b"two"


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """How often a case had to be made, in a cache of its own; making one is replaced by something quick."""
    from types import SimpleNamespace

    from TumorRetrievalLib.imaging.volume import LabelMap, Volume

    made = []

    def synthesize(*recipe):
        made.append(recipe)
        data = np.random.default_rng(0).random((8, 8, 8), dtype=np.float32)
        mask = LabelMap((data > 0.5).astype(np.uint8), np.eye(4))
        return SimpleNamespace(t1c=Volume(data, np.eye(4)), flair=Volume(data, np.eye(4)), core=mask, whole=mask)

    monkeypatch.setattr("TumorRetrievalLib.synthesis.scan.synthesize", synthesize)
    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path / "cache"))
    return made


def test_a_cached_case_counts_whatever_the_clock_said_when_it_was_made(drawn):
    first = load_known_case(CASE)
    (path,) = known_cases.cache_folder().iterdir()

    for time_s in (0, time.time() + 365 * A_DAY):
        os.utime(path, (time_s, time_s))
        assert np.allclose(load_known_case(CASE).t1c.data, first.t1c.data, atol=1e-3)

    assert len(drawn) == 1


def test_a_cache_that_can_only_be_read_is_used_all_the_same(drawn, monkeypatch):
    load_known_case(CASE)

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    load_known_case(CASE)

    assert len(drawn) == 1


def test_a_cache_on_a_full_disk_costs_time_only(drawn, monkeypatch):
    def full(path):
        raise CannotWrite("the disk is full")

    monkeypatch.setattr(known_cases, "atomic_file", full)

    assert load_known_case(CASE).t1c.shape == load_known_case(CASE).t1c.shape == (8, 8, 8)
    assert len(drawn) == 2


CROWD = """
import sys
from pathlib import Path
import numpy as np
from TumorRetrievalLib.engine.index_map import _keep as keep_map, _kept as kept_map
from TumorRetrievalLib.engine.known_cases import KnownCase, _keep, _read_cached
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

folder, number = Path(sys.argv[1]), int(sys.argv[2])
scan = Volume(np.full((24, 24, 24), number, np.float32), np.eye(4))
mask = LabelMap(np.full((24, 24, 24), number, np.uint8), np.eye(4))
for turn in range(60):
    _keep(folder / "v1.npz", KnownCase(scan, scan, mask, mask, ""))
    case = _read_cached(folder / "v1.npz", "")
    assert case is not None and len(np.unique(case.t1c.data)) == 1, turn
    assert np.array_equal(case.t1c.data, case.flair.data), turn
    keep_map(folder / "map.npy", np.full((500, 2), number, float))
    assert len(np.unique(kept_map(folder / "map.npy", 500))) == 1, turn
"""


def test_processes_that_fill_one_cache_at_the_same_time_never_read_a_half(tmp_path):
    root = Path(__file__).resolve().parents[4]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    crowd = [
        subprocess.Popen([sys.executable, "-c", CROWD, str(tmp_path), str(number)], env=environment)
        for number in range(3)
    ]

    assert [process.wait(timeout=120) for process in crowd] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npy", "v1.npz"]
