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
_TUTORIAL = _HERE / "Resources" / "tutorial.html"


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
            "<p>Drag the sliders to decide what counts. Double click on a case to see it. <b>Draw the box again</b> "
            "tells which cases are found whoever draws the box, and the <b>map</b> where the tumor lies among all "
            "known ones. <b>Growth</b> fits a simulation to the tumor. <b>Known cases</b> says what is searched, and "
            "takes in cases of your own.</p>"
            "<p>The sample patient is in the module Sample Data; no person was scanned. For research use only: similar "
            "cases inform a reader and decide nothing.</p>"
        )
        self.parent.helpText += _('<p><a href="{address}">Tutorial</a></p>').format(address=_TUTORIAL.as_uri())
        self.parent.acknowledgementText = _(
            "The atlas is the MNI152 2009a symmetric average of the McConnell Brain Imaging Centre, Montreal."
        )
        # Sample Data may be loaded after this module.
        slicer.app.connect("startupCompleted()", self._offerSample)

    def _offerSample(self):
        from TumorRetrievalGui.sample_data import registerSample

        registerSample(str(_HERE / "Resources" / "Icons" / "TumorRetrieval.png"))


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
        """Open the module on a small made-up scan and try what needs no worker."""
        for test in (
            self.test_a_drawn_box_can_be_searched,
            self.test_an_answer_is_shown_and_can_be_looked_into,
            self.test_the_map_answers_the_mouse,
        ):
            self.setUp()
            test()

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

    def test_an_answer_is_shown_and_can_be_looked_into(self):
        """A made-up answer fills the list: the box can be drawn again, and growth be fitted."""
        import numpy as np

        slicer.util.selectModule("TumorRetrieval")
        panel = slicer.util.getModuleWidget("TumorRetrieval").panel
        parameters = panel.query.parameters
        parameters.t1c = slicer.util.addVolumeFromArray(np.zeros((40, 40, 40)), name="T1c")
        blocks = {"appearance": 0.3, "type": 0.2, "position": 0.2, "extent": 0.2}
        hit = {"case": "case-1", "tumor": "1", "score": 0.9, "blocks": blocks, "type": "glioma", "volume_ml": 4.0,
               "stability": {"kept": 9, "boxes": 10, "score_spread": 0.02}}  # fmt: skip
        box = {"center_ras": [20, 20, 20], "size_mm": [10, 10, 10], "axes": np.eye(3).tolist()}
        tumor = {"box": box, "types": {"glioma": 1.0}, "area": "", "core_ml": 1.0, "whole_ml": 2.0, "hits": [hit]}
        parameters.answer = {"tumors": [tumor], "notes": []}
        panel.results.changed.emit()
        self.assertEqual(panel.resultsPanel.ui.hitTable.rowCount, 1)
        self.assertIn("9 of 10", panel.resultsPanel.ui.hitTable.item(0, 1).text())
        self.assertTrue(panel.resultsPanel.ui.stabilityButton.enabled)
        self.assertTrue(panel.growthPanel.ui.fitButton.toolTip)

    def test_the_map_answers_the_mouse(self):
        """Points are painted, and the mouse finds them: PythonQt calls the handlers of a widget of ours."""
        import qt
        from TumorRetrievalGui.map_view import MapView

        view = MapView()
        view.resize(300, 300)
        view.setPoints([[0.0, 0.0], [0.5, 0.5]], ["#ff0000", "#0000ff"])
        view.setMarks({1: 1}, [0.0, 0.0])
        image = view.grab().toImage()
        x, y = view.placeOf([0.5, 0.5])
        self.assertGreater(qt.QColor(image.pixel(int(x) + 5, int(y))).blue(), 150)
        chosen = []
        view.chosen.connect(chosen.append)
        place = qt.QPointF(x, y)
        view.mouseReleaseEvent(
            qt.QMouseEvent(
                qt.QEvent.MouseButtonRelease, place, place, qt.Qt.LeftButton, qt.Qt.LeftButton, qt.Qt.NoModifier
            )
        )
        self.assertEqual(chosen, [1])
