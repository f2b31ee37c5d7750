"""A database of simulated tumors comes back as it was written, or is refused with the reason."""

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.errors import SimulationsDamaged, SimulationsOfAnotherAtlas, UnreadableFile
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.bricks import gather, pack
from TumorRetrievalLib.growth.database import SimulationDatabase, join, read_database, write_database
from TumorRetrievalLib.growth.solver import simulate_to_volumes

PREAMBLE = 8 + 4 + 32


@pytest.fixture(scope="module")
def database(atlas):
    origins = [(28.0, -10.0, 25.0), (-30.0, 20.0, 20.0)]
    tumors = [s for o in origins for s in simulate_to_volumes(atlas, o, 2.0, [6.0, 20.0, 60.0])]
    parameters = np.array([(*s.parameters.origin, s.parameters.spread, s.parameters.tau) for s in tumors], np.float32)
    masks = (gather([pack(getattr(s, kind).data) for s in tumors]) for kind in ("whole", "core"))
    return SimulationDatabase(parameters, *masks, atlas.grid, atlas.fingerprint, {"seed": 4})


@pytest.fixture
def file(database, tmp_path):
    path = tmp_path / "tumors.growth"
    write_database(path, database)
    return path


def test_a_database_comes_back_as_it_was_written(database, file):
    again = read_database(file)

    np.testing.assert_array_equal(again.parameters, database.parameters)
    assert again.grid.same_as(database.grid)
    assert (again.atlas_fingerprint, again.made_with) == (database.atlas_fingerprint, {"seed": 4})
    for kind in ("whole", "core"):
        for name in ("offsets", "bricks", "counts", "bits", "voxels"):
            np.testing.assert_array_equal(getattr(getattr(again, kind), name), getattr(getattr(database, kind), name))


def test_the_same_tumors_give_the_same_file(database, file, tmp_path):
    write_database(tmp_path / "again.growth", database)

    assert (tmp_path / "again.growth").read_bytes() == file.read_bytes()


def test_growing_a_stored_tumor_again_gives_its_stored_masks(database, file, atlas):
    from TumorRetrievalLib.growth.solver import simulate

    stored = read_database(file)

    for index in range(len(stored)):
        tumor = simulate(atlas, stored.parameters_of(index))
        np.testing.assert_array_equal(tumor.whole.data != 0, stored.whole.unpack(index, 64))
        np.testing.assert_array_equal(tumor.core.data != 0, stored.core.unpack(index, 64))


def test_the_first_tumors_and_the_rest_join_to_the_whole(database):
    both = join([database.first(2), database])

    assert len(both) == 2 + len(database)
    np.testing.assert_array_equal(both.whole.unpack(1, 64), database.whole.unpack(1, 64))
    np.testing.assert_array_equal(both.core.unpack(4, 64), database.core.unpack(2, 64))
    np.testing.assert_array_equal(both.parameters[2:], database.parameters)


def test_tumors_of_another_atlas_are_refused(database, atlas):
    database.require_atlas(atlas)
    with pytest.raises(SimulationsOfAnotherAtlas, match="simulate"):
        database.require_atlas(load_growth_atlas(32))


def test_tumors_bring_an_atlas_of_their_own_and_those_of_the_bundled_one_use_it(database, atlas, tmp_path):
    other = replace(atlas, gray=atlas.gray * np.float32(0.5), fingerprint="another")
    path = tmp_path / "other.growth"
    write_database(path, replace(database, atlas=other, atlas_fingerprint="another"))

    again = read_database(path).first(2).growth_atlas

    np.testing.assert_array_equal(again.gray, other.gray)
    np.testing.assert_array_equal(again.white, other.white)
    assert (again.fingerprint, again.grid.same_as(atlas.grid)) == ("another", True)
    assert database.growth_atlas is load_growth_atlas(64)
    with pytest.raises(SimulationsOfAnotherAtlas):
        assert replace(database, atlas_fingerprint="another").growth_atlas


@pytest.mark.parametrize("gray", [np.full((64, 64, 64), 1.5, np.float32), np.full((64, 64, 64), np.nan, np.float32)])
def test_an_atlas_whose_fractions_are_none_is_damaged(database, atlas, tmp_path, gray):
    path = tmp_path / "other.growth"
    write_database(path, replace(database, atlas=replace(atlas, gray=gray)))

    with pytest.raises(SimulationsDamaged, match="fractions"):
        read_database(path)


def test_an_atlas_on_another_grid_is_damaged(database, tmp_path):
    path = tmp_path / "other.growth"
    write_database(path, replace(database, atlas=load_growth_atlas(32)))

    with pytest.raises(SimulationsDamaged, match="fractions"):
        read_database(path)


