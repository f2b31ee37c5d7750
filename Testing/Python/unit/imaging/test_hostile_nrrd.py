"""Damaged and malicious NRRD files end in one of our errors, and never lead to a file elsewhere."""

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.files import read_labels, read_volume

SHAPE = (4, 3, 2)
VOXELS = np.arange(24, dtype="<i2").tobytes()
GOOD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}


def header(magic="NRRD0004", end="\n", **changes) -> bytes:
    """A good header with fields changed (`space_origin="..."`), or left out (`endian=None`)."""
    fields = GOOD | {name.replace("_", " "): value for name, value in changes.items()}
    lines = [magic, *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return (end.join(lines) + end + end).encode()


@pytest.fixture
def nrrd(tmp_path):
    """Writes a file from a header and data, and returns its path."""

    def write(content: bytes, name="scan.nrrd"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_plain_file_is_read_from_lps_into_ras(nrrd, end):
    volume = read_volume(nrrd(header(end=end) + VOXELS))

    assert np.array_equal(volume.data, np.arange(24).reshape(SHAPE, order="F"))
    assert volume.affine.tolist() == [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("space", "signs"), [("RAS", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("LPS", (-1, -1, 1))]
)
def test_every_anatomical_space_ends_in_ras(nrrd, space, signs):
    volume = read_volume(nrrd(header(space=space) + VOXELS))

    assert np.allclose(volume.grid.to_world((1, 1, 1)), np.multiply(signs, (11, 22, 33)))


@pytest.mark.parametrize("space", [None, "scanner-xyz", "3D-right-handed", "nonsense"])
def test_a_file_that_does_not_say_which_side_is_left_is_refused_and_not_guessed(nrrd, space):
    with pytest.raises(InvalidImage, match="left and right"):
        read_volume(nrrd(header(space=space) + VOXELS))


def test_comments_keys_and_unknown_fields_are_passed_over(nrrd):
    content = header(content="head: with a colon", thicknesses="1 1 1").replace(
        b"type:", b"# a comment: here\nkey:=value: x\nkey:=again\ntype:"
    )

    assert read_volume(nrrd(content + VOXELS)).shape == SHAPE


@given(cut=st.integers(0, len(header() + VOXELS) - 1))
def test_a_plain_file_cut_off_anywhere_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut.nrrd"
    path.write_bytes((header() + VOXELS)[:cut])

    with pytest.raises(TumorRetrievalError, match=r"cut\.nrrd"):
        read_volume(path)


@given(data=st.data())
def test_a_compressed_file_cut_off_anywhere_is_refused(tmp_path_factory, scan_bytes, data):
    content = scan_bytes(".nrrd")
    path = tmp_path_factory.getbasetemp() / "cut.nrrd"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

    with pytest.raises(TumorRetrievalError, match=r"cut\.nrrd"):
        read_volume(path)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": "40 30 20"},
        {"sizes": "600 600 600"},
        {"sizes": "2000000000 2000000000 2000000000"},
        {"sizes": "-4 3 2"},
        {"sizes": "4 0 2"},
        {"sizes": "4 3"},
        {"sizes": "4 3 2 1"},
        {"sizes": "4 3 x"},
        {"sizes": "4 3 " + "9" * 5000},
        {"sizes": None},
        {"dimension": None},
        {"dimension": "many"},
        {"type": "double"},
        {"type": None},
        {"endian": None},
        {"endian": "middle"},
    ],
)
def test_a_header_that_lies_about_its_size_is_refused_before_memory_is_taken(nrrd, encoding, changes):
    body = gzip.compress(VOXELS) if encoding == "gzip" else VOXELS
    path = nrrd(header(encoding=encoding, **changes) + body)

    tracemalloc.start()
    with pytest.raises(UnreadableFile, match=r"scan\.nrrd"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoding": "bzip2"}, "raw and gzip"),
        ({"encoding": "ascii"}, "raw and gzip"),
        ({"encoding": None}, "encoding"),
        ({"byte_skip": "-1"}, "skips"),
        ({"line_skip": "3"}, "skips"),
        ({"encoding": "gzip"}, "damaged"),
    ],
)
def test_an_encoding_that_is_not_read_or_not_true_is_named(nrrd, changes, says):
    with pytest.raises(UnreadableFile, match=says):
        read_volume(nrrd(header(**changes) + VOXELS))


