"""The patient of the moment becomes a known case, and a case is erased: by the panel, and by the real process."""

import os
import sys

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import Installed, brain, wait_until
from Testing.Python.gui.panels.index.conftest import BUNDLED, ROOT, built, fill_in, plan, press, type_into
from TumorRetrievalLib.errors import CannotWrite, CaseAlreadyIndexed, IndexOfAnotherModel


def test_without_a_patient_or_outlines_the_button_says_what_is_missing(ui, panel, patient, tmp_path):
    panel.query.parameters.t1c = None
    fill_in(ui, tmp_path / "index")
    assert "Load a T1" in ui.addCaseButton.toolTip and not ui.addCaseButton.enabled

    panel.query.parameters.t1c = patient
    panel.query.inputsChanged()
    assert "Find similar cases first" in ui.addCaseButton.toolTip and not ui.addCaseButton.enabled


def test_the_form_says_what_else_is_missing(answered, ui, tmp_path):
    press(ui.addButton)
    assert "Give the case an id" in ui.addCaseButton.toolTip
    type_into(ui.caseEdit, "a/b")
    assert "a/b" in ui.addCaseButton.toolTip
    type_into(ui.caseEdit, "p-1")
    assert "who the patient is" in ui.addCaseButton.toolTip
    type_into(ui.patientEdit, "P1")
    assert "Choose the folder" in ui.addCaseButton.toolTip
    ui.addPath.currentPath = str(BUNDLED)
    assert "come with the tool" in ui.addCaseButton.toolTip
    ui.addPath.currentPath = str(tmp_path)
    assert ui.addCaseButton.enabled and "on this machine" in ui.keptLabel.text


def test_the_patient_is_handed_over_as_the_scene_shows_them_and_searched_from_then_on(
    answered, ui, indexing, panel, tmp_path
):
    from TumorRetrievalLib.imaging.files import read_labels, read_volume

    seen = []
    plain = indexing.answers["index_add_patient"]
    indexing.answers["index_add_patient"] = lambda arguments: (
        seen.append((read_volume(arguments["t1c"]), read_labels(arguments["mask"]))) or plain(arguments)
    )
    fill_in(ui, tmp_path / "index")
    ui.typeSelector.setCurrentIndex(ui.typeSelector.findData("meningioma"))
    press(ui.checkedBox)
    press(ui.addCaseButton)
    wait_until(lambda: "p-1 is a known case now" in ui.indexMessage.text)

    (told,) = indexing.tasks("index_add_patient")
    assert (told["case"], told["patient"], told["type"]) == ("p-1", "P1", "meningioma")
    assert told["mask_origin"] == "expert" and told["index"] == str(tmp_path / "index") == panel.settings.index
    (scan, mask) = seen[0]
    assert scan.grid.same_as(brain()[0].grid) and np.array_equal(mask.data, brain()[1].data), "the core is label 1"


def test_what_nobody_has_said_is_not_told(answered, ui, indexing, tmp_path):
    fill_in(ui, tmp_path / "index")
    press(ui.addCaseButton)
    wait_until(lambda: indexing.tasks("index_add_patient"))

    (told,) = indexing.tasks("index_add_patient")
    assert "type" not in told and told["mask_origin"] == "network"


def test_outlines_that_were_corrected_or_partly_deleted_are_taken_as_they_are(answered, ui, indexing, scene, tmp_path):
    from TumorRetrievalLib.imaging.files import read_labels
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, parts_of

    node = answered.query.parameters.segmentation
    node.GetSegmentation().RemoveSegment(parts_of(node)[TUMOR_CORE])
    seen = []
    indexing.answers["index_add_patient"] = lambda arguments: seen.append(read_labels(arguments["mask"]))
    fill_in(ui, tmp_path / "index")
    press(ui.addCaseButton)
    wait_until(lambda: seen)

    assert set(np.unique(seen[0].data)) == {0, 2}


def test_empty_outlines_are_refused(answered, ui, indexing, scene, tmp_path):
    from TumorRetrievalLib.imaging.volume import LabelMap
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor

    empty = LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    answered.query.parameters.segmentation = add_tumor(scene, {TUMOR_CORE: empty, WHOLE_TUMOR: empty}, "Nothing")
    fill_in(ui, tmp_path / "index")
    press(ui.addCaseButton)

    assert "outline it first" in ui.indexMessage.text and not indexing.tasks("index_add_patient")


