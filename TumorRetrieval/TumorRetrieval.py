"""The module that 3D Slicer opens: metadata, the widget's life cycle, and the self-test.

What the panels do is in TumorRetrievalGui; whatever is computed lives in TumorRetrievalLib and runs in a process of its
own. Nothing of either is imported before the module is opened.
"""

import sys
from pathlib import Path

import slicer.util
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE, *([] if (_HERE / "TumorRetrievalLib").is_dir() else [_HERE.parent])):
    # In a checkout the library lies beside this module's folder; an installed extension has it beside this file.
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

from TumorRetrievalGui.translation import _  # noqa: E402 - needs the path

_PACKAGES = ("TumorRetrievalGui", "TumorRetrievalLib")


class TumorRetrieval(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Tumor Retrieval")
        self.parent.categories = ["Neuroimaging"]
        self.parent.dependencies = ["Markups", "Segmentations", "Volumes"]
        self.parent.contributors = ["TumorRetrieval contributors"]
        self.parent.helpText = _(
            "<p>Shows known cases whose brain tumors resemble the one in a box.</p>"
            "<ol><li>Load a T1 with contrast and, if there is one, a FLAIR.</li>"
            "<li><b>Suggest boxes</b>, or <b>Draw a box</b> around the tumor.</li>"
            "<li><b>Find similar cases</b>: the tumor is outlined, and the most similar cases appear beside it.</li>"
            "</ol>"
            "<p>Drag the sliders to decide what counts. Double click on a case to see it.</p>"
        )
        self.parent.acknowledgementText = _(
            "The atlas is the MNI152 2009a symmetric average of the McConnell Brain Imaging Centre, Montreal."
        )


class TumorRetrievalWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Makes the panels and tells them what happens to the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        """Called once, when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        try:
            from TumorRetrievalGui.dependencies import Dependencies
            from TumorRetrievalGui.main_panel import MainPanel
            from TumorRetrievalGui.worker_connection import WorkerConnection
        except ImportError as error:
            slicer.util.errorDisplay(_("This extension is incomplete ({error}). Install it again.").format(error=error))
            return
        self.logic = TumorRetrievalLogic()
        self.panel = MainPanel(self.layout, self.logic.query(), WorkerConnection(), Dependencies())
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._beforeClose)
        self.addObserver(scene, scene.EndCloseEvent, self._afterClose)
        self.addObserver(scene, scene.EndImportEvent, self._afterClose)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._nodesChanged)

    def enter(self):
        """Called whenever the module is opened: look at the scene, and make the worker ready."""
        if self.panel is not None:
            self.panel.setParameters(self.logic.query())
            self.panel.sceneChanged()
            self.panel.warmUp()

    def cleanup(self):
        """Called when Slicer ends, and before a reload."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.cleanup()
            self.panel = None

    def onReload(self):
        """Reload the packages too, which Slicer does not do by itself."""
        for name in [name for name in sys.modules if name.split(".")[0] in _PACKAGES]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _beforeClose(self, *_):
        self.panel.cancel()
        self.panel.compare.close()

    def _afterClose(self, *_):
        self.panel.setParameters(self.logic.query())
        self.panel.sceneChanged()

    def _nodesChanged(self, *_):
        if not slicer.mrmlScene.IsClosing():
            self.panel.sceneChanged()


class TumorRetrievalLogic(ScriptedLoadableModuleLogic):
    """The query of the scene; usable without the widget."""

    def query(self):
        """The query of the present scene, made at the first call: a `TumorRetrievalGui.parameters.QueryParameters`."""
        from TumorRetrievalGui.parameters import QueryParameters

        return QueryParameters(self.getParameterNode())


class TumorRetrievalTest(ScriptedLoadableModuleTest):
    """The self-test; Testing/Slicer/self_test.py is what it runs."""

    def runTest(self):
        """Open the module on a small made-up scan and press what needs no worker."""
        self.setUp()
        self.test_a_drawn_box_can_be_searched()

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def test_a_drawn_box_can_be_searched(self):
        """With a scan and a box in it the search can start; without the box its button says why not."""
        import numpy as np
        from TumorRetrievalGui.box_logic import suggestBoxes

        from TumorRetrievalLib.imaging.box import Box

        slicer.util.selectModule("TumorRetrieval")
        panel = slicer.util.getModuleWidget("TumorRetrieval").panel
        node = slicer.util.addVolumeFromArray(np.random.default_rng(0).uniform(0, 1, (40, 40, 40)), name="T1c")
        panel.query.parameters.t1c = node
        panel.query.inputsChanged()
        self.assertIn("box", panel.queryPanel.ui.findButton.toolTip.lower())
        self.assertFalse(panel.queryPanel.ui.findButton.enabled)

        suggestBoxes(panel.query.parameters, [Box.aligned((20, 20, 20), (10, 10, 10))])
        panel.query.inputsChanged()
        self.assertTrue(panel.queryPanel.ui.findButton.enabled)
