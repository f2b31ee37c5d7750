import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.engine.outline import merge, outline_tumor, threshold_masks, tumor_box
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.retrieval.embedder import Reading

CENTRE = np.array((-28.0, 12.0, 20.0))
CORE_MM, WHOLE_MM = 11.0, 17.0
BOX = Box.aligned(CENTRE, (2 * CORE_MM,) * 3)
CUBE = Grid.around(CENTRE, 1.3, (64, 64, 64))


class Half:
    """A reader whose masks begin at a probability of one half."""

    def threshold(self, mask: str, around: str) -> float:
        return 0.5


def grid_of(spacing=(1.5, 1.5, 1.5), turn=(0, 0, 0), order=(0, 1, 2), flips=(1, 1, 1)) -> Grid:
    scales = np.diag(np.multiply(spacing, flips).astype(float))
    matrix = (Rotation.from_rotvec(turn).as_matrix() @ scales)[:, list(order)]
    shape = tuple(int(120 / length) for length in np.linalg.norm(matrix, axis=0))
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array((-10, 5, 10)) - matrix @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


GRIDS = {
    "upright": grid_of(),
    "left-handed": grid_of(flips=(-1, 1, 1)),
    "axes in another order": grid_of(order=(2, 0, 1)),
    "thick slices": grid_of(spacing=(1, 1, 6.5)),
    "oblique": grid_of(turn=(0.3, -0.4, 0.5)),
    "oblique, left-handed, thick": grid_of(spacing=(1, 1, 5), turn=(-0.2, 0.3, 0.1), flips=(1, -1, 1), order=(1, 2, 0)),
}


def probability(*balls: tuple[np.ndarray, float]) -> Volume:
    """About 1 inside the balls (centre, radius in mm), 0 outside, one half on their surface."""
    points = CUBE.voxel_centres()
    below = np.max([radius - np.linalg.norm(points - centre, axis=1) for centre, radius in balls], axis=0)
    return Volume(np.clip(0.5 + below / 4, 0, 1).reshape(CUBE.shape), CUBE.affine)


def reading(core=((CENTRE, CORE_MM),), whole=((CENTRE, WHOLE_MM),)) -> Reading:
    return Reading(probability(*core), probability(*whole), {"glioma": 1.0}, np.ones(4) / 2)


def on_scan(mask: np.ndarray, outline, grid: Grid) -> np.ndarray:
    full = np.zeros(grid.shape, bool)
    full[outline.region] = mask
    return full


@pytest.mark.parametrize("name", GRIDS)
def test_an_outline_is_back_on_the_scans_grid_within_a_voxel(name):
    grid = GRIDS[name]
    outline = outline_tumor(reading(), BOX, "core", Half(), grid)
    distance = np.linalg.norm(grid.voxel_centres() - CENTRE, axis=1).reshape(grid.shape)

    for mask, radius in ((outline.core, CORE_MM), (outline.whole, WHOLE_MM)):
        wrong = on_scan(mask, outline, grid) != (distance < radius)
        assert np.abs(distance[wrong] - radius).max(initial=0) < grid.spacing.max()
        assert grid.to_world(np.argwhere(on_scan(mask, outline, grid)))[:, 0].mean() == pytest.approx(-28, abs=0.7)


@pytest.mark.parametrize("name", GRIDS)
def test_volumes_are_in_millilitres(name):
    outline = outline_tumor(reading(), BOX, "core", Half(), GRIDS[name])

    assert outline.core_ml == pytest.approx(4 / 3 * np.pi * 1.1**3, rel=0.1)
    assert outline.whole_ml == pytest.approx(4 / 3 * np.pi * 1.7**3, rel=0.1)


def test_a_core_is_always_part_of_its_whole_tumor():
    outline = outline_tumor(reading(whole=((CENTRE, 4.0),)), BOX, "core", Half(), grid_of())

    assert outline.core.any()
    assert np.all(outline.whole[outline.core])


def test_a_core_ends_a_little_outside_the_box_that_was_drawn_around_it():
    tight = Box.aligned(CENTRE, (14, 14, 14))
    grid = grid_of()

    outline = outline_tumor(reading(), tight, "core", Half(), grid)

    reach = np.abs(grid.to_world(np.argwhere(on_scan(outline.core, outline, grid))) - CENTRE).max(axis=0)
    assert np.all(reach <= 1.2 * 7 + 1e-6)
    assert np.all(reach > 7)


