"""The slices that are cut through a box: the same whichever way the scan is stored or tilted, left on its side."""

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.commands.output import show_hits
from TumorRetrievalLib.engine import slice_evidence as evidence
from TumorRetrievalLib.engine.find import find_similar
from TumorRetrievalLib.engine.slice_evidence import EDGE, MOST_SLICES, PIXEL_MM, slice_evidence, slices_through
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.networks.slice_reader import SliceAnswer
from TumorRetrievalLib.networks.slices import SLICE_TYPES, SliceNetwork
from TumorRetrievalLib.networks.weights import save_model

CENTRE = np.array([12.0, -20.0, 30.0])
TUMOR = CENTRE + (-35, 25, 4)
"""On the patient's left, in front, and a little above the middle."""
BOX = Box.aligned(TUMOR, (30, 24, 36))


def head_on(grid: Grid) -> Volume:
    """An egg of 140 x 180 x 150 mm with a bright ball of 24 mm at TUMOR."""
    points = grid.voxel_centres() - CENTRE
    inside = ((points / (70, 90, 75)) ** 2).sum(axis=1) < 1
    ball = np.linalg.norm(points + CENTRE - TUMOR, axis=1) < 12
    return Volume(np.where(ball, 300.0, 100.0 * inside).reshape(grid.shape), grid.affine)


def stored(axes: np.ndarray) -> Volume:
    """The head on a grid of 3 mm whose array axes run along the columns of `axes`."""
    affine = np.eye(4)
    affine[:3, :3] = 3.0 * axes
    affine[:3, 3] = CENTRE - affine[:3, :3] @ np.full(3, 36.5)
    return head_on(Grid((74, 74, 74), affine))


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    about_r = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    about_s = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return about_r @ about_s


STORED = {
    "RAS": np.eye(3),
    "left-handed": np.diag([-1.0, 1.0, 1.0]),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "sagittal slices": np.eye(3)[:, [1, 2, 0]],
    "oblique": turned(20),
    "oblique and left-handed": turned(-15) @ np.diag([1.0, 1.0, -1.0]),
}


