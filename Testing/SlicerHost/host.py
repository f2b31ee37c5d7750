"""Starts the host, once per process, and opens modules in it."""

import importlib.util
import sys
from pathlib import Path

from Testing.SlicerHost.environment import prepare

prepare()

import slicer  # noqa: E402
import slicer.util  # noqa: E402
from PySide6.QtCore import QCoreApplication, QSettings  # noqa: E402
from PySide6.QtGui import QFont  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402

from Testing.SlicerHost import pythonqt  # noqa: E402
from Testing.SlicerHost.mrml_application import mrml_application  # noqa: E402

FIRST_LAYOUT = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def start(*, testing: bool = True):
    """Make `slicer.app` and everything that goes with it; later calls return the same.

    Settings go to a folder that is removed at exit, so that no run sees another's.

    :param testing: whether `slicer.util` keeps its dialogs to itself.
    """
    if hasattr(slicer, "app"):
        return slicer.app
    application = QApplication.instance() or QApplication(["SlicerHost"])
    application.setFont(QFont("DejaVu Sans", 9))
    mrml = mrml_application()
    _keep_settings_in(mrml.folder)
    _install_modules()
    from Testing.SlicerHost.application import (
        qSlicerApplication,
        qSlicerScriptedLoadableModule,
        qSlicerScriptedLoadableModuleWidget,
    )

    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    slicer.app = qSlicerApplication(mrml, testing=testing)
    slicer.app.layoutManager().setLayout(FIRST_LAYOUT)
    return slicer.app


def _keep_settings_in(folder: Path) -> None:
    QCoreApplication.setOrganizationName("TumorRetrieval")
    QCoreApplication.setApplicationName("SlicerHost")
    QSettings.setDefaultFormat(QSettings.IniFormat)
    QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, str(folder))


def _install_modules() -> None:
    """Put `qt`, `ctk` and the rest where modules import them from. PythonQt's manners come before any stand-in."""
    qt = pythonqt.make_qt_module()
    from Testing.SlicerHost import ctk_widgets, qmrml_widgets, scripted_module
    from Testing.SlicerHost.ui_files import QUiLoader

    qt.QUiLoader = QUiLoader
    sys.modules["qt"] = qt
    sys.modules["ctk"] = ctk_widgets.make_ctk_module()
    QUiLoader.stand_ins = {cls.__name__: cls for cls in (*ctk_widgets.WIDGETS, *qmrml_widgets.WIDGETS)}
    for widget in qmrml_widgets.WIDGETS:
        setattr(slicer, widget.__name__, widget)
    scripted_module.install()


def load_module(path: Path):
    """Load a scripted module as Slicer does at its start.

    :param path: its Python file; the module's name is the file's.
    :returns: the Python module.
    """
    from Testing.SlicerHost.application import qSlicerScriptedLoadableModule

    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    parent = qSlicerScriptedLoadableModule(name, path)
    setattr(slicer.modules, f"{name}Instance", getattr(loaded, name)(parent))
    slicer.app.moduleManager().add(parent)
    return loaded


def open_module(name: str):
    """Switch to a module.

    :returns: its widget object, `<Name>Widget`.
    """
    slicer.util.selectModule(name)
    return slicer.util.getModuleWidget(name)


def stop() -> None:
    """End as Slicer ends: modules clean up, and the window closes."""
    slicer.app.moduleManager().unload()
    slicer.app.window.close()


def settle() -> None:
    """Let every event that is due happen, paints included."""
    for _ in range(3):
        QApplication.processEvents()


def screenshot(path: Path, width: int, height: int) -> None:
    """Save a picture of the main window at a size."""
    window = slicer.app.window
    window.resize(width, height)
    window.show()
    settle()
    if not window.grab().save(str(path)):
        raise OSError(f"The screenshot could not be written to {path}.")
