import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidImage, UnreadableFile
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

SUFFIXES = (".nii", ".nii.gz", ".nrrd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_written_is_read_back_at_the_same_place(folder, grids, suffix, data):
    grid = data.draw(grids())
    values = np.random.default_rng(1).random(grid.shape, dtype=np.float32)
    path = folder / f"scan{suffix}"

    write_volume(path, Volume(values, grid.affine))
    back = read_volume(path)

    assert np.array_equal(back.data, values)
    assert back.grid.same_as(grid, tolerance_mm=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25)
@given(data=st.data())
def test_simpleitk_finds_every_voxel_of_a_written_scan_where_we_put_it(folder, grids, suffix, data):
    import SimpleITK

    grid = data.draw(grids())
    values = np.random.default_rng(1).random(grid.shape, dtype=np.float32)
    # ITK 5.4, asked for x.nii.gz, takes its voxels from an x.nii beside it: names that differ before the suffix.
    path = folder / f"scan{suffix.replace('.', '_')}{suffix}"

    write_volume(path, Volume(values, grid.affine))
    image = SimpleITK.ReadImage(str(path))

    index = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    left, back, up = image.TransformIndexToPhysicalPoint(index)
    assert np.allclose(grid.to_world(index), (-left, -back, up), atol=2e-3)
    assert image[tuple(index)] == values[tuple(index)]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_scans_of_every_type_that_simpleitk_writes_are_read_at_the_same_place(folder, scan, suffix, kind):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(scan.data.transpose(2, 1, 0).astype(kind))
    lps = np.diag([-1, -1, 1, 1]) @ scan.affine
    image.SetOrigin(lps[:3, 3])
    image.SetSpacing(scan.grid.spacing)
    image.SetDirection((lps[:3, :3] / scan.grid.spacing).ravel())
    path = folder / f"{kind}{suffix}"
    SimpleITK.WriteImage(image, str(path), useCompression=suffix == ".nhdr")

    volume = read_volume(path)

    assert volume.data.dtype == np.float32 and np.array_equal(volume.data, scan.data)
    assert volume.grid.same_as(scan.grid, tolerance_mm=1e-3)
    assert np.array_equal(read_labels(path).data, scan.data)
    if kind.startswith(("int", "uint")):
        assert read_labels(path).data.dtype == kind


def test_3d_slicer_and_nibabel_find_the_same_orientation_in_both_header_fields(tmp_path, scan):
    import nibabel

    write_volume(tmp_path / "scan.nii.gz", scan)

    header = nibabel.load(tmp_path / "scan.nii.gz").header
    assert header["sform_code"] > 0 and header["qform_code"] > 0
    assert np.allclose(header.get_sform(), scan.affine, atol=1e-4)
    assert np.allclose(header.get_qform(), scan.affine, atol=1e-4)
    assert header.get_xyzt_units()[0] == "mm"


def test_a_sheared_scan_keeps_its_shear_and_claims_nothing_else(tmp_path, scan):
    import nibabel

    affine = scan.affine.copy()
    affine[0, 2] += 0.8

    write_volume(tmp_path / "scan.nii", Volume(scan.data, affine))

    assert np.allclose(read_volume(tmp_path / "scan.nii").affine, affine, atol=1e-4)
    assert nibabel.load(tmp_path / "scan.nii").header["qform_code"] == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_segmentations_are_written_in_one_byte_unless_a_label_needs_more(tmp_path, scan, suffix):
    path = tmp_path / f"mask{suffix}"
    labels = scan.data.astype(np.int64)

    write_labels(path, LabelMap(labels, scan.affine))
    assert read_labels(path).data.dtype == np.uint8
    assert np.array_equal(read_labels(path).data, labels)

    labels[0, 0, 0] = 70_000
    write_labels(path, LabelMap(labels, scan.affine))
    assert np.array_equal(read_labels(path).data, labels)


def test_the_same_scan_is_written_as_the_same_bytes(tmp_path, scan):
    write_volume(tmp_path / "a.nii.gz", scan)
    write_volume(tmp_path / "b.nii.gz", scan)

    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_arrays_in_any_memory_order_are_written_alike(tmp_path, scan):
    write_volume(tmp_path / "a.nii", Volume(np.asfortranarray(scan.data), scan.affine))
    write_volume(tmp_path / "b.nii", Volume(np.ascontiguousarray(scan.data), scan.affine))

    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


def test_another_suffix_is_not_written_and_not_read(tmp_path, scan):
    (tmp_path / "scan.mha").write_bytes(b"MHA")

    with pytest.raises(ValueError, match=r"\.nii\.gz"):
        write_volume(tmp_path / "scan.mha", scan)
    with pytest.raises(UnreadableFile, match=r"scan.mha.*\.nii\.gz or \.nrrd"):
        read_volume(tmp_path / "scan.mha")


def test_a_file_that_was_unpacked_or_packed_without_renaming_is_still_read(tmp_path, scan):
    write_volume(tmp_path / "a.nii", scan)
    plain = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(plain)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))

    for name in ("plain.nii.gz", "packed.nii"):
        assert np.array_equal(read_volume(tmp_path / name).data, scan.data)


