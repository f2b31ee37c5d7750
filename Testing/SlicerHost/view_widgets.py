"""Qt widgets that show the rendered views and hand Qt's events to VTK: qMRMLSliceWidget, qMRMLThreeDWidget."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget

_BUTTONS = {Qt.LeftButton: "LeftButton", Qt.MiddleButton: "MiddleButton", Qt.RightButton: "RightButton"}
_SMALLEST = 60
_OFFSET_STEPS_PER_MM = 10


class _RenderArea(QWidget):
    """Paints the frames of a view and forwards what the mouse and the keyboard do to its interactor."""

    def __init__(self, view, parent=None):
        super().__init__(parent)
        self._view = view
        view.on_change = self.update
        self._image = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.WheelFocus)
        self.setMinimumSize(_SMALLEST, _SMALLEST)
        self.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Expanding)

    def renderWindow(self):
        return self._view.window

    def interactor(self):
        return self._view.interactor

    def displayableManagerByClassName(self, name):
        return self._view.group.GetDisplayableManagerByClassName(name)

    def scheduleRender(self):
        self._view.schedule_render()

    def forceRender(self):
        self._view.render()
        self.update()

    def resizeEvent(self, event):
        self._view.resize(max(event.size().width(), 1), max(event.size().height(), 1))

    def paintEvent(self, event):
        if self._view.needs_rendering or self._image is None:
            pixels = self._view.pixels()
            height, width, _ = pixels.shape
            # The copy owns its memory; the first image only borrows the array's.
            self._image = QImage(pixels.data, width, height, 3 * width, QImage.Format_RGB888).copy()
        painter = QPainter(self)
        painter.drawImage(0, 0, self._image)
        painter.end()

    def _tell_where(self, event, position, key="\0") -> None:
        modifiers = event.modifiers()
        control, shift = bool(modifiers & Qt.ControlModifier), bool(modifiers & Qt.ShiftModifier)
        # VTK counts rows from the bottom.
        x, y = int(position.x()), int(self.height - 1 - position.y())
        self._view.interactor.SetEventInformation(x, y, control, shift, key, 0, None)

    def _button(self, event, what: str) -> None:
        self._tell_where(event, event.position())
        if event.button() in _BUTTONS:
            getattr(self._view.interactor, f"{_BUTTONS[event.button()]}{what}Event")()

    def mousePressEvent(self, event):
        self._button(event, "Press")

    def mouseReleaseEvent(self, event):
        self._button(event, "Release")

    def mouseMoveEvent(self, event):
        self._tell_where(event, event.position())
        self._view.interactor.MouseMoveEvent()

    def wheelEvent(self, event):
        self._tell_where(event, event.position())
        forward = event.angleDelta().y() > 0
        (self._view.interactor.MouseWheelForwardEvent if forward else self._view.interactor.MouseWheelBackwardEvent)()

    def enterEvent(self, event):
        self._view.interactor.EnterEvent()

    def leaveEvent(self, event):
        self._view.interactor.LeaveEvent()


class qMRMLSliceView(_RenderArea):
    """The picture of a slice."""

    def mrmlSliceNode(self):
        return self._view.node


class qMRMLSliceControllerWidget(QWidget):
    """The bar above a slice: its name in its colour, and the slider of its offset."""

    def __init__(self, view, parent=None):
        super().__init__(parent)
        self._view = view
        self._following = False
        self._label = QLabel(self)
        self._slider = QSlider(Qt.Horizontal, self)
        self._slider.valueChanged.connect(self._moved)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 0)
        layout.addWidget(self._label)
        layout.addWidget(self._slider, 1)
        self._slider.setMinimumWidth(30)
        self._label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Fixed)
        layout.setStretch(0, 1)
        red, green, blue = (round(255 * part) for part in view.node.GetLayoutColor())
        self.setAttribute(Qt.WA_StyledBackground)
        self.setStyleSheet(f"qMRMLSliceControllerWidget {{ background: rgb({red}, {green}, {blue}) }}")
        self._label.setStyleSheet("color: black")
        self.setFixedHeight(22)
        view.node.AddObserver("ModifiedEvent", lambda *_: self._follow())
        view.composite_node.AddObserver("ModifiedEvent", lambda *_: self._follow())
        self._follow()

    def _follow(self) -> None:
        bounds = [0.0] * 6
        self._view.logic.GetLowestVolumeSliceBounds(bounds)
        self._following = True
        self._label.setText(self._title())
        self._slider.setRange(round(bounds[4] * _OFFSET_STEPS_PER_MM), round(bounds[5] * _OFFSET_STEPS_PER_MM))
        self._slider.setValue(round(self._view.node.GetSliceOffset() * _OFFSET_STEPS_PER_MM))
        self._following = False

    def _title(self) -> str:
        """Which view, and which volume: Slicer writes the latter into the corner of the picture."""
        logic = self._view.logic.GetBackgroundLayer()
        volume = logic.GetVolumeNode() if logic else None
        label = self._view.node.GetLayoutLabel() or self._view.name
        return f"{label}   {volume.GetName()}" if volume else label

    def _moved(self, step: int) -> None:
        if self._following:
            return
        # Only a change within an interaction goes on to linked views.
        self._view.logic.StartSliceOffsetInteraction()
        self._view.logic.SetSliceOffset(step / _OFFSET_STEPS_PER_MM)
        self._view.logic.EndSliceOffsetInteraction()

    def setSliceLink(self, linked):
        """The chain button."""
        logics = self._view.application.logic.GetSliceLogics()
        for i in range(logics.GetNumberOfItems()):
            logics.GetItemAsObject(i).GetSliceCompositeNode().SetLinkedControl(bool(linked))

    def setBackgroundVolume(self, node):
        """What choosing another volume in the bar's menu does, linked views included."""
        node_id = node.GetID() if node else None
        composite = self._view.composite_node
        self._view.logic.StartSliceCompositeNodeInteraction(composite.BackgroundVolumeFlag)
        composite.SetBackgroundVolumeID(node_id)
        self._view.logic.EndSliceCompositeNodeInteraction()

    def fitSliceToBackground(self):
        self._view.logic.FitSliceToBackground()


class qMRMLSliceWidget(QWidget):
    """A slice with its bar."""

    def __init__(self, view, parent=None):
        super().__init__(parent)
        self._view = view
        self._controller = qMRMLSliceControllerWidget(view, self)
        self._picture = qMRMLSliceView(view, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._controller)
        layout.addWidget(self._picture, 1)

    def sliceLogic(self):
        return self._view.logic

    def sliceView(self):
        return self._picture

    def sliceController(self):
        return self._controller

    def mrmlSliceNode(self):
        return self._view.node

    def mrmlSliceCompositeNode(self):
        return self._view.composite_node

    def interactorStyle(self):
        return self._view.style

    def fitSliceToBackground(self):
        self._controller.fitSliceToBackground()


class qMRMLThreeDView(_RenderArea):
    """The picture of a 3D view."""

    def mrmlViewNode(self):
        return self._view.node

    def resetFocalPoint(self):
        self._view.reset_focal_point()

    def cameraNode(self):
        return self._view.application.logics["Cameras"].GetViewActiveCameraNode(self._view.node)


class qMRMLThreeDWidget(QWidget):
    """A 3D view. The real one has a bar above it."""

    def __init__(self, view, parent=None):
        super().__init__(parent)
        self._view = view
        self._picture = qMRMLThreeDView(view, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._picture)

    def threeDView(self):
        return self._picture

    def mrmlViewNode(self):
        return self._view.node

    def viewLogic(self):
        return self._view.logic
