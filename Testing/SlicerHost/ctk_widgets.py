"""Stand-ins for the few CTK widgets that the module uses; what they promise is in `contract.py`."""

from types import ModuleType

from PySide6.QtCore import Property, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QAbstractButton,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComplex,
    QToolButton,
    QWidget,
)

from Testing.SlicerHost.contract import ALL_ENTRIES, stands_in

_SLIDER_STEPS = 10_000
_DIRECTORIES, _FILES = 0x001, 0x002


def _plain(name: str, kind, on_change=None) -> Property:
    """A property that is only remembered, in `_name`."""

    def write(self, value):
        setattr(self, f"_{name}", value)
        if on_change:
            on_change(self)

    return Property(kind, lambda self: getattr(self, f"_{name}"), write)


def _of(part: str, name: str, kind) -> Property:
    """A property that is the property of the same name of a part."""
    return Property(
        kind,
        lambda self: getattr(getattr(self, part), name),
        lambda self, value: setattr(getattr(self, part), name, value),
    )


@stands_in
class ctkCollapsibleButton(QAbstractButton):
    """A button with contents below it, which it shows and hides."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parent = arguments[-1] if arguments and isinstance(arguments[-1], QWidget) else None
        super().__init__(parent)
        self._collapsedHeight = 14
        self._hidden_by_collapsing = []
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QSizePolicy.Minimum, QSizePolicy.Preferred)
        self.setContentsMargins(0, self._head_height() + 4, 0, 0)
        self.toggled.connect(self._show_contents)

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))
    collapsedHeight = _plain("collapsedHeight", int)

    def setCollapsed(self, collapsed):
        self.collapsed = collapsed

    def setCollapsedHeight(self, height):
        self.collapsedHeight = height

    def _head_height(self) -> int:
        return self.fontMetrics().height() + 8

    def _show_contents(self, expanded):
        if expanded:
            for child in self._hidden_by_collapsing:
                child.setVisible(True)
            self._hidden_by_collapsing = []
        else:
            children = [child for child in self.children() if isinstance(child, QWidget)]
            self._hidden_by_collapsing = [child for child in children if not child.isHidden()]
            for child in self._hidden_by_collapsing:
                child.setVisible(False)
        self.setMaximumHeight(16777215 if expanded else self._head_height() + self._collapsedHeight)
        self.updateGeometry()
        self.contentsCollapsed.emit(not expanded)

    def hitButton(self, position):
        return position.y() < self._head_height()

    def sizeHint(self):
        head = QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, self._head_height())
        layout = self.layout()
        if layout is None or self.collapsed:
            return head
        return layout.totalSizeHint().expandedTo(head)

    def minimumSizeHint(self):
        layout = self.layout()
        return QSize(0, self._head_height()) if layout is None or self.collapsed else layout.totalMinimumSize()

    def paintEvent(self, event):
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self._head_height())
        option.state |= QStyle.State_Raised
        painter = QPainter(self)
        self.style().drawControl(QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = QStyleOptionComplex()
        arrow.initFrom(self)
        arrow.rect = option.rect.adjusted(8, 6, 0, -6)
        arrow.rect.setWidth(arrow.rect.height())
        shape = QStyle.PE_IndicatorArrowDown if self.checked else QStyle.PE_IndicatorArrowRight
        self.style().drawPrimitive(shape, arrow, painter, self)
        painter.drawText(option.rect.adjusted(28, 0, -4, 0), int(Qt.AlignLeft | Qt.AlignVCenter), self.text)
        painter.end()


@stands_in
class ctkSliderWidget(QWidget):
    """A slider and a spin box that show the same number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QSlider(Qt.Horizontal, self)
        self._slider.setRange(0, _SLIDER_STEPS)
        self._spin_box = QDoubleSpinBox(self)
        self._tracking = True
        self._pageStep = 10.0
        self._spinBoxVisible = True
        self._last_value = 0.0
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin_box)
        self._slider.valueChanged.connect(self._follow_slider)
        self._slider.sliderReleased.connect(self._tell)
        self._spin_box.valueChanged.connect(self._follow_spin_box)

    minimum = Property(
        float, lambda self: self._spin_box.minimum, lambda self, v: self.setRange(v, max(v, self.maximum))
    )
    maximum = Property(
        float, lambda self: self._spin_box.maximum, lambda self, v: self.setRange(min(v, self.minimum), v)
    )
    value = Property(float, lambda self: self._last_value, lambda self, value: self.setValue(value))
    singleStep = _of("_spin_box", "singleStep", float)
    decimals = _of("_spin_box", "decimals", int)
    prefix = _of("_spin_box", "prefix", str)
    suffix = _of("_spin_box", "suffix", str)
    pageStep = _plain("pageStep", float)
    tracking = _plain("tracking", bool)
    spinBoxVisible = _plain("spinBoxVisible", bool, lambda self: self._spin_box.setVisible(self._spinBoxVisible))

    def setValue(self, value):
        self._spin_box.setValue(value)

    def setRange(self, minimum, maximum):
        self._spin_box.setRange(minimum, maximum)
        self._place_handle()

    def reset(self):
        self.setValue(0.0)

    def spinBox(self):
        return self._spin_box

    def _place_handle(self):
        span = (self.maximum - self.minimum) or 1.0
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(round((self._spin_box.value - self.minimum) / span * _SLIDER_STEPS))
        self._slider.blockSignals(blocked)

    def _follow_slider(self, step):
        wanted = self.minimum + (self.maximum - self.minimum) * step / _SLIDER_STEPS
        blocked = self._spin_box.blockSignals(True)
        self._spin_box.setValue(wanted)
        self._spin_box.blockSignals(blocked)
        if self._tracking or not self._slider.sliderDown:
            self._tell()
        else:
            self.valueIsChanging.emit(self._spin_box.value)

    def _follow_spin_box(self, _):
        self._place_handle()
        self._tell()

    def _tell(self):
        if self._last_value != self._spin_box.value:
            self._last_value = self._spin_box.value
            self.valueChanged.emit(self._last_value)


