"""The host in which the module's widget runs, and hands that use it as a person does."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def app():
    """`slicer.app` of the host; Qt allows one per process."""
    for package in ("slicer_core", "PySide6"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    from Testing.SlicerHost import host

    yield host.start()
    host.stop()


@pytest.fixture
def scene(app):
    """An empty scene, with every view as a new user finds it."""
    from Testing.SlicerHost import host

    yield app.mrmlScene()
    app.mrml.close_scene()
    app.layoutManager().setLayout(host.FIRST_LAYOUT)
    host.settle()


@pytest.fixture(autouse=True)
def errors_in_callbacks(monkeypatch):
    """An exception in a slot or an observer, which Qt and VTK only print, fails the test that caused it."""
    errors = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: errors.append(error))
    yield errors
    assert errors == []


@pytest.fixture
def scan(scene):
    """A ball of 200 on a ground of 50 at the origin, 80 mm wide, as a volume node shown in every slice view."""
    import slicer.util

    where = np.stack(np.meshgrid(*[np.arange(40) * 2 - 39.0] * 3, indexing="ij"))
    kji = np.where((where**2).sum(axis=0) < 20**2, 200.0, 50.0).astype(np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -39
    node = slicer.util.addVolumeFromArray(kji, ijkToRAS=affine, name="Patient")
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


@pytest.fixture
def window(app, scene):
    """The main window, shown."""
    from Testing.SlicerHost import host

    app.window.resize(1280, 800)
    app.window.show()
    host.settle()
    return app.window
