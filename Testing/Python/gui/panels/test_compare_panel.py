"""Patient and opened cases stand side by side, lesion on lesion, and everything comes back with a saved scene."""

import numpy as np
import pytest
import slicer.util
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import CENTER, wait_until


@pytest.fixture
def ui(answered):
    return answered.comparePanel.ui


def press(button):
    assert button.enabled and button.isVisible(), button.toolTip
    QTest.mouseClick(button, Qt.LeftButton)


def middle_of(node) -> np.ndarray:
    """The middle of a case's outlined tumor in the scene's world."""
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, mask_of

    mask = mask_of(node, TUMOR_CORE)
    return mask.grid.voxel_centres()[mask.data.ravel() > 0].mean(axis=0)


def test_before_a_search_there_is_nothing_to_set(panel):
    assert not panel.comparePanel.widget.isVisible()


def test_the_three_most_similar_cases_are_opened_with_their_lesions_on_the_patients(answered):
    from TumorRetrievalGui.case_nodes import tumorOf

    cases = answered.query.parameters.cases

    assert [node.GetName() for node in cases] == [f"case-{i}, {kind}, frontal lobe" for i, kind in enumerate(
        ("glioma", "meningioma", "metastasis"))]  # fmt: skip
    for case in cases:
        assert np.allclose(middle_of(tumorOf(case)), CENTER, atol=1.5)


def distance_from_slice(node, point) -> float:
    """How far a point (RAS mm) is from the plane of a slice view."""
    from TumorRetrievalLib.scene.matrices import to_numpy

    return abs(np.linalg.inv(to_numpy(node.GetSliceToRAS()))[2] @ (*point, 1))


def test_every_view_goes_through_the_middle_of_the_tumor(app, answered):
    from TumorRetrievalLib.scene.views import comparison_slices

    views = comparison_slices(app.mrmlScene())
    assert len(views) == 8
    wait_until(lambda: all(distance_from_slice(node, CENTER) < 1.5 for node in views))


def place_of(node, point) -> np.ndarray:
    """Where a point of a case (its own RAS mm) lies in the scene."""
    from TumorRetrievalLib.scene.matrices import node_to_world

    return (node_to_world(node) @ (*point, 1))[:3]


def test_brains_can_be_laid_on_each_other_and_lesions_again(answered, ui, worker):
    cases = answered.query.parameters.cases
    ui.alignmentSelector.setCurrentIndex(1)
    wait_until(lambda: not answered.compare.isLoading)

    assert [asked["case"] for asked in worker.tasks("case") if "out" not in asked] == ["case-0", "case-1", "case-2"]
    for number, case in enumerate(cases):
        # A landmark at the atlas's origin: at -10, -20 ... mm in the cases, and at (-5, 0, 3) mm in the patient.
        assert np.allclose(place_of(case, (-10.0 * number, 0, 0)), (-5, 0, 3))
        # To the patient's right stays to the right.
        assert place_of(case, (40, 0, 0))[0] > place_of(case, (-40, 0, 0))[0]

    ui.alignmentSelector.setCurrentIndex(0)
    from TumorRetrievalGui.case_nodes import tumorOf

    for case in cases:
        assert np.allclose(middle_of(tumorOf(case)), CENTER, atol=1.5)


def test_a_case_opened_later_is_laid_brain_on_brain_too_and_none_is_asked_for_twice(answered, ui, worker):
    ui.alignmentSelector.setCurrentIndex(1)
    wait_until(lambda: not answered.compare.isLoading)
    worker.asked.clear()
    answered.compare.open(answered.results.hits[:4])
    wait_until(lambda: len(answered.query.parameters.cases) == 4 and not answered.compare.isLoading)

    assert [asked["case"] for asked in worker.tasks("case") if asked.get("atlas")] == ["case-3"]
    assert np.allclose(place_of(answered.query.parameters.cases[3], (-30, 0, 0)), (-5, 0, 3))


def test_a_case_whose_place_is_unknown_stays_lesion_on_lesion_and_is_named(answered, ui, worker):
    from TumorRetrievalGui.case_nodes import tumorOf

    plain = worker.answers["case"]
    unknown = {"case_to_atlas": None}
    worker.answers["case"] = lambda given: {**plain(given), **(unknown if given["case"] == "case-1" else {})}
    ui.alignmentSelector.setCurrentIndex(1)
    wait_until(lambda: not answered.compare.isLoading)

    assert "unknown" in ui.compareMessage.text and "case-1" in ui.compareMessage.text
    assert "case-0" not in ui.compareMessage.text
    assert np.allclose(middle_of(tumorOf(answered.query.parameters.cases[1])), CENTER, atol=1.5)


