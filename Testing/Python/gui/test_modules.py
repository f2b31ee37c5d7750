"""Scripted modules load, open, keep parameters and reload as in Slicer; files and scenes are read and written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]

MODULE = """
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *


class Probe(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Probe")


class ProbeWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ProbeLogic()
        self.calls = ["setup"]

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")


class ProbeLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def probe(scene, tmp_path):
    """A small module, opened."""
    from Testing.SlicerHost import host

    path = tmp_path / "Probe.py"
    path.write_text(MODULE, encoding="utf-8")
    host.load_module(path)
    return host.open_module("Probe")


def test_a_module_is_listed_with_its_title_and_opened_once(app, probe):
    import slicer

    assert slicer.modules.probe.title == "Probe" and slicer.util.getModuleWidget("Probe") is probe
    assert probe.calls == ["setup", "enter"] and slicer.util.getModuleLogic("Probe") is probe.logic


def test_a_module_that_sets_metadata_of_another_spelling_is_told(app):
    from Testing.SlicerHost.application import qSlicerScriptedLoadableModule

    with pytest.raises(AttributeError, match="helptext"):
        qSlicerScriptedLoadableModule("Probe", Path("Probe.py")).helptext = "x"


def test_reloading_cleans_up_and_makes_a_new_widget(probe):
    import slicer.util

    slicer.util.reloadScriptedModule("Probe")
    renewed = slicer.util.getModuleWidget("Probe")

    assert probe.calls[-1] == "cleanup" and renewed is not probe and renewed.calls == ["setup"]


def test_a_module_cleans_up_when_the_application_ends(app, probe):
    app.moduleManager().unload()

    assert probe.calls[-1] == "cleanup"


def test_the_parameter_node_is_one_and_is_saved_with_the_scene(scene, probe, tmp_path):
    import slicer.util

    probe.logic.getParameterNode().SetParameter("k", "5")
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    scene.Clear(0)
    slicer.util.loadScene(str(path))

    assert probe.logic.getParameterNode().GetParameter("k") == "5"
    assert len(probe.logic.getAllParameterNodes()) == 1


def test_missing_packages_are_refused_as_by_a_user_who_says_no(app, tmp_path):
    import slicer.packaging

    path = tmp_path / "requirements.txt"
    path.write_text("numpy>=1.20  # arrays\nno-such-package-here>=3\n", encoding="utf-8")
    wanted = slicer.packaging.load_requirements(path)

    assert slicer.packaging.pip_check(wanted[0]) and not slicer.packaging.pip_check(wanted)
    slicer.packaging.pip_ensure(wanted[:1], requester="Probe")
    with pytest.raises(RuntimeError, match="Probe needs packages"):
        slicer.packaging.pip_ensure(wanted, requester="Probe")


def test_the_projects_own_module_opens_unchanged(scene):
    from Testing.SlicerHost import host

    host.load_module(ROOT / "TumorRetrieval" / "TumorRetrieval.py")

    assert host.open_module("TumorRetrieval") is not None


def test_a_volume_is_written_and_read_by_slicers_own_functions(scene, tmp_path):
    import slicer.util

    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    node = slicer.util.addVolumeFromArray(values)
    path = tmp_path / "volume.nrrd"
    assert slicer.util.saveNode(node, str(path))

    assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.loadVolume(str(path))), values)


def test_a_file_that_is_not_there_is_an_error(scene, tmp_path):
    import slicer.util

    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"))


def run_window(*arguments, **environment):
    command = [sys.executable, "-m", "Testing.SlicerHost", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


def test_the_window_saves_a_picture_of_the_asked_size_and_says_what_it_is(app, tmp_path):
    from PySide6.QtGui import QImage

    path = tmp_path / "window.png"
    result = run_window("--screenshot", path, "--size", "1100x700")

    image = QImage(str(path))
    assert result.returncode == 0, result.stderr
    assert (image.width(), image.height()) == (1100, 700) and "research use only" in result.stderr


def test_a_scan_that_is_not_there_is_a_plain_message(app, tmp_path):
    result = run_window(tmp_path / "nothing.nii.gz", "--screenshot", tmp_path / "window.png")

    assert result.returncode == 2 and "there is no file" in result.stderr and "Traceback" not in result.stderr
