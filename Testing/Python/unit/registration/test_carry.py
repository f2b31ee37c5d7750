"""Masks go to the atlas and densities come back: to the right place, on the scan's own voxels, left on the left."""

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.registration.carry import mask_to_atlas, volume_to_patient
from TumorRetrievalLib.registration.deformable import DeformableAlignment
from TumorRetrievalLib.registration.transform_files import write_transforms

ATLAS_GRID = Grid.around((0.0, -18.0, 5.0), 2.0, (100, 112, 96))
OBLIQUE = Rotation.from_euler("xyz", (20, -15, 30), degrees=True).as_matrix()


def straight() -> AtlasAlignment:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (5, 10, -8), degrees=True).as_matrix() * 1.1
    affine[:3, 3] = (120.0, -140.0, -60.0)
    return AtlasAlignment(affine, 0.95, 1.1, "affine", True, 1.0)


def bent() -> DeformableAlignment:
    """Everything is moved by 6 mm to the right, 4 mm to the back and 3 mm up on the way to the straight patient."""
    field = np.empty((3, *ATLAS_GRID.shape), np.float32)
    field[:] = np.reshape((6.0, -4.0, 3.0), (3, 1, 1, 1))
    return DeformableAlignment(straight(), ATLAS_GRID, field, -field, 1.0, 1.0, 0.0, 0.3, 0.5, 1.0)


@pytest.fixture(params=[straight, bent], ids=["affine", "bent"])
def alignment(request):
    return request.param()


@pytest.fixture(params=[np.diag([-1.0, -1.0, 1.0]), OBLIQUE, OBLIQUE @ np.diag([-1.0, 1.0, 1.0])],
                ids=["LPS", "oblique", "oblique left-handed"])  # fmt: skip
def scan_grid(request, alignment):
    """A scan's grid around the whole brain, with thick slices."""
    affine = np.eye(4)
    affine[:3, :3] = request.param * (1.2, 1.2, 3.0)
    affine[:3, 3] = alignment.to_patient((0.0, -18.0, 5.0)) - affine[:3, :3] @ (90, 100, 40)
    return Grid((181, 201, 81), affine)


def ball(grid: Grid, middle, radius: float) -> np.ndarray:
    distance = np.linalg.norm(grid.voxel_centres() - middle, axis=1).reshape(grid.shape)
    return np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


def centroid(volume) -> np.ndarray:
    return np.average(volume.grid.voxel_centres(), axis=0, weights=volume.data.ravel())


def test_a_mask_on_the_left_arrives_on_the_left_of_the_atlas_where_it_belongs(alignment, scan_grid):
    middle = np.array((-40.0, 10.0, 20.0))
    radius = 15.0 / 1.1
    mask = LabelMap(ball(scan_grid, alignment.to_patient(middle), radius) > 0.5, scan_grid.affine)

    in_atlas = mask_to_atlas(mask, alignment, ATLAS_GRID)

    assert in_atlas.grid.same_as(ATLAS_GRID)
    assert np.abs(centroid(in_atlas) - middle).max() < 0.5
    assert in_atlas.volume_ml() == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.03)


def test_a_density_comes_back_to_the_place_of_the_mask_on_the_scans_own_grid(alignment, scan_grid):
    middle = np.array((35.0, -30.0, 15.0))
    density = Volume(ball(ATLAS_GRID, middle, 15.0), ATLAS_GRID.affine)

    in_patient = volume_to_patient(density, alignment, scan_grid)

    assert in_patient.shape == scan_grid.shape and np.array_equal(in_patient.affine, scan_grid.affine)
    assert np.abs(centroid(in_patient) - alignment.to_patient(middle)).max() < 0.5
    assert in_patient.data.max() == pytest.approx(1.0) and in_patient.data.min() == 0.0


