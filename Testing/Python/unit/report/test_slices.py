"""A picture shows the patient as a radiologist expects, however the file stores the scan."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.report.slices import (
    AXIAL,
    CORONAL,
    ORIENTATIONS,
    SAGITTAL,
    SlicePlane,
    box_outline,
    gray_window,
    read_slice,
)

BALL = np.array([21.0, 13.0, 8.0])
"""A lesion on the right, in front and above the middle of the phantom, RAS mm."""

PERMUTATIONS = list(itertools.permutations(range(3)))
SIGNS = list(itertools.product((1, -1), repeat=3))
EVERY_AXIS_ORDER = [np.eye(3)[:, list(p)] * s for p in PERMUTATIONS for s in SIGNS]


def ball_on(axes: np.ndarray, spacing=(2.0, 2.0, 2.0)) -> LabelMap:
    """A ball of 9 mm radius at BALL, stored with these axis directions (columns); determinant -1 is left-handed."""
    shape = tuple(np.ceil(110 / np.asarray(spacing)).astype(int))
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    empty = LabelMap(np.zeros(shape, np.uint8), affine)
    inside = np.linalg.norm(empty.grid.voxel_centres() - BALL, axis=1) < 9
    return LabelMap(inside.reshape(shape), affine)


def middle_in_mm(picture: np.ndarray, plane: SlicePlane) -> np.ndarray:
    """Where the bright spot of a picture is, in mm right of and below the middle of the picture."""
    rows, columns = np.nonzero(picture > 0.5)
    return (np.array([columns.mean(), rows.mean()]) - (plane.pixels - 1) / 2) * plane.pixel_mm


EXPECTED = {"axial": (-21, -13), "coronal": (-21, -8), "sagittal": (-13, -8)}
"""Patient's right is the viewer's left; front is up (axial) or left (sagittal); above is up."""


def plane_through_the_ball(orientation) -> SlicePlane:
    center = np.where(np.abs(np.cross(orientation.right, orientation.down)) > 0.5, BALL, 0.0)
    return SlicePlane(orientation, center, 120.0, 120)


@pytest.mark.parametrize("axes", EVERY_AXIS_ORDER, ids=lambda a: "".join(str(int(v)) for v in a.ravel()))
def test_the_patients_right_is_on_the_viewers_left_whatever_the_axis_order(axes):
    scan = ball_on(axes, spacing=(3.0, 2.5, 2.5))
    for orientation in ORIENTATIONS:
        plane = plane_through_the_ball(orientation)
        assert middle_in_mm(read_slice(scan, plane), plane) == pytest.approx(EXPECTED[orientation.name], abs=0.7)


@settings(max_examples=15, deadline=None)
@given(turn=st.tuples(*[st.floats(-180, 180)] * 3), mirrored=st.booleans())
def test_an_oblique_or_mirrored_scan_gives_the_same_picture(turn, mirrored):
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.diag([-1.0 if mirrored else 1.0, 1, 1])
    plane = plane_through_the_ball(AXIAL)

    picture = read_slice(ball_on(axes, spacing=(1.5, 2.0, 2.5)), plane)

    assert middle_in_mm(picture, plane) == pytest.approx(EXPECTED["axial"], abs=1.0)


def test_thick_slices_keep_their_scale_in_millimetres():
    plane = plane_through_the_ball(CORONAL)

    picture = read_slice(ball_on(np.eye(3), spacing=(0.8, 0.8, 6.5)), plane)

    assert middle_in_mm(picture, plane)[0] == pytest.approx(-21, abs=0.7)
    assert np.ptp(np.nonzero(picture > 0.5)[1]) == pytest.approx(17, abs=2)


def test_the_letters_name_the_edges_that_the_directions_point_to():
    towards = {(1, 0, 0): "R", (-1, 0, 0): "L", (0, 1, 0): "A", (0, -1, 0): "P", (0, 0, 1): "S", (0, 0, -1): "I"}
    for orientation in ORIENTATIONS:
        left, right, top, bottom = orientation.letters
        assert towards[orientation.right] == right
        assert towards[tuple(-v for v in orientation.right)] == left
        assert towards[orientation.down] == bottom
        assert towards[tuple(-v for v in orientation.down)] == top


def test_what_lies_outside_the_scan_is_shown_as_background():
    scan = Volume(np.full((10, 10, 10), 7.0), np.eye(4))

    far = read_slice(scan, SlicePlane(AXIAL, np.array([500.0, 0, 0]), 50, 32), outside=-1)
    half = read_slice(scan, SlicePlane(AXIAL, np.array([-0.5, 4.5, 4.5]), 10, 20), outside=-1)

    assert np.all(far == -1)
    assert np.all(half[:, :10] == 7) and np.all(half[:, 10:] == -1)


def test_the_outline_of_a_box_has_its_edges_in_millimetres():
    box = Box.aligned((10, -5, 3), (20, 30, 40))
    sizes = {"axial": (20, 30), "coronal": (20, 40), "sagittal": (30, 40)}
    for orientation in ORIENTATIONS:
        outline = box_outline(box, SlicePlane(orientation, box.center, 100, 64))
        assert len(outline) == 4
        assert np.ptp(outline, axis=0) == pytest.approx(sizes[orientation.name])
        assert outline.mean(axis=0) == pytest.approx((50, 50))


@settings(max_examples=40, deadline=None)
@given(turn=st.tuples(*[st.floats(-180, 180)] * 3), offset=st.floats(-5, 5))
def test_the_outline_of_a_turned_box_lies_on_its_surface(turn, offset):
    box = Box((4, 5, 6), (20, 30, 40), Rotation.from_euler("xyz", turn, degrees=True).as_matrix())
    plane = SlicePlane(SAGITTAL, box.center + (offset, 0, 0), 100, 64)

    outline = box_outline(box, plane)

    assert 3 <= len(outline) <= 6
    steps = (outline - plane.edge_mm / 2)[:, :, None] * np.array([SAGITTAL.right, SAGITTAL.down])[None]
    local = (plane.center + steps.sum(axis=1) - box.center) @ box.axes
    assert np.max(np.abs(local) / (box.size / 2), axis=1) == pytest.approx(np.ones(len(outline)), abs=1e-4)


def test_a_plane_beside_the_box_shows_no_outline():
    plane = SlicePlane(AXIAL, np.array([0.0, 0, 30]), 100, 64)

    assert len(box_outline(Box.aligned((0, 0, 0), (20, 20, 20)), plane)) == 0


def test_the_gray_of_ordinary_tissue_does_not_depend_on_the_scanners_scale():
    rng = np.random.default_rng(1)
    data = np.zeros((40, 40, 40))
    data[8:32, 8:32, 8:32] = rng.normal(100, 8, (24, 24, 24))
    data[14:18, 14:18, 14:18] = 400
    grays = []
    for scale in (0.01, 1.0, 37.0):
        black, white = gray_window(Volume(data * scale, np.eye(4)))
        grays.append((100 * scale - black) / (white - black))

    assert grays == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_constant_scan_still_has_a_window():
    black, white = gray_window(Volume(np.full((5, 5, 5), 3.0), np.eye(4)))

    assert white > black
