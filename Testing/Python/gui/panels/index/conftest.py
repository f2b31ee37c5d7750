"""A worker that knows indexes, and the panel of the known cases unfolded."""

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import wait_until

ROOT = Path(__file__).resolve().parents[5]
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


def plan(ui, tmp_path):
    press(ui.newButton)
    ui.archivePath.currentPath = str(tmp_path / "archive")
    ui.intoPath.currentPath = str(tmp_path / "index")
    press(ui.planButton)
    wait_until(lambda: ui.foundList.isVisible())
    return [ui.foundList.item(i).text() for i in range(ui.foundList.count)]
