"""A real tumor, fitted by the real worker and put into a scene: the density is painted on it, on its side."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.worker.client import WorkerClient
from TumorRetrievalLib.worker.growth_files import read_overlay

OEDEMA = 2
LONG = 300


@pytest.fixture(scope="module")
def scene():
    """Slicer's scene without a window."""
    pytest.importorskip("slicer_core", reason="the package slicer-core is not installed")
    from Testing.SlicerHost.environment import prepare

    prepare()
    from Testing.SlicerHost.mrml_application import mrml_application

    application = mrml_application()
    yield application.scene
    application.close_scene()


def test_a_real_tumor_is_painted_where_it_is(real_data, scene, tmp_path):
    from TumorRetrievalLib.scene.growth import add_growth
    from TumorRetrievalLib.scene.volumes import add_volume

    folder = real_data / "brats3d" / "BRATS2013_pat0001"
    drawn = read_labels(folder / "seg.nii.gz")
    masks = {"core": (drawn.data > 0) & (drawn.data != OEDEMA), "whole": drawn.data > 0}
    files = {name: str(tmp_path / f"{name}.nii") for name in masks}
    for name, data in masks.items():
        write_labels(files[name], LabelMap(data, drawn.affine))
    with WorkerClient() as client:
        given = {"t1c": str(folder / "t1c.nii.gz"), **files, "out": str(tmp_path), "k": 4}
        result = client.submit("growth", given).future.result(LONG)
    overlay = read_overlay(tmp_path / result["files"]["overlay"])

    scan = add_volume(scene, read_volume(folder / "t1c.nii.gz"), "T1 with contrast")
    node = add_growth(
        scene, overlay.stages, overlay.spread, overlay.patient_to_atlas, "Growth", bend=overlay.bend, scan=scan
    )

    points, whole = lattice(drawn)
    painted = painted_at(node, points) >= 0.2
    dice = 2 * np.count_nonzero(painted & whole) / (np.count_nonzero(painted) + np.count_nonzero(whole))
    assert result["registration"]["stage"] == "deformable"
    # The engine has brought the density to the scan in its own way, and compared every voxel.
    assert dice == pytest.approx(result["dice"]["in_patient"]["whole"], abs=0.02) and dice > 0.55


def lattice(drawn) -> tuple[np.ndarray, np.ndarray]:
    """Every third voxel along each axis: its place, RAS mm, and whether it is of the tumor."""
    ijk = np.stack(np.meshgrid(*[np.arange(0, n, 3) for n in drawn.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    return drawn.grid.to_world(ijk), drawn.data[tuple(ijk.T)] > 0


def painted_at(node, points) -> np.ndarray:
    """What slices show of a volume at places of the world."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    from TumorRetrievalLib.scene.matrices import to_numpy

    from_world, to_voxel, given, moved = vtk.vtkGeneralTransform(), vtk.vtkMatrix4x4(), vtk.vtkPoints(), vtk.vtkPoints()
    node.GetParentTransformNode().GetTransformFromWorld(from_world)
    node.GetRASToIJKMatrix(to_voxel)
    given.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    from_world.TransformPoints(given, moved)
    in_atlas = vtk_to_numpy(moved.GetData())
    voxels = np.rint(np.c_[in_atlas, np.ones(len(in_atlas))] @ to_numpy(to_voxel).T)[:, :3].astype(int)
    density = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    density = density.reshape(node.GetImageData().GetDimensions(), order="F")
    there = np.all((voxels >= 0) & (voxels < density.shape), axis=1)
    values = np.zeros(len(points))
    values[there] = density[tuple(voxels[there].T)]
    return values