def test_without_the_patients_place_only_lesions_can_be_laid_on_each_other(ready, worker):
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.imaging.box import Box

    plain = worker.answers["find"]
    worker.answers["find"] = lambda arguments: {**plain(arguments), "patient_to_atlas": None}
    addBox(ready.query.parameters, Box.aligned(CENTER, (24, 24, 24)))
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)

    selector = ready.comparePanel.ui.alignmentSelector
    assert not selector.enabled and "atlas" in selector.toolTip


def test_the_panel_names_what_each_column_shows(ui):
    assert ui.shownLabel.text.split("\n")[:2] == ["P: T1 with contrast", "1: case-0, glioma, frontal lobe"]


def test_the_second_row_can_be_coronal(app, answered, ui):
    from TumorRetrievalLib.scene.views import comparison_slices

    ui.planeSelector.setCurrentIndex(1)
    wait_until(lambda: not answered.compare.isLoading)
    orientations = {node.GetOrientation() for node in comparison_slices(app.mrmlScene())}

    assert orientations == {"Axial", "Coronal"}


def test_the_way_back_leads_to_the_views_before_and_forth_again(app, answered, ui):
    from Testing.SlicerHost import host

    press(ui.closeButton)
    assert app.layoutManager().layout == host.FIRST_LAYOUT and ui.closeButton.text == "Show side by side again"

    press(ui.closeButton)
    assert answered.compare.isOpen


def test_unlinking_lets_each_column_scroll_alone(app, answered, ui):
    from Testing.SlicerHost.mouse import wheel

    first, second = (app.layoutManager().sliceWidget(f"TumorRetrieval{who}Axial") for who in ("Query", "Case1"))
    before = second.mrmlSliceNode().GetSliceOffset()
    wheel(first.sliceView(), 2)
    together = second.mrmlSliceNode().GetSliceOffset()
    assert together != before

    QTest.mouseClick(ui.linkBox, Qt.LeftButton, Qt.NoModifier, ui.linkBox.rect.center() / 8)
    assert not ui.linkBox.checked
    wheel(first.sliceView(), 2)
    assert second.mrmlSliceNode().GetSliceOffset() == together


def test_a_case_that_cannot_be_read_is_told_and_the_others_are_shown(ready, worker):
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.errors import UnreadableFile
    from TumorRetrievalLib.imaging.box import Box

    plain = worker.answers["case"]

    def damaged(arguments):
        if arguments["case"] == "case-1":
            raise UnreadableFile("The archive has moved. Build the index again.")
        return plain(arguments)

    worker.answers["case"] = damaged
    addBox(ready.query.parameters, Box.aligned(CENTER, (24, 24, 24)))
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)

    assert [node.GetName()[:6] for node in ready.query.parameters.cases] == ["case-0", "case-2"]
    assert "archive has moved" in ready.comparePanel.ui.compareMessage.text


def test_cases_that_are_in_the_scene_are_not_fetched_again(answered, worker):
    answered.compare.open(answered.results.hits[:2])

    assert "case" not in [task for task, _ in worker.asked if task == "case"]
    assert len(answered.query.parameters.cases) == 2


def test_a_deleted_case_is_fetched_again_when_it_is_wanted(answered, scene, worker):
    scene.RemoveNode(answered.query.parameters.cases[0])
    answered.compare.open(answered.results.hits[:1])
    wait_until(lambda: not answered.compare.isLoading)

    assert len(answered.query.parameters.cases) == 1


def test_a_scene_with_results_is_saved_read_and_ranked_again(app, answered, worker, scene, tmp_path):
    from TumorRetrievalGui.parameters import Plane, QueryParameters

    answered.query.parameters.plane = Plane.CORONAL
    answered.results.setWeight("type", 2.0)
    wait_until(lambda: not answered.results.isRanking)
    first = answered.results.hits[0].case
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    answered.cancel()
    app.mrml.close_scene()
    slicer.util.loadScene(str(path))
    node = slicer.util.getNode("TumorRetrieval")
    answered.setParameters(QueryParameters(node))

    parameters = answered.query.parameters
    assert parameters.t1c.GetName() == "T1 with contrast" and len(parameters.boxes) == 1
    assert answered.results.hits[0].case == first and len(parameters.cases) == 3
    assert answered.resultsPanel.ui.typeSlider.value == 200
    answered.results.setWeight("position", 2.0)
    wait_until(lambda: not answered.results.isRanking)
    asked = worker.tasks("rerank")[-1]
    assert asked["weights"] == {"type": 2.0, "position": 2.0}
    from pathlib import Path

    assert (Path(asked["result"]) / "query.json").read_text() == "what the worker knows"
    answered.compare.show()
    assert answered.compare.isOpen
