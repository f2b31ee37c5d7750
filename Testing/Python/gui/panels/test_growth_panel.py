"""The growth simulation in the panel: fitted, looked at, saved and removed, with real mouse events."""

import time
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.gui.panels.conftest import CENTER, brain, tumor, wait_until
from TumorRetrievalLib.errors import RegistrationFailed
from TumorRetrievalLib.imaging.volume import Grid, Volume

SHIFT = (5.0, 20.0, -10.0)
"""From the made-up patient to the atlas, mm."""
AGES, MATCHES = 4, 3


def ball_of_cells(radius: float) -> Volume:
    """Density around the patient's tumor, in the atlas."""
    grid = Grid.around(np.add(CENTER, SHIFT), 2.0, (40, 40, 40))
    distance = np.linalg.norm(grid.voxel_centres() - np.add(CENTER, SHIFT), axis=1)
    return Volume(np.clip(1.2 - distance / radius, 0, 1).reshape(grid.shape), grid.affine)


def ages(radius: float) -> list[Volume]:
    return [ball_of_cells(radius * age / AGES) for age in range(1, AGES + 1)]


def grown(number: int) -> dict:
    """What the worker says of a simulated tumor."""
    overlap = {"core": 0.7 - number / 10, "whole": 0.8 - number / 10, "combined": 1.5 - number / 5}
    return {**overlap, "origin_atlas_mm": [1.0, 2.0, 3.0], "lambda_mm2": 4.0 + number, "tau": 12.0}


def fit() -> dict:
    """What the worker answers to a fit."""
    days = [{"days": d, "rho_per_day": 12 / d, "d_mm2_per_day": 48 / d} for d in (100.0, 400.0, 1200.0)]
    return {
        "parameters": {**grown(0), "same_tumor": days},
        "dice": {"retrieval": grown(1), "refined": grown(0), "in_patient": grown(0)},
        "matches": [grown(number) for number in range(1, MATCHES + 1)],
        "registration": {"stage": "affine"},
        "notes": ["The tumor has several foci."],
        "files": {"overlay": "overlay.npz"},
    }


@pytest.fixture
def growing(worker):
    """The worker that also fits simulations, and grows the matches: match n has a radius of 10 n mm."""
    from TumorRetrievalLib.worker.growth_files import Overlay, write_overlay, write_stages

    def growth(arguments):
        to_atlas = np.eye(4)
        to_atlas[:3, 3] = SHIFT
        write_overlay(Path(arguments["out"]) / "overlay.npz", Overlay(ages(30.0), ball_of_cells(12.0), to_atlas))
        return fit()

    def growth_stages(arguments):
        write_stages(Path(arguments["out"]) / "stages.npz", ages(10.0 * (arguments["lambda_mm2"] - 4.0)))
        return {"files": {"stages": "stages.npz"}}

    worker.answers |= {"growth": growth, "growth_stages": growth_stages}
    return worker


@pytest.fixture
def searched(growing, answered):
    """The panels after a search, back in the views before the comparison."""
    answered.compare.close()
    return answered


@pytest.fixture
def fitted(searched):
    """The panels with a simulation over the patient."""
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: searched.growth.fit is not None)
    return searched


def press(button) -> None:
    """Bring a button into sight and click on it."""
    import slicer
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    slicer.app.window.panel.ensureWidgetVisible(button)
    QTest.mouseClick(button, Qt.LeftButton)


def slide(slider, to: int) -> None:
    """Drag a slider's handle with the mouse, as near to a value as pixels allow."""
    import slicer
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QStyle, QStyleOptionSlider

    slicer.app.window.panel.ensureWidgetVisible(slider)
    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    handle = slider.style().subControlRect(QStyle.CC_Slider, option, QStyle.SC_SliderHandle, slider)
    room = slider.width - handle.width()
    share = (to - slider.minimum) / (slider.maximum - slider.minimum)
    end = QPoint(round(handle.width() / 2 + share * room), handle.center().y())
    QTest.mousePress(slider, Qt.LeftButton, Qt.NoModifier, handle.center())
    QTest.mouseMove(slider, (handle.center() + end) / 2)
    QTest.mouseMove(slider, end)
    QTest.mouseRelease(slider, Qt.LeftButton, Qt.NoModifier, end)


