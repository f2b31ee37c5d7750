"""A search is put together with few clicks, and whatever is wrong is said in a sentence."""

import time

import numpy as np
import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import CENTER, brain, wait_until


def press(button):
    """Click on a button, which must be enabled and visible."""
    assert button.enabled and button.isVisible(), button.toolTip
    QTest.mouseClick(button, Qt.LeftButton)


def box_around(panel, center=CENTER, size=(24, 24, 24)):
    """Put a box into the query as if it had been drawn."""
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.imaging.box import Box

    node = addBox(panel.query.parameters, Box.aligned(center, size))
    panel.query.inputsChanged()
    return node


@pytest.fixture
def ui(panel):
    return panel.queryPanel.ui


def test_without_a_scan_every_button_says_what_to_do(panel, ui):
    assert not ui.findButton.enabled and "Load a T1 with contrast" in ui.findButton.toolTip
    assert not ui.suggestButton.enabled and not ui.drawButton.enabled
    assert ui.messageLabel.text == ui.findButton.toolTip


def test_the_scan_on_the_screen_is_chosen_by_itself_and_the_flair_by_its_name(panel, patient, scene, ui):
    from TumorRetrievalLib.scene.volumes import add_volume

    flair = add_volume(scene, brain()[0], "AX FLAIR")
    panel.sceneChanged()

    wait_until(lambda: ui.t1cSelector.currentNode() is patient)
    assert ui.flairSelector.currentNode() is flair


def test_from_a_loaded_scan_to_compared_cases_it_takes_two_clicks(panel, patient, ui, worker):
    panel.sceneChanged()
    wait_until(lambda: ui.suggestButton.enabled)

    press(ui.suggestButton)
    wait_until(lambda: ui.findButton.enabled)
    press(ui.findButton)

    wait_until(lambda: panel.compare.isOpen and not panel.compare.isLoading)
    assert [task for task, _ in worker.asked] == ["segment", "find", "rerank", "case", "case", "case"]


def test_a_box_is_drawn_with_two_clicks_in_a_slice(app, ready, ui):
    from Testing.SlicerHost.mouse import click, place_of

    red = app.layoutManager().sliceWidget("Red")
    red.sliceLogic().SetSliceOffset(CENTER[2])
    press(ui.drawButton)
    assert "click on two opposite corners" in ui.boxList.item(0).text()
    for corner in (CENTER[0] - 12, CENTER[1] - 12), (CENTER[0] + 12, CENTER[1] + 12):
        click(red.sliceView(), place_of(red, (*corner, CENTER[2])))

    wait_until(lambda: ui.findButton.enabled)
    assert "24 × 24" in ui.boxList.item(0).text()


def test_a_box_that_is_dragged_out_of_the_scan_is_noticed_when_the_mouse_lets_go(app, ready, ui):
    from Testing.SlicerHost.mouse import drag, place_of

    node = box_around(ready)
    red = app.layoutManager().sliceWidget("Red")
    red.sliceLogic().SetSliceOffset(CENTER[2])
    red.mrmlSliceNode().SetFieldOfView(500, 500, 1)
    assert ui.findButton.enabled
    drag(red.sliceView(), place_of(red, CENTER), place_of(red, (-190, -6, 8)))

    assert node.GetCenter()[0] < -150, "the box was dragged"
    assert not ui.findButton.enabled and "outside the scan" in ui.findButton.toolTip


def test_the_worker_gets_the_scan_in_world_coordinates_and_the_boxes(ready, ui, worker, scene):
    import vtk

    from TumorRetrievalLib.imaging.files import read_volume

    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 7.0)
    transform.SetMatrixTransformToParent(matrix)
    ready.query.parameters.t1c.SetAndObserveTransformNodeID(transform.GetID())
    box_around(ready)
    seen = {}
    plain = worker.answers["find"]

    def find(arguments):
        seen["scan"] = read_volume(arguments["t1c"])
        return plain(arguments)

    worker.answers["find"] = find
    press(ui.findButton)
    wait_until(lambda: worker.tasks("find"))

    asked = worker.tasks("find")[0]
    assert np.allclose(asked["boxes"][0]["center_ras"], CENTER) and asked["around"] == "core"
    assert "flair" not in asked
    before = brain()[0]
    assert np.allclose(seen["scan"].affine[:3, 3], before.affine[:3, 3] + (7, 0, 0))
    assert np.allclose(seen["scan"].data, before.data)


