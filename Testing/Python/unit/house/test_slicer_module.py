"""The module file loads in a bare 3D Slicer and shows what is installed.

Qt and Slicer are replaced by the few calls that this file makes; the real application is not part of these tests.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[4]


class _Text:
    NoWrap = 0

    def __init__(self):
        self.text = ""

    def setReadOnly(self, value):
        self.readOnly = value

    def setLineWrapMode(self, mode):
        self.mode = mode

    def setPlainText(self, text):
        self.text = text


class _Button:
    def __init__(self, text):
        self.text = text

    def setToolTip(self, text):
        self.toolTip = text

    def connect(self, signal, slot):
        self.clicked = slot


class _Module:
    def __init__(self, parent):
        self.parent = parent


class _Widget:
    def setup(self):
        self.shown = []
        self.layout = SimpleNamespace(addWidget=self.shown.append)


@pytest.fixture
def errors():
    """What the user was told in a dialog."""
    return []


@pytest.fixture
def module(monkeypatch, errors):
    """TumorRetrieval.py, loaded with nothing but the standard library and the stand-ins."""
    parts = {
        "qt": {"QPlainTextEdit": _Text, "QPushButton": _Button},
        "slicer": {},
        "slicer.util": {"errorDisplay": errors.append},
        "slicer.i18n": {"tr": lambda text: text},
        "slicer.ScriptedLoadableModule": {
            "ScriptedLoadableModule": _Module,
            "ScriptedLoadableModuleWidget": _Widget,
        },
    }
    for name, content in parts.items():
        stand_in = ModuleType(name)
        stand_in.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, stand_in)
    sys.modules["slicer"].util = sys.modules["slicer.util"]
    path = ROOT / "TumorRetrieval" / "TumorRetrieval.py"
    spec = importlib.util.spec_from_file_location("TumorRetrieval_under_test", path)
    loaded = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(loaded)
    yield loaded
    sys.path[:] = before


def test_the_module_list_says_what_it_is_and_that_it_is_for_research(module):
    parent = SimpleNamespace()

    module.TumorRetrieval(parent)

    assert parent.title == "Tumor Retrieval" and parent.categories == ["Neuroimaging"]
    assert "research use only" in parent.helpText


def test_the_widget_shows_what_is_installed_without_loading_pytorch(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    widget = module.TumorRetrievalWidget()

    widget.setup()

    assert "TumorRetrieval" in widget.report.text and "Atlas/" in widget.report.text
    assert widget.shown == [widget.report, widget.refreshButton]


def test_looking_again_shows_the_present_state(module, monkeypatch):
    from TumorRetrievalLib.engine import doctor

    widget = module.TumorRetrievalWidget()
    widget.setup()
    monkeypatch.setattr(doctor, "__version__", "9.9.9")

    widget.refreshButton.clicked()

    assert "9.9.9" in widget.report.text


def test_an_incomplete_installation_is_a_plain_message(module, monkeypatch, errors):
    monkeypatch.setitem(sys.modules, "TumorRetrievalLib.engine.doctor", None)

    module.TumorRetrievalWidget().setup()

    assert len(errors) == 1 and "Install the extension again" in errors[0]
