"""The module that 3D Slicer opens: metadata and a widget. Whatever is computed lives in TumorRetrievalLib."""

import sys
from pathlib import Path

import qt
import slicer.util
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

_HERE = Path(__file__).resolve().parent
if not (_HERE / "TumorRetrievalLib").is_dir() and str(_HERE.parent) not in sys.path:
    # In a checkout the library lies beside this module's folder; an installed extension has it beside this file.
    sys.path.append(str(_HERE.parent))


class TumorRetrieval(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Tumor Retrieval")
        self.parent.categories = ["Neuroimaging"]
        self.parent.dependencies = []
        self.parent.contributors = ["TumorRetrieval contributors"]
        self.parent.helpText = _(
            "Finds known cases whose brain tumors resemble the one in a box. This version shows what is installed: "
            "packages, atlas, models and case indexes, each with its checksum. The search itself runs from the "
            "command line, as the command tumor-retrieval. For research use only."
        )
        self.parent.acknowledgementText = _(
            "The atlas is the MNI152 2009a symmetric average of the McConnell Brain Imaging Centre, Montreal."
        )


class TumorRetrievalWidget(ScriptedLoadableModuleWidget):
    """Shows what is installed."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.report = qt.QPlainTextEdit()
        self.report.setReadOnly(True)
        self.report.setLineWrapMode(qt.QPlainTextEdit.NoWrap)
        self.refreshButton = qt.QPushButton(_("Look again"))
        self.refreshButton.setToolTip(_("Check the installed packages and the checksums of the bundled files again."))
        self.refreshButton.connect("clicked()", self.refresh)
        self.layout.addWidget(self.report)
        self.layout.addWidget(self.refreshButton)
        self.refresh()

    def refresh(self):
        """Look at the installation and show what was found."""
        try:
            # Devices are not probed: that would load PyTorch into Slicer's own process.
            from TumorRetrievalLib.engine.doctor import as_text, examine

            self.report.setPlainText(as_text(examine(probe_devices=False)))
        except ImportError as error:
            slicer.util.errorDisplay(
                _("The library of this extension is incomplete ({error}). Install the extension again.").format(
                    error=error
                )
            )