def test_what_was_found_is_outlined_on_the_scan_and_lies_in_one_folder(answered, scene):
    from TumorRetrievalGui.query_logic import folderOf

    from TumorRetrievalLib.scene.folders import nodes_in
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, mask_of

    parameters = answered.query.parameters
    mask = mask_of(parameters.segmentation, TUMOR_CORE)
    middle = mask.grid.voxel_centres()[mask.data.ravel() > 0].mean(axis=0)

    assert np.allclose(middle, CENTER, atol=1)
    nodes = nodes_in(scene, folderOf(parameters))
    assert parameters.segmentation in nodes and all(case in nodes for case in parameters.cases)


def test_a_second_search_takes_the_place_of_the_first(answered, scene):
    from TumorRetrievalLib.scene.folders import folders_in

    first = answered.query.parameters.segmentation.GetID()
    volumes = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    answered.query.find()
    wait_until(lambda: not answered.query.isRunning and not answered.compare.isLoading)

    assert len(folders_in(scene)) == 1
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 4  # the patient's and three cases'
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes and first


def test_progress_is_shown_and_cancel_ends_it_at_once(ready, ui, worker):
    worker.answers["find"] = lambda arguments: None
    box_around(ready)
    press(ui.findButton)
    wait_until(lambda: ui.messageLabel.text == "Reading the tumors")
    assert ui.progressBar.isVisible() and ui.progressBar.value == 500 and not ui.findButton.enabled
    assert "Wait for the end" in ui.findButton.toolTip

    press(ui.cancelButton)

    assert worker.cancelled == [1] and not ui.progressBar.isVisible() and ui.findButton.enabled
    assert ui.messageLabel.text == "Cancelled."


def test_a_double_click_on_the_button_starts_one_search(ready, ui, worker):
    box_around(ready)
    QTest.mouseDClick(ui.findButton, Qt.LeftButton)
    QTest.mouseClick(ui.findButton, Qt.LeftButton)
    wait_until(lambda: not ready.query.isRunning)

    assert len(worker.tasks("find")) == 1


def test_an_error_of_the_worker_is_shown_in_its_own_words_and_kept_in_the_log(ready, ui, worker):
    from TumorRetrievalLib.errors import IndexOfAnotherModel

    def refuse(arguments):
        raise IndexOfAnotherModel("The index was made by another network. Build it again.")

    worker.answers["find"] = refuse
    box_around(ready)
    press(ui.findButton)
    wait_until(lambda: not ready.query.isRunning)

    assert ui.messageLabel.text == "The index was made by another network. Build it again."
    assert "another network" in ready.log.text and ui.findButton.enabled


def test_a_refused_installation_is_told_and_nothing_starts(ready, ui, worker):
    from TumorRetrievalGui.query_logic import NotPossible

    def refuse():
        raise NotPossible("Without the packages nothing can be searched.")

    ready.query._ensureInstalled = refuse
    box_around(ready)
    press(ui.findButton)

    assert ui.messageLabel.text == "Without the packages nothing can be searched." and not worker.asked
    assert ui.findButton.enabled


def test_the_scan_removed_while_it_is_searched_is_told(ready, ui, worker, scene):
    answers = []
    plain = worker.answers["find"]
    worker.answers["find"] = lambda arguments: answers.append(arguments)
    box_around(ready)
    press(ui.findButton)
    wait_until(lambda: answers)
    scene.RemoveNode(ready.query.parameters.t1c)
    from TumorRetrievalGui.tasks import Event

    worker._events.append(Event(1, result=plain(answers[0])))
    wait_until(lambda: not ready.query.isRunning)

    assert "removed" in ui.messageLabel.text and ready.query.parameters.answer is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda image: image.SetDimensions(8, 8, 1), "not a 3D scan"),
        (lambda image: image.AllocateScalars(3, 3), "colour picture"),
    ],
)
def test_a_volume_that_is_no_scan_is_refused_with_its_name(ready, ui, change, told):
    image = ready.query.parameters.t1c.GetImageData()
    change(image)
    ready.query.inputsChanged()

    assert told in ui.findButton.toolTip and "T1 with contrast" in ui.findButton.toolTip


