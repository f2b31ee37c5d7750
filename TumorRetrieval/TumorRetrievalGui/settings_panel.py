"""Where known cases and the network are, what computes, what is installed, and what happened."""

import ctk
import qt

from TumorRetrievalGui.log import Log
from TumorRetrievalGui.panel import Quiet, loadPanel
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.translation import _


class SettingsPanel:
    """Shows the `Settings` and the `Log`.

    :param layout: the layout to which the panel is added.
    """

    def __init__(self, layout, settings: Settings, log: Log):
        self._settings = settings
        self._log = log
        self._quiet = Quiet()
        self.widget, self.ui = loadPanel("SettingsPanel", layout)
        ui = self.ui
        for text, device in ((_("automatic"), ""), (_("processor"), "cpu"), (_("graphics card"), "cuda")):
            ui.deviceSelector.addItem(text, device)
        for path in (ui.indexPath, ui.modelPath):
            path.filters = ctk.ctkPathLineEdit.Dirs
        ui.deviceSelector.connect("currentIndexChanged(int)", lambda row: self._keep("device", self._device()))
        ui.indexPath.connect("currentPathChanged(QString)", lambda path: self._keep("index", path))
        ui.modelPath.connect("currentPathChanged(QString)", lambda path: self._keep("model", path))
        ui.checkButton.connect("clicked()", self._check)
        ui.copyButton.connect("clicked()", lambda: qt.QApplication.clipboard().setText(self._log.text))
        # The report is a table whose columns are aligned with spaces.
        ui.reportText.setFont(qt.QFontDatabase.systemFont(qt.QFontDatabase.FixedFont))
        ui.reportText.visible = False
        log.changed.connect(self._showLog)
        settings.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show what is kept."""
        ui, settings = self.ui, self._settings
        with self._quiet:
            ui.deviceSelector.setCurrentIndex(max(ui.deviceSelector.findData(settings.device), 0))
            for path, chosen in ((ui.indexPath, settings.index), (ui.modelPath, settings.model)):
                if path.currentPath != chosen:  # else the cursor would jump while somebody types
                    path.currentPath = chosen
        self._showLog()

    def showReady(self, worker: dict) -> None:
        """Say what the worker has loaded. :param worker: its answer to `warm_up`."""
        index, model = worker["index"], worker["model"]
        self._log.add(
            _("Ready: {cases} known cases with {tumors} tumors; network {model}, on {device}.").format(
                cases=index["cases"], tumors=index["tumors"], model=model["name"], device=worker["device"]
            )
        )

    def _device(self) -> str:
        return self.ui.deviceSelector.itemData(self.ui.deviceSelector.currentIndex)

    def _keep(self, name: str, value: str) -> None:
        if self._quiet:
            return
        if not self._settings.keep(name, value):
            self._log.add(_("Settings cannot be written here; the choice holds until Slicer is closed."))

    def _check(self) -> None:
        # Devices are not probed: that would load PyTorch into Slicer's own process.
        from TumorRetrievalLib.engine.doctor import as_text, examine

        self.ui.reportText.setPlainText(as_text(examine(probe_devices=False)))
        self.ui.reportText.visible = True

    def _showLog(self) -> None:
        self.ui.logText.setPlainText(self._log.text)
        bar = self.ui.logText.verticalScrollBar()
        bar.setValue(bar.maximum)
