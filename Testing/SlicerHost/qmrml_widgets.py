"""Stand-ins for the few qMRML widgets that the module uses; what they promise is in `contract.py`."""

import slicer
from PySide6.QtCore import Property, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from Testing.SlicerHost.contract import stands_in


@stands_in
class qMRMLWidget(QWidget):
    """A widget that knows the scene and passes it on to the widgets that a .ui file connects to it."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    @Slot(object)
    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


def _option(name: str, kind) -> Property:
    def write(self, value):
        self._options[name] = value
        self._refresh()

    return Property(kind, lambda self: self._options[name], write)


@stands_in
class qMRMLNodeComboBox(QWidget):
    """A list of the scene's nodes of some classes, one of which is current.

    Like the real one it selects the first node by itself unless "None" is among the choices.
    """

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeActivated = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._options = {
            "nodeTypes": [], "noneEnabled": False, "addEnabled": True, "removeEnabled": True, "editEnabled": False,
            "renameEnabled": False, "showHidden": False, "showChildNodeTypes": True, "selectNodeUponCreation": True,
            "noneDisplay": "None", "baseName": "",
        }  # fmt: skip
        self._scene = None
        self._observed = []
        self._attributes = []
        self._ids = []
        self._current = ""
        self._refreshing = False
        self._box = QComboBox(self)
        self._box.currentIndexChanged.connect(self._chosen)
        self._box.activated.connect(lambda _: self.nodeActivated.emit(self.currentNode()))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Fixed)
        self.setSizePolicy(QSizePolicy.Preferred, QSizePolicy.Fixed)
        self.setEnabled(False)

    nodeTypes = _option("nodeTypes", "QStringList")
    noneEnabled = _option("noneEnabled", bool)
    addEnabled = _option("addEnabled", bool)
    removeEnabled = _option("removeEnabled", bool)
    editEnabled = _option("editEnabled", bool)
    renameEnabled = _option("renameEnabled", bool)
    showHidden = _option("showHidden", bool)
    showChildNodeTypes = _option("showChildNodeTypes", bool)
    selectNodeUponCreation = _option("selectNodeUponCreation", bool)
    noneDisplay = _option("noneDisplay", str)
    baseName = _option("baseName", str)
    currentNodeID = Property(str, lambda self: self._current, lambda self, node_id: self.setCurrentNodeID(node_id))

    def mrmlScene(self):
        return self._scene

    @Slot(object)
    def setMRMLScene(self, scene):
        for scene_before, tag in self._observed:
            scene_before.RemoveObserver(tag)
        self._scene = scene
        events = slicer.vtkMRMLScene
        self._observed = [
            (scene, scene.AddObserver(event, self._on_scene_event))
            for event in (
                (events.NodeAddedEvent, events.NodeRemovedEvent, events.EndBatchProcessEvent) if scene else ()
            )
        ]
        self.setEnabled(scene is not None)
        self._refresh()

    def _on_scene_event(self, *_):
        before = set(self._ids)
        self._refresh()
        for node_id in self._ids:
            if node_id and node_id not in before:
                node = self._scene.GetNodeByID(node_id)
                self.nodeAdded.emit(node)
                self.nodeAddedByUser.emit(node)

    def _nodes(self) -> list:
        found = []
        for class_name in self.nodeTypes if self._scene else ():
            for i in range(self._scene.GetNumberOfNodesByClass(class_name)):
                node = self._scene.GetNthNodeByClass(i, class_name)
                if node not in found and self._shows(node, class_name):
                    found.append(node)
        return found

    def _shows(self, node, class_name: str) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if node.GetClassName() != class_name and not self.showChildNodeTypes:
            return False
        return all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
            for owner, name, value in self._attributes
            if node.IsA(owner)
        )

    def _refresh(self) -> None:
        if self._refreshing or (self._scene and self._scene.IsBatchProcessing()):
            return
        self._refreshing = True
        nodes = self._nodes()
        self._box.clear()
        self._ids = ([""] if self.noneEnabled else []) + [node.GetID() for node in nodes]
        self._box.addItems(([self.noneDisplay] if self.noneEnabled else []) + [node.GetName() for node in nodes])
        kept = self._current if self._current in self._ids else next(iter(self._ids), "")
        self._box.setCurrentIndex(self._ids.index(kept) if kept in self._ids else -1)
        self._refreshing = False
        self._make_current(kept)

    def _chosen(self, index: int) -> None:
        if not self._refreshing and 0 <= index < len(self._ids):
            self._make_current(self._ids[index])

    def _make_current(self, node_id: str) -> None:
        if node_id == self._current:
            return
        self._current = node_id
        self._refreshing = True
        self._box.setCurrentIndex(self._ids.index(node_id) if node_id in self._ids else -1)
        self._refreshing = False
        node = self.currentNode()
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def currentNode(self):
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    @Slot(object)
    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node else "")

    def setCurrentNodeID(self, node_id):
        # As in the real one, a node that is not listed cannot be current.
        self._make_current(node_id if node_id in self._ids else "")

    def setCurrentNodeIndex(self, index):
        self._make_current(self._ids[index + self.noneEnabled])

    def nodeCount(self):
        return len(self._ids) - self.noneEnabled

    def nodeFromIndex(self, index):
        return self._scene.GetNodeByID(self._ids[index + self.noneEnabled])

    def addNode(self, class_name=None):
        node = self._scene.AddNewNodeByClass(class_name or self.nodeTypes[0], self.baseName)
        for owner, name, value in self._attributes:
            if node.IsA(owner):
                node.SetAttribute(name, value or "")
        self._refresh()
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self):
        node = self.currentNode()
        if node:
            self.nodeAboutToBeRemoved.emit(node)
            self._scene.RemoveNode(node)

    def addAttribute(self, class_name, name, value=None):
        self._attributes.append((class_name, name, value))
        self._refresh()

    def setNodeTypeLabel(self, label, class_name):
        """Only the real one has the menu in which this label is shown."""


WIDGETS = (qMRMLWidget, qMRMLNodeComboBox)