def test_a_scan_under_a_transform_that_bends_space_is_refused(ready, ui, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bent")
    ready.query.parameters.t1c.SetAndObserveTransformNodeID(transform.GetID())
    ready.query.inputsChanged()

    assert "bends space" in ui.findButton.toolTip


def test_suggested_boxes_do_not_pile_up_and_drawn_ones_stay(ready, ui, worker):
    drawn = box_around(ready, (-20, 0, 0), (10, 10, 10))
    for _ in range(2):
        press(ui.suggestButton)
        wait_until(lambda: not ready.query.isRunning)

    assert ready.query.parameters.boxes[0] is drawn and len(ready.query.parameters.boxes) == 2
    assert len({node.GetName() for node in ready.query.parameters.boxes}) == 2


def test_no_tumor_in_the_whole_brain_is_said(ready, ui, worker):
    worker.answers["segment"] = lambda arguments: {"boxes": []}
    press(ui.suggestButton)
    wait_until(lambda: not ready.query.isRunning)

    assert "No tumor was seen" in ui.messageLabel.text and not ready.query.parameters.boxes


def test_boxes_around_everything_are_not_mixed_with_suggested_ones(ready, ui):
    box_around(ready)
    QTest.mouseClick(ui.wholeButton, Qt.LeftButton)

    assert not ui.suggestButton.enabled and "remove yours first" in ui.suggestButton.toolTip


def test_a_box_is_removed_from_the_list_and_from_the_scene(ready, ui, scene):
    node = box_around(ready)
    ui.boxList.setCurrentRow(0)
    press(ui.removeButton)

    assert ready.query.parameters.boxes == [] and not scene.IsNodePresent(node) and ui.boxList.count == 0


def test_only_the_box_that_is_chosen_in_the_list_shows_its_handles(ready, ui):
    from TumorRetrievalGui.box_logic import suggestBoxes

    from TumorRetrievalLib.imaging.box import Box

    suggestBoxes(ready.query.parameters, [Box.aligned(center, (12, 12, 12)) for center in (CENTER, (-20, 10, 5))])
    ready.query.inputsChanged()
    handles = [node.GetDisplayNode().GetHandlesInteractive() for node in ready.query.parameters.boxes]
    assert handles == [False, False]

    ui.boxList.setCurrentRow(1)
    handles = [node.GetDisplayNode().GetHandlesInteractive() for node in ready.query.parameters.boxes]
    assert handles == [False, True]


def test_the_window_stays_awake_while_a_large_scan_is_handed_over(ready, ui, worker, scene):
    from Testing.SlicerHost import host
    from TumorRetrievalLib.imaging.volume import Grid, Volume
    from TumorRetrievalLib.scene.volumes import add_volume

    grid = Grid.around((0, 0, 0), 1.0, (256, 256, 160))
    data = np.random.default_rng(0).uniform(0, 100, grid.shape).astype(np.float32)
    ready.query.parameters.t1c = add_volume(scene, Volume(data, grid.affine), "large")
    worker.answers["find"] = lambda arguments: None
    box_around(ready)
    gaps, last = [], [time.thread_time()]

    def tick():
        # The main thread's own time: what other programs take from this machine is not our doing.
        gaps.append(time.thread_time() - last[0])
        last[0] += gaps[-1]

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(5)
    host.settle()
    gaps.clear()
    last[0] = time.thread_time()
    press(ui.findButton)
    wait_until(lambda: worker.asked, 60)
    timer.stop()

    assert len(gaps) > 3 and max(gaps) < 0.1


def test_closing_the_panels_ends_the_worker_and_removes_the_patients_files(ready, worker):
    folder = ready.files.folder
    ready.warmUp()
    ready.cleanup()

    assert worker.closed and not folder.exists()


def test_the_worker_is_made_ready_once_and_what_it_has_is_in_the_log(panel, worker):
    panel.warmUp()
    panel.warmUp()
    wait_until(lambda: "9 known cases" in panel.log.text)

    assert len(worker.tasks("warm_up")) == 1