def test_a_file_that_is_not_there_or_something_else_is_no_database(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" + bytes(500))
    for name in ("missing", "photo.jpg", "."):
        with pytest.raises(UnreadableFile):
            read_database(tmp_path / name)


def test_a_file_cut_anywhere_is_refused(file):
    content = file.read_bytes()
    for end in [0, 7, 8, 20, PREAMBLE, PREAMBLE + 100, len(content) // 2, len(content) - 1]:
        file.write_bytes(content[:end])
        with pytest.raises((SimulationsDamaged, UnreadableFile)):
            read_database(file)
    file.write_bytes(content + b"\0")
    with pytest.raises(SimulationsDamaged, match="length"):
        read_database(file)


def test_any_changed_bit_is_noticed(database, tmp_path_factory):
    path = tmp_path_factory.mktemp("bits") / "tumors.growth"
    write_database(path, database)
    content = path.read_bytes()

    @settings(max_examples=80)
    @given(place=st.integers(0, len(content) - 1), bit=st.integers(0, 7))
    def change(place, bit):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises((SimulationsDamaged, UnreadableFile)):
            read_database(path)

    change()


def forge(path, change_header=lambda header: None, frames=None) -> None:
    """Rewrites a file with other contents and with checksums that are right."""
    import zstandard

    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 8)
    header, body = json.loads(content[PREAMBLE : PREAMBLE + length]), content[PREAMBLE + length :]
    stored = {}
    order = ["parameters", *(f"{m}_{n}" for m in ("whole", "core") for n in ("bricks_per_mask", "bricks", "bits"))]
    for name in order:
        size = header["arrays"][name]["bytes"]
        stored[name], body = body[:size], body[size:]
    for name, array in (frames or {}).items():
        stored[name] = zstandard.compress(array(zstandard.decompress(stored[name])))
        header["arrays"][name] |= {"bytes": len(stored[name]), "sha256": hashlib.sha256(stored[name]).hexdigest()}
    change_header(header)
    text = json.dumps(header).encode()
    preamble = struct.pack("<8sI32s", content[:8], len(text), hashlib.sha256(text).digest())
    path.write_bytes(preamble + text + b"".join(stored[name] for name in order))


def words(dtype, change):
    def apply(raw: bytes) -> bytes:
        array = np.frombuffer(raw, dtype).copy()
        change(array)
        return array.tobytes()

    return apply


def assign(index, value):
    def change(array):
        array[index] = value

    return change


def swap_first_two(array):
    array[:2] = array[1::-1]


HEADERS = {
    "more tumors than there are": lambda h: h.update(count=7),
    "no tumors": lambda h: h.update(count=0),
    "a count that is no number": lambda h: h.update(count="6"),
    "arrays missing": lambda h: h["arrays"].pop("core_bits"),
    "arrays of a negative size": lambda h: h["arrays"]["core_bits"].update(shape=[-1, 8]),
    "arrays too large for any machine": lambda h: h["arrays"]["core_bits"].update(shape=[1 << 60, 8]),
    "arrays larger than their frame": lambda h: h["arrays"]["core_bits"].update(shape=[1 << 28, 8]),
    "a grid that is no cube": lambda h: h.update(shape=[64, 64, 32]),
    "a grid without voxels": lambda h: h.update(shape=[0, 0, 0]),
    "an endless grid": lambda h: h.update(shape=[1 << 40] * 3),
    "no affine": lambda h: h.pop("affine"),
    "a list for a header": lambda h: h.update(arrays=[]),
    "an atlas that is no name": lambda h: h.update(atlas=None),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_forged_header_is_refused(file, what):
    forge(file, HEADERS[what])

    with pytest.raises(SimulationsDamaged, match=r"tumors\.growth is damaged"):
        read_database(file)


ARRAYS = {
    "a tumor without a place": {"parameters": words("<f4", assign(0, np.nan))},
    "a tumor of negative age": {"parameters": words("<f4", assign(-1, -1.0))},
    "bricks outside the grid": {"whole_bricks": words("<u2", assign(-1, 513))},
    "bricks out of order": {"core_bricks": words("<u2", swap_first_two)},
    "the same brick twice": {"core_bricks": words("<u2", lambda a: a.__setitem__(1, a[0]))},
    "an empty tumor": {"core_bricks_per_mask": words("<u2", assign(0, 0))},
    "an empty brick": {"whole_bits": words("<u8", assign(slice(0, 8), 0))},
    "a core larger than its tumor": {"core_bits": words("<u8", assign(slice(None), 2**64 - 1))},
}


@pytest.mark.parametrize("what", ARRAYS)
def test_forged_contents_are_refused(file, what):
    forge(file, frames=ARRAYS[what])

    with pytest.raises(SimulationsDamaged, match="damaged"):
        read_database(file)


@pytest.mark.parametrize("change", [{"solver": "another"}, {"thresholds": [0.1, 0.6]}])
def test_tumors_of_another_solver_are_refused(file, change):
    forge(file, lambda header: header.update(change))

    with pytest.raises(SimulationsOfAnotherAtlas, match="Build it again"):
        read_database(file)


def test_a_format_of_the_future_is_refused(file):
    forge(file, lambda header: header.update(format=2))

    with pytest.raises(UnreadableFile, match="format 2"):
        read_database(file)
