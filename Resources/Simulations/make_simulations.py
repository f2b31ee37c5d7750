"""Makes the simulated tumors of this folder from the bundled atlas.

    python Resources/Simulations/make_simulations.py [--workers N]

Ten thousand tumors of the first seed, the smallest size that is useful, so that the tool works as it comes; a larger
database is built by `tumor-retrieval simulate`. The result is the same on every run. A run that was stopped goes on.
"""

import argparse
import os
from pathlib import Path

from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, build_database
from TumorRetrievalLib.growth.database import BUNDLED
from TumorRetrievalLib.imaging.atomic import sha256_of

HERE = Path(__file__).resolve().parent
COUNT = 10_000


def main() -> None:
    """Builds the database and writes SHA256SUMS beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    path = HERE / BUNDLED
    build_database(
        path,
        load_growth_atlas(),
        COUNT,
        BuildPlan(seed=0),
        workers=parser.parse_args().workers,
        progress=lambda fraction, message: print(f"{100 * fraction:3.0f} % {message}", flush=True),
    )
    (HERE / "SHA256SUMS").write_text(f"{sha256_of(path)}  {path.name}\n", encoding="ascii")


if __name__ == "__main__":
    main()
