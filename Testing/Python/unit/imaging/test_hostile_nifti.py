"""Damaged and malicious NIfTI files end in one of our errors, which names the file, and cost little memory."""

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging import stored
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture
def spoiled(tmp_path, scan):
    """Writes a good scan with header fields overwritten: `spoiled(dim=[...], ...)` returns its path."""
    from nibabel.nifti1 import Nifti1Header

    def write(name="scan.nii", **fields):
        write_volume(tmp_path / "good.nii", scan)
        content = (tmp_path / "good.nii").read_bytes()
        header = Nifti1Header(content[:348], check=False)
        for field, value in fields.items():
            header[field] = value
        path = tmp_path / name
        spoiled_content = header.binaryblock + content[348:]
        path.write_bytes(gzip.compress(spoiled_content) if name.endswith(".gz") else spoiled_content)
        return path

    return write


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_called_truncated_or_damaged(folder, scan_bytes, suffix, data):
    content = scan_bytes(suffix)
    path = folder / f"cut{suffix}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

    with pytest.raises(UnreadableFile, match=rf"cut{suffix}.*(truncated|damaged|not a NIfTI).*again"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
@settings(max_examples=150)
@given(data=st.data())
def test_random_damage_is_read_or_refused_but_never_a_traceback(folder, scan_bytes, suffix, data):
    content = bytearray(scan_bytes(suffix))
    for _ in range(data.draw(st.integers(1, 6))):
        # Mostly the header, where damage has consequences.
        content[data.draw(st.integers(0, min(len(content) - 1, 360)))] = data.draw(st.integers(0, 255))
    path = folder / f"damaged{suffix}"
    path.write_bytes(content)

    for read in (read_volume, read_labels):
        try:
            read(path)
        except TumorRetrievalError as error:
            assert "damaged" in str(error)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize(
    "dim",
    [
        [3, 9, 8, 70, 1, 1, 1, 1],
        [3, 600, 600, 600, 1, 1, 1, 1],
        [3, 32767, 32767, 32767, 1, 1, 1, 1],
        [3, -9, 8, 7, 1, 1, 1, 1],
        [3, -1, 1, 1, 1, 1, 1, 1],
        [3, 9, 0, 7, 1, 1, 1, 1],
        [0, 9, 8, 7, 1, 1, 1, 1],
        [-3, 9, 8, 7, 1, 1, 1, 1],
        [8, 9, 8, 7, 1, 1, 1, 1],
        [32000, 9, 8, 7, 1, 1, 1, 1],
    ],
)
def test_a_header_that_lies_about_its_size_is_refused_before_memory_is_taken(spoiled, name, dim):
    path = spoiled(name, dim=dim)

    tracemalloc.start()
    with pytest.raises(UnreadableFile, match=r"scan\.nii"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


def test_a_file_that_holds_far_more_than_its_header_says_is_refused(tmp_path, spoiled):
    content = spoiled().read_bytes()
    (tmp_path / "padded.nii").write_bytes(content + bytes(1000))
    read_volume(tmp_path / "padded.nii")

    (tmp_path / "long.nii").write_bytes(content + bytes(2**21))
    with pytest.raises(UnreadableFile, match="more than its header says"):
        read_volume(tmp_path / "long.nii")


def test_a_gzip_bomb_is_left_after_what_its_header_promises(tmp_path, spoiled, monkeypatch):
    content = spoiled().read_bytes() + bytes(300_000_000)
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(content, 1))
    del content
    unpacked = 0
    real_read = gzip.GzipFile.read

    def counting_read(self, size=-1):
        nonlocal unpacked
        chunk = real_read(self, size)
        unpacked += len(chunk)
        return chunk

    monkeypatch.setattr(gzip.GzipFile, "read", counting_read)
    with pytest.raises(UnreadableFile, match=r"bomb\.nii\.gz"):
        read_volume(tmp_path / "bomb.nii.gz")

    assert unpacked < 3_000_000


def test_a_bomb_whose_header_promises_it_all_stops_at_the_cap(spoiled, monkeypatch):
    monkeypatch.setattr(stored, "MOST_VOXELS", 500)

    with pytest.raises(UnreadableFile, match="at most"):
        read_volume(spoiled())


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("offset", [0, -1, 100, 1e9, np.nan, np.inf, 5000])
def test_voxels_that_begin_at_an_impossible_place_are_refused(spoiled, name, offset):
    with pytest.raises(UnreadableFile):
        read_volume(spoiled(name, vox_offset=offset))


@pytest.mark.parametrize("dim", [[4, 9, 8, 2, 3, 1, 1, 1], [2, 9, 8, 1, 1, 1, 1, 1], [5, 9, 8, 2, 1, 3, 1, 1]])
def test_flat_and_4d_images_are_refused_with_what_to_export(spoiled, dim):
    for read in (read_volume, read_labels):
        with pytest.raises(InvalidImage, match="one series"):
            read(spoiled(dim=dim))


@pytest.mark.parametrize("code", [128, 2304, 32, 1792, 1536])
def test_colours_complex_and_128_bit_numbers_are_refused(spoiled, code):
    with pytest.raises(InvalidImage, match="colours or complex"):
        read_volume(spoiled(datatype=code))


@pytest.mark.parametrize("code", [0, 1, 3, -1])
def test_an_unknown_type_of_voxel_is_refused(spoiled, code):
    with pytest.raises(TumorRetrievalError, match=r"scan\.nii"):
        read_volume(spoiled(datatype=code))


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [np.nan] * 4},
        {"srow_x": [np.inf, 0, 0, 0]},
        {"srow_x": [0, 0, 0, 0]},
        {"srow_x": [0, 1, 0, 0], "srow_y": [0, 1, 0, 0]},
        {"srow_x": [1e20, 0, 0, 0]},
        {"sform_code": 0, "quatern_b": 0.9, "quatern_c": 0.9},
        {"sform_code": 0, "quatern_b": np.nan},
        {"sform_code": 0, "pixdim": [1, -1, 1, 1, 1, 1, 1, 1]},
        {"sform_code": 0, "pixdim": [1, 0, 1, 1, 1, 1, 1, 1]},
        {"sform_code": 0, "pixdim": [5, 1, 1, 1, 1, 1, 1, 1]},
        {"sform_code": 0, "qoffset_x": np.inf},
    ],
)
def test_an_orientation_that_cannot_be_is_refused(spoiled, fields):
    for read in (read_volume, read_labels):
        with pytest.raises(InvalidImage, match=r"scan\.nii"):
            read(spoiled(**fields))


