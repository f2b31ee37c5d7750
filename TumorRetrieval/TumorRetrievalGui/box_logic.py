"""The boxes of a query: drawn by hand or suggested, listed, shown and removed."""

import numpy as np
import slicer

from TumorRetrievalGui.parameters import QueryParameters
from TumorRetrievalGui.translation import _
from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.scene.rois import add_roi, box_of, is_placed, start_placing

_SUGGESTED = "TumorRetrieval.Suggested"
_SAME_MM = 0.05  # answers round to hundredths
_HANDLE_SCALE, _DOT_SCALE = 3.0, 0.8  # Slicer's default, and a dot that hides nothing


def addBox(parameters: QueryParameters, box: Box | None):
    """Add a box to the query and to the scene. :param box: where it lies, or None if it is still to be drawn."""
    names = {node.GetName() for node in parameters.boxes}
    number = next(n for n in range(1, len(names) + 2) if _("Box {number}").format(number=n) not in names)
    node = add_roi(parameters.scene, _("Box {number}").format(number=number), box)
    parameters.boxes = [*parameters.boxes, node]
    return node


def drawBox(parameters: QueryParameters):
    """Add a box that the next two clicks in a slice view span.

    A box that was asked for before and never drawn is used again.
    """
    waiting = [node for node in parameters.boxes if not is_placed(node)]
    node = waiting[0] if waiting else addBox(parameters, None)
    edit(parameters, node)
    start_placing(parameters.scene, node)
    return node


def edit(parameters: QueryParameters, chosen) -> None:
    """Show the handles of one box (of none for None): those of several boxes would hide the tumors."""
    for node in parameters.boxes:
        display = node.GetDisplayNode()
        display.SetHandlesInteractive(node is chosen)
        display.SetGlyphScale(_HANDLE_SCALE if node is chosen else _DOT_SCALE)


def suggestBoxes(parameters: QueryParameters, boxes: list[Box]) -> None:
    """Show suggested boxes in place of earlier suggestions and of boxes that were never drawn."""
    for node in parameters.boxes:
        if node.GetAttribute(_SUGGESTED) or not is_placed(node):
            removeBox(parameters, node)
    for box in boxes:
        addBox(parameters, box).SetAttribute(_SUGGESTED, "1")
    edit(parameters, None)
    if boxes:
        showPlace(parameters.scene, boxes[0].center)


def removeBox(parameters: QueryParameters, node) -> None:
    """Take a box out of the query and out of the scene."""
    parameters.boxes = [other for other in parameters.boxes if other is not node]
    scene = parameters.scene
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if not is_placed(node) and interaction is not None:
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    scene.RemoveNode(node)


def boxAt(parameters: QueryParameters, box: Box):
    """The node of a box as it was when it was looked up; None if it has been changed or removed since."""
    for node in parameters.boxes:
        if is_placed(node):
            try:
                if np.allclose(box_of(node).corners(), box.corners(), atol=_SAME_MM):
                    return node
            except InvalidBox:
                continue
    return None


def partBox(parameters: QueryParameters, node, boxes: list[Box]) -> None:
    """Put one box for each tumor in place of a box that encloses several."""
    removeBox(parameters, node)
    for box in boxes:
        addBox(parameters, box)
    edit(parameters, None)


def drawnByHand(parameters: QueryParameters) -> bool:
    """Whether the user has drawn one of the boxes."""
    return any(is_placed(node) and not node.GetAttribute(_SUGGESTED) for node in parameters.boxes)


def placedBoxes(parameters: QueryParameters) -> list[Box]:
    """The boxes that have been drawn, where they lie in the world.

    :raises InvalidBox: if one of them is flat.
    """
    return [box_of(node) for node in parameters.boxes if node.GetNumberOfControlPoints() > 0]


def describe(node) -> str:
    """A line for the list of boxes."""
    if node.GetNumberOfControlPoints() == 0:
        return _("{name}: click on two opposite corners in a slice").format(name=node.GetName())
    try:
        size = box_of(node).size
    except InvalidBox:
        return _("{name}: flat").format(name=node.GetName())
    edges = " × ".join(f"{edge:.0f}" for edge in size)
    return _("{name}: {edges} mm").format(name=node.GetName(), edges=edges)


def showPlace(scene, center) -> None:
    """Bring a place (RAS mm) into every slice view."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *(float(x) for x in center))
