"""How long a warm `find` takes on a scan with one box, step by step, and how much memory it needs at its peak.

    python Testing/Benchmarks/bench_find.py [--scan T1C --flair FLAIR --box=R,A,S,dR,dA,dS] [--repeats N] [--json FILE]

Warm: model and atlas are loaded, as in the worker that 3D Slicer keeps running. Each repeat runs twice: once with an
empty cache, so that every similar case is made again from its seed, and once with the cases at hand. Without --scan
the bundled sample is used. Targets: 8 s on two cores, 0.5 s on a GPU, 3 GB.
"""

import argparse
import json
import os
import resource as usage
import tempfile
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.find import FindRequest, find_similar
from TumorRetrievalLib.imaging.box import parse_box
from TumorRetrievalLib.resources import resource

TARGET_S = {"cpu": 8.0, "cuda": 0.5}
TARGET_GB = 3.0


def sample() -> tuple[Path, Path, str]:
    """The bundled sample: T1c, FLAIR, box."""
    facts = json.loads(resource("SampleCases", "demo.json").read_text(encoding="utf-8"))
    return resource("SampleCases", facts["t1c"]), resource("SampleCases", facts["flair"]), facts["boxes"][0]


def seconds_of(request: FindRequest, cache: str) -> dict[str, float]:
    """The step times of one run."""
    os.environ["TUMOR_RETRIEVAL_CACHE"] = cache
    return find_similar(request)["seconds"]


def main(argv: list[str] | None = None) -> int:
    """Run, print a table, and write JSON where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--flair", type=Path)
    parser.add_argument("--box")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(argv)
    t1c, flair, box = (chosen.scan, chosen.flair, chosen.box) if chosen.scan else sample()
    runs = {"cases made again": [], "cases at hand": []}
    with tempfile.TemporaryDirectory() as folder:
        request = FindRequest(t1c, Path(folder) / "out", flair, [parse_box(box)], device=chosen.device)
        device = find_similar(request)["device"]
        for number in range(chosen.repeats):
            cache = str(Path(folder) / f"cache{number}")
            runs["cases made again"].append(seconds_of(request, cache))
            runs["cases at hand"].append(seconds_of(request, cache))
    table = {
        which: {step: round(float(np.median([run[step] for run in rows])), 3) for step in rows[0]}
        for which, rows in runs.items()
    }
    peak_gb = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss / 1e6
    target = TARGET_S[device.split(":")[0]]
    result = {
        "scan": str(t1c),
        "device": device,
        "cores": os.cpu_count(),
        "median_seconds": table,
        "share_of_target": {which: round(steps["total"] / target, 3) for which, steps in table.items()},
        "peak_gb": round(peak_gb, 2),
        "peak_share_of_target": round(peak_gb / TARGET_GB, 3),
    }
    print(json.dumps(result, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
