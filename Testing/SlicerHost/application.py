"""slicer.app, slicer.modules and the main window."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer
from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtWidgets import QApplication, QMainWindow, QScrollArea, QSplitter, QVBoxLayout, QWidget

from Testing.SlicerHost.file_io import qSlicerCoreIOManager
from Testing.SlicerHost.layout_manager import qSlicerLayoutManager
from Testing.SlicerHost.mrml_application import MrmlApplication
from Testing.SlicerHost.qmrml_widgets import qMRMLWidget

_PANEL_WIDTH = 420


class qSlicerApplication(QObject):
    """What modules ask of `slicer.app`.

    :param mrml: the scene and its logics.
    :param testing: in testing mode `slicer.util` shows no dialogs and returns what a test is given.
    """

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)

    def __init__(self, mrml: MrmlApplication, *, testing: bool):
        super().__init__()
        self.applicationName = "TumorRetrieval without 3D Slicer"
        self.majorVersion, self.minorVersion, self.revision = 5, 13, "test host"
        self.temporaryPath = self.defaultScenePath = self.slicerHome = str(mrml.folder)
        self.mrml = mrml
        self._testing = testing
        self._pauses = 0
        self._modules = _ModuleManager(self.mrml)
        self._io = qSlicerCoreIOManager(self.mrml)
        self.window = qSlicerMainWindow(self.mrml)

    def mrmlScene(self):
        return self.mrml.scene

    def applicationLogic(self):
        return self.mrml.logic

    def layoutManager(self):
        return self.window.layout_manager

    def moduleManager(self):
        return self._modules

    def coreIOManager(self):
        return self._io

    def ioManager(self):
        return self._io

    def settings(self):
        return QSettings()

    def userSettings(self):
        return QSettings()

    def revisionUserSettings(self):
        return QSettings()

    def commandOptions(self):
        return SimpleNamespace(noMainWindow=False, testingEnabled=self._testing, disableCLIModules=True)

    def testingEnabled(self):
        return self._testing

    def processEvents(self, *arguments):
        QApplication.processEvents(*arguments)

    def topLevelWidgets(self):
        return QApplication.topLevelWidgets()

    def setOverrideCursor(self, cursor):
        QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        QApplication.restoreOverrideCursor()

    def pauseRender(self):
        self._pauses += 1

    def resumeRender(self):
        if self._pauses == 0:
            raise RuntimeError("Rendering is resumed more often than it was paused.")
        self._pauses -= 1

    def translate(self, context, text):
        return text


class qSlicerMainWindow(QMainWindow):
    """The module's panel on the left, the views on the right."""

    def __init__(self, application: MrmlApplication):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("TumorRetrieval, without 3D Slicer. For research use only")
        self.panel = QScrollArea()
        self.panel.setWidgetResizable(True)
        self.panel.setMinimumWidth(_PANEL_WIDTH)
        self.panel.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        viewport = QWidget()
        splitter = QSplitter()
        splitter.addWidget(self.panel)
        splitter.addWidget(viewport)
        splitter.setStretchFactor(0, 0)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([_PANEL_WIDTH, 10_000])
        self.setCentralWidget(splitter)
        self.layout_manager = qSlicerLayoutManager(application, viewport)
        self._selector = SimpleNamespace(selectModule=self.select_module, selectedModule="")

    def moduleSelector(self):
        return self._selector

    def select_module(self, name: str) -> None:
        """Open a module: the one before it is left first."""
        if self._selector.selectedModule:
            slicer.app.moduleManager().module(self._selector.selectedModule).widgetRepresentation().exit()
        self._selector.selectedModule = name
        representation = slicer.app.moduleManager().module(name).widgetRepresentation()
        if self.panel.widget() is not representation:
            self.panel.takeWidget()
            self.panel.setWidget(representation)
        representation.enter()


class _ModuleManager(QObject):
    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self, application: MrmlApplication):
        super().__init__()
        self._modules = {}
        # Slicer fills these two modules while it starts.
        slicer.modules = sys.modules["slicer.modules"] = ModuleType("slicer.modules")
        slicer.moduleNames = sys.modules["slicer.moduleNames"] = ModuleType("slicer.moduleNames")
        for name, logic in application.logics.items():
            self.add(_LoadableModule(name, logic))

    def add(self, module) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        setattr(slicer.moduleNames, module.name, module.name)
        self.moduleLoaded.emit(module.name)

    def module(self, name):
        return self._modules.get(name)

    def unload(self) -> None:
        """What happens when Slicer ends: every scripted module's widget cleans up."""
        for name, module in self._modules.items():
            self.moduleAboutToBeUnloaded.emit(name)
            getattr(module, "unload", lambda: None)()

    def factoryManager(self):
        return self

    def loadedModuleNames(self):
        return list(self._modules)


class _LoadableModule:
    """One of Slicer's own modules: its logic is real, its widget is not here."""

    def __init__(self, name: str, logic):
        self.name = self.title = name
        self._logic = logic

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        raise NotImplementedError(f"The panel of Slicer's module {self.name} is not part of this host.")


class qSlicerScriptedLoadableModule:
    """What `parent` is for a scripted module: it takes the metadata and makes the widget when it is asked for."""

    _METADATA = {
        "title", "categories", "dependencies", "contributors", "helpText", "acknowledgementText", "icon", "hidden",
        "index", "associatedNodeTypes", "widgetRepresentationCreationEnabled",
    }  # fmt: skip

    def __init__(self, name: str, path: Path):
        self.name = self.title = name
        self.path = str(path)
        self.categories, self.dependencies, self.contributors = [], [], []
        self.helpText = self.acknowledgementText = ""
        self.defaultDocumentationLink = ""
        self._representation = None

    def __setattr__(self, name, value):
        if name not in self._METADATA | {"name", "path", "defaultDocumentationLink"} and not name.startswith("_"):
            raise AttributeError(f"A module has no property '{name}'.")
        super().__setattr__(name, value)

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(self.name)
            self._representation.reload()
        return self._representation

    def logic(self):
        return None

    def unload(self) -> None:
        """Let the widget clean up, if it was ever made; the next request makes a new one."""
        if self._representation is not None:
            self._representation.self().cleanup()
            self._representation = None


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The Qt widget around a module's `<Name>Widget` object."""

    def __init__(self, name: str):
        super().__init__()
        self._name = name
        self._python = None
        self.setLayout(QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)

    def self(self):
        return self._python

    def reload(self):
        """Make the Python object anew from the module as it is loaded now."""
        widget_class = getattr(sys.modules[self._name], f"{self._name}Widget")
        self._python = widget_class(self)
        setattr(slicer.modules, f"{self._name}Widget", self._python)
        self._python.setup()

    def enter(self):
        getattr(self._python, "enter", lambda: None)()

    def exit(self):
        getattr(self._python, "exit", lambda: None)()
