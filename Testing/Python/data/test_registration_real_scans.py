"""Real scans find their place in the atlas: tumors, cavities, a shifted origin, a skull, thick and oblique slices."""

import csv

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.registration.affine import STRETCH_LIMITS, register_to_atlas

LANDMARKS_MNI = np.array(
    [(0, 28, 7), (0, -38, 14), (-26, 2, 0), (26, 2, 0), (-50, -20, -20), (0, -27, -35), (22, -60, -35), (5, -25, 65)]
)
STRIPPED = (
    "BRATS2013_pat0001",
    "BRATS2013_pat0002",
    "BRATS2013_pat0003",
    "BRATS2013_pat0004",
    "BraTS-GLI-00000-000",
    "BraTS-GLI-00001-000",
    "Brats18_2013_2_1",
    "BraTSReg_002_pre",
    "TCGA-DU-7294",
)


@pytest.fixture(scope="module")
def aligned(real_data):
    """Aligns a real scan once: the scan and its alignment."""
    known = {}

    def align(name):
        if name not in known:
            if name == "clinical":
                scan = read_volume(real_data / "clinical_t1c" / "brain1_image.nrrd")
            else:
                scan = read_volume(real_data / "brats3d" / name / "t1c.nii.gz")
            known[name] = scan, register_to_atlas(scan)
        return known[name]

    return align


def assert_plausible(alignment, *, least_overlap: float):
    assert alignment.brain_overlap >= least_overlap
    assert np.all((alignment.scales > STRETCH_LIMITS[0]) & (alignment.scales < STRETCH_LIMITS[1]))
    assert np.linalg.det(alignment.patient_to_atlas[:3, :3]) > 0


def assert_same_place(one, other, within_mm: float):
    """The atlas landmarks lie at the same places of the patient by both alignments."""
    apart = np.linalg.norm(one.to_patient(LANDMARKS_MNI) - other.to_patient(LANDMARKS_MNI), axis=1)
    assert apart.max() < within_mm


@pytest.mark.parametrize("name", ["BraTSReg_002_post", "BraTS-MET-00110-000"])
def test_a_resection_cavity_and_a_shifted_origin_do_no_harm(aligned, name):
    _, alignment = aligned(name)

    assert alignment.skull_stripped
    assert_plausible(alignment, least_overlap=0.94)


def test_a_brain_is_found_inside_its_skull_in_thick_slices(aligned, real_data):
    scan, alignment = aligned("clinical")

    assert not alignment.skull_stripped
    assert_plausible(alignment, least_overlap=0.9)
    brain = alignment.brain_on(scan.grid)
    tumor = read_labels(real_data / "clinical_t1c" / "brain1_label.nrrd")
    assert np.mean(brain.data[tumor.data > 0]) > 0.9
    # The head's own outline is far larger: a brain stretched to fill it would have three litres and more.
    assert 1400 < brain.volume_ml() < 2300


def test_the_tumor_of_the_clinical_scan_is_on_the_left_also_in_a_mirrored_copy_of_the_file(aligned, real_data):
    scan, alignment = aligned("clinical")
    tumor = read_labels(real_data / "clinical_t1c" / "brain1_label.nrrd")
    tumor_ras = tumor.grid.to_world(np.argwhere(tumor.data)).mean(axis=0)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = scan.shape[0] - 1
    mirrored = Volume(scan.data[::-1], scan.affine @ mirror)

    assert alignment.to_atlas(tumor_ras)[0] < -20
    assert_same_place(register_to_atlas(mirrored), alignment, within_mm=1.0)


def test_an_oblique_left_handed_copy_of_a_scan_is_found_at_the_same_place(aligned):
    scan, alignment = aligned("BraTS-MET-00110-000")
    axes = Rotation.from_euler("xyz", (15, -20, 30), degrees=True).as_matrix() @ np.diag([1.0, 1.0, -1.0])
    spacing = np.array([1.2, 1.0, 3.0])
    shape = np.array([190, 230, 75])
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = scan.grid.centre() - affine[:3, :3] @ ((shape - 1) / 2)

    alignment_of_copy = register_to_atlas(resample(scan, Grid(tuple(shape), affine)))

    assert_same_place(alignment_of_copy, alignment, within_mm=3.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRIPPED)
def test_every_other_real_scan_is_aligned_too(aligned, name):
    _, alignment = aligned(name)

    assert_plausible(alignment, least_overlap=0.9)


@pytest.mark.slow
def test_a_scan_without_the_top_third_of_the_brain_is_found_at_the_same_place(aligned):
    scan, alignment = aligned("BraTS-GLI-00000-000")
    cut = Volume(scan.data[:, :, : scan.shape[2] * 2 // 3], scan.affine)

    assert_same_place(register_to_atlas(cut), alignment, within_mm=6.0)


@pytest.mark.slow
def test_points_that_an_expert_matched_before_and_after_surgery_meet_in_the_atlas(aligned, real_data):
    """An affine cannot undo the shift of the brain at the cavity, so most points are asked to meet, not all."""
    in_atlas = {}
    for time in ("pre", "post"):
        folder = real_data / "brats3d" / f"BraTSReg_002_{time}"
        with open(folder / "landmarks.csv", newline="", encoding="utf-8") as file:
            lps = np.array([[float(row[axis]) for axis in "XYZ"] for row in csv.DictReader(file)])
        _, alignment = aligned(folder.name)
        in_atlas[time] = alignment.to_atlas(lps * (-1, -1, 1))

    apart = np.linalg.norm(in_atlas["pre"] - in_atlas["post"], axis=1)

    assert np.median(apart) < 5.0
    assert np.all(np.abs(in_atlas["pre"]) < (80, 115, 90))
