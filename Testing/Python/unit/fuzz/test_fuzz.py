"""Whatever a file holds: it is read, or refused with an error of ours; quickly, in little memory, writing nothing."""

import faulthandler
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_array_subjects
from fuzz_mutations import mutated
from fuzz_subjects import MAKERS, Subject

sys.path.pop(0)

from TumorRetrievalLib.errors import TumorRetrievalError

FEW = int(os.environ.get("FUZZ_FEW", 10))
MANY = int(os.environ.get("FUZZ_MANY", 400))
"""Inputs for each subject."""

MOST_SECONDS = 1.0
MOST_MB = 200
PATIENCE_S = 60

MEMORY = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class Hangs(BaseException):
    """No reader can take this for an error of its own."""


def examined(subject: Subject, parts: dict[str, bytes], folder: Path) -> str | None:
    """What is wrong with how a reader deals with some parts; None if nothing is.

    :param folder: empty; emptied again.
    """
    path = subject.put_together(folder, parts)
    before, used, began = state_of(folder.parent), memory_mb(), time.process_time()
    problem = None
    try:
        subject.read(path)
    except TumorRetrievalError as error:
        problem = None if str(error).strip() else "its error says nothing"
    except BaseException:
        problem = traceback.format_exc(limit=-6)
    seconds, peak = time.process_time() - began, peak_mb()
    if problem is None and seconds > MOST_SECONDS:
        problem = f"it took {seconds:.1f} s"
    if problem is None and peak - used > MOST_MB:
        problem = f"it took {peak - used:.0f} MB"
    if problem is None and state_of(folder.parent) != before:
        names = sorted({name for name, _ in set(state_of(folder.parent)) ^ set(before)})
        problem = f"it changed {', '.join(names)}"
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return problem


def state_of(folder: Path) -> list[tuple]:
    """Names, and contents of files."""
    paths = sorted(folder.rglob("*"))
    return [(str(path.relative_to(folder)), path.read_bytes() if path.is_file() else None) for path in paths]


def memory_mb() -> float:
    """The memory in use now; from here on the peak is counted anew, where the system can do that."""
    if not MEMORY.exists():
        return 0.0
    MEMORY.write_text("5")
    return _from_status("VmRSS")


def peak_mb() -> float:
    return _from_status("VmHWM") if MEMORY.exists() else 0.0


def _from_status(name: str) -> float:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name)) / 1024


@pytest.fixture
def watched():
    """Ends what hangs, in Python with a failure, elsewhere with the process and a trace of it."""

    def stop(*_):
        raise Hangs

    if not hasattr(signal, "SIGALRM"):
        yield lambda: None
        return
    before = signal.signal(signal.SIGALRM, stop)

    def begin():
        signal.alarm(PATIENCE_S)
        faulthandler.dump_traceback_later(2 * PATIENCE_S, exit=True)

    yield begin
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


def damaged_parts(parts: dict[str, bytes], random: Random) -> dict[str, bytes]:
    """Parts of which one, rarely two, are mutated."""
    changed = dict(parts)
    for name in random.choices(list(parts), k=random.choice((1, 1, 1, 2))):
        changed[name] = mutated(changed[name], parts[random.choice(list(parts))], random)
    return changed


def fuzz(name: str, count: int, tmp_path: Path, begin, first: int = 0) -> None:
    """Feed a reader `count` inputs; the n-th is the same whenever and wherever it is made."""
    workshop, folder = tmp_path / "workshop", tmp_path / "around" / "input"
    workshop.mkdir()
    folder.mkdir(parents=True)
    subject = MAKERS[name](workshop)
    found: dict[int, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            begin()
            problem = examined(subject, subject.parts, folder)  # the first time pays for imports
        assert problem is None, f"{name} without damage: {problem}"
        for number in range(first, first + count):
            begin()
            parts = damaged_parts(subject.parts, Random(zlib.crc32(f"{name} {number}".encode())))
            if (problem := examined(subject, parts, folder)) is not None:
                found[number] = problem
    assert not found, f"{len(found)} of {count} inputs ({name}), such as\n" + "\n".join(
        f"number {number}: {problem}" for number, problem in list(found.items())[:5]
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_few_damaged_files_of_each_kind_are_read_or_refused(name, tmp_path, watched):
    fuzz(name, FEW, tmp_path, watched)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_thousands_of_damaged_files_are_read_or_refused(name, tmp_path, watched):
    fuzz(name, MANY, tmp_path, watched)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": NaN, "task": "read"}',
        b'{"id": [1], "task": "read"}',
        b'{"id": 1, "task": "cancel", "arguments": {"id": []}}',
        b'{"id": 1, "task": "cancel", "arguments": {"id": {}}}',
        b'{"id": 1, "task": "read", "arguments": {"weights": {"position": 1' + b"0" * 400 + b"}}}",
        b'{"id": 1, "task": "read", "arguments": {"boxes": [{"center_ras": [1'
        + b"0" * 400
        + b', 0, 0], "size_mm": [1]}]}}',
        b"[" * 5_000,
        b"\xff\xfe",
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_worker_goes_on(tmp_path, line):
    """Each of these once ended the worker, or was called a mistake of ours."""
    (tmp_path / "lines").write_bytes(line)

    fuzz_array_subjects._serve(tmp_path / "lines")


def test_the_many_are_at_least_ten_thousand():
    assert 400 * len(MAKERS) >= 10_000
