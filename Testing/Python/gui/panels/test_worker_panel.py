"""The panels with a real worker process: crashes, a broken installation, and the whole story on the sample patient."""

import json
import os
import signal
import sys
import time

import pytest

from Testing.Python.gui.panels.conftest import wait_until

TASKS = """
import os
import time

from TumorRetrievalLib.errors import NotEnoughMemory


def slow(given, progress):
    for step in range(1000):
        progress(step / 1000, "working")
        time.sleep(0.01)
    return {}


def crash(given, progress):
    os._exit(7)


def out_of_memory(given, progress):
    raise NotEnoughMemory("There was not enough memory. Close other programs.")


TASKS = {
    "slow": slow, "crash": crash, "out_of_memory": out_of_memory,
    "echo": lambda given, progress: {"given": given, "process": os.getpid()},
}
"""


@pytest.fixture
def tasks(app, tmp_path, monkeypatch):
    """Tasks that a real process does, with tasks made for tests."""
    from TumorRetrievalGui import worker_connection
    from TumorRetrievalGui.tasks import Tasks

    path = tmp_path / "tasks.py"
    path.write_text(TASKS, encoding="utf-8")
    command = [sys.executable, "-m", "TumorRetrievalLib.worker", "--tasks", str(path)]
    monkeypatch.setattr(worker_connection, "worker_command", lambda python: command)
    made = Tasks(worker_connection.WorkerConnection())
    yield made
    made.shutDown()


@pytest.fixture
def outcome():
    """What was told: a list for each callback."""
    return {"done": [], "failed": [], "progress": []}


def ask(tasks, outcome, name, **arguments):
    return tasks.ask(
        name,
        arguments,
        done=outcome["done"].append,
        failed=outcome["failed"].append,
        progress=lambda *told: outcome["progress"].append(told),
    )


def test_an_answer_comes_back_on_the_main_thread(tasks, outcome):
    ask(tasks, outcome, "echo", words="grün")
    wait_until(lambda: outcome["done"])

    assert outcome["done"][0]["given"] == {"words": "grün"}


def test_progress_is_told_and_a_cancelled_task_is_over_at_once(tasks, outcome):
    task = ask(tasks, outcome, "slow")
    wait_until(lambda: outcome["progress"])
    began = time.monotonic()
    task.cancel()

    assert time.monotonic() - began < 0.5 and outcome["failed"][0].cancelled and not task.running
    ask(tasks, outcome, "echo")
    wait_until(lambda: outcome["done"])
    assert len(outcome["failed"]) == 1, "nothing more is heard of the cancelled task"


def test_after_a_crash_the_reason_is_told_and_the_next_task_is_done_by_a_new_process(tasks, outcome):
    ask(tasks, outcome, "echo")
    wait_until(lambda: outcome["done"])
    ask(tasks, outcome, "crash")
    wait_until(lambda: outcome["failed"])
    assert "ended unexpectedly (exit code 7)" in outcome["failed"][0].message

    ask(tasks, outcome, "echo")
    wait_until(lambda: len(outcome["done"]) == 2)
    assert outcome["done"][0]["process"] != outcome["done"][1]["process"]


def test_a_worker_killed_from_outside_is_noticed(tasks, outcome):
    ask(tasks, outcome, "echo")
    wait_until(lambda: outcome["done"])
    ask(tasks, outcome, "slow")
    wait_until(lambda: outcome["progress"])
    os.kill(outcome["done"][0]["process"], signal.SIGTERM)

    wait_until(lambda: outcome["failed"])
    assert "ended unexpectedly" in outcome["failed"][0].message


def test_too_little_memory_is_told_in_the_workers_words(tasks, outcome):
    ask(tasks, outcome, "out_of_memory")
    wait_until(lambda: outcome["failed"])

    assert outcome["failed"][0].message == "There was not enough memory. Close other programs."


def test_a_worker_that_cannot_start_is_told_with_the_end_of_its_log(app, outcome, monkeypatch):
    from TumorRetrievalGui import worker_connection
    from TumorRetrievalGui.tasks import Tasks

    command = [sys.executable, "-c", "import sys; sys.exit('no such library')"]
    monkeypatch.setattr(worker_connection, "worker_command", lambda python: command)
    tasks = Tasks(worker_connection.WorkerConnection())
    ask(tasks, outcome, "echo")
    wait_until(lambda: outcome["failed"])
    tasks.shutDown()

    assert "could not be started" in outcome["failed"][0].message and outcome["failed"][0].details == "no such library"


def test_the_ticks_that_listen_cost_next_to_nothing(tasks, outcome):
    ask(tasks, outcome, "slow")
    wait_until(lambda: outcome["progress"])
    began = time.thread_time()
    for _ in range(100):
        tasks.poll()

    assert (time.thread_time() - began) / 100 < 0.005


@pytest.mark.slow
def test_the_sample_patient_is_searched_compared_and_ranked_anew_with_the_bundled_model(app, window, scene):
    import slicer.util
    from PySide6.QtWidgets import QVBoxLayout, QWidget
    from TumorRetrievalGui.box_logic import addBox
    from TumorRetrievalGui.dependencies import Dependencies
    from TumorRetrievalGui.main_panel import MainPanel
    from TumorRetrievalGui.parameters import QueryParameters, guessScans
    from TumorRetrievalGui.worker_connection import WorkerConnection

    from TumorRetrievalLib.imaging.box import parse_box
    from TumorRetrievalLib.resources import resource

    sample = json.loads(resource("SampleCases", "demo.json").read_text(encoding="utf-8"))
    for name in ("t1c", "flair"):
        slicer.util.loadVolume(str(resource("SampleCases", sample[name])))
    parameters = QueryParameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "TumorRetrieval"))
    guessScans(parameters)
    holder = QWidget()
    panel = MainPanel(QVBoxLayout(holder), parameters, WorkerConnection(), Dependencies())
    app.window.panel.setWidget(holder)
    addBox(parameters, parse_box(sample["boxes"][0]))

    panel.query.find()
    wait_until(lambda: panel.compare.isOpen and not panel.compare.isLoading, 600)
    hits = panel.results.hits
    panel.results.setWeight("position", 3.0)
    wait_until(lambda: not panel.results.isRanking)
    ranked = panel.results.hits
    panel.cleanup()
    app.window.panel.takeWidget()

    assert panel.query.failure is None and panel.results.failure is None
    assert len(hits) == 12 and len(parameters.cases) == 3 and parameters.segmentation is not None
    assert [hit.key for hit in ranked] != [hit.key for hit in hits]
