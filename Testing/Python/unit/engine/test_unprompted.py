"""Tumors outlined without a box: first where they are, then each one closely."""

from types import SimpleNamespace

import numpy as np
import pytest

from TumorRetrievalLib.engine.unprompted import MOST_BOXES, suggest_tumors
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.retrieval.embedder import Reading

HEAD = Grid.around((0.0, 0.0, 0.0), 2.0, (80, 80, 80))
LEFT_HANDED = Grid(
    (120, 90, 100),
    np.diag([-1.5, 1.6, 1.4, 1.0]) + np.array([[0, 0, 0, 80], [0, 0, 0, -70], [0, 0, 0, -65], [0, 0, 0, 0]]),
)
LEFT, RIGHT = (-30.0, 10.0, 5.0), (28.0, -20.0, -10.0)


def balls(grid: Grid, *those: tuple[tuple[float, float, float], float]) -> Volume:
    """About 1 inside the balls (centre, radius in mm), one half on their surface."""
    points = grid.voxel_centres()
    below = [radius - np.linalg.norm(points - centre, axis=1) for centre, radius in those] or [
        np.full(len(points), -9.0)
    ]
    return Volume(np.clip(0.5 + np.max(below, axis=0) / 4, 0, 1).reshape(grid.shape), grid.affine)


class Seer:
    """Sees some balls from afar, and in a box drawn around one outlines it a little larger."""

    def __init__(self, cores, wholes):
        self.cores, self.wholes, self.asked = cores, wholes, []

    def threshold(self, mask: str, around: str) -> float:
        return 0.5

    def read_everywhere(self, scan, progress=None):
        return balls(HEAD, *self.cores), balls(HEAD, *self.wholes)

    def read(self, scan, box, around):
        self.asked.append((box, around))
        cube = Grid.around(box.center, 1.6, (64, 64, 64))
        radius = float(box.size.mean()) / 2
        core = radius + 1 if around == "core" else radius - 6
        balls_of = {"core": [(box.center, core)] if self.cores else [], "whole": [(box.center, radius + 1)]}
        return Reading(balls(cube, *balls_of["core"]), balls(cube, *balls_of["whole"]), {}, np.ones(4) / 2)


def suggestion(seer: Seer, grid: Grid = LEFT_HANDED):
    return suggest_tumors(SimpleNamespace(t1c=Volume(np.zeros(grid.shape), grid.affine), scan=None), seer)


def test_every_tumor_gets_a_box_on_its_own_side_and_is_outlined_in_it():
    seer = Seer([(LEFT, 12.0), (RIGHT, 8.0)], [(LEFT, 18.0), (RIGHT, 12.0)])

    found = suggestion(seer)

    larger, smaller = found.boxes
    np.testing.assert_allclose(larger.center, LEFT, atol=1.5)
    np.testing.assert_allclose(smaller.center, RIGHT, atol=1.5)
    assert [around for _, around in seer.asked] == ["whole", "core"] * 2
    ml = 4 / 3 * np.pi * np.array([13.0**3 + 7.0**3, 19.0**3 + 13.0**3]) / 1000
    np.testing.assert_allclose([found.core.volume_ml(), found.whole.volume_ml()], ml, rtol=0.15)


def test_a_tumor_of_which_only_oedema_is_seen_gets_a_box_around_that():
    seer = Seer([], [(RIGHT, 12.0)])

    found = suggestion(seer)

    assert [around for _, around in seer.asked] == ["whole"]
    np.testing.assert_allclose(found.boxes[0].center, RIGHT, atol=1.5)


def test_specks_are_not_suggested_and_a_brain_without_tumor_has_empty_masks():
    for seer in (Seer([(LEFT, 3.0)], [(LEFT, 3.0)]), Seer([], [])):
        found = suggestion(seer)

        assert found.boxes == [] and seer.asked == []
        assert not found.core.data.any() and not found.whole.data.any()
        assert found.core.shape == LEFT_HANDED.shape


def test_of_very_many_only_the_largest_are_suggested():
    places = [(x, y, z) for x in (-50.0, 0.0, 50.0) for y in (-45.0, 0.0, 45.0) for z in (-40.0, 40.0)]
    those = [(place, 5.0 + 0.4 * number) for number, place in enumerate(places)]

    seer = Seer([], those)

    found = suggestion(seer)

    assert len(found.boxes) == MOST_BOXES < len(places)
    assert min(float(box.size.max()) for box, _ in seer.asked) > 2 * those[0][1]


@pytest.mark.parametrize("spacing", [0.9, 3.0])
def test_the_boxes_do_not_depend_on_the_scans_resolution(spacing):
    grid = Grid.around((0.0, 0.0, 0.0), spacing, (int(150 / spacing),) * 3)

    box = suggestion(Seer([(LEFT, 12.0)], [(LEFT, 18.0)]), grid).boxes[0]

    np.testing.assert_allclose(box.center, LEFT, atol=2.0)
    np.testing.assert_allclose(box.size, 24.0, atol=2 * spacing + 1.5)
