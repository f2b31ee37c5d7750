"""What passes from the worker to a scene: nothing of a simulated tumor gets lost or moves on the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.worker.growth_files import (
    Bend,
    Overlay,
    cut_out,
    read_overlay,
    read_stages,
    write_overlay,
    write_stages,
)

STEP = 0.5 / 255 + 1e-6
AFFINE = Grid.around((4, -8, 15), 1.5, (9, 8, 7)).affine
densities = arrays.arrays(np.float32, (9, 8, 7), elements=st.floats(0, 1, width=32) | st.just(0.0))


def volume(data) -> Volume:
    return Volume(data, AFFINE)


@given(st.lists(densities, min_size=1, max_size=4))
def test_the_part_that_is_cut_out_holds_all_that_can_be_seen_where_it_was(stages):
    cut = cut_out([volume(stage) for stage in stages])

    for before, after in zip(stages, cut, strict=True):
        offset = np.rint(volume(before).grid.to_voxel(after.grid.to_world((0, 0, 0)))).astype(int)
        region = tuple(slice(low, low + size) for low, size in zip(offset, after.shape, strict=True))
        left = np.array(before)
        assert np.array_equal(left[region], after.data)
        left[region] = 0
        assert left.max() < STEP


def test_stages_come_back_in_steps_of_a_level(tmp_path):
    stages = [volume(np.random.default_rng(n).uniform(0, 1, (9, 8, 7))) for n in range(3)]
    write_stages(tmp_path / "stages.npz", stages)
    back = read_stages(tmp_path / "stages.npz")

    assert len(back) == 3
    for before, after in zip(stages, back, strict=True):
        assert np.abs(before.data - after.data).max() <= STEP and after.grid.same_as(before.grid)


@pytest.mark.parametrize("bent", [False, True])
def test_an_overlay_comes_back_with_its_way_to_the_atlas(tmp_path, bent):
    rng = np.random.default_rng(0)
    fields = rng.normal(0, 3, (2, 3, 5, 6, 7)).astype(np.float32)
    bend = Bend(Grid.around((0, 0, 0), 6.0, (5, 6, 7)), *fields) if bent else None
    stages = [volume(rng.uniform(0, 1, (9, 8, 7))) for _ in range(2)]
    matrix = np.eye(4) + np.diag((0.1, 0.2, 0), 1)
    write_overlay(tmp_path / "overlay.npz", Overlay(stages, volume(np.full((9, 8, 7), 0.2)), matrix, bend))
    back = read_overlay(tmp_path / "overlay.npz")

    assert np.array_equal(back.patient_to_atlas, matrix) and back.spread.data.max() == pytest.approx(0.2, abs=STEP)
    assert (back.bend is not None) == bent
    if bent:
        assert back.bend.grid.same_as(bend.grid)
        assert np.array_equal(back.bend.to_straight, fields[0]) and np.array_equal(back.bend.from_straight, fields[1])


@pytest.mark.parametrize("damage", ["missing", "truncated", "other", "pickle"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "overlay.npz"
    if damage == "truncated":
        write_stages(path, [volume(np.ones((9, 8, 7)))])
        path.write_bytes(path.read_bytes()[:-300])
    elif damage == "other":
        np.savez(path, something=np.zeros(3))
    elif damage == "pickle":
        np.savez(path, stages=np.array([{}], dtype=object), affine=AFFINE)

    for read in (read_overlay, read_stages):
        with pytest.raises(UnreadableFile, match=r"overlay\.npz"):
            read(path)
