"""The module's life: opened, left, opened again, reloaded, and the scene closed under it."""

from pathlib import Path

import pytest

from Testing.Python.gui.panels.conftest import CENTER, Installed, brain, wait_until

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def module(app, window, scene, worker, monkeypatch):
    """The module's widget, opened as by a user, with a worker of the test's own."""
    from TumorRetrievalGui import dependencies, worker_connection

    from Testing.SlicerHost import host

    monkeypatch.setattr(worker_connection, "WorkerConnection", lambda: worker)
    monkeypatch.setattr(dependencies, "Dependencies", Installed)
    host.load_module(ROOT / "TumorRetrieval" / "TumorRetrieval.py")
    widget = host.open_module("TumorRetrieval")
    yield widget
    import slicer.util

    slicer.util.getModuleWidget("TumorRetrieval").cleanup()
    app.window.moduleSelector().selectedModule = ""
    app.window.panel.takeWidget()


def load_patient(scene):
    from TumorRetrievalLib.scene.volumes import add_volume

    return add_volume(scene, brain()[0], "T1 with contrast")


def search(panel):
    """Find similar cases, as far as the request to the worker."""
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.imaging.box import Box

    wait_until(lambda: panel.query.parameters.t1c is not None)
    addBox(panel.query.parameters, Box.aligned(CENTER, (24, 24, 24)))
    panel.query.find()


def test_opening_the_module_makes_the_worker_ready(module, worker):
    assert [task for task, _ in worker.asked] == ["warm_up"]


def test_a_scan_that_is_loaded_while_the_module_is_open_is_chosen(module, scene):
    node = load_patient(scene)

    wait_until(lambda: module.panel.queryPanel.ui.t1cSelector.currentNode() is node)
    assert module.panel.queryPanel.ui.drawButton.enabled


def test_leaving_and_coming_back_keeps_the_results(module, scene):
    load_patient(scene)
    search(module.panel)
    wait_until(lambda: module.panel.compare.isOpen)
    module.parent.exit()
    module.parent.enter()

    assert module.panel.resultsPanel.ui.hitTable.rowCount == 5 and len(module.panel.query.parameters.boxes) == 1


def test_leaving_and_coming_back_does_not_stop_a_search(module, scene, worker):
    worker.answers["find"] = lambda arguments: None
    load_patient(scene)
    search(module.panel)
    wait_until(lambda: worker.tasks("find"))
    wait_until(lambda: module.panel.query.message == "Reading the tumors")
    module.parent.exit()
    module.parent.enter()

    assert module.panel.query.isRunning and not worker.cancelled
    assert module.panel.queryPanel.ui.cancelButton.isVisible() and module.panel.query.message == "Reading the tumors"


def test_the_scene_closed_while_a_search_runs_ends_the_search_and_leaves_an_empty_panel(module, scene, worker):
    worker.answers["find"] = lambda arguments: None
    load_patient(scene)
    search(module.panel)
    wait_until(lambda: worker.tasks("find"))
    scene.Clear(0)

    panel = module.panel
    wait_until(lambda: "Load a T1 with contrast" in panel.queryPanel.ui.findButton.toolTip)
    assert worker.cancelled and not panel.query.isRunning and panel.query.parameters.boxes == []


def test_the_scene_closed_with_cases_side_by_side_brings_the_views_before_back(app, module, scene):
    from Testing.SlicerHost import host

    load_patient(scene)
    search(module.panel)
    wait_until(lambda: module.panel.compare.isOpen and not module.panel.compare.isLoading)
    scene.Clear(0)
    host.settle()

    assert app.layoutManager().layout == host.FIRST_LAYOUT
    assert not module.panel.resultsPanel.ui.hitTable.isVisible() and module.panel.results.hits == []


def test_after_the_scene_was_closed_the_next_patient_can_be_searched(module, scene):
    load_patient(scene)
    search(module.panel)
    wait_until(lambda: module.panel.compare.isOpen)
    scene.Clear(0)
    load_patient(scene)
    search(module.panel)

    wait_until(lambda: module.panel.compare.isOpen and not module.panel.compare.isLoading)
    assert len(module.panel.query.parameters.cases) == 3


def test_reloading_ends_the_worker_and_makes_a_panel_with_the_same_choices(module, scene, worker, monkeypatch):
    import slicer.util

    node = load_patient(scene)
    wait_until(lambda: module.panel.query.parameters.t1c is node)
    # The reloaded packages are new; a real worker must not be started by this test either.
    monkeypatch.setattr("TumorRetrievalLib.worker.client.WorkerClient.submit", lambda *_, **__: pytest.fail("started"))
    module.onReload()
    renewed = slicer.util.getModuleWidget("TumorRetrieval")

    assert worker.closed and renewed is not module and module.panel is None
    assert renewed.panel.query.parameters.t1c is node
    assert renewed.panel.queryPanel.ui.t1cSelector.currentNode() is node


def test_reloading_while_a_search_runs_ends_it_and_the_new_panel_can_search(module, scene, worker, monkeypatch):
    import slicer.util

    worker.answers["find"] = lambda arguments: None
    load_patient(scene)
    search(module.panel)
    wait_until(lambda: worker.tasks("find"))
    monkeypatch.setattr("TumorRetrievalLib.worker.client.WorkerClient.submit", lambda *_, **__: pytest.fail("started"))
    module.onReload()
    renewed = slicer.util.getModuleWidget("TumorRetrieval").panel

    assert worker.closed and not renewed.query.isRunning and renewed.queryPanel.ui.findButton.enabled
    assert len(renewed.query.parameters.boxes) == 1


def test_the_self_test_for_desktop_slicer_passes_here_too(module):
    import sys

    sys.modules["TumorRetrieval"].TumorRetrievalTest().runTest()


def test_the_settings_are_kept_for_the_next_start_and_reach_the_worker(module, worker, scene, tmp_path):
    from TumorRetrievalGui.settings import Settings

    ui = module.panel.settingsPanel.ui
    ui.indexPath.currentPath = str(tmp_path)
    load_patient(scene)
    search(module.panel)
    wait_until(lambda: worker.tasks("find"))

    assert worker.tasks("find")[0]["index"] == str(tmp_path) and "model" not in worker.tasks("find")[0]
    assert Settings().index == str(tmp_path)
    ui.indexPath.currentPath = ""
    assert Settings().arguments("index") == {}


def test_the_check_of_the_installation_names_what_is_there_without_loading_pytorch(module):
    ui = module.panel.settingsPanel.ui
    ui.settingsSection.collapsed = False
    ui.checkButton.click()

    assert "TumorRetrieval" in ui.reportText.toPlainText() and "Atlas/" in ui.reportText.toPlainText()
