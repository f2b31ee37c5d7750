"""Drawing the box again: which cases stay in the list, told per case, and stopped by whatever makes it pointless."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import wait_until

FACTS = 1


@pytest.fixture
def ui(answered):
    return answered.resultsPanel.ui


def press(button):
    assert button.enabled and button.isVisible(), button.toolTip
    QTest.mouseClick(button, Qt.LeftButton)


def facts(ui) -> list[str]:
    return [ui.hitTable.item(row, FACTS).text() for row in range(ui.hitTable.rowCount)]


def test_each_case_says_in_how_many_boxes_it_stays(answered, ui, worker):
    assert not any("boxes" in text for text in facts(ui))
    press(ui.stabilityButton)
    wait_until(lambda: not answered.stability.isRunning)

    assert [text.split("\n")[-1] for text in facts(ui)] == [f"in {10 - row} of 10 boxes" for row in range(5)]
    assert "varies by about 3 %" in ui.hitTable.item(0, FACTS).toolTip()
    asked = worker.tasks("stability")[0]
    assert asked["t1c"].endswith("T1_with_contrast.nii") and asked["k"] == 12 and "flair" not in asked


def test_weights_filters_and_feedback_of_the_list_are_checked(answered, ui, worker):
    answered.results.setWeight("type", 2.0)
    answered.results.setFilter("left_right", ["right"])
    wait_until(lambda: not answered.results.isRanking)
    press(ui.stabilityButton)
    wait_until(lambda: worker.tasks("stability"))

    asked = worker.tasks("stability")[0]
    assert asked["weights"] == {"type": 2.0} and asked["filters"] == {"left_right": ["right"]} and asked["tumor"] == 0


def test_the_next_ranking_forgets_what_was_said_of_the_last_list(answered, ui):
    press(ui.stabilityButton)
    wait_until(lambda: not answered.stability.isRunning)
    ui.typeSlider.value = 150
    wait_until(lambda: not answered.results.isRanking)

    assert not any("boxes" in text for text in facts(ui))


def test_the_button_says_how_far_it_is_and_stops_it(answered, ui, worker):
    worker.answers["stability"] = lambda arguments: None
    press(ui.stabilityButton)
    wait_until(lambda: "Reading the tumors" in ui.stabilityButton.text)
    press(ui.stabilityButton)

    assert worker.cancelled and not answered.stability.isRunning
    assert ui.stabilityButton.text == "Draw the box again 10 times" and not ui.emptyLabel.isVisible()


def test_a_slider_that_moves_meanwhile_ends_the_check(answered, ui, worker):
    worker.answers["stability"] = lambda arguments: None
    press(ui.stabilityButton)
    wait_until(lambda: worker.tasks("stability"))
    ui.typeSlider.value = 150
    wait_until(lambda: not answered.results.isRanking)

    assert worker.cancelled and not answered.stability.isRunning and ui.stabilityButton.enabled


def test_a_failure_is_told_and_the_list_stays(answered, ui, worker):
    from TumorRetrievalLib.errors import InvalidBox

    def fail(arguments):
        raise InvalidBox("The box hardly touches the scan. Draw it on the tumor.")

    worker.answers["stability"] = fail
    press(ui.stabilityButton)
    wait_until(lambda: not answered.stability.isRunning)

    assert "hardly touches" in ui.emptyLabel.text and ui.hitTable.rowCount == 5
    assert "hardly touches" in answered.log.text


def test_without_its_scan_the_button_says_why_it_cannot_be_pressed(answered, ui, scene):
    scene.RemoveNode(answered.query.parameters.t1c)
    answered.results.changed.emit()

    assert not ui.stabilityButton.enabled and "no longer there" in ui.stabilityButton.toolTip
