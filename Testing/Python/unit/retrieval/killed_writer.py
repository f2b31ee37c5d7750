"""Run by a test in a process of its own: writers that are killed, and what they leave.

    python killed_writer.py steps FOLDER          a writer dies before the first, second, ... step of one change
    python killed_writer.py times FOLDER COUNT    writers die at random moments of many changes
    python killed_writer.py readers FOLDER        an index is read again and again while it is written

Ends with status 0 and a last line of JSON if every index that was left was whole.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

STEPS = {"open", "os.rename", "os.remove", "sqlite3.connect"}
BATCH = 40


def batch(number):
    vector = DEFAULT_LAYOUT.combine({name: np.ones(size) for name, size in DEFAULT_LAYOUT.blocks})
    cases = [Case(f"{number}-{i}", "p", tumors=(Tumor(id="1", type="glioma"),)) for i in range(BATCH)]
    return cases, [vector[None]] * BATCH


def child(work):
    """Run `work` in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return pid


def change(folder):
    with CaseIndex.open(folder, writable=True, search=NumpySearch) as index:
        if "0-0" in index:
            index.remove([f"0-{i}" for i in range(BATCH)])
        else:
            index.add(*batch(0))


def dies_before_step(number, folder):
    seen = 0

    def count(event, _):
        nonlocal seen
        if event in STEPS:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def work():
        sys.addaudithook(count)
        change(folder)

    return work


def require_whole(folder):
    """The index opens, its parts fit, it holds whole batches, and the next writer clears the litter away."""
    with CaseIndex.open(folder, "model", search=NumpySearch) as index:
        index.verify()
        cases = index.stats()["cases"]
        assert cases % BATCH == 0, cases
        assert len(index.search(batch(0)[1][0], 3)[0]) == min(3, cases)
    with CaseIndex.open(folder, writable=True):
        assert len(list(folder.iterdir())) == 4, sorted(folder.iterdir())
    return cases


def steps(folder):
    seen = set()
    for number in range(1, 1000):
        pid = child(dies_before_step(number, folder))
        ended_well = os.waitpid(pid, 0)[1] == 0
        seen.add(require_whole(folder))
        if ended_well:
            return {"steps": number - 1, "cases seen": sorted(seen)}
    raise AssertionError("the writer never came to its end")


def times(folder, count):
    generations = set()

    def work():
        while True:
            change(folder)

    start = time.perf_counter()
    os.waitpid(child(lambda: change(folder)), 0)
    one_change = time.perf_counter() - start
    rng = random.Random(0)
    for _ in range(count):
        pid = child(work)
        time.sleep(rng.uniform(0, 3 * one_change))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        require_whole(folder)
        generations.add(json.loads((folder / "manifest.json").read_text())["index"]["generation"])
    return {"killed": count, "generations seen": len(generations)}


def readers(folder):
    def work():
        with CaseIndex.open(folder, writable=True, search=NumpySearch) as index:
            for number in range(1, 13):
                index.add(*batch(number))

    pid = child(work)
    seen = []
    while True:
        with CaseIndex.open(folder, search=NumpySearch) as index:
            index.verify()
            seen.append(index.stats()["cases"])
            assert len(index.search(batch(0)[1][0], 10**6)[0]) == seen[-1]
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
    assert seen == sorted(seen), seen
    return {"opened": len(seen), "different": len(set(seen))}


def main():
    task, folder = sys.argv[1], Path(sys.argv[2])
    with CaseIndex.create(folder, "model"):
        pass
    result = {"steps": steps, "times": times, "readers": readers}[task](folder, *map(int, sys.argv[3:]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
