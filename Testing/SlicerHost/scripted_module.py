"""slicer.ScriptedLoadableModule, slicer.i18n and slicer.packaging, written from Slicer's public documentation.

https://slicer.readthedocs.io/en/latest/developer_guide/slicer.html and .../module_overview.html say what modules may
expect of these classes; nothing beyond that is here.
"""

import importlib.metadata
import sys
import unittest
from pathlib import Path
from types import ModuleType

import slicer
from packaging.requirements import Requirement
from PySide6.QtCore import QSettings
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QPushButton, QVBoxLayout

from Testing.SlicerHost.qmrml_widgets import qMRMLWidget


def _file_of(instance) -> Path:
    return Path(sys.modules[type(instance).__module__].__file__)


class ScriptedLoadableModule:
    """Base of `<Name>`: the metadata, set on `parent`."""

    def __init__(self, parent):
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = parent.acknowledgementText = ""
        icon = Path(self.resourcePath(f"Icons/{self.moduleName}.png"))
        if icon.exists():
            parent.icon = QIcon(str(icon))

    def resourcePath(self, filename):
        """The path of a file in the module's folder Resources."""
        return str(_file_of(self).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f'<p>For more information see the <a href="{docPage or ""}">online documentation</a>.</p>'

    def runTest(self, msec=100, **kwargs):
        """Run `<Name>Test`."""
        test = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test")()
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """Base of `<Name>Widget`: `layout` is where it puts its widgets."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Widget")
        if parent is None:
            parent = qMRMLWidget()
            parent.setLayout(QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()

    @property
    def developerMode(self):
        return QSettings().value("Developer/DeveloperMode", "false") in (True, "true")

    def resourcePath(self, filename):
        return str(_file_of(self).parent / "Resources" / filename)

    def setup(self):
        if self.developerMode:
            button = QPushButton("Reload")
            button.objectName = "reloadButton"
            button.connect("clicked()", self.onReload)
            self.layout.addWidget(button)

    def cleanup(self):
        """Called before the widget goes; overridden by modules."""

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """Base of `<Name>Logic`."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The module's parameter node; made at the first call."""
        nodes = self.getAllParameterNodes()
        return nodes[0] if nodes else slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        scene = slicer.mrmlScene
        count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
        nodes = [scene.GetNthNodeByClass(i, "vtkMRMLScriptedModuleNode") for i in range(count)]
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base of `<Name>Test`; a module overrides `runTest`."""

    def runTest(self):
        """Overridden by modules."""

    def delayDisplay(self, message, *arguments, **options):
        slicer.util.delayDisplay(message, autoCloseMsec=0)


def load_requirements(path):
    """slicer.packaging.load_requirements: the requirements of a text file."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def pip_check(requirements):
    """slicer.packaging.pip_check: whether all of them are installed in fitting versions."""
    given = requirements if isinstance(requirements, list | tuple) else [requirements]
    return all(_is_installed(Requirement(str(requirement))) for requirement in given)


def pip_ensure(requirements, requester="", **_):
    """slicer.packaging.pip_ensure, with a user who always refuses: this host installs nothing.

    :raises RuntimeError: if something is missing, as Slicer raises it after a refusal.
    """
    if not pip_check(requirements):
        raise RuntimeError(f"{requester} needs packages that are missing, and their installation was refused.")


def _is_installed(requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def install() -> None:
    """Make these importable under Slicer's names."""
    contents = {
        "ScriptedLoadableModule": (
            ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic,
            ScriptedLoadableModuleTest,
        ),
        "packaging": (load_requirements, pip_check, pip_ensure),
    }  # fmt: skip
    for name, members in contents.items():
        _add(name, {member.__name__: member for member in members})
    _add("i18n", {"tr": lambda text: text, "translate": lambda context, text: text})


def _add(name: str, members: dict) -> None:
    module = ModuleType(f"slicer.{name}")
    module.__dict__.update(members)
    sys.modules[f"slicer.{name}"] = module
    setattr(slicer, name, module)
