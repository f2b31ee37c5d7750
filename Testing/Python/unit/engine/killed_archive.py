"""Run by a test in a process of its own: builds, adds and removals that are killed, or that crowd.

    python killed_archive.py kill FOLDER COUNT     one change after the other is killed at a random moment
    python killed_archive.py crowd FOLDER COUNT    so many processes add a case each at the same time

Ends with status 0 and a last line of JSON if the index was whole every time, and complete in the end.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from small_archive import use_stand_in, write_case

from TumorRetrievalLib.engine.archive import ReadWith, add_cases, build_archive_index
from TumorRetrievalLib.engine.index_care import remove_cases
from TumorRetrievalLib.errors import IndexBusy, UnknownCase
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

HERE = ReadWith(workers=1)
BUSY = 3


def child(work):
    """Run `work` in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            try:
                work()
                status = 0
            except IndexBusy:
                status = BUSY
        os._exit(status)
    return pid


def require_whole(folder):
    """The cases of the index, each with its tumor, its vector and its mask."""
    if not (folder / "manifest.json").exists():
        return set()
    with CaseIndex.open(folder, search=NumpySearch) as index:
        index.verify()
        for case_id in index.case_ids():
            case = index.get(case_id)
            assert len(index.vectors_of(case_id)) == len(case.tumors) == 1, case_id
            assert case.mask.exists(), case.mask
        return set(index.case_ids())


def kill(folder, count):
    names = [f"case-{number}" for number in range(8)]
    for number, name in enumerate(names):
        write_case(folder / "archive", name, mask=number % 2 == 0)
    extra = write_case(folder / "more", "extra")
    index = folder / "index"

    def build():
        build_archive_index(folder / "archive", index, HERE)

    def add():
        add_cases(index, [extra], HERE)

    def remove():
        with contextlib.suppress(UnknownCase):
            remove_cases(index, ["case-1", "extra"])

    def change_for_ever():
        while True:
            build()
            remove()
            add()

    began = time.perf_counter()
    os.waitpid(child(lambda: build_archive_index(folder / "archive", folder / "trial", HERE)), 0)
    one_build = time.perf_counter() - began
    rng, seen = random.Random(0), set()
    for _ in range(count):
        before = require_whole(index)
        pid = child(change_for_ever)
        time.sleep(rng.uniform(0, 2 * one_build))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        after = require_whole(index)
        assert before - {"case-1", "extra"} <= after <= {*names, "extra"}, (before, after)
        assert not after or set(names) - {"case-1"} <= after, after
        seen.add(frozenset(after))
    build()
    with contextlib.suppress(Exception):
        add()
    assert require_whole(index) == {*names, "extra"}
    left = {path.name.split("-")[0] for path in index.iterdir()}
    assert left == {"cases", "vectors", "manifest.json", "masks", "writer.lock"}, left
    return {"killed": count, "states": len(seen)}


def crowd(folder, count):
    for name in ("a", "b"):
        write_case(folder / "archive", name)
    build_archive_index(folder / "archive", folder / "index", HERE)
    new = [write_case(folder / "new", f"new-{number}") for number in range(count)]
    children = [child(lambda case=case: add_cases(folder / "index", [case], HERE)) for case in new]
    endings = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert set(endings) <= {0, BUSY}, endings
    require_whole(folder / "index")
    return {"done": endings.count(0), "busy": endings.count(BUSY)}


def main():
    use_stand_in(setattr)
    task, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    print(json.dumps({"kill": kill, "crowd": crowd}[task](folder, count)))


if __name__ == "__main__":
    main()
