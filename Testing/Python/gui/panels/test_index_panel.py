"""The panel of the known cases: which are searched, and how a user's own get in and out again."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import Installed, brain, wait_until
from TumorRetrievalLib.errors import CannotWrite, CaseAlreadyIndexed, IndexOfAnotherModel, UnreadableFile

ROOT = Path(__file__).resolve().parents[4]
BUNDLED = ROOT / "Resources" / "Index"

PLAN = {
    "kind": "brats",
    "cases": [
        {"case": "one", "patient": "p1", "t1c": "a", "flair": "b", "mask": "c", "labels": "glioma"},
        {"case": "two", "patient": "p2", "t1c": "a", "flair": "", "mask": "", "labels": ""},
    ],
    "problems": [{"path": "/archive/three/t1c.nii.gz", "reason": "The file is cut short; copy it again."}],
    "notes": ["1 case (one): the mask was read as BraTS 2021-2023."],
    "already": [],
}


def press(button):
    assert button.enabled and button.isVisible(), button.toolTip
    QTest.mouseClick(button, Qt.LeftButton)


def type_into(field, text):
    field.clear()
    QTest.keyClicks(field, text)


def stats(cases=3, **changes):
    kept = {
        "cases": cases,
        "tumors": cases + 1,
        "types": {"glioma": cases, "unknown": 1},
        "generation": 1,
        "archives": [],
    }
    return {**kept, **changes}


def built(**changes):
    """What the worker says after a build."""
    result = {"added": ["one", "two"], "already": [], "network_masks": ["two"], "problems": PLAN["problems"]}
    return {**result, "notes": [], "kind": "brats", "seconds": 1.0, "index": stats(2), **changes}


@pytest.fixture
def indexing(worker):
    """A worker that knows indexes."""
    worker.answers |= {
        "index_stats": lambda arguments: stats(3 if "index" in arguments else 1234),
        "index_build": lambda arguments: PLAN if arguments.get("dry_run") else built(),
        "index_add_patient": lambda arguments: built(added=[arguments["case"]], problems=[], index=stats(4)),
        "index_remove": lambda arguments: {"removed": arguments["cases"], "index": stats(2)},
    }
    return worker


@pytest.fixture(autouse=True)
def bundled_again(app):
    """Every test begins, and leaves the next one, with the bundled index."""
    from TumorRetrievalGui.settings import Settings

    Settings().keep("index", "")
    yield
    Settings().keep("index", "")


@pytest.fixture
def ui(indexing, panel):
    """The panel's widgets, its section opened by a click on its head."""
    opened = panel.indexPanel.ui
    QTest.mouseClick(opened.indexSection, Qt.LeftButton, Qt.NoModifier, QPoint(20, 8))
    wait_until(lambda: "1234" in opened.factsLabel.text)
    return opened


@pytest.fixture
def own(ui, panel, tmp_path):
    """A folder with an index of the user's own, in use."""
    folder = tmp_path / "own"
    folder.mkdir()
    press(ui.folderButton)
    ui.indexPath.currentPath = str(folder)
    wait_until(lambda: "Cases: 3." in ui.factsLabel.text)
    return folder


def fill_in(ui, folder, case="p-1"):
    press(ui.addButton)
    type_into(ui.caseEdit, case)
    type_into(ui.patientEdit, "P1")
    ui.addPath.currentPath = str(folder)


def test_nothing_is_fetched_before_somebody_looks(indexing, panel):
    assert panel.indexPanel.ui.indexSection.collapsed and not indexing.tasks("index_stats")


def test_the_panel_says_what_is_searched(ui):
    assert ui.factsLabel.text == "Cases: 1234. Tumors: 1235 (glioma 1234, type unknown 1)."
    assert ui.bundledButton.checked and not ui.indexPath.isVisible()


def test_the_folder_chosen_here_is_that_of_the_settings_and_the_other_way_round(ui, own, panel, tmp_path):
    settings = panel.settingsPanel.ui
    assert settings.indexPath.currentPath == str(own) == panel.settings.index

    settings.indexPath.currentPath = str(tmp_path)
    assert ui.indexPath.currentPath == str(tmp_path)

    press(ui.bundledButton)
    assert settings.indexPath.currentPath == "" == panel.settings.index and not ui.indexPath.isVisible()
    press(ui.folderButton)
    assert panel.settings.index == str(tmp_path), "the folder was not forgotten"


def test_a_path_that_is_typed_is_looked_at_once_the_typing_stops(ui, own, indexing):
    asked = len(indexing.tasks("index_stats"))
    for end in range(1, 9):
        ui.indexPath.currentPath = "/archive"[:end]
    wait_until(lambda: len(indexing.tasks("index_stats")) > asked)
    wait_until(lambda: "Cases: 3." in ui.factsLabel.text)

    assert [task["index"] for task in indexing.tasks("index_stats")[asked:]] == ["/archive"]


@pytest.mark.parametrize("error", [UnreadableFile, IndexOfAnotherModel])
def test_a_folder_that_cannot_be_searched_is_told(ui, indexing, tmp_path, error):
    def fail(arguments):
        raise error("This is no index that can be used here.")

    indexing.answers["index_stats"] = fail
    press(ui.folderButton)
    ui.indexPath.currentPath = str(tmp_path)

    wait_until(lambda: "no index" in ui.factsLabel.text)
    assert ui.factsLabel.styleSheet