def click_on_row(listWidget, row: int) -> None:
    import slicer
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    slicer.app.window.panel.ensureWidgetVisible(listWidget)
    item = listWidget.item(row)
    listWidget.scrollToItem(item)
    QTest.mouseClick(listWidget.viewport(), Qt.LeftButton, Qt.NoModifier, listWidget.visualItemRect(item).center())


def overlays(scene, background) -> set:
    """What lies over a volume in the views that show it."""
    import slicer.util

    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {v.GetForegroundVolumeID() for v in views if v.GetBackgroundVolumeID() == background.GetID()}


def radius_of(panel) -> float:
    """How far the density of 0.2 reaches, mm."""
    from TumorRetrievalLib.scene.growth import contours_of

    bounds = contours_of(panel.growth.density)[0].GetPolyData().GetBounds()
    return (bounds[1] - bounds[0]) / 2


def test_before_a_search_there_is_no_growth_and_the_button_would_say_why(growing, ready):
    assert not ready.growthPanel.widget.isVisible()
    assert "Find similar cases first" in ready.growthPanel.ui.fitButton.toolTip


def test_the_fit_is_asked_for_with_the_scan_and_the_outlines_on_its_grid(searched, growing, patient):
    from TumorRetrievalLib.imaging.files import read_labels, read_volume

    asked = []
    growing.answers["growth"] = lambda arguments: asked.append(
        (read_volume(arguments["t1c"]), read_labels(arguments["core"]), read_labels(arguments["whole"]))
    )
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: asked)

    scan, core, whole = asked[0]
    assert scan.grid.same_as(brain()[0].grid) and core.grid.same_as(scan.grid)
    assert np.array_equal(core.data, brain()[1].data) and np.array_equal(whole.data, brain()[1].data)
    assert growing.tasks("growth")[0]["deformable"] is True and "box" not in growing.tasks("growth")[0]


def test_of_several_tumors_the_one_that_is_chosen_is_fitted(growing, ready):
    from TumorRetrievalGui.box_logic import suggestBoxes

    from TumorRetrievalLib.imaging.box import Box

    suggestBoxes(ready.query.parameters, [Box.aligned(CENTER, (24, 24, 24))] * 2)
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)
    ready.results.chooseTumor(1)
    ready.growth.startFit(bent=False)
    wait_until(lambda: ready.growth.fit is not None)

    request = growing.tasks("growth")[0]
    assert request["box"] == tumor(1)["box"] and request["deformable"] is False
    assert "Tumor 2" in ready.growthPanel.ui.fitLabel.text


def test_the_density_lies_over_the_patients_tumor_in_every_view_of_the_patient(fitted, scene, patient):
    from TumorRetrievalGui.query_logic import folderOf

    from TumorRetrievalLib.scene.folders import nodes_in
    from TumorRetrievalLib.scene.volumes import volume_of

    density = volume_of(fitted.growth.density)
    middle = np.average(density.grid.voxel_centres(), axis=0, weights=density.data.ravel())

    assert np.allclose(middle, CENTER, atol=0.5)
    assert overlays(scene, patient) == {fitted.growth.density.GetID()}
    assert fitted.growth.density in nodes_in(scene, folderOf(fitted.query.parameters))


def test_after_the_fit_every_slice_shows_the_tumor(fitted, scene):
    red = scene.GetNodeByID("vtkMRMLSliceNodeRed")

    assert red.GetSliceOffset() == pytest.approx(CENTER[2], abs=1.5)


def test_the_fit_is_told_in_ranges_and_never_as_one_age_or_rate(fitted):
    ui = fitted.growthPanel.ui

    assert "0.70 (core) and 0.80 (whole tumor)" in ui.fitLabel.text
    assert "100 to 1200 days" in ui.familyLabel.text and "0.01 to 0.12 per day" in ui.familyLabel.text
    assert "0.04 to 0.48 mm²" in ui.familyLabel.text
    assert ui.growthNotes.text == "The tumor has several foci."
    assert [ui.matchList.item(i).text() for i in range(ui.matchList.count)][1] == "Match 1: 0.60 + 0.70 = 1.30"


