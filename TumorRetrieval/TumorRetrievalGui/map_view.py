"""A picture of points in the plane, with the patient's tumor and the listed cases marked, that answers the mouse."""

from collections.abc import Mapping

import numpy as np
import qt

from TumorRetrievalGui.signals import Signal

PALETTE = ("#e69f00", "#56b4e9", "#d55e9e", "#2fa57f", "#8c73d9", "#d55e00")
"""Colours of the types, in their order: those of Okabe and Ito, which colour-blind readers can tell apart; two of them
changed so that they are seen on a dark ground too."""
UNKNOWN = "#8f8f8f"

_MARGIN = 14
_POINT = 4
_MARK_RADIUS, _SMALL_MARK_RADIUS = 8, 5
_REACH = 9
_CLOSEST = 0.05
"""The least that is shown from the middle to the edge, as a part of the whole map."""
_OPACITY = 0.55


class MapView(qt.QWidget):
    """Shows a map. Points are named by their numbers."""

    def __init__(self, parent=None):
        qt.QWidget.__init__(self, parent)
        self._points = np.zeros((0, 2))
        self._colors: list[str] = []
        self._marks: Mapping[int, int] = {}
        self._query: list[float] | None = None
        self._near = False
        self._ground = None
        #: The mouse is over another point: its number, or None.
        self.hovered = Signal()
        #: A point was clicked: its number.
        self.chosen = Signal()
        self._under: int | None = None
        self.setMouseTracking(True)
        self.setMinimumHeight(300)

    def setPoints(self, points, colors: list[str]) -> None:
        """Show other points. :param points: from -1 to 1, upwards; :param colors: #rrggbb of each."""
        self._points = np.asarray(points, float).reshape(-1, 2)
        self._colors, self._ground, self._under = list(colors), None, None
        self.update()

    def setMarks(self, marks: Mapping[int, int], query: list[float] | None) -> None:
        """Mark points. :param marks: number of a point -> what is written at it; :param query: the patient's place."""
        self._marks, self._query = marks, query
        if self._near:
            self._ground = None
        self.update()

    def setNear(self, near: bool) -> None:
        """Show the surroundings of the patient and of what is marked, and not the whole map."""
        self._near, self._ground = near, None
        self.update()

    def placeOf(self, point) -> tuple[float, float]:
        """Where a point of the plane lies in this widget, in pixels."""
        x, y = np.asarray(self._pixels(np.asarray(point, float)[None]))[0]
        return float(x), float(y)

    def paintEvent(self, event):
        """Called by Qt."""
        if self._ground is None or self._ground.size() != self.size:
            self._ground = self._paintGround()
        painter = qt.QPainter()
        painter.begin(self)
        painter.drawPixmap(0, 0, self._ground)
        painter.setRenderHint(qt.QPainter.Antialiasing, True)
        text = self.palette.color(qt.QPalette.Text)
        if self._query is not None:
            self._paintQuery(painter, text)
        self._paintMarks(painter)
        if self._under is not None:
            painter.setPen(qt.QPen(text, 2))
            painter.setBrush(qt.QBrush(qt.Qt.NoBrush))
            x, y = self.placeOf(self._points[self._under])
            painter.drawEllipse(qt.QPointF(x, y), _MARK_RADIUS + 2, _MARK_RADIUS + 2)
        painter.end()

    def mouseMoveEvent(self, event):
        """Called by Qt."""
        under = self._at(event)
        if under != self._under:
            self._under = under
            self.update()
            self.hovered.emit(under)

    def leaveEvent(self, event):
        """Called by Qt."""
        if self._under is not None:
            self._under = None
            self.update()
            self.hovered.emit(None)

    def mouseReleaseEvent(self, event):
        """Called by Qt."""
        if event.button() == qt.Qt.LeftButton and (number := self._at(event)) is not None:
            self.chosen.emit(number)

    def _at(self, event) -> int | None:
        """The point under the mouse; a marked one before its neighbours."""
        # Qt 5, which some versions of Slicer are built with, has no `position`.
        place = event.position() if hasattr(event, "position") else event.localPos()
        if len(self._points) == 0:
            return None
        distances = np.linalg.norm(self._pixels(self._points) - (place.x(), place.y()), axis=1)
        near = [number for number in self._marks if distances[number] <= _REACH]
        number = min(near, key=lambda one: distances[one]) if near else int(np.argmin(distances))
        return number if distances[number] <= _REACH else None

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        """Points of the plane in pixels of this widget; one scale in both directions, upwards is up."""
        middle, reach = self._region()
        scale = max(min(self.width, self.height) / 2 - _MARGIN, 1) / reach
        return (points - middle) * (scale, -scale) + (self.width / 2, self.height / 2)

    def _region(self) -> tuple[np.ndarray, float]:
        """What is shown: its middle, and how far it reaches from there."""
        inside = [self._points[number] for number in self._marks] + ([self._query] if self._query is not None else [])
        if not self._near or not inside:
            return np.zeros(2), 1.0
        low, high = np.min(inside, axis=0), np.max(inside, axis=0)
        return (low + high) / 2, max(float((high - low).max()) / 2, _CLOSEST)

    def _paintGround(self):
        """All points, painted once for each size."""
        pixmap = qt.QPixmap(self.size)
        pixmap.fill(self.palette.color(qt.QPalette.Base))
        painter = qt.QPainter()
        painter.begin(pixmap)
        painter.setRenderHint(qt.QPainter.Antialiasing, True)
        painter.setOpacity(_OPACITY)
        pixels = np.round(self._pixels(self._points)).astype(int).tolist()
        for color in dict.fromkeys(self._colors):
            pen = qt.QPen(qt.QColor(color), _POINT)
            pen.setCapStyle(qt.Qt.RoundCap)
            painter.setPen(pen)
            for (x, y), own in zip(pixels, self._colors, strict=True):
                if own == color:
                    painter.drawPoint(x, y)
        painter.end()
        return pixmap

    def _paintMarks(self, painter) -> None:
        """Numbers where there is room for them, the first before the others; small rings where there is none."""
        numbered, crowded = [], []
        for number, label in sorted(self._marks.items(), key=lambda mark: mark[1]):
            place = np.array(self.placeOf(self._points[number]))
            free = all(np.linalg.norm(place - other) >= 2 * _MARK_RADIUS for other, *_ in numbered)
            (numbered if free else crowded).append((place, str(label), qt.QColor(self._colors[number])))
        font = qt.QFont(painter.font())
        font.setPixelSize(10)
        painter.setFont(font)
        for marks, radius in ((crowded, _SMALL_MARK_RADIUS), (numbered, _MARK_RADIUS)):
            for (x, y), label, color in marks:
                painter.setPen(qt.QPen(qt.QColor(20, 20, 20), 1))
                painter.setBrush(qt.QBrush(color))
                painter.drawEllipse(qt.QPointF(x, y), radius, radius)
                if marks is numbered:
                    box = qt.QRectF(x - radius, y - radius, 2 * radius, 2 * radius)
                    painter.drawText(box, int(qt.Qt.AlignCenter), label)

    def _paintQuery(self, painter, color) -> None:
        """A cross that is open in its middle, so that what lies under it can be seen."""
        x, y = self.placeOf(self._query)
        for width, pen in ((5, self.palette.color(qt.QPalette.Base)), (2, color)):
            painter.setPen(qt.QPen(pen, width))
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                painter.drawLine(qt.QPointF(x + 5 * dx, y + 5 * dy), qt.QPointF(x + 14 * dx, y + 14 * dy))
