"""Left stays left on real scans, from the file to a box and back."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.box import boxes_around_components
from TumorRetrievalLib.imaging.crop import crop
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels, write_volume
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap


@pytest.fixture(scope="module")
def clinical(real_data):
    """The clinical scan and its mask; its direction matrix mirrors the A-P axis, so the grid is left-handed."""
    folder = real_data / "clinical_t1c"
    return read_volume(folder / "brain1_image.nrrd"), read_labels(folder / "brain1_label.nrrd")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def brats(real_data):
    return sorted((real_data / "brats3d").iterdir())


def tumor_points(labels: LabelMap) -> np.ndarray:
    """RAS mm of every tumor voxel, by our own arithmetic."""
    return labels.grid.to_world(np.argwhere(labels.data > 0))


def simpleitk_tumor_points(path) -> np.ndarray:
    """RAS mm of every tumor voxel, by SimpleITK's own arithmetic."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    indices = np.argwhere(SimpleITK.GetArrayFromImage(image) > 0)[:, ::-1]
    lps = np.array([image.TransformIndexToPhysicalPoint(index.tolist()) for index in indices])
    return lps * (-1, -1, 1)


def in_order(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 2).T)]


def test_the_clinical_scan_really_is_left_handed(clinical):
    scan, _ = clinical

    assert np.linalg.det(scan.affine[:3, :3]) < 0


def test_the_clinical_tumor_lies_where_simpleitk_finds_it(clinical, real_data):
    _, mask = clinical

    expected = simpleitk_tumor_points(real_data / "clinical_t1c" / "brain1_label.nrrd")

    assert np.allclose(in_order(tumor_points(mask)), in_order(expected), atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
def test_the_clinical_tumor_stays_there_through_cropping_writing_and_reading(clinical, tmp_path, suffix):
    scan, mask = clinical
    box = max(boxes_around_components(mask), key=lambda box: np.prod(box.size))
    hull = box.voxel_hull(scan.grid)
    low, shape = [part.start - 3 for part in hull], tuple(part.stop - part.start + 6 for part in hull)

    write_volume(tmp_path / f"scan{suffix}", crop(scan, low, shape))
    write_labels(tmp_path / f"mask{suffix}", crop(mask, low, shape))
    scan_again, mask_again = read_volume(tmp_path / f"scan{suffix}"), read_labels(tmp_path / f"mask{suffix}")

    inside = box.contains(tumor_points(mask))
    before = in_order(tumor_points(mask)[inside])
    after = in_order(tumor_points(mask_again)[box.contains(tumor_points(mask_again))])
    assert np.allclose(after, before, atol=1e-3)
    assert np.allclose(
        in_order(simpleitk_tumor_points(tmp_path / f"mask{suffix}")), in_order(tumor_points(mask_again)), atol=1e-3
    )
    assert np.sign(after[:, 0].mean()) == np.sign(before[:, 0].mean())
    # The intensities went along: what shone in the tumor still does.
    values = scan.data[mask.data > 0].mean()
    assert scan_again.data[mask_again.data > 0].mean() == pytest.approx(values, rel=0.02)


def test_the_clinical_tumor_stays_there_on_a_right_handed_grid(clinical):
    _, mask = clinical
    size = np.ceil(np.ptp(mask.grid.voxel_centres(), axis=0)).astype(int) + 8

    upright = resample_labels(mask, Grid.around(mask.grid.centre(), 1.0, tuple(size)))

    assert np.linalg.det(upright.affine[:3, :3]) > 0
    assert np.allclose(tumor_points(upright).mean(axis=0), tumor_points(mask).mean(axis=0), atol=0.3)
    assert upright.volume_ml() == pytest.approx(mask.volume_ml(), rel=0.02)


def test_brats_scans_are_stored_towards_left_back_and_up_but_for_one(brats):
    for case in brats:
        affine = read_volume(case / "t1c.nii.gz").affine
        # The metastasis case is stored towards right and front, whatever its neighbours do.
        signs = (1, 1, 1) if case.name == "BraTS-MET-00110-000" else (-1, -1, 1)
        assert np.array_equal(affine[:3, :3], np.diag(signs)), case.name


def test_flair_and_masks_share_the_grid_of_their_scan(brats, clinical):
    clinical[0].require_same_grid(clinical[1], "the clinical mask")
    for case in brats:
        scan = read_volume(case / "t1c.nii.gz")
        scan.require_same_grid(read_volume(case / "flair.nii.gz"), f"{case.name}: FLAIR")
        if (case / "seg.nii.gz").exists():
            scan.require_same_grid(read_labels(case / "seg.nii.gz"), f"{case.name}: mask")


def test_brats_masks_have_the_labels_that_simpleitk_finds_at_the_same_places(brats, rng):
    import SimpleITK

    for case in brats:
        if not (case / "seg.nii.gz").exists():
            continue
        mask = read_labels(case / "seg.nii.gz")
        image = SimpleITK.ReadImage(str(case / "seg.nii.gz"))
        tumor = np.argwhere(SimpleITK.GetArrayFromImage(image) > 0)[:, ::-1]
        for index in rng.choice(tumor, 300).tolist():
            left, back, up = image.TransformIndexToPhysicalPoint(index)
            ours = np.round(mask.grid.to_voxel((-left, -back, up))).astype(int)
            assert mask.data[tuple(ours)] == image[tuple(index)], case.name


def test_a_box_around_every_real_tumor_covers_all_of_it_and_no_more(brats, clinical):
    masks = [read_labels(case / "seg.nii.gz") for case in brats if (case / "seg.nii.gz").exists()]
    for mask in [*masks, clinical[1]]:
        boxes = boxes_around_components(mask, smallest_ml=0)
        points = tumor_points(mask)
        inside = [box.contains(points) for box in boxes]
        assert np.any(inside, axis=0).all()
        for box, here in zip(boxes, inside, strict=True):
            # The tumor reaches to within half a voxel of all six faces.
            reach = np.abs((points[here] - box.center) @ box.axes).max(axis=0)
            assert np.allclose(reach, (box.size - mask.grid.spacing) / 2, atol=1e-3)


def test_reading_a_brats_scan_takes_little_more_memory_than_the_scan(brats):
    import tracemalloc

    read_volume(brats[0] / "t1c.nii.gz")  # imports are not what is measured
    tracemalloc.start()
    volume = read_volume(brats[0] / "t1c.nii.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # float32, int16 as stored, and one chunk of the stream.
    assert peak < volume.data.nbytes * 1.5 + 10e6
