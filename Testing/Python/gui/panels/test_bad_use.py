"""What goes wrong between two cases: things removed, closed, reloaded or mixed up while work runs."""

import sys

import numpy as np
import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import CENTER, Installed, brain, wait_until


def press(button):
    assert button.enabled and button.isVisible(), button.toolTip
    QTest.mouseClick(button, Qt.LeftButton)


def box_around(panel, center=CENTER, axes=None):
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.imaging.box import Box

    node = addBox(panel.query.parameters, Box(center, (24, 20, 16), np.eye(3) if axes is None else axes))
    panel.query.inputsChanged()
    return node


def answer_later(worker, task):
    """Let a task go on until the returned function is called, which answers what the worker usually does."""
    from TumorRetrievalGui.tasks import Event

    plain, asked = worker.answers[task], []

    def wait(arguments):
        asked.append((len(worker.asked), arguments))

    worker.answers[task] = wait

    def answer():
        number, arguments = asked[0]
        worker._events.append(Event(number, result=plain(arguments)))

    return asked, answer


def test_a_turned_box_reaches_the_worker_turned(ready, worker):
    turn = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    box_around(ready, axes=turn)
    press(ready.queryPanel.ui.findButton)
    wait_until(lambda: worker.tasks("find"))

    (box,) = worker.tasks("find")[0]["boxes"]
    assert np.allclose(box["axes"], turn, atol=1e-6) and np.allclose(box["size_mm"], (24, 20, 16))


def test_a_flair_on_another_grid_is_handed_over_as_it_lies(ready, worker, scene):
    from TumorRetrievalLib.imaging.files import read_volume
    from TumorRetrievalLib.imaging.volume import Grid, Volume
    from TumorRetrievalLib.scene.volumes import add_volume

    affine = np.diag([-4.0, 4.0, 6.0, 1.0])  # left-handed, coarse, and elsewhere
    affine[:3, 3] = (80, -90, -60)
    grid = Grid((40, 45, 20), affine)
    data = np.random.default_rng(0).uniform(0, 9, grid.shape).astype(np.float32)
    ready.query.parameters.flair = add_volume(scene, Volume(data, affine), "AX FLAIR")
    box_around(ready)
    press(ready.queryPanel.ui.findButton)
    wait_until(lambda: worker.tasks("find"))

    seen = read_volume(worker.tasks("find")[0]["flair"])
    assert np.allclose(seen.affine, affine) and np.allclose(seen.data, data)


@pytest.mark.parametrize("what", ["flair", "box"])
def test_what_is_not_needed_any_more_may_be_deleted_while_a_search_runs(ready, worker, scene, what):
    from TumorRetrievalLib.scene.volumes import add_volume

    ready.query.parameters.flair = add_volume(scene, brain()[0], "FLAIR")
    node = box_around(ready)
    asked, answer = answer_later(worker, "find")
    press(ready.queryPanel.ui.findButton)
    wait_until(lambda: asked)
    scene.RemoveNode(ready.query.parameters.flair if what == "flair" else node)
    answer()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)

    assert ready.query.failure is None and len(ready.query.parameters.cases) == 3


def test_a_deleted_outline_and_a_deleted_case_leave_the_list_and_the_other_cases(answered, scene):
    parameters = answered.query.parameters
    scene.RemoveNode(parameters.segmentation)
    scene.RemoveNode(parameters.cases[1])
    answered.results.setWeight("type", 2.0)
    wait_until(lambda: not answered.results.isRanking)
    answered.compare.show()
    wait_until(lambda: not answered.compare.isLoading)

    assert answered.resultsPanel.ui.hitTable.rowCount == 5 and len(parameters.cases) == 2


def test_the_scan_deleted_while_its_cases_are_opened_leaves_no_comparison_and_no_error(ready, worker, scene):
    box_around(ready)
    asked, answer = answer_later(worker, "case")
    ready.query.find()
    wait_until(lambda: len(asked) == 3)
    scene.RemoveNode(ready.query.parameters.t1c)
    for number in range(3):
        answer()
        asked.pop(0)
        wait_until(lambda left=2 - number: len(asked) == left)
    wait_until(lambda: not ready.compare.isLoading)

    assert not ready.compare.isOpen


@pytest.mark.parametrize("task", ["stability", "map"])
def test_the_scene_closed_while_the_list_is_looked_into_ends_that(answered, worker, scene, task):
    worker.answers[task] = lambda arguments: None
    if task == "map":
        answered.mapPanel.ui.mapSection.collapsed = False
    else:
        press(answered.resultsPanel.ui.stabilityButton)
    wait_until(lambda: worker.tasks(task))
    answered.cancel()

    assert worker.cancelled and not answered.stability.isRunning and not answered.map.isRunning


def test_a_note_about_the_gpus_memory_is_shown_above_the_list(ready, worker):
    plain = worker.answers["find"]
    note = "The memory of cuda:0 was too small, so this ran on the CPU (slower)."
    worker.answers["find"] = lambda arguments: {**plain(arguments), "notes": [note]}
    box_around(ready)
    ready.query.find()
    wait_until(lambda: ready.results.hits)

    assert ready.resultsPanel.ui.notesLabel.text == note and ready.resultsPanel.ui.notesLabel.isVisible()


def test_settings_that_cannot_be_written_hold_until_the_end_and_that_is_said(app, panel, tmp_path):
    from TumorRetrievalGui.settings import Settings
    from TumorRetrievalGui.settings_panel import SettingsPanel

    (tmp_path / "file").write_text("in the way of a folder")
    before = app.mrml.folder
    QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, str(tmp_path / "file"))
    try:
        settings = Settings()
        shown = SettingsPanel(app.window.panel.widget().layout(), settings, panel.log)
        shown.ui.indexPath.currentPath = str(tmp_path)
    finally:
        QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, str(before))

    assert settings.index == str(tmp_path) and "cannot be written here" in panel.log.text


def test_a_worker_that_cannot_start_is_told_and_the_log_keeps_its_last_words(app, window, scene, patient, monkeypatch):
    from PySide6.QtWidgets import QVBoxLayout, QWidget
    from TumorRetrievalGui import worker_connection
    from TumorRetrievalGui.main_panel import MainPanel
    from TumorRetrievalGui.parameters import QueryParameters

    command = [sys.executable, "-c", "import sys; sys.exit('no such library')"]
    monkeypatch.setattr(worker_connection, "worker_command", lambda python: command)
    holder = QWidget()
    parameters = QueryParameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "TumorRetrieval"))
    panel = MainPanel(QVBoxLayout(holder), parameters, worker_connection.WorkerConnection(), Installed())
    app.window.panel.setWidget(holder)
    parameters.t1c = patient
    box_around(panel)
    press(panel.queryPanel.ui.findButton)
    wait_until(lambda: not panel.query.isRunning)
    panel.cleanup()
    app.window.panel.takeWidget()

    assert "could not be started" in panel.queryPanel.ui.messageLabel.text
    assert "no such library" in panel.log.text


def test_the_window_stays_awake_while_cases_are_opened_for_the_first_time(ready, worker):
    """Making and painting a view takes some 40 ms, and here are nine that nobody has seen yet."""
    import time

    from PySide6.QtCore import QTimer

    from Testing.SlicerHost import host

    box_around(ready)
    host.settle()
    gaps, last = [], [time.thread_time()]

    def tick():
        # The main thread's own time: what other programs take from this machine is not our doing.
        gaps.append(time.thread_time() - last[0])
        last[0] += gaps[-1]

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(1)
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)
    host.settle()
    timer.stop()

    assert len(gaps) > 10 and max(gaps) < 0.1
