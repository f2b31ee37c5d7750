"""Hands for the host: real Qt mouse events on the views, at places given in pixels or in RAS millimetres."""

import vtk
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from Testing.SlicerHost.host import settle

_NO_KEYS = Qt.NoModifier


def place_of(slice_widget, ras) -> QPoint:
    """Where a point (RAS mm) appears in a slice view, in the pixels of its picture."""
    to_ras = slice_widget.mrmlSliceNode().GetXYToRAS()
    to_pixels = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(to_ras, to_pixels)
    x, y, *_ = to_pixels.MultiplyPoint((*ras, 1.0))
    return QPoint(round(x), round(slice_widget.sliceView().height - 1 - y))


def click(widget, place: QPoint) -> None:
    """Move there and click the left button."""
    QTest.mouseMove(widget, place)
    settle()
    QTest.mouseClick(widget, Qt.LeftButton, _NO_KEYS, place)
    settle()


def drag(widget, start: QPoint, end: QPoint, *, button=Qt.LeftButton, steps: int = 8) -> None:
    """Press at one place, move in steps, and release at another."""
    QTest.mouseMove(widget, start)
    settle()
    QTest.mousePress(widget, button, _NO_KEYS, start)
    for step in range(1, steps + 1):
        QTest.mouseMove(widget, start + (end - start) * step / steps)
        settle()
    QTest.mouseRelease(widget, button, _NO_KEYS, end)
    settle()


def wheel(widget, steps: int) -> None:
    """Turn the wheel over the middle of a widget; positive is away from the user."""
    middle = QPointF(widget.rect.center())
    for _ in range(abs(steps)):
        angle = QPoint(0, 120 if steps > 0 else -120)
        event = QWheelEvent(
            middle, widget.mapToGlobal(middle), QPoint(), angle, Qt.NoButton, _NO_KEYS, Qt.NoScrollPhase, False
        )
        QApplication.sendEvent(widget, event)
        settle()
