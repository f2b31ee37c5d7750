"""Many tumors are simulated into one file, here or on a cluster that answers."""

import sys

import numpy as np
import pytest

from TumorRetrievalLib.engine import simulate
from TumorRetrievalLib.engine.simulate import simulate_tumors
from TumorRetrievalLib.errors import MissingPackage
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.database import read_database


def test_a_file_holds_the_tumors_that_were_asked_for(tmp_path, monkeypatch):
    # 64^3 voxels: the same as 128^3, only faster.
    monkeypatch.setattr(simulate, "load_growth_atlas", lambda: load_growth_atlas(64))

    made = simulate_tumors(tmp_path / "few.growth", 10, seed=3, workers=1)

    stored = read_database(tmp_path / "few.growth")
    assert made["tumors"] == len(stored) == 10
    assert stored.made_with["seed"] == 3
    assert made["megabytes"] == pytest.approx((tmp_path / "few.growth").stat().st_size / 1e6, abs=1e-3)
    assert np.all(stored.core.voxels <= stored.whole.voxels)


def test_a_cluster_without_dask_is_a_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)

    with pytest.raises(MissingPackage, match=r"pip install 'dask\[distributed\]'"):
        simulate_tumors(tmp_path / "few.growth", 10, scheduler="tcp://localhost:1")
