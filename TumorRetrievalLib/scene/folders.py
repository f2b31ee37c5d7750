"""One folder in the Data module's tree for everything that belongs to one query, removed in one act."""

import slicer
import vtk

_MARK = "TumorRetrieval.Query"


def add_folder(scene, name: str) -> int:
    """Make the folder of a query.

    :returns: its item in the subject hierarchy.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name)
    hierarchy.SetItemAttribute(item, _MARK, "1")
    hierarchy.SetItemExpanded(item, True)
    return item


def folders_in(scene) -> list[int]:
    """The folders of all queries, the oldest first; also those that came with a saved scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    found = (items.GetId(i) for i in range(items.GetNumberOfIds()))
    return [item for item in found if hierarchy.GetItemAttribute(item, _MARK)]


def put_into(scene, folder: int, *nodes) -> None:
    """Move nodes into a folder. Slicer itself lists each node once, wherever it lies."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        if item == hierarchy.GetInvalidItemID():
            hierarchy.CreateItem(folder, node)
        else:
            hierarchy.SetItemParent(item, folder)


def nodes_in(scene, folder: int) -> list:
    """What lies in a folder, at any depth."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, items, True)
    nodes = [hierarchy.GetItemDataNode(items.GetId(i)) for i in range(items.GetNumberOfIds())]
    return [node for node in nodes if node is not None]


def remove_folder(scene, folder: int) -> None:
    """Remove a folder with every node in it, and what only these nodes used: displays, storages."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = nodes_in(scene, folder)
    remove_nodes(scene, nodes)
    hierarchy.RemoveItem(folder, True, True)


def remove_nodes(scene, nodes: list) -> None:
    """Remove nodes, and what only these nodes used: displays, storages."""
    helpers = [helper for node in nodes for helper in _helpers_of(node)]
    for node in (*nodes, *helpers):
        if scene.IsNodePresent(node):
            scene.RemoveNode(node)


def _helpers_of(node) -> list:
    """Display and storage nodes of a node."""
    if not node.IsA("vtkMRMLDisplayableNode"):
        return []
    displays = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    storages = [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    return [helper for helper in (*displays, *storages) if helper is not None]
