"""A box that is drawn in the scene is the box that the library gets, rotations and sides included."""

import numpy as np
import pytest

from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.box import Box


@pytest.fixture
def rotated() -> Box:
    """A box on the left, at the front, turned by 30 degrees about S and 20 about R."""
    from Testing.SlicerHost.phantoms import turned

    return Box((-30, 20, 5), (24, 16, 8), turned(30) @ turned(20, axis=0))


def same(box: Box, other: Box) -> bool:
    """Whether two boxes have the same corners, in any order."""
    distances = np.linalg.norm(box.corners()[:, None] - other.corners()[None], axis=2)
    return bool(distances.min(axis=0).max() < 1e-4 and distances.min(axis=1).max() < 1e-4)


def test_a_rotated_box_comes_back_from_the_scene(scene, rotated):
    from TumorRetrievalLib.scene.rois import add_roi, box_of

    assert same(box_of(add_roi(scene, "Box", rotated)), rotated)


def test_slicer_agrees_where_the_inside_of_the_box_is(scene, rotated):
    from TumorRetrievalLib.scene.rois import add_roi

    node = add_roi(scene, "Box", rotated)
    points = np.random.default_rng(0).uniform(-60, 60, (400, 3)) + rotated.center
    points = np.vstack([points, rotated.center + (rotated.corners() - rotated.center) * 0.98])

    inside = [bool(node.IsPointInROIWorld(point)) for point in points.tolist()]
    assert inside == rotated.contains(points).tolist() and 8 <= sum(inside) < 400


def test_a_box_that_is_moved_in_the_scene_is_read_where_it_is_now(scene, rotated):
    from TumorRetrievalLib.scene.rois import add_roi, box_of, set_roi

    node = add_roi(scene, "Box", Box.aligned((0, 0, 0), (10, 10, 10)))
    set_roi(node, rotated)
    node.SetSize(30, 16, 8)

    assert same(box_of(node), Box(rotated.center, (30, 16, 8), rotated.axes))


def test_a_transform_above_a_box_moves_turns_and_stretches_it(scene):
    from Testing.SlicerHost.phantoms import turned
    from TumorRetrievalLib.scene.rois import add_roi, box_of
    from TumorRetrievalLib.scene.transforms import add_alignment, put_under

    matrix = np.eye(4)
    matrix[:3, :3] = turned(45) * 2
    matrix[:3, 3] = (1, 2, 3)
    node = add_roi(scene, "Box", Box.aligned((10, 0, 0), (8, 6, 4)))
    put_under(add_alignment(scene, matrix, "Moved"), node)

    assert same(box_of(node), Box(2 * turned(45) @ (10, 0, 0) + (1, 2, 3), (16, 12, 8), turned(45)))


def test_a_box_from_a_mirrored_scan_keeps_its_place(scene):
    from TumorRetrievalLib.scene.rois import add_roi, box_of

    mirrored = Box((-30, 10, 0), (10, 20, 30), np.diag([-1.0, 1.0, 1.0]))

    assert same(box_of(add_roi(scene, "Box", mirrored)), mirrored)


def test_a_box_that_waits_to_be_drawn_says_so(scene):
    from TumorRetrievalLib.scene.rois import add_roi, box_of, is_placed

    node = add_roi(scene, "Box")

    assert not is_placed(node)
    with pytest.raises(InvalidBox, match="not been drawn"):
        box_of(node)


def test_a_box_under_a_transform_is_not_set_to_a_wrong_place(scene, rotated):
    from TumorRetrievalLib.scene.rois import add_roi, set_roi
    from TumorRetrievalLib.scene.transforms import add_alignment, put_under

    node = add_roi(scene, "Box", rotated)
    put_under(add_alignment(scene, np.diag([1, 1, 1, 1]), "Moved"), node)

    with pytest.raises(InvalidBox, match="under a transform"):
        set_roi(node, rotated)


def test_only_the_outline_of_a_box_is_shown(scene, rotated):
    from TumorRetrievalLib.scene.rois import add_roi

    assert add_roi(scene, "Box", rotated).GetDisplayNode().GetFillOpacity() == 0