def test_oedema_may_leave_a_box_around_the_core_but_not_a_box_around_everything():
    grid = grid_of()

    beyond = [outline_tumor(reading(), BOX, around, Half(), grid).whole_ml for around in ("core", "whole")]

    assert beyond[0] == pytest.approx(4 / 3 * np.pi * 1.7**3, rel=0.1)
    assert beyond[1] < 0.9 * beyond[0]


def test_what_does_not_touch_the_box_belongs_to_another_tumor():
    other = CENTRE + (0, 30, 0)
    both = reading(((CENTRE, CORE_MM), (other, 6.0)), ((CENTRE, CORE_MM), (other, 8.0)))

    alone, beside = (outline_tumor(r, BOX, "core", Half(), grid_of()) for r in (reading(), both))

    assert beside.core_ml == pytest.approx(alone.core_ml)
    assert beside.whole_ml == pytest.approx(alone.core_ml)


def test_a_box_between_two_thick_slices_still_gets_its_tumor():
    grid = GRIDS["thick slices"]
    between = grid.to_world((0, 0, round(grid.to_voxel(CENTRE)[2]) + 0.5))[2]
    thin = Box.aligned((*CENTRE[:2], between), (22, 22, 3))

    outline = outline_tumor(reading(), thin, "core", Half(), grid)

    assert outline.core_ml > 1


def test_a_tumor_at_the_edge_of_the_scan_is_outlined_as_far_as_the_scan_goes():
    grid = Grid.around(CENTRE + (30, 0, 0), 1.5, (40, 40, 40))

    outline = outline_tumor(reading(), BOX, "core", Half(), grid)

    assert outline.core_ml == pytest.approx(2 / 3 * np.pi * 1.1**3, rel=0.15)


def test_nothing_above_the_threshold_is_an_empty_outline_without_a_box():
    nothing = reading(((CENTRE, -50.0),), ((CENTRE, -50.0),))

    outline = outline_tumor(nothing, BOX, "core", Half(), grid_of())

    assert (outline.core_ml, outline.whole_ml) == (0, 0)
    assert tumor_box(outline.core, outline, grid_of()) is None


@pytest.mark.parametrize("name", GRIDS)
def test_the_box_of_an_outlined_core_encloses_it_within_a_voxel(name):
    grid = GRIDS[name]
    outline = outline_tumor(reading(), BOX, "core", Half(), grid)

    box = tumor_box(outline.core, outline, grid)

    slack = np.abs(grid.affine[:3, :3]).sum(axis=1)
    assert np.abs(box.center - CENTRE).max() < slack.max() / 2
    assert np.all(np.abs(box.size - 2 * CORE_MM) < 1.5 * slack)
    assert box.contains(grid.to_world(np.argwhere(on_scan(outline.core, outline, grid)))).all()


def test_the_masks_of_all_boxes_are_merged_on_the_scans_grid():
    grid = grid_of()
    second = CENTRE + (0, -26, 0)
    second_reading, second_box = reading(((second, 6.0),), ((second, 9.0),)), Box.aligned(second, (12,) * 3)
    outlines = [
        outline_tumor(reading(), BOX, "core", Half(), grid),
        outline_tumor(second_reading, second_box, "core", Half(), grid),
    ]

    core, whole = merge(outlines, grid)

    assert core.grid.same_as(grid) and whole.grid.same_as(grid)
    assert core.volume_ml() == pytest.approx(sum(outline.core_ml for outline in outlines))
    assert whole.volume_ml() < sum(outline.whole_ml for outline in outlines) + 1e-6
    assert set(np.unique(whole.data)) == {0, 1}


def test_whole_brain_probabilities_become_masks_with_the_core_inside():
    core, whole = threshold_masks(probability((CENTRE, 11.0)), probability((CENTRE, 5.0)), 0.5, grid_of())

    assert core.volume_ml() == pytest.approx(4 / 3 * np.pi * 1.1**3, rel=0.1)
    assert np.all(whole.data[core.data > 0])