@pytest.mark.parametrize(
    "changes",
    [
        {"dimension": "4", "sizes": "4 3 1 2"},
        {"dimension": "4", "sizes": "3 4 3 2", "space directions": "none (1,0,0) (0,2,0) (0,0,3)"},
        {"dimension": "2", "sizes": "4 6"},
        {"sizes": "3 4 2", "space directions": "none (1,0,0) (0,1,0)"},
        {"type": "block"},
        {"space directions": None},
        {"space directions": "(1,0,0) (0,1,0)"},
        {"space directions": "(nan,0,0) (0,1,0) (0,0,1)"},
        {"space directions": "(1,0,0) (1,0,0) (0,0,1)"},
        {"space directions": "(1,0) (0,1) (1,1)"},
        {"space directions": "(a,b,c) (0,1,0) (0,0,1)"},
        {"space origin": None},
        {"space origin": "(inf,0,0)"},
        {"space origin": "(1e300,0,0)"},
        {"space units": '"m" "m" "m"'},
    ],
)
def test_colours_4d_and_places_that_cannot_be_are_refused(nrrd, changes):
    changes = {name.replace(" ", "_"): value for name, value in changes.items()}

    for read in (read_volume, read_labels):
        with pytest.raises(InvalidImage, match=r"scan\.nrrd"):
            read(nrrd(header(**changes) + VOXELS * 2))


def test_a_trailing_axis_of_length_1_is_dropped(nrrd):
    content = header(dimension="4", sizes="4 3 2 1", space_directions="(1,0,0) (0,2,0) (0,0,3) none")

    assert read_volume(nrrd(content + VOXELS)).shape == SHAPE


def test_a_field_said_twice_and_a_line_that_is_no_field_are_refused(nrrd):
    for line in (b"sizes: 4 3 2\ntype:", b"this is not a field\ntype:"):
        with pytest.raises(UnreadableFile, match="damaged NRRD header"):
            read_volume(nrrd(header().replace(b"type:", line) + VOXELS))


def test_a_header_without_an_end_is_left_early(nrrd):
    with pytest.raises(UnreadableFile, match=r"scan\.nrrd"):
        read_volume(nrrd(b"NRRD0004\n" + b"key:=value\n" * 400_000))


def test_a_gzip_bomb_is_left_after_what_its_header_promises(nrrd):
    path = nrrd(header(encoding="gzip") + gzip.compress(VOXELS + bytes(100_000_000), 1))

    tracemalloc.start()
    with pytest.raises(UnreadableFile, match="more than its header says"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


def test_a_voxel_that_is_not_a_number_is_refused(nrrd):
    voxels = np.arange(24, dtype="<f4")
    voxels[5] = np.nan

    with pytest.raises(InvalidImage, match="not finite"):
        read_volume(nrrd(header(type="float") + voxels.tobytes()))


def test_a_detached_header_reads_the_data_file_beside_it(nrrd):
    nrrd(VOXELS, "scan.raw")

    assert read_volume(nrrd(header(data_file="scan.raw"), "scan.nhdr")).shape == SHAPE


@pytest.mark.parametrize(
    "name",
    [
        "../secret.raw",
        "sub/../../secret.raw",
        "/etc/passwd",
        "..\\secret.raw",
        "C:\\secret.raw",
        "C:secret.raw",
        "..",
        ".",
        "",
        "LIST",
        "LIST 2",
        "slice%03d.raw 1 2 1",
        "scan.nhdr",
    ],
)
def test_a_detached_header_cannot_name_a_file_elsewhere(nrrd, tmp_path, name):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "sub").mkdir()
    (tmp_path / "secret.raw").write_bytes(VOXELS)

    with pytest.raises(UnreadableFile, match=r"scan\.nhdr"):
        read_volume(nrrd(header(data_file=name), "inner/scan.nhdr"))


def test_a_link_beside_the_header_cannot_lead_elsewhere(nrrd, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.raw").write_bytes(VOXELS)
    (tmp_path / "inner" / "data.raw").symlink_to(tmp_path / "secret.raw")

    with pytest.raises(UnreadableFile, match="not beside it"):
        read_volume(nrrd(header(data_file="data.raw"), "inner/scan.nhdr"))


def test_a_missing_or_short_data_file_is_refused(nrrd):
    with pytest.raises(UnreadableFile, match=r"gone\.raw does not exist"):
        read_volume(nrrd(header(data_file="gone.raw"), "scan.nhdr"))
    nrrd(VOXELS[:-1], "short.raw")
    with pytest.raises(UnreadableFile, match="truncated"):
        read_volume(nrrd(header(data_file="short.raw"), "scan.nhdr"))