def test_a_file_that_does_not_say_which_side_is_left_is_refused_and_not_guessed(spoiled):
    path = spoiled(sform_code=0, qform_code=0)

    for read in (read_volume, read_labels):
        with pytest.raises(InvalidImage, match=r"patient's left.*DICOM.*3D Slicer"):
            read(path)


def test_metres_are_refused_and_an_unsaid_unit_is_millimetres(spoiled, scan):
    assert read_volume(spoiled(xyzt_units=0)).grid.same_as(scan.grid)
    with pytest.raises(InvalidImage, match="millimetres"):
        read_volume(spoiled(xyzt_units=1))


def test_a_handedness_of_0_means_1_as_the_standard_says(tmp_path, spoiled):
    pixdim = [0, 2, 3, 4, 1, 1, 1, 1]
    path = spoiled(sform_code=0, pixdim=pixdim, quatern_b=0, quatern_c=0, quatern_d=0)

    assert np.allclose(np.diag(read_volume(path).affine), [2, 3, 4, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_not_a_number_is_refused(tmp_path, scan, value):
    import nibabel

    data = scan.data.copy()
    data[2, 3, 4] = value
    nibabel.save(nibabel.Nifti1Image(data, scan.affine), tmp_path / "scan.nii.gz")

    with pytest.raises(InvalidImage, match=r"scan\.nii\.gz.*not finite"):
        read_volume(tmp_path / "scan.nii.gz")
    with pytest.raises(InvalidImage, match=r"scan\.nii\.gz.*whole numbers"):
        read_labels(tmp_path / "scan.nii.gz")


def test_numbers_beyond_float32_are_refused(tmp_path, scan):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(scan.data.astype(np.float64) * 1e300, scan.affine), tmp_path / "scan.nii")

    with pytest.raises(InvalidImage, match="not finite"):
        read_volume(tmp_path / "scan.nii")
    with pytest.raises(InvalidImage, match="whole numbers"):
        read_labels(tmp_path / "scan.nii")


@pytest.mark.parametrize("value", [0, 42])
def test_an_empty_or_constant_scan_is_refused_and_an_empty_segmentation_is_read(tmp_path, scan, value):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.full(scan.shape, value, np.uint8), scan.affine), tmp_path / "scan.nii")

    with pytest.raises(InvalidImage, match=f"every voxel is {value}"):
        read_volume(tmp_path / "scan.nii")
    assert np.all(read_labels(tmp_path / "scan.nii").data == value)


def test_a_single_slice_is_no_scan(tmp_path, scan):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(scan.data[:, :, :1], scan.affine), tmp_path / "scan.nii")

    with pytest.raises(InvalidImage, match="single slice"):
        read_volume(tmp_path / "scan.nii")


# Two processes collect these tests: without `mtime=0` they would name one of them by the second in which they did.
@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"hello, I am a text file\n" * 50, b"\x1f\x8b", gzip.compress(b"text", mtime=0)],
)
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.nrrd"])
def test_text_and_empty_files_under_an_image_name_are_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)

    for read in (read_volume, read_labels):
        with pytest.raises(UnreadableFile, match=name):
            read(tmp_path / name)


def test_damaged_bits_inside_a_compressed_scan_are_noticed_by_the_checksum(tmp_path, spoiled):
    content = bytearray(spoiled("scan.nii.gz").read_bytes())
    content[-6] ^= 1  # inside the stored checksum
    (tmp_path / "flipped.nii.gz").write_bytes(content)

    with pytest.raises(UnreadableFile, match=r"flipped\.nii\.gz.*damaged"):
        read_volume(tmp_path / "flipped.nii.gz")


def test_half_of_a_pair_and_analyze_files_are_refused(spoiled):
    with pytest.raises(UnreadableFile, match=r"one \.nii\.gz file"):
        read_volume(spoiled(magic=b"ni1"))
    with pytest.raises(UnreadableFile, match="not a NIfTI"):
        read_volume(spoiled(magic=b""))


def test_missing_files_and_pipes_are_refused_at_once(tmp_path):
    import os

    with pytest.raises(UnreadableFile, match="does not exist"):
        read_volume(tmp_path / "absent.nii.gz")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.nii.gz")
        with pytest.raises(UnreadableFile, match="not a file"):
            read_volume(tmp_path / "pipe.nii.gz")
