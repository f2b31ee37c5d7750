"""The panels in the host, on a small patient, with a worker that answers as a test tells it to."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[4]
if str(ROOT / "TumorRetrieval") not in sys.path:
    sys.path.insert(0, str(ROOT / "TumorRetrieval"))

CENTER = (12.0, -6.0, 8.0)
"""The middle of the patient's tumor, RAS mm."""

TO_ATLAS = [[1.0, 0.0, 0.0, 5.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -3.0], [0.0, 0.0, 0.0, 1.0]]
"""The patient lies 5 mm farther left in the scan than in the atlas, and 3 mm higher."""


def wait_until(condition, seconds: float = 90.0) -> None:
    """Let Qt's events happen until something is so."""
    from PySide6.QtWidgets import QApplication

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        QApplication.processEvents()
        time.sleep(0.002)


class FakeWorker:
    """A `tasks.Worker` without a process.

    `answers` maps a task to a function of its arguments: it returns the result, or raises a `TumorRetrievalError`, or
    returns None to let the task go on for ever.
    """

    def __init__(self):
        self.answers = {}
        self.asked: list[tuple[str, dict]] = []
        self.cancelled: list[int] = []
        self.closed = False
        self._events = []

    def submit(self, task, arguments):
        from TumorRetrievalGui.tasks import Event, Failure

        from TumorRetrievalLib.errors import TumorRetrievalError

        # As the real one, it sees only what can be told in JSON.
        self.asked.append((task, json.loads(json.dumps(arguments))))
        request = len(self.asked)
        try:
            result = self.answers[task](arguments)
        except TumorRetrievalError as error:
            self._events.append(Event(request, failure=Failure(str(error))))
            return request
        self._events.append(Event(request, 0.5, "Reading the tumors"))
        if result is not None:
            self._events.append(Event(request, result=result))
        return request

    def cancel(self, request):
        self.cancelled.append(request)

    def poll(self):
        events, self._events = self._events, []
        return events

    def close(self):
        self.closed = True

    def tasks(self, name):
        """The arguments of every request for a task."""
        return [arguments for task, arguments in self.asked if task == name]


class Installed:
    """`main_panel.Dependencies` that are all there."""

    def areInstalled(self):
        return True

    def ensureInstalled(self):
        pass


def hit(number: int, **changes) -> dict:
    """A similar case as the worker tells it."""
    kinds = ("glioma", "meningioma", "metastasis", "glioma")
    score = 0.95 - 0.07 * number
    return {
        "case": f"case-{number}",
        "tumor": "1",
        "score": score,
        "blocks": {"appearance": score * 0.4, "type": score * 0.2, "position": score * 0.25, "extent": score * 0.15},
        "type": kinds[number % len(kinds)],
        "area": "frontal lobe",
        "left_right": "right",
        "volume_ml": 4.2 + 9 * number,
        **changes,
    }


def tumor(number: int = 0, hits: int = 5) -> dict:
    """What the worker says of one box."""
    return {
        "box": {"center_ras": list(CENTER), "size_mm": [24, 24, 24], "axes": np.eye(3).tolist()},
        "types": {"glioma": 0.7, "metastasis": 0.2, "meningioma": 0.1},
        "area": "frontal lobe" if number == 0 else "cerebellum",
        "core_ml": 7.2,
        "whole_ml": 21.0,
        "hits": [hit(i + 5 * number) for i in range(hits)],
    }


def brain(center=CENTER, radius=12.0, seed=0):
    """A made-up head, 3 mm: a bright ball of tumor in a darker ball of brain. :returns: a Volume and a mask."""
    from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume

    grid = Grid.around((0, 0, 0), 3.0, (56, 64, 50))
    points = grid.voxel_centres()
    inside = np.linalg.norm(points / (70, 85, 65), axis=1) < 1
    lesion = np.linalg.norm(points - np.array(center), axis=1) < radius
    noise = np.random.default_rng(seed).normal(0, 6, len(points))
    values = (inside * (90 + 25 * np.sin(points[:, 1] / 9) + noise) + lesion * 110).reshape(grid.shape)
    mask = lesion.reshape(grid.shape).astype(np.uint8)
    return Volume(values.astype(np.float32), grid.affine), LabelMap(mask, grid.affine)