def test_opacity_and_threshold_follow_their_sliders(fitted, scene, patient):
    ui = fitted.growthPanel.ui
    slide(ui.opacitySlider, to=25)
    slide(ui.thresholdSlider, to=40)

    import slicer.util

    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = [view for view in views if view.GetBackgroundVolumeID() == patient.GetID()]
    assert shown and all(abs(view.GetForegroundOpacity() - 0.25) < 0.03 for view in shown)
    assert abs(fitted.growth.density.GetDisplayNode().GetLowerThreshold() - 0.4) < 0.03
    assert ui.thresholdValue.text == f"{ui.thresholdSlider.value} %"


def test_an_earlier_age_is_a_smaller_tumor_at_the_same_place(fitted):
    ui = fitted.growthPanel.ui
    grown_up = radius_of(fitted)
    slide(ui.ageSlider, to=2)

    assert ui.ageSlider.value == 2 and ui.ageValue.text == "50 %"
    assert radius_of(fitted) == pytest.approx(grown_up / 2, rel=0.1)
    assert "100 to 1200 days" in ui.ageSlider.toolTip


def test_another_match_shows_that_tumor_at_the_same_age(fitted, growing):
    ui = fitted.growthPanel.ui
    slide(ui.ageSlider, to=2)
    click_on_row(ui.matchList, 2)
    wait_until(lambda: fitted.growth.view.match == 1)

    assert growing.tasks("growth_stages")[0]["lambda_mm2"] == 6.0
    assert radius_of(fitted) == pytest.approx(20.0 / 2, rel=0.1)
    assert ui.matchList.currentRow == 2 and ui.ageSlider.value == 2


def test_the_uncertainty_takes_the_densitys_place_and_gives_it_back(fitted, scene, patient):
    from TumorRetrievalLib.scene.growth import uncertainty_of

    box = fitted.growthPanel.ui.uncertaintyBox
    press(box)
    assert overlays(scene, patient) == {uncertainty_of(fitted.growth.density).GetID()}
    assert "deviation" in fitted.growthPanel.ui.legendLabel.text

    press(box)
    assert overlays(scene, patient) == {fitted.growth.density.GetID()}


def test_beside_similar_cases_the_density_lies_over_the_patients_column_alone(fitted, scene, patient):
    fitted.compare.show()
    wait_until(lambda: overlays(scene, patient) == {fitted.growth.density.GetID()})

    for case in fitted.query.parameters.cases:
        assert overlays(scene, case) == {None}


def test_removing_leaves_the_scene_as_it_was_before_the_fit(searched, scene, patient):
    before = {node.GetID() for node in scene.GetNodes()}
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: searched.growth.fit is not None)
    press(searched.growthPanel.ui.removeButton)

    assert {node.GetID() for node in scene.GetNodes()} == before
    assert overlays(scene, patient) == {None} and not searched.growthPanel.ui.shownWidget.isVisible()
    assert searched.growthPanel.ui.fitButton.enabled


def test_a_second_fit_takes_the_place_of_the_first(fitted, scene):
    count = scene.GetNumberOfNodes()
    first = fitted.growth.density.GetID()
    press(fitted.growthPanel.ui.fitButton)
    wait_until(lambda: not fitted.growth.isFitting)

    assert scene.GetNumberOfNodes() == count and fitted.growth.density.GetID() != first


def test_a_new_search_takes_the_simulation_with_it(fitted):
    density = fitted.growth.density.GetID()
    fitted.query.find()
    wait_until(lambda: not fitted.query.isRunning)

    assert fitted.growth.fit is None and fitted.query.parameters.scene.GetNodeByID(density) is None


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

    assert "fit the growth simulation again" in searched.growthPanel.ui.growthMessage.text


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
