"""Loads .ui files with the stand-ins in place of the ctk and qMRML widgets, and refuses what it does not know."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from PySide6 import QtCore, QtUiTools, QtWidgets

_NOT_WIDGET_CLASSES = {"Line"}  # Qt Designer's name for a QFrame


class UnknownUi(RuntimeError):
    """A .ui file asks for a class, a property or a connection that does not exist."""


class QUiLoader(QtUiTools.QUiLoader):
    """Qt's loader with the stand-ins registered."""

    stand_ins: dict[str, type] = {}
    """Class name in .ui files -> the class to make."""

    def __init__(self, parent=None):
        super().__init__(parent)
        for stand_in in self.stand_ins.values():
            self.registerCustomWidget(stand_in)

    def load(self, source, parent=None):
        """Load from an open QFile or a path.

        :raises UnknownUi: for an unknown class, property or connection, with all of them in the message.
        """
        text = source.readAll().data() if hasattr(source, "readAll") else Path(source).read_bytes()
        description = ElementTree.fromstring(text)
        self._refuse_unknown_classes(description)
        # Qt cannot carry VTK pointers through its meta objects here; among the stand-ins they are Python objects.
        buffer = QtCore.QBuffer()
        buffer.setData(re.sub(rb"\((vtk\w+)\s*\*\)", b"(PyObject)", text))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with _QtMessages() as messages:
            widget = super().load(buffer, parent)
        failed = [message for message in messages if "connect" in message]
        if widget is None or failed:
            raise UnknownUi("; ".join(failed) or self.errorString())
        _refuse_unknown_properties(widget, description)
        return widget

    def _refuse_unknown_classes(self, description) -> None:
        used = {element.get("class") for element in description.iter("widget")} - _NOT_WIDGET_CLASSES
        unknown = {name for name in used if name not in self.stand_ins and not hasattr(QtWidgets, name)}
        if unknown:
            raise UnknownUi(f"There is no stand-in for the classes {sorted(unknown)}.")


def _refuse_unknown_properties(root, description) -> None:
    unknown = []
    for element in description.iter("widget"):
        name = element.get("name")
        widget = root if root.objectName == name else root.findChild(QtWidgets.QWidget, name)
        if widget is None or element.get("class") in _NOT_WIDGET_CLASSES:
            continue
        known = widget.metaObject()
        given = [child.get("name") for child in element.findall("property") if child.get("stdset") != "0"]
        unknown += [f"{name}.{given_name}" for given_name in given if known.indexOfProperty(given_name) < 0]
    if unknown:
        raise UnknownUi(f"There are no such properties: {', '.join(unknown)}.")


class _QtMessages(list):
    """What Qt prints while this is entered."""

    def __enter__(self):
        self._before = QtCore.qInstallMessageHandler(lambda kind, context, text: self.append(text))
        return self

    def __exit__(self, *_):
        QtCore.qInstallMessageHandler(self._before)