@pytest.mark.parametrize("axes", STORED.values(), ids=STORED)
def test_a_tumor_in_the_left_front_is_shown_at_the_upper_right_however_the_scan_is_stored(axes):
    cut = slices_through(stored(axes), BOX)

    middle = cut.images[len(cut.images) // 2]
    row, column = np.argwhere(middle > 200).mean(axis=0)
    head_row, head_column = np.argwhere(middle > 50).mean(axis=0)
    assert row < head_row - 25 / PIXEL_MM + 4, "the face is up"
    assert column > head_column + 35 / PIXEL_MM - 4, "the patient's left is on the viewer's right"
    top, bottom, left, right = cut.boxes[0]
    assert (row, column) == pytest.approx(((top + bottom - 1) / 2, (left + right - 1) / 2), abs=1.5)


def test_a_slice_is_as_coarse_and_the_head_as_central_as_in_the_training_data():
    cut = slices_through(stored(np.eye(3)), BOX)

    assert cut.images.shape[1:] == (EDGE, EDGE) and pytest.approx(1.96) == PIXEL_MM
    head = np.argwhere((cut.images > 50).any(axis=0))
    assert (head.max(axis=0) + head.min(axis=0)) / 2 == pytest.approx([63.5, 63.5], abs=1)
    assert np.ptp(head, axis=0) * PIXEL_MM == pytest.approx([180, 140], abs=8)
    top, bottom, left, right = cut.boxes[0]
    assert (bottom - top) * PIXEL_MM == pytest.approx(24, abs=4)
    assert (right - left) * PIXEL_MM == pytest.approx(30, abs=4)


def test_a_head_at_the_edge_of_its_scan_is_brought_to_the_middle():
    whole = stored(np.eye(3))
    affine = whole.affine.copy()
    affine[:3, 3] -= (120, 60, 0)
    wide = resample(whole, Grid((114, 94, 74), affine))

    for cut in (slices_through(whole, BOX), slices_through(wide, BOX)):
        assert np.argwhere((cut.images > 50).any(axis=0)).mean(axis=0) == pytest.approx([63.5, 63.5], abs=1)
        row, column = np.argwhere(cut.images[2] > 200).mean(axis=0)
        assert (row, column) == pytest.approx((63.5 - 25 / PIXEL_MM, 63.5 + 35 / PIXEL_MM), abs=1)


@pytest.mark.parametrize(("height", "count"), [(3, 1), (8, 2), (36, 5), (60, 8), (140, MOST_SLICES)])
def test_the_slices_lie_in_the_middle_of_the_box_and_not_closer_than_those_of_the_training_data(height, count):
    cut = slices_through(stored(np.eye(3)), Box.aligned(TUMOR, (30, 24, height)))

    assert len(cut.heights) == count
    assert cut.heights.mean() == pytest.approx(TUMOR[2])
    assert np.all(np.abs(cut.heights - TUMOR[2]) <= height / 2)
    assert np.all(np.diff(cut.heights) >= 6 - 1e-9)


def test_a_turned_box_takes_the_rows_and_columns_of_its_hull():
    straight = slices_through(stored(np.eye(3)), Box.aligned(TUMOR, (40, 20, 20)))
    turned_by_90 = slices_through(stored(np.eye(3)), Box(TUMOR, (20, 40, 20), turned(90)[:, [0, 2, 1]] @ np.eye(3)))

    assert straight.boxes[0] == pytest.approx(turned_by_90.boxes[0], abs=11)


def test_a_box_that_reaches_out_of_the_head_stays_within_the_slice():
    cut = slices_through(stored(np.eye(3)), Box.aligned(TUMOR, (400, 400, 20)))

    assert cut.boxes[0].tolist() == [0, EDGE, 0, EDGE]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A network nobody trained, in the place of the bundled one; it knows three types."""
    torch.manual_seed(0)
    seen = {name: 0 if name == "none" else 5 for name in SLICE_TYPES}
    folder = save_model(tmp_path / "model", SliceNetwork((8, 8, 16, 16)), {
        "labels": {"type": list(SLICE_TYPES)}, "types_seen": seen,
    })  # fmt: skip
    monkeypatch.setattr(evidence, "resource", lambda *_: folder)
    monkeypatch.setattr(evidence, "is_bundled", lambda *_: True)


def test_evidence_is_the_mean_over_the_slices_of_the_types_that_were_trained(installed, monkeypatch):
    answers = np.array([[0.5, 0.1, 0.3, 0.1], [0.0, 0.7, 0.2, 0.1]])
    monkeypatch.setattr("TumorRetrievalLib.networks.slice_reader.ask", lambda *_: SliceAnswer(answers, None))

    found = slice_evidence(stored(np.eye(3)), BOX)

    assert found["types"] == {"meningioma": 0.45, "glioma": 0.4, "pituitary adenoma": 0.15}
    assert found["slices"] == 2 and found["agree"] == 0.5
    assert "trained on patients" in found["label"] and "three types only" in found["label"]


def test_left_and_right_make_no_difference_to_the_type(installed):
    scan = stored(np.eye(3))
    mirrored = Volume(scan.data, np.diag([-1.0, 1, 1, 1]) @ scan.affine)
    mirrored_box = Box.aligned(TUMOR * (-1, 1, 1), BOX.size)

    straight, other = slice_evidence(scan, BOX), slice_evidence(mirrored, mirrored_box)

    assert list(straight["types"].values()) == pytest.approx(list(other["types"].values()), abs=0.02)


def test_an_empty_scan_gives_an_answer_and_no_error(installed):
    empty = Volume(np.zeros((40, 40, 40), np.float32), np.diag([4.0, 4, 4, 1]))

    found = slice_evidence(empty, Box.aligned((80, 80, 80), (20, 20, 20)))

    assert sum(found["types"].values()) == pytest.approx(1, abs=1e-3)


def test_without_such_a_network_there_is_no_evidence(monkeypatch):
    monkeypatch.setattr(evidence, "is_bundled", lambda *_: False)

    assert slice_evidence(stored(np.eye(3)), BOX) is None


def test_find_shows_the_slices_beside_the_model_and_labels_them(installed, request_for, capsys):
    request = request_for()

    result = find_similar(request)

    (tumor,) = result["tumors"]
    assert set(tumor["slice_evidence"]["types"]) == {"meningioma", "glioma", "pituitary adenoma"}
    assert sum(tumor["slice_evidence"]["types"].values()) == pytest.approx(1, abs=1e-3)
    assert set(tumor["types"]) == set(TYPES), "the model's own types are not touched"
    page = (request.out / "report.html").read_text()
    assert "What single slices say" in page and "trained on patients (Figshare, three types only)" in page
    show_hits(result)
    assert "single slices" in capsys.readouterr().out
