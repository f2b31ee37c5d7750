"""How long it takes to open, change and check a large index: the work besides reading the scans.

python Testing/Benchmarks/bench_index.py [--count N] [--json FILE]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.labels import AREAS, TYPES
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex

MODEL = "benchmark"


def made_up(count: int, first: int = 0) -> tuple[list[Case], list[np.ndarray]]:
    """Cases of one tumor each, with random embeddings whose blocks have the length one."""
    rng = np.random.default_rng(first)
    vectors = rng.normal(size=(count, DEFAULT_LAYOUT.size)).astype(np.float32)
    for part in DEFAULT_LAYOUT.slices.values():
        vectors[:, part] /= np.linalg.norm(vectors[:, part], axis=1, keepdims=True)
    numbers = range(first, first + count)
    tumors = [Tumor(type=TYPES[n % len(TYPES)], area=AREAS[n % len(AREAS)], core_ml=n % 90 + 1.0) for n in numbers]
    cases = [Case(f"case-{n:08d}", f"patient-{n // 2:08d}", tumors=(t,)) for n, t in zip(numbers, tumors, strict=True)]
    return cases, list(vectors[:, None])


def bench(count: int) -> dict[str, float]:
    """Seconds of each step, each on an index of `count` cases."""
    seconds = {}

    def timed(step, work):
        start = time.perf_counter()
        result = work()
        seconds[step] = round(time.perf_counter() - start, 3)
        return result

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        with CaseIndex.create(folder, MODEL) as index:
            timed("fill", lambda: index.add(*made_up(count)))
        with timed("open", lambda: CaseIndex.open(folder, MODEL, writable=True)) as index:
            timed("add one", lambda: index.add(*made_up(1, first=count)))
            timed("remove one", lambda: index.remove([f"case-{count // 2:08d}"]))
            timed("verify", index.verify)
    return seconds


def main(argv=None):
    """Print the seconds, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="cases")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args(argv)
    result = {"cores": os.cpu_count(), "cases": options.count, "seconds": bench(options.count)}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
