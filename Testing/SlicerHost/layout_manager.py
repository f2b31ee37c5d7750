"""qMRMLLayoutManager: Slicer's layout logic reads the description and makes the view nodes; here Qt boxes are built."""

import xml.etree.ElementTree as ElementTree

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSplitter, QTabWidget, QVBoxLayout, QWidget

from Testing.SlicerHost.mrml_views import SliceView, ThreeDView
from Testing.SlicerHost.view_widgets import qMRMLSliceWidget, qMRMLThreeDWidget


class qSlicerLayoutManager(QObject):
    """Shows the layout that the layout node asks for.

    Views that are hidden by a change of layout are kept, as in Slicer.

    :param application: the `MrmlApplication`.
    :param viewport: the widget to fill.
    """

    layoutChanged = Signal(int)

    def __init__(self, application, viewport: QWidget):
        super().__init__()
        self._application = application
        self._viewport = viewport
        self._slices = {}
        self._three_ds = {}
        self._shown = None
        QVBoxLayout(viewport).setContentsMargins(0, 0, 0, 0)
        application.layout_node.AddObserver("ModifiedEvent", lambda *_: self._show())
        self._show()

    @property
    def layout(self) -> int:
        return self._application.layout_node.GetViewArrangement()

    @layout.setter
    def layout(self, layout_id: int):
        self.setLayout(layout_id)

    def setLayout(self, layout_id):
        self._application.layout_node.SetViewArrangement(layout_id)

    def layoutLogic(self):
        return self._application.layout_logic

    def mrmlScene(self):
        return self._application.scene

    def sliceViewNames(self):
        return list(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    @property
    def threeDViewCount(self) -> int:
        return len(self._three_ds)

    def threeDWidget(self, index):
        return list(self._three_ds.values())[index]

    def viewWidget(self, node):
        widgets = {**self._slices, **self._three_ds}
        return widgets.get(node.GetLayoutName()) if node else None

    def mrmlSliceLogics(self):
        return self._application.logic.GetSliceLogics()

    def resetSliceViews(self):
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self):
        for widget in self._three_ds.values():
            widget.threeDView().resetFocalPoint()

    def _show(self) -> None:
        description = self._application.layout_node.GetCurrentLayoutDescription()
        if not description or description == self._shown:
            return
        self._shown = description
        for widget in (*self._slices.values(), *self._three_ds.values()):
            widget.setParent(None)
        box = self._viewport.layout()
        while box.count():
            box.takeAt(0).widget().deleteLater()
        box.addWidget(self._build(ElementTree.fromstring(description)))
        # A widget that was taken out of the last layout is hidden until it is asked to show.
        for widget in (*self._slices.values(), *self._three_ds.values()):
            widget.setVisible(self._viewport.isAncestorOf(widget))
        self.layoutChanged.emit(self.layout)

    def _build(self, element) -> QWidget:
        if element.tag == "view":
            return self._view(element)
        kind, items = element.get("type"), element.findall("item")
        if kind == "tab":
            tabs = QTabWidget()
            for item in items:
                tabs.addTab(self._build(item[0]), item.get("name", ""))
            return tabs
        if kind == "grid":
            return self._grid(items)
        if element.get("split") == "true":
            splitter = QSplitter(Qt.Horizontal if kind == "horizontal" else Qt.Vertical)
            for item in items:
                splitter.addWidget(self._build(item[0]))
            sizes = [int(item.get("splitSize", 0)) for item in items]
            splitter.setSizes(sizes if any(sizes) else [1000] * len(items))
            return splitter
        holder = QWidget()
        box = QHBoxLayout(holder) if kind == "horizontal" else QVBoxLayout(holder)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(1)
        for item in items:
            box.addWidget(self._build(item[0]), 1)
        return holder

    def _grid(self, items) -> QWidget:
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(1)
        for item in items:
            row, column = int(item.get("row", 0)), int(item.get("column", 0))
            rows, columns = int(item.get("rowspan", 1)), int(item.get("colspan", 1))
            grid.addWidget(self._build(item[0]), row, column, rows, columns)
        return holder

    def _view(self, element) -> QWidget:
        name, class_name = element.get("singletontag"), element.get("class")
        if class_name == "vtkMRMLSliceNode":
            if name not in self._slices:
                self._slices[name] = qMRMLSliceWidget(SliceView(self._application, name))
            return self._slices[name]
        if class_name == "vtkMRMLViewNode":
            if name not in self._three_ds:
                self._three_ds[name] = qMRMLThreeDWidget(ThreeDView(self._application, name))
            return self._three_ds[name]
        raise NotImplementedError(f"This host has no views of the class {class_name}.")