def test_every_voxel_holds_the_density_at_its_own_place_in_the_atlas(alignment, scan_grid):
    ramp = ATLAS_GRID.voxel_centres() @ (0.001, 0.002, 0.003) + 0.5
    density = Volume(ramp.reshape(ATLAS_GRID.shape), ATLAS_GRID.affine)

    in_patient = volume_to_patient(density, alignment, scan_grid)

    voxels = np.argwhere(in_patient.data > 0)[::4000]
    places = alignment.to_atlas(scan_grid.to_world(voxels))
    inside = np.all(np.abs(places - ATLAS_GRID.centre()) < 80, axis=1)
    expected = places @ (0.001, 0.002, 0.003) + 0.5
    assert inside.sum() > 20
    assert np.allclose(in_patient.data[tuple(voxels.T)][inside], expected[inside], atol=1e-4)


def test_nothing_gives_nothing(alignment, scan_grid):
    nothing = LabelMap(np.zeros(scan_grid.shape, bool), scan_grid.affine)
    flat = Volume(np.zeros(ATLAS_GRID.shape), ATLAS_GRID.affine)

    assert not mask_to_atlas(nothing, alignment, ATLAS_GRID).data.any()
    assert not volume_to_patient(flat, alignment, scan_grid).data.any()


def test_what_lies_outside_the_scan_is_cut_off_without_a_fuss(alignment):
    density = Volume(ball(ATLAS_GRID, (35, -30, 15), 15.0), ATLAS_GRID.affine)
    half = Grid.around(alignment.to_patient((35.0, -30.0, 15.0)) + (20, 0, 0), 1.0, (40, 40, 40))
    elsewhere = Grid.around((900.0, 0, 0), 1.0, (20, 20, 20))

    part = volume_to_patient(density, alignment, half)

    assert part.data[0].max() == pytest.approx(1.0) and part.data[-1].max() == 0.0
    assert not volume_to_patient(density, alignment, elsewhere).data.any()


def test_large_scans_are_done_in_parts_that_fit_together(alignment, scan_grid, monkeypatch):
    density = Volume(ball(ATLAS_GRID, (35, -30, 15), 15.0), ATLAS_GRID.affine)
    at_once = volume_to_patient(density, alignment, scan_grid)

    monkeypatch.setattr("TumorRetrievalLib.registration.carry._AT_ONCE", 1000)

    assert np.array_equal(volume_to_patient(density, alignment, scan_grid).data, at_once.data)


@pytest.fixture
def files(alignment, tmp_path):
    paths = {name: tmp_path / f"{name}.h5" for name in ("patient_to_atlas", "atlas_to_patient")}
    write_transforms(alignment, **paths)
    return {name: SimpleITK.ReadTransform(str(path)) for name, path in paths.items()}


def through(transform, points: np.ndarray) -> np.ndarray:
    """RAS points through an ITK transform, which speaks LPS."""
    flip = np.array((-1.0, -1.0, 1.0))
    return np.array([transform.TransformPoint(tuple(point * flip)) for point in points]) * flip


def test_the_written_transforms_take_points_where_the_alignment_takes_them(alignment, files):
    in_atlas = np.array([(-40.0, 10, 20), (30, -60, 0), (0, -18, 60), (12.3, 4.5, -20.0)])
    in_patient = alignment.to_patient(in_atlas)

    assert np.allclose(through(files["atlas_to_patient"], in_atlas), in_patient, atol=1e-4)
    assert np.allclose(through(files["patient_to_atlas"], in_patient), alignment.to_atlas(in_patient), atol=1e-4)


def test_another_program_resamples_the_density_as_we_do(alignment, files, scan_grid):
    density = Volume(ball(ATLAS_GRID, (35, -30, 15), 15.0), ATLAS_GRID.affine)
    if np.linalg.det(scan_grid.affine[:3, :3]) < 0:
        pytest.skip("SimpleITK images have right-handed axes")

    theirs = SimpleITK.Resample(
        _as_itk(density), _as_itk(Volume(np.zeros(scan_grid.shape), scan_grid.affine)), files["patient_to_atlas"]
    )

    ours = volume_to_patient(density, alignment, scan_grid).data
    assert ours.max() > 0.9
    assert np.abs(SimpleITK.GetArrayFromImage(theirs).T - ours).max() < 1e-3


def _as_itk(volume: Volume):
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.data.T))
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image
