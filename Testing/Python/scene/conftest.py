"""A scene of Slicer's own, without any window, and small scans that are different on every side."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from Testing.SlicerHost.phantoms import AXES, phantom  # noqa: E402


@pytest.fixture(scope="session")
def mrml():
    """Slicer's scene with the logics around it."""
    if importlib.util.find_spec("slicer_core") is None:
        pytest.skip("the package slicer-core is not installed")
    from Testing.SlicerHost.environment import prepare

    prepare()
    from Testing.SlicerHost.mrml_application import mrml_application

    return mrml_application()


@pytest.fixture
def scene(mrml):
    """An empty scene."""
    mrml.close_scene()
    yield mrml.scene
    mrml.close_scene()


@pytest.fixture(params=AXES)
def scan(request):
    """The phantom, stored in each of several ways."""
    return phantom(AXES[request.param])


@pytest.fixture
def upright():
    """The phantom with its axes along R, A and S."""
    return phantom(AXES["upright"])
