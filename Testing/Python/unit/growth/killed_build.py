"""Builds a database and kills itself after the first shard: `python killed_build.py FILE COUNT WORKERS`.

Run by a test; the processes that it had started are printed before the end.
"""

import multiprocessing
import os
import signal
import sys

from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, build_database


def kill_myself(fraction: float, message: str) -> None:
    if fraction > 0:
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    path, count, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    build_database(
        path, load_growth_atlas(64), count, BuildPlan(seed=5, shard=5), workers=workers, progress=kill_myself
    )