def test_stored_numbers_are_scaled_as_the_header_says(tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(2, -10)
    nibabel.save(image, tmp_path / "scan.nii")

    assert read_volume(tmp_path / "scan.nii").data.ravel().tolist() == list(range(-10, 38, 2))
    assert read_labels(tmp_path / "scan.nii").data.ravel().tolist() == list(range(-10, 38, 2))


def test_big_endian_files_are_read(tmp_path, scan):
    import nibabel

    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan.data.astype(">i2"), scan.affine, header), tmp_path / "scan.nii")

    assert np.array_equal(read_volume(tmp_path / "scan.nii").data, scan.data)
    assert read_labels(tmp_path / "scan.nii").data.dtype == np.int16
    assert read_labels(tmp_path / "scan.nii").data.dtype.isnative


def test_nifti_2_and_a_trailing_axis_of_length_1_are_read(tmp_path, scan):
    import nibabel

    nibabel.save(nibabel.Nifti2Image(scan.data[..., None], scan.affine), tmp_path / "scan.nii.gz")

    volume = read_volume(tmp_path / "scan.nii.gz")

    assert np.array_equal(volume.data, scan.data)
    assert volume.grid.same_as(scan.grid)


@pytest.mark.parametrize("fields", ["sform", "qform"])
def test_either_orientation_field_is_enough_and_the_sform_comes_first(tmp_path, scan, fields):
    import nibabel

    image = nibabel.Nifti1Image(scan.data, None)
    image.set_qform(scan.affine if fields == "qform" else np.eye(4), code=1)
    image.set_sform(scan.affine, code=1 if fields == "sform" else 0)
    nibabel.save(image, tmp_path / "scan.nii")

    assert read_volume(tmp_path / "scan.nii").grid.same_as(scan.grid)


def test_whole_numbers_stored_as_floats_are_a_segmentation_and_fractions_are_not(tmp_path, scan):
    write_volume(tmp_path / "mask.nii.gz", scan)
    assert np.array_equal(read_labels(tmp_path / "mask.nii.gz").data, scan.data)

    write_volume(tmp_path / "scan.nii.gz", Volume(scan.data + 0.25, scan.affine))
    with pytest.raises(InvalidImage, match=r"scan.nii.gz.*whole numbers"):
        read_labels(tmp_path / "scan.nii.gz")


def test_a_big_scan_is_read_with_no_second_copy_beyond_what_the_file_holds(tmp_path):
    import tracemalloc

    data = np.zeros((128, 128, 100), np.float32)
    data[60:70] = 1
    write_labels(tmp_path / "scan.nii.gz", LabelMap(data.astype(np.uint8), np.eye(4)))

    tracemalloc.start()
    volume = read_volume(tmp_path / "scan.nii.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    stored = data.size
    assert peak < volume.data.nbytes + stored + 9_000_000  # a chunk of the stream beside it
