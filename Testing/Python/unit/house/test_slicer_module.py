"""The module file loads in a bare 3D Slicer: nothing but the standard library and Slicer itself is needed for that.

Slicer is replaced by the few classes that the file derives from; Testing/Python/gui tests the panels in the host.
"""

import ast
import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[4]
MODULE = ROOT / "TumorRetrieval" / "TumorRetrieval.py"
MAY_BE_LOADED_AT_FILE_SCOPE = {"slicer", "vtk", "qt", "ctk", "TumorRetrievalGui", "TumorRetrievalLib"}


class _Module:
    def __init__(self, parent):
        self.parent = parent


class _Widget:
    def __init__(self, parent=None):
        self.layout = None

    def setup(self):
        pass


@pytest.fixture
def errors():
    """What the user was told in a dialog."""
    return []


@pytest.fixture
def slots():
    """What waits for signals of the application."""
    return []


@pytest.fixture
def module(monkeypatch, errors, slots):
    """TumorRetrieval.py, loaded with nothing but the standard library and the stand-ins."""
    plain = type("Plain", (), {})
    parts = {
        "slicer": {},
        "slicer.util": {"errorDisplay": errors.append, "VTKObservationMixin": plain},
        "slicer.i18n": {"tr": lambda text: text},
        "slicer.ScriptedLoadableModule": {
            "ScriptedLoadableModule": _Module,
            "ScriptedLoadableModuleWidget": _Widget,
            "ScriptedLoadableModuleLogic": plain,
            "ScriptedLoadableModuleTest": plain,
        },
    }
    for name, content in parts.items():
        stand_in = ModuleType(name)
        stand_in.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, stand_in)
    sys.modules["slicer"].util = sys.modules["slicer.util"]
    sys.modules["slicer"].app = SimpleNamespace(connect=lambda signal, slot: slots.append((signal, slot)))
    kept = {name: loaded for name, loaded in sys.modules.items() if name.startswith("TumorRetrievalGui")}
    for name in kept:
        monkeypatch.delitem(sys.modules, name)
    spec = importlib.util.spec_from_file_location("TumorRetrieval_under_test", MODULE)
    loaded = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(loaded)
    yield loaded
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("TumorRetrievalGui")]:
        del sys.modules[name]
    sys.modules.update(kept)


def test_the_module_list_says_what_it_is_and_how_it_is_used(module):
    parent = SimpleNamespace()

    module.TumorRetrieval(parent)

    assert parent.title == "Tumor Retrieval" and parent.categories == ["Neuroimaging"]
    assert set(parent.dependencies) == {"Markups", "Segmentations", "Volumes"}
    assert "Find similar cases" in parent.helpText


def test_the_help_leads_to_a_tutorial_that_is_there(module):
    parent = SimpleNamespace()

    module.TumorRetrieval(parent)

    address = re.search(r'href="file://([^"]+)"', parent.helpText)[1]
    page = Path(address).read_text(encoding="utf-8")
    for button in ("Draw a box", "Suggest boxes", "Find similar cases", "Draw the box again 10 times"):
        assert button in page
    assert "research use only" in page and "diagnosis" not in page.lower()


def test_the_bundled_patient_is_offered_in_sample_data_once_slicer_has_started(module, slots, monkeypatch):
    offered = {}
    sample_data = ModuleType("SampleData")
    sample_data.SampleDataLogic = SimpleNamespace(
        registerCustomSampleDataSource=lambda **source: offered.update(source)
    )
    module.TumorRetrieval(SimpleNamespace())
    ((signal, offer),) = slots
    assert signal == "startupCompleted()" and offered == {}

    monkeypatch.setitem(sys.modules, "SampleData", sample_data)
    offer()

    assert len(offered["uris"]) == len(offered["fileNames"]) == len(offered["nodeNames"]) == 2
    for address, told in zip(offered["uris"], offered["checksums"], strict=True):
        content = Path(address.removeprefix("file://")).read_bytes()
        assert told == f"SHA256:{hashlib.sha256(content).hexdigest()}"
    assert Path(offered["thumbnailFileName"]).is_file()


def test_without_sample_data_nothing_is_offered_and_nothing_fails(module, slots, monkeypatch):
    module.TumorRetrieval(SimpleNamespace())
    monkeypatch.setitem(sys.modules, "SampleData", None)

    slots[0][1]()


def test_loading_the_module_loads_none_of_its_panels(module):
    loaded = {name for name in sys.modules if name.startswith("TumorRetrievalGui")}

    assert loaded == {"TumorRetrievalGui", "TumorRetrievalGui.translation"}


@pytest.mark.parametrize("path", sorted((ROOT / "TumorRetrieval").rglob("*.py")), ids=lambda path: path.stem)
def test_no_file_of_the_panels_needs_an_installed_package_at_its_top_except_numpy(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    packages = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - MAY_BE_LOADED_AT_FILE_SCOPE

    assert packages <= ({"numpy"} if path != MODULE else set())


@pytest.mark.parametrize("path", sorted((ROOT / "TumorRetrieval").rglob("*.ui")), ids=lambda path: path.stem)
def test_a_long_text_is_wrapped_instead_of_widening_the_panel(path):
    labels = [label for label in ElementTree.parse(path).iter("widget") if label.get("class") == "QLabel"]
    wrapped = [label for label in labels if label.find("property[@name='wordWrap']") is not None]
    policies = [label.find("property[@name='sizePolicy']/sizepolicy") for label in wrapped]

    assert all(policy is not None and policy.get("hsizetype") == "Ignored" for policy in policies)


def test_an_incomplete_installation_is_a_plain_message(module, monkeypatch, errors):
    monkeypatch.setitem(sys.modules, "TumorRetrievalGui.dependencies", None)
    monkeypatch.setattr(module.VTKObservationMixin, "__init__", lambda self: None)

    module.TumorRetrievalWidget().setup()

    assert len(errors) == 1 and "Install it again" in errors[0]