@pytest.mark.parametrize("error", [CaseAlreadyIndexed, CannotWrite, IndexOfAnotherModel])
def test_what_the_worker_refuses_is_told_and_the_search_stays_where_it_was(answered, ui, indexing, tmp_path, error):
    def refuse(arguments):
        raise error("That cannot be. Do something else.")

    indexing.answers["index_add_patient"] = refuse
    fill_in(ui, tmp_path / "index")
    press(ui.addCaseButton)
    wait_until(lambda: "Do something else" in ui.indexMessage.text)

    assert ui.indexMessage.styleSheet and answered.settings.index == "" and ui.addCaseButton.enabled
    assert "Do something else" in answered.log.text and not answered.results.indexChanged


def test_a_scan_that_is_known_under_another_name_is_told(answered, ui, indexing, tmp_path):
    problems = [{"path": "t1c.nii.gz", "reason": "Its scan is that of the case q-1."}]
    indexing.answers["index_add_patient"] = lambda arguments: built(added=[], problems=problems)
    fill_in(ui, tmp_path / "index")
    press(ui.addCaseButton)

    wait_until(lambda: "q-1" in ui.indexMessage.text)
    assert answered.settings.index == ""


def test_a_refused_installation_is_told(answered, ui, indexing, tmp_path, monkeypatch):
    from TumorRetrievalGui.query_logic import NotPossible

    def refuse():
        raise NotPossible("Nothing was installed.")

    monkeypatch.setattr(answered.index, "_ensureInstalled", refuse)
    plan_button = ui.planButton
    press(ui.newButton)
    ui.archivePath.currentPath, ui.intoPath.currentPath = str(tmp_path / "archive"), str(tmp_path / "index")
    press(plan_button)

    assert ui.indexMessage.text == "Nothing was installed." and not answered.index.isRunning


def test_the_scene_closed_while_a_patient_is_added_does_not_stop_it(answered, ui, indexing, scene, tmp_path):
    from TumorRetrievalGui.parameters import QueryParameters

    indexing.answers["index_add_patient"] = lambda arguments: None
    fill_in(ui, tmp_path / "index")
    press(ui.addCaseButton)
    wait_until(lambda: indexing.tasks("index_add_patient"))
    answered.cancel()
    scene.Clear(0)
    answered.setParameters(QueryParameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "TumorRetrieval")))

    assert answered.index.isRunning and not indexing.cancelled


def test_the_bundled_cases_cannot_be_removed(answered, ui):
    press(ui.removeButton)
    type_into(ui.removeEdit, "case-0")

    assert not ui.eraseButton.enabled and "stay as they are" in ui.eraseButton.toolTip


def test_the_chosen_case_is_erased_after_the_user_has_read_what_that_means(answered, ui, own, indexing):
    table = answered.resultsPanel.ui.hitTable
    press(ui.removeButton)
    assert "Choose a case" in ui.eraseButton.toolTip and "cannot be undone" in ui.removeHelp.text
    place = table.visualItemRect(table.item(1, 1)).center()
    QTest.mouseClick(table.viewport(), Qt.LeftButton, Qt.NoModifier, place)
    assert ui.eraseButton.text == "Erase case-1 for good" and not indexing.tasks("index_remove")
    press(ui.eraseButton)
    wait_until(lambda: "case-1 is erased" in ui.indexMessage.text)

    assert indexing.tasks("index_remove") == [{"index": str(own), "cases": ["case-1"]}]


def test_a_scene_keeps_nothing_of_the_archive_but_the_folder_of_the_index(answered, ui, own, scene, tmp_path):
    import slicer.util

    fill_in(ui, own, case="secret-case")
    type_into(ui.patientEdit, "secret-patient")
    press(ui.addCaseButton)
    wait_until(lambda: "secret-case" in ui.indexMessage.text)
    plan(ui, tmp_path)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    saved = (tmp_path / "scene.mrml").read_text(encoding="utf-8")

    for word in ("secret-case", "secret-patient", "t1c.nii.gz", str(tmp_path / "archive")):
        assert word not in saved
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrml"))
    assert answered.settings.index == str(own), "the choice of the index is the user's and not the scene's"


