"""A box around several tumors: the list says so, and one click draws a box around each and searches again."""

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import CENTER, tumor, wait_until

LEFT, RIGHT = (-24.0, 6.0, 4.0), (20.0, -10.0, 10.0)


def described(center, size) -> dict:
    return {"center_ras": list(center), "size_mm": [size] * 3, "axes": np.eye(3).tolist()}


@pytest.fixture
def shared(ready, worker):
    """The panels after a search with a box that encloses two tumors."""
    from TumorRetrievalGui.box_logic import suggestBoxes

    from TumorRetrievalLib.imaging.box import Box

    find, box = worker.answers["find"], described(CENTER, 70.0)

    def find_two(arguments):
        answer = find(arguments)
        for found, asked in zip(answer["tumors"], arguments["boxes"], strict=True):
            found["box"] = asked
            if asked["size_mm"][0] > 60:
                found["boxes_inside"] = [described(LEFT, 18.0), described(RIGHT, 14.0)]
        return answer

    worker.answers["find"] = find_two
    suggestBoxes(ready.query.parameters, [Box.aligned(box["center_ras"], box["size_mm"])])
    search(ready)
    worker.asked.clear()
    return ready


def search(panel) -> None:
    panel.query.find()
    settle(panel)


def settle(panel) -> None:
    wait_until(lambda: not panel.query.isRunning and panel.compare.isOpen and not panel.compare.isLoading)
    wait_until(lambda: not panel.results.isRanking)


def centers(boxes: list[dict]) -> list[list[float]]:
    return [np.round(box["center_ras"], 1).tolist() for box in boxes]


def test_one_click_draws_a_box_around_each_tumor_and_searches_again(shared, worker):
    ui = shared.resultsPanel.ui
    assert ui.partButton.isVisible() and "2 tumors" in ui.partButton.text

    QTest.mouseClick(ui.partButton, Qt.LeftButton)
    settle(shared)

    (asked,) = worker.tasks("find")
    assert centers(asked["boxes"]) == [list(LEFT), list(RIGHT)], "each on its own side"
    assert [node.GetName() for node in shared.query.parameters.boxes] == ["Box 1", "Box 2"]
    assert ui.tumorSelector.count == 2 and not ui.partButton.isVisible()


def test_a_box_that_was_dragged_since_is_left_alone(shared, worker):
    from TumorRetrievalLib.scene.rois import box_of

    ui, (node,) = shared.resultsPanel.ui, shared.query.parameters.boxes
    node.SetSize(50.0, 50.0, 50.0)
    node.InvokeEvent(node.PointEndInteractionEvent)
    wait_until(lambda: not ui.partButton.enabled)

    shared.query.part(shared.results.tumor)

    assert "changed or removed" in ui.partButton.toolTip and "changed or removed" in shared.query.message
    assert not worker.tasks("find") and shared.query.parameters.boxes == [node]
    np.testing.assert_allclose(box_of(node).size, 50.0)


def test_other_boxes_stay_where_they_are(shared, worker):
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.imaging.box import Box

    addBox(shared.query.parameters, Box.aligned((30, 20, -10), (20, 20, 20)))
    search(shared)
    worker.asked.clear()

    shared.query.part(shared.results.tumor)
    settle(shared)

    assert centers(worker.tasks("find")[0]["boxes"]) == [[30, 20, -10], list(LEFT), list(RIGHT)]


def test_a_box_around_one_tumor_has_no_such_button(answered):
    assert "boxes_inside" not in tumor() and not answered.resultsPanel.ui.partButton.isVisible()
