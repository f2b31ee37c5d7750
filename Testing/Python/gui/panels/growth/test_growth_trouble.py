"""A growth simulation in the panel through double clicks, failures, deleted nodes, saving, and while it runs."""

import time
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.gui.panels.conftest import wait_until
from Testing.Python.gui.panels.growth.conftest import (
    AGES,
    MATCHES,
    click_on_row,
    fit,
    overlays,
    press,
    radius_of,
    slide,
)


def test_a_double_click_asks_once(searched, growing):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    button = searched.growthPanel.ui.fitButton
    press(button)
    QTest.mouseClick(button, Qt.LeftButton)
    QTest.mouseDClick(button, Qt.LeftButton)
    wait_until(lambda: not searched.growth.isFitting)

    assert len(growing.tasks("growth")) == 1


def test_cancelling_stops_at_once_and_keeps_what_was_there(fitted, growing):
    growing.answers["growth"] = lambda arguments: None
    density = fitted.growth.density
    press(fitted.growthPanel.ui.fitButton)
    wait_until(lambda: len(growing.tasks("growth")) == 2 and fitted.growth.fraction > 0)
    assert "Wait" in fitted.growthPanel.ui.fitButton.toolTip
    press(fitted.growthPanel.ui.growthCancelButton)

    ui = fitted.growthPanel.ui
    assert growing.cancelled and ui.growthMessage.text == "Cancelled." and ui.fitButton.enabled
    assert fitted.growth.density is density and not ui.growthProgress.isVisible()


def test_a_failure_is_told_in_the_workers_words_and_the_button_works_again(searched, growing):
    from TumorRetrievalLib.errors import RegistrationFailed  # of today: a reload of the module makes it anew

    def fail(arguments):
        raise RegistrationFailed("The scan could not be brought to the atlas. Remove the skull first.")

    works, growing.answers["growth"] = growing.answers["growth"], fail
    ui = searched.growthPanel.ui
    press(ui.fitButton)
    wait_until(lambda: searched.growth.failure is not None)
    assert "Remove the skull first" in ui.growthMessage.text and ui.growthMessage.styleSheet
    assert "Remove the skull first" in searched.log.text

    growing.answers["growth"] = works
    press(ui.fitButton)
    wait_until(lambda: searched.growth.fit is not None)
    assert not ui.growthMessage.isVisible()


def test_a_damaged_file_of_the_worker_is_told(searched, growing):
    def damaged(arguments):
        (Path(arguments["out"]) / "overlay.npz").write_bytes(b"PK nothing")
        return fit()

    growing.answers["growth"] = damaged
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: searched.growth.failure is not None)

    assert "the growth simulation again" in searched.growthPanel.ui.growthMessage.text


@pytest.mark.parametrize("gone", ["scan", "tumor"])
def test_a_node_deleted_while_the_fit_runs_ends_it_with_a_message(searched, growing, scene, patient, gone):
    node = patient if gone == "scan" else searched.query.parameters.segmentation
    works = growing.answers["growth"]

    def delete(arguments):
        scene.RemoveNode(node)
        return works(arguments)

    growing.answers["growth"] = delete
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: not searched.growth.isFitting)

    assert "removed while" in searched.growthPanel.ui.growthMessage.text and searched.growth.density is None


def test_the_density_deleted_by_hand_leaves_a_panel_that_can_fit_again(fitted, scene):
    scene.RemoveNode(fitted.growth.density)
    fitted.sceneChanged()
    wait_until(lambda: not fitted.growthPanel.ui.shownWidget.isVisible())

    assert fitted.growthPanel.ui.fitButton.enabled


def test_without_its_other_volumes_the_panel_says_why_it_shows_less(fitted, scene):
    from TumorRetrievalLib.scene.growth import uncertainty_of

    scene.RemoveNode(uncertainty_of(fitted.growth.density))
    scene.RemoveNode(next(n for n in scene.GetNodes() if n.IsA("vtkMRMLVectorVolumeNode")))
    fitted.growthPanel.refresh()
    ui = fitted.growthPanel.ui

    assert not ui.ageSlider.enabled and "other ages was deleted" in ui.ageSlider.toolTip
    assert not ui.uncertaintyBox.enabled and "uncertainty was deleted" in ui.uncertaintyBox.toolTip


def test_a_tumor_that_is_hardly_a_glioma_gets_advice_and_may_be_fitted(searched):
    parameters = searched.query.parameters
    answer = parameters.answer
    answer["tumors"][0]["types"] = {"glioma": 0.1, "meningioma": 0.9}
    parameters.answer = answer
    searched.growthPanel.refresh()
    ui = searched.growthPanel.ui

    assert "meningioma" in ui.adviceLabel.text and ui.adviceLabel.isVisible() and ui.fitButton.enabled


def test_a_saved_scene_brings_the_simulation_back_and_its_matches_can_be_chosen(app, fitted, scene, growing, tmp_path):
    import slicer.util
    from TumorRetrievalGui.parameters import QueryParameters

    slide(fitted.growthPanel.ui.ageSlider, to=3)
    radius = radius_of(fitted)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    node = slicer.util.getNode("TumorRetrieval")
    fitted.setParameters(QueryParameters(node))
    growth, ui = fitted.growth, fitted.growthPanel.ui

    assert ui.shownWidget.isVisible() and ui.ageSlider.value == 3 and ui.matchList.count == 1 + MATCHES
    assert radius_of(fitted) == pytest.approx(radius, rel=0.01)
    assert overlays(scene, fitted.query.parameters.t1c) == {growth.density.GetID()}
    slide(ui.ageSlider, to=1)
    assert radius_of(fitted) == pytest.approx(radius / 3, rel=0.1)
    click_on_row(ui.matchList, 3)
    wait_until(lambda: growth.view.match == 2)
    assert radius_of(fitted) == pytest.approx(30.0 / AGES, rel=0.15)


def test_coming_back_to_the_module_does_not_stop_a_fit(searched, growing):
    from TumorRetrievalGui.parameters import QueryParameters

    growing.answers["growth"] = lambda arguments: None
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: growing.tasks("growth"))
    searched.growth.setParameters(QueryParameters(searched.query.parameters.node))

    assert searched.growth.isFitting and not growing.cancelled


def test_no_step_of_a_fit_keeps_the_window_from_answering(searched, growing):
    """Between two ticks of a timer the main thread never works for more than a tenth of a second.

    Its own time is measured, not the clock's: what else the machine does meanwhile is not the panel's doing.
    """
    import qt

    def ready(files):
        """An answer whose files are there already: in reality another process writes them."""
        return lambda arguments: files

    made = {}
    for name in ("growth", "growth_stages"):
        folder = searched.files.newFolder("made")
        files = growing.answers[name]({"out": str(folder), "lambda_mm2": 6.0})
        made[name] = {**files, "files": {key: str(folder / file) for key, file in files["files"].items()}}
        growing.answers[name] = ready(made[name])
    ticks = [time.thread_time()]
    timer = qt.QTimer()
    timer.setInterval(2)
    timer.connect("timeout()", lambda: ticks.append(time.thread_time()))
    timer.start()
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: searched.growth.fit is not None)
    searched.growth.chooseMatch(1)
    wait_until(lambda: searched.growth.view.match == 1)
    timer.stop()

    assert len(ticks) > 5 and max(np.diff(ticks)) < 0.1
