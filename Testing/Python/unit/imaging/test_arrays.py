"""Files of arrays are read whole or refused: nothing is unpickled, no header gets memory that its file cannot fill."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_array, read_arrays

NUMBERS = arrays_of.arrays(
    st.sampled_from(["<f4", ">f8", "u1", "<i8", "?", "<U5"]), arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays")


@given(array=NUMBERS, by_column=st.booleans())
def test_arrays_come_back_as_numpy_wrote_them(folder, array, by_column):
    array = np.asfortranarray(array) if by_column else array
    np.save(folder / "one.npy", array)
    np.savez(folder / "some.npz", a=array, b=array)
    np.savez_compressed(folder / "small.npz", a=array)

    found = [read_array(folder / "one.npy", ""), *read_arrays(folder / "some.npz", "").values()]
    found.append(read_arrays(folder / "small.npz", "")["a"])

    for again in found:
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)


def test_an_error_names_the_file_and_the_way_out(tmp_path):
    (tmp_path / "some.npz").write_bytes(b"nonsense")

    with pytest.raises(UnreadableFile, match=r"some\.npz is damaged.*Build it again\."):
        read_arrays(tmp_path / "some.npz", "Build it again.")


def test_a_missing_file_is_missing_and_not_damaged(tmp_path):
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_array(tmp_path / "one.npy", "")


def test_python_objects_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(UnreadableFile):
        read_array(tmp_path / "one.npy", "")


@pytest.mark.parametrize(
    "shape", [(999_999_999_999,), (70_000, 70_000), (2_000, 2_000), (-1,), (-3, -9), (3, 99), (1,)]
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_promises_another_size_is_refused_before_memory_is_taken(tmp_path, shape, compression):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    forged = stream.getvalue() + bytes(27 * 8)
    (tmp_path / "one.npy").write_bytes(forged)
    with zipfile.ZipFile(tmp_path / "some.npz", "w", compression) as archive:
        archive.writestr("a.npy", forged)

    tracemalloc.start()
    for read, name in ((read_array, "one.npy"), (read_arrays, "some.npz")):
        with pytest.raises(UnreadableFile):
            read(tmp_path / name, "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2**20


def test_what_is_no_array_does_not_belong_into_such_a_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as archive:
        archive.writestr("a.txt", "text")

    with pytest.raises(UnreadableFile, match=r"a\.txt"):
        read_arrays(tmp_path / "some.npz", "")