@stands_in
class ctkRangeWidget(QWidget):
    """Two numbers, the first not above the second. The real one has a slider with two handles between them."""

    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)
    rangeChanged = Signal(float, float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._low = QDoubleSpinBox(self)
        self._high = QDoubleSpinBox(self)
        self._tracking = True
        self._symmetricMoves = False
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._low)
        layout.addWidget(self._high)
        self._bounds = (0.0, 99.0)
        self._low.setRange(*self._bounds)
        self._high.setRange(*self._bounds)
        self._high.setValue(99.0)
        self._low.valueChanged.connect(self._low_moved)
        self._high.valueChanged.connect(self._high_moved)

    minimum = Property(float, lambda self: self._bounds[0], lambda self, v: self.setRange(v, max(v, self._bounds[1])))
    maximum = Property(float, lambda self: self._bounds[1], lambda self, v: self.setRange(min(v, self._bounds[0]), v))
    minimumValue = Property(float, lambda self: self._low.value, lambda self, value: self._low.setValue(value))
    maximumValue = Property(float, lambda self: self._high.value, lambda self, value: self._high.setValue(value))
    tracking = _plain("tracking", bool)
    symmetricMoves = _plain("symmetricMoves", bool)

    @staticmethod
    def _both(name, kind):
        def write(self, value):
            setattr(self._low, name, value)
            setattr(self._high, name, value)

        return Property(kind, lambda self: getattr(self._low, name), write)

    singleStep = _both("singleStep", float)
    decimals = _both("decimals", int)
    prefix = _both("prefix", str)
    suffix = _both("suffix", str)

    def setRange(self, minimum, maximum):
        self._bounds = (minimum, maximum)
        self._low.setRange(minimum, maximum)
        self._high.setRange(max(minimum, self._low.value), maximum)
        self._low.setMaximum(self._high.value)
        self.rangeChanged.emit(minimum, maximum)

    def setValues(self, minimum, maximum):
        self._low.setMaximum(self._bounds[1])
        self._high.setMinimum(self._bounds[0])
        self._high.setValue(maximum)
        self._low.setValue(minimum)

    def setMinimumValue(self, value):
        self._low.setValue(value)

    def setMaximumValue(self, value):
        self._high.setValue(value)

    def reset(self):
        self.setValues(0.0, 0.0)

    def _low_moved(self, value):
        self._high.setMinimum(value)
        self.minimumValueChanged.emit(value)
        self.valuesChanged.emit(value, self._high.value)

    def _high_moved(self, value):
        self._low.setMaximum(value)
        self.maximumValueChanged.emit(value)
        self.valuesChanged.emit(self._low.value, value)


@stands_in
class ctkPathLineEdit(QWidget):
    """A file or folder, typed or chosen in a dialog."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, NoSymLinks = 0x001, 0x002, 0x004, 0x008
    Readable, Writable, Executable, Hidden, System = 0x010, 0x020, 0x040, 0x100, 0x200

    def __init__(self, parent=None):
        super().__init__(parent)
        self._filters, self._nameFilters, self._settingKey, self._label = ALL_ENTRIES, [], "", ""
        self._showBrowseButton = self._showHistoryButton = True
        self._edit = QLineEdit(self)
        self._button = QToolButton(self)
        self._button.setText("...")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._edit)
        layout.addWidget(self._button)
        self._edit.textChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    currentPath = Property(str, lambda self: self._edit.text, lambda self, path: self._edit.setText(path))
    filters = _plain("filters", int)
    nameFilters = _plain("nameFilters", "QStringList")
    settingKey = _plain("settingKey", str)
    label = _plain("label", str)
    showBrowseButton = _plain("showBrowseButton", bool, lambda self: self._button.setVisible(self._showBrowseButton))
    showHistoryButton = _plain("showHistoryButton", bool)

    def setCurrentPath(self, path):
        self.currentPath = path

    def addCurrentPathToHistory(self):
        """The history is not kept here."""

    def retrieveHistory(self):
        """The history is not kept here."""

    def browse(self):
        if self._filters & _DIRECTORIES and not self._filters & _FILES:
            path = QFileDialog.getExistingDirectory(self, self._label, self.currentPath)
        else:
            path = QFileDialog.getOpenFileName(self, self._label, self.currentPath, ";;".join(self._nameFilters))[0]
        if path:
            self.currentPath = path


@stands_in
class ctkMessageBox(QMessageBox):
    """What `slicer.util.errorDisplay` and its kin show."""

    _dontShowAgainVisible, _dontShowAgain, _dontShowAgainSettingsKey = False, False, ""
    dontShowAgainVisible = _plain("dontShowAgainVisible", bool)
    dontShowAgain = _plain("dontShowAgain", bool)
    dontShowAgainSettingsKey = _plain("dontShowAgainSettingsKey", str)


WIDGETS = (ctkCollapsibleButton, ctkSliderWidget, ctkRangeWidget, ctkPathLineEdit, ctkMessageBox)


def make_ctk_module() -> ModuleType:
    """Build `ctk` from the stand-ins."""
    module = ModuleType("ctk", __doc__)
    for widget in WIDGETS:
        setattr(module, widget.__name__, widget)
    return module