@pytest.fixture
def worker():
    """A worker that finds five cases for every box, and hands out the images of each."""
    from TumorRetrievalLib.imaging.files import write_labels, write_volume

    made = FakeWorker()

    def find(arguments):
        masks = {name: f"{name}.nii.gz" for name in ("tumor_core", "whole_tumor")}
        for name in masks.values():
            write_labels(Path(arguments["out"]) / name, brain()[1])
        (Path(arguments["out"]) / "query.json").write_text("what the worker knows")
        tumors = [tumor(number, hits=arguments["k"]) for number in range(len(arguments["boxes"]))]
        return {"tumors": tumors, "masks": masks, "notes": [], "patient_to_atlas": TO_ATLAS}

    def rerank(arguments):
        """The usual order, or the opposite if anything was changed."""
        hits = tumor(arguments["tumor"])["hits"]
        changed = any(arguments[name] for name in ("weights", "filters", "more", "less"))
        return {"hits": hits[::-1] if changed else hits}

    def case(arguments):
        number = int(arguments["case"].split("-")[1])
        center = (-20.0 + 4 * number, 10.0, 5.0)
        volume, mask = brain(center, 8.0 + number, seed=number)
        to_atlas = np.diag([1.0, 1.0, 1.0, 1.0])
        to_atlas[0, 3] = 10.0 * number
        place = {"case_to_atlas": to_atlas.tolist() if arguments.get("atlas") else None}
        if "out" not in arguments:
            return {"files": {}, "tumors": [], "provenance": "made for this test", **place}
        out = Path(arguments["out"])
        write_volume(out / "t1c.nii", volume)
        write_labels(out / "core.nii", mask)
        box = {"center_ras": center, "size_mm": [16, 16, 16], "axes": np.eye(3).tolist()}
        return {
            "files": {"t1c": "t1c.nii", "core": "core.nii"},
            "tumors": [{"id": "1", "box": box}],
            "provenance": "made for this test",
            **place,
        }

    def stability(arguments):
        """Each case stays in one box less than the one before it."""
        kept = {"boxes": arguments["boxes"], "score_spread": 0.031}
        listed = [
            {"case": f"case-{number}", "tumor": "1", "stability": {"kept": arguments["boxes"] - number, **kept}}
            for number in range(5)
        ]
        return {"hits": listed}

    def map_of_cases(arguments):
        """Eight cases on a circle, the patient in its middle."""
        angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        facts = [hit(number) for number in range(8)]
        return {
            "tumors": [[one[name] for name in ("case", "tumor", "type", "area", "left_right")] for one in facts],
            "points": np.stack([np.cos(angles), np.sin(angles)], axis=1).tolist(),
            "queries": [[0.0, 0.0]] if "result" in arguments else [],
            "also": [[0.1, 0.1] for _ in arguments["also"]],
            "known": 8,
        }

    made.answers = {
        "warm_up": lambda arguments: {
            "device": "cpu",
            "model": {"name": "default"},
            "index": {"cases": 9, "tumors": 11},
        },
        "find": find,
        "case": case,
        "rerank": rerank,
        "stability": stability,
        "map": map_of_cases,
        "segment": lambda arguments: {"boxes": [tumor()["box"]]},
    }
    return made


@pytest.fixture
def patient(scene):
    """The made-up head as a volume node, shown in every slice view."""
    import slicer.util

    from TumorRetrievalLib.scene.volumes import add_volume

    node = add_volume(scene, brain()[0], "T1 with contrast")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


@pytest.fixture
def panel(app, window, scene, worker):
    """All panels in the window, on an empty scene."""
    from PySide6.QtWidgets import QVBoxLayout, QWidget
    from TumorRetrievalGui.main_panel import MainPanel
    from TumorRetrievalGui.parameters import QueryParameters

    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "TumorRetrieval")
    holder = QWidget()
    made = MainPanel(QVBoxLayout(holder), QueryParameters(node), worker, Installed())
    app.window.panel.setWidget(holder)
    yield made
    made.cleanup()
    app.window.panel.takeWidget()
    holder.deleteLater()


@pytest.fixture
def ready(panel, patient):
    """The panels with the patient's scan chosen."""
    panel.query.parameters.t1c = patient
    panel.query.inputsChanged()
    return panel


@pytest.fixture
def answered(ready, worker):
    """The panels after a search, with three cases beside the patient."""
    from TumorRetrievalGui.box_logic import suggestBoxes

    from TumorRetrievalLib.imaging.box import Box

    suggestBoxes(ready.query.parameters, [Box.aligned(CENTER, (24, 24, 24))])
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)
    worker.asked.clear()
    return ready
