"""Many tumors are simulated into one file, here or on a cluster that answers."""

import sys
from functools import partial

import numpy as np
import pytest

from TumorRetrievalLib.engine import cluster, simulate
from TumorRetrievalLib.engine.simulate import simulate_tumors
from TumorRetrievalLib.errors import GeometryMismatch, MissingPackage, SchedulerUnreachable
from TumorRetrievalLib.growth.atlas import growth_atlas_from_labels, load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan
from TumorRetrievalLib.growth.database import read_database
from TumorRetrievalLib.growth.solver import simulate as grow_again
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.registration.atlas import load_atlas


def test_a_file_holds_the_tumors_that_were_asked_for(tmp_path, monkeypatch):
    # 64^3 voxels: the same as 128^3, only faster.
    monkeypatch.setattr(simulate, "load_growth_atlas", lambda: load_growth_atlas(64))

    made = simulate_tumors(tmp_path / "few.growth", 10, seed=3, workers=1)

    stored = read_database(tmp_path / "few.growth")
    assert made["tumors"] == len(stored) == 10
    assert stored.made_with["seed"] == 3
    assert made["megabytes"] == pytest.approx((tmp_path / "few.growth").stat().st_size / 1e6, abs=1e-3)
    assert np.all(stored.core.voxels <= stored.whole.voxels)


@pytest.fixture
def other_atlas(tmp_path):
    """The files of another atlas: the bundled one, smaller, and elsewhere in the world."""
    atlas = load_atlas()
    affine = np.diag((0.9, 0.9, 0.9, 1.0)) @ atlas.t1.affine
    affine[:3, 3] += (12.0, -8.0, 30.0)
    write_volume(tmp_path / "t1.nii.gz", Volume(atlas.t1.data, affine))
    write_labels(tmp_path / "tissue.nii.gz", LabelMap(atlas.tissue.data, affine))
    return tmp_path / "t1.nii.gz", tmp_path / "tissue.nii.gz"


def test_tumors_grow_in_another_atlas_that_lies_where_the_bundled_one_does(tmp_path, other_atlas, monkeypatch):
    monkeypatch.setattr(
        simulate, "growth_atlas_from_labels", lambda labels: growth_atlas_from_labels(labels, voxels=64)
    )
    t1, tissue = other_atlas

    simulate_tumors(tmp_path / "few.growth", 6, workers=1, t1=t1, tissue=tissue)

    stored = read_database(tmp_path / "few.growth")
    grown, bundled = stored.growth_atlas, load_growth_atlas()
    assert grown.fingerprint != bundled.fingerprint
    tissue_mm = [atlas.grid.to_world(np.argwhere(atlas.tissue)) for atlas in (grown, bundled)]
    for corner in (np.min, np.max):
        np.testing.assert_allclose(*(corner(points, axis=0) for points in tissue_mm), atol=5.0)
    again = grow_again(grown, stored.parameters_of(0))
    np.testing.assert_array_equal(again.whole.data != 0, stored.whole.unpack(0, 64))


def test_an_atlas_whose_files_do_not_belong_together_is_refused(tmp_path, other_atlas):
    t1, tissue = other_atlas
    labels = load_atlas().tissue
    write_labels(tissue, LabelMap(labels.data[:-1], labels.affine))

    with pytest.raises(GeometryMismatch, match="tissue"):
        simulate_tumors(tmp_path / "few.growth", 6, t1=t1, tissue=tissue)
    assert not (tmp_path / "few.growth").exists()


def test_a_cluster_without_dask_is_a_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)

    with pytest.raises(MissingPackage, match=r"pip install 'dask\[distributed\]'"):
        simulate_tumors(tmp_path / "few.growth", 10, scheduler="tcp://localhost:1")


def test_a_cluster_makes_the_same_tumors_as_this_machine(tmp_path, monkeypatch):
    from dask.distributed import LocalCluster

    monkeypatch.setattr(simulate, "load_growth_atlas", lambda: load_growth_atlas(64))
    monkeypatch.setattr(simulate, "BuildPlan", partial(BuildPlan, shard=1))
    simulate_tumors(tmp_path / "here.growth", 6, seed=3, workers=1)

    # Threads of this process: a cluster of processes would take as long to start as the rest of the tests.
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as workers:
        simulate_tumors(tmp_path / "there.growth", 6, seed=3, workers=2, scheduler=workers.scheduler_address)

    assert (tmp_path / "here.growth").read_bytes() == (tmp_path / "there.growth").read_bytes()


def test_a_cluster_that_does_not_answer_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER_WITHIN", "0.2s")

    with pytest.raises(SchedulerUnreachable, match="tcp://localhost:1"):
        simulate_tumors(tmp_path / "few.growth", 10, scheduler="tcp://localhost:1")