def test_an_archive_that_has_moved_is_named(ui, own, indexing):
    lost = [{"folder": "/archive", "cases": 3, "there": False}]
    indexing.answers["index_stats"] = lambda arguments: stats(archives=lost)
    ui.indexPath.currentPath = "/elsewhere"

    wait_until(lambda: "/archive is not there" in ui.factsLabel.text)


def plan(ui, tmp_path):
    press(ui.newButton)
    ui.archivePath.currentPath = str(tmp_path / "archive")
    ui.intoPath.currentPath = str(tmp_path / "index")
    press(ui.planButton)
    wait_until(lambda: ui.foundList.isVisible())
    return [ui.foundList.item(i).text() for i in range(ui.foundList.count)]


def test_an_archive_is_looked_through_before_anything_is_written(ui, indexing, tmp_path):
    press(ui.newButton)
    assert "Choose the folder" in ui.planButton.toolTip and not ui.planButton.enabled
    assert not ui.buildButton.enabled
    press(ui.newButton)
    lines = plan(ui, tmp_path)

    assert indexing.tasks("index_build")[0]["dry_run"] is True
    assert lines[0] == "Left out: t1c.nii.gz: The file is cut short; copy it again."
    assert "one: glioma, outlined, with FLAIR" in lines and "two: no mask" in lines
    assert "Cases: 2 " in ui.indexMessage.text and "Problems: 1." in ui.indexMessage.text and ui.buildButton.enabled


def test_another_archive_has_to_be_looked_through_first(ui, tmp_path):
    plan(ui, tmp_path)
    ui.archivePath.currentPath = str(tmp_path / "other")

    assert not ui.buildButton.enabled and "Look first" in ui.buildButton.toolTip


@pytest.mark.parametrize("into", ["archive", "archive/index", BUNDLED])
def test_an_index_is_never_made_in_the_archive_or_among_the_bundled_files(ui, tmp_path, into):
    press(ui.newButton)
    ui.archivePath.currentPath = str(tmp_path / "archive")
    ui.intoPath.currentPath = str(tmp_path / into)

    assert not ui.planButton.enabled and ui.planButton.toolTip


def test_a_build_makes_the_index_that_is_searched_from_then_on_and_lists_what_was_left_out(ui, panel, tmp_path):
    plan(ui, tmp_path)
    press(ui.buildButton)
    wait_until(lambda: not panel.index.isRunning)

    assert panel.settings.index == str(tmp_path / "index") and ui.folderButton.checked
    assert "Added: 2. Left out: 1." in ui.indexMessage.text
    assert [ui.foundList.item(i).text() for i in range(ui.foundList.count)] == [
        "Left out: t1c.nii.gz: The file is cut short; copy it again."
    ]


def test_a_build_shows_how_far_it_is_can_be_stopped_and_goes_on_with_the_same_button(ui, indexing, panel, tmp_path):
    plan(ui, tmp_path)
    plain, indexing.answers["index_build"] = indexing.answers["index_build"], lambda arguments: None
    press(ui.buildButton)
    wait_until(lambda: ui.indexProgress.value == 500)
    assert "Searches wait" in ui.indexMessage.text and "Wait for the end" in ui.buildButton.toolTip
    press(ui.indexCancelButton)
    assert indexing.cancelled and "press the button again" in ui.indexMessage.text and not ui.indexProgress.isVisible()
    assert panel.settings.index == ""

    indexing.answers["index_build"] = plain
    press(ui.buildButton)
    wait_until(lambda: "Added: 2" in ui.indexMessage.text)


def test_a_very_long_list_is_cut(ui, indexing, tmp_path):
    many = [{**PLAN["cases"][0], "case": f"case-{number}"} for number in range(5000)]
    indexing.answers["index_build"] = lambda arguments: {**PLAN, "cases": many}
    lines = plan(ui, tmp_path)

    assert len(lines) == 202 and lines[200] == "... and 4801 more"


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


def test_after_any_change_the_list_says_so_and_offers_to_search_again(answered, ui, own, indexing):
    notice = answered.resultsPanel.ui
    assert notice.indexChangedWidget.isVisible(), "another index was chosen"
    press(notice.searchAgainButton)
    wait_until(lambda: not answered.query.isRunning and not answered.results.isRanking)
    assert not notice.indexChangedWidget.isVisible() and indexing.tasks("find")[-1]["index"] == str(own)

    press(ui.removeButton)
    type_into(ui.removeEdit, "case-1")
    press(ui.eraseButton)
    wait_until(lambda: notice.indexChangedWidget.isVisible())
    answered.query.parameters.t1c = None
    answered.query.inputsChanged()
    assert not notice.searchAgainButton.enabled and "T1" in notice.searchAgainButton.toolTip


def test_without_a_result_there_is_nothing_to_search_again(ui, own, panel):
    assert not panel.resultsPanel.ui.indexChangedWidget.isVisible()


def test_one_form_is_open_at_a_time(answered, ui, tmp_path):
    plan(ui, tmp_path)
    press(ui.addButton)

    assert ui.addForm.isVisible() and not ui.newForm.isVisible() and not ui.newButton.checked
    assert not ui.foundList.isVisible() and not ui.indexMessage.isVisible(), "what was found belongs to the other form"
    press(ui.addButton)
    assert not ui.addForm.isVisible()


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
