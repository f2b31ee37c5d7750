"""The small renderer shows surfaces where they are, the nearer one in front."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.report.surfaces import Surface, View, render

GRID = Grid.around((10.0, -20.0, 30.0), 2.0, (60, 60, 60))
CENTER, EDGE_MM, PIXELS = (10.0, -20.0, 30.0), 120.0, 60
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
FROM_THE_FRONT = View((0.0, -1.0, 0.0))
FROM_ABOVE = View((0.0, 0.0, -1.0), up=(0.0, 1.0, 0.0))
FROM_THE_LEFT = View((1.0, 0.0, 0.0))


def ball(middle, radius, color, opacity=1.0) -> Surface:
    distance = np.linalg.norm(GRID.voxel_centres() - middle, axis=1).reshape(GRID.shape)
    return Surface(Volume(np.clip(radius - distance, -5, 5), GRID.affine), 0.0, color, opacity)


def seen_at(picture: np.ndarray, channel: int) -> np.ndarray:
    """Middle (row, column) of what has a colour."""
    return np.argwhere(picture[..., channel] > 60).mean(axis=0)


@pytest.mark.parametrize(
    ("view", "offset", "row", "column"),
    [
        (FROM_THE_FRONT, (-25, 0, 15), -7.5, 12.5),
        (FROM_ABOVE, (-25, 20, 0), -10, -12.5),
        (FROM_THE_LEFT, (0, 20, 15), -7.5, -10),
    ],
    ids=["the left is on the viewer's right", "the left is on the viewer's left", "the front is on the viewer's left"],
)
def test_a_ball_is_seen_where_a_viewer_would_see_it(view, offset, row, column):
    picture = render([ball(np.add(CENTER, offset), 12.0, RED)], view, CENTER, EDGE_MM, PIXELS)

    assert np.abs(seen_at(picture, 0) - (np.array((row, column)) + (PIXELS - 1) / 2)).max() < 1.0


def test_the_nearer_ball_hides_the_farther_one():
    near, far = ball(np.add(CENTER, (0, 30, 0)), 10.0, RED), ball(np.add(CENTER, (0, -30, 0)), 10.0, GREEN)

    middle = PIXELS // 2
    for surfaces in ([near, far], [far, near]):
        red, green, _ = render(surfaces, FROM_THE_FRONT, CENTER, EDGE_MM, PIXELS)[middle, middle].astype(int)
        assert red > 100 and green < 60


def test_one_sees_through_a_translucent_ball():
    shell, inside = ball(CENTER, 30.0, GREEN, opacity=0.3), ball(CENTER, 10.0, RED)

    red, green, _ = render([shell, inside], FROM_THE_FRONT, CENTER, EDGE_MM, PIXELS)[PIXELS // 2, PIXELS // 2]

    assert red > 80 and green > 20


def test_nothing_is_black_and_a_level_that_is_never_reached_is_nothing():
    high = Surface(ball(CENTER, 20.0, RED).image, 99.0, RED, 1.0)

    assert render([high], FROM_THE_FRONT, CENTER, EDGE_MM, PIXELS).max() == 0


def test_the_edges_of_a_view_say_where_they_lie_in_the_patient():
    assert FROM_THE_FRONT.letters() == ("R", "L", "S", "I")
    assert FROM_ABOVE.letters() == ("L", "R", "A", "P")
    assert FROM_THE_LEFT.letters() == ("A", "P", "S", "I")
    assert View((-0.7, -0.7, 0.0)).letters()[:2] == ("", "")