REAL_TASKS = """
import os
import sys

sys.path.insert(0, {root!r})
from Testing.Python.unit.engine.small_archive import use_stand_in
from TumorRetrievalLib.engine import embed_case
from TumorRetrievalLib.worker.index_tasks import TASKS

use_stand_in(setattr)


def crash_while_adding(given, progress):
    def crash(fraction, message):
        if "Writing" in message:
            os._exit(7)

    return TASKS_AS_THEY_ARE["index_add_patient"](given, crash if given["case"] == "crash" else progress)


TASKS_AS_THEY_ARE = dict(TASKS)
TASKS["index_add_patient"] = crash_while_adding
"""


def test_with_a_real_worker_a_patient_is_added_and_erased_and_a_crash_costs_nothing(
    app, window, scene, patient, tmp_path, monkeypatch
):
    """The real process and the real index; only the network is a stand-in."""
    from PySide6.QtWidgets import QVBoxLayout, QWidget
    from TumorRetrievalGui import worker_connection
    from TumorRetrievalGui.main_panel import MainPanel
    from TumorRetrievalGui.parameters import QueryParameters

    from TumorRetrievalLib.retrieval.case_index import CaseIndex
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor

    (tmp_path / "tasks.py").write_text(REAL_TASKS.format(root=str(ROOT)), encoding="utf-8")
    command = [sys.executable, "-m", "TumorRetrievalLib.worker", "--tasks", str(tmp_path / "tasks.py")]
    monkeypatch.setattr(worker_connection, "worker_command", lambda python: command)
    parameters = QueryParameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "TumorRetrieval"))
    parameters.t1c = patient
    mask = brain()[1]
    parameters.segmentation = add_tumor(scene, {TUMOR_CORE: mask, WHOLE_TUMOR: mask}, "Tumor", patient)
    holder = QWidget()
    panel = MainPanel(QVBoxLayout(holder), parameters, worker_connection.WorkerConnection(), Installed())
    app.window.panel.setWidget(holder)
    ui, index = panel.indexPanel.ui, tmp_path / "new" / "index"
    try:
        ui.indexSection.collapsed = False
        wait_until(lambda: "Cases: " in ui.factsLabel.text)
        fill_in(ui, index, case="p-1")
        press(ui.addCaseButton)
        wait_until(lambda: not panel.index.isRunning)
        assert "p-1 is a known case now. Cases in the index: 1." in ui.indexMessage.text
        wait_until(lambda: "Cases: 1. Tumors: 1" in ui.factsLabel.text)

        type_into(ui.caseEdit, "P-1")
        press(ui.addCaseButton)
        wait_until(lambda: not panel.index.isRunning)
        assert "There is a case p-1" in ui.indexMessage.text

        patient.GetImageData().GetPointData().GetScalars().SetValue(0, 7.0)
        patient.GetImageData().Modified()
        type_into(ui.caseEdit, "crash")
        press(ui.addCaseButton)
        wait_until(lambda: not panel.index.isRunning)
        assert "ended unexpectedly" in ui.indexMessage.text
        with CaseIndex.open(index) as opened:
            assert opened.case_ids() == ["p-1"]

        press(ui.removeButton)
        type_into(ui.removeEdit, "p-1")
        press(ui.eraseButton)
        wait_until(lambda: not panel.index.isRunning)
        assert "p-1 is erased. Cases in the index: 0." in ui.indexMessage.text
        assert not list(index.rglob("*.nii.gz")), "the copies are gone, the crashed attempt's too"
        _refuses_a_folder_that_is_a_file(ui, panel, tmp_path)
    finally:
        panel.cleanup()
        app.window.panel.takeWidget()


def _refuses_a_folder_that_is_a_file(ui, panel, tmp_path):
    (tmp_path / "file").write_text("no folder")
    fill_in(ui, tmp_path / "file", case="p-2")
    press(ui.addCaseButton)
    wait_until(lambda: not panel.index.isRunning)
    assert "another folder" in ui.indexMessage.text and os.path.isfile(tmp_path / "file")
