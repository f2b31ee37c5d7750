"""The boxes that a reader draws: Slicer's ROI nodes and the library's `Box`."""

import numpy as np

from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.scene.matrices import to_numpy, to_vtk


def add_roi(scene, name: str, box: Box | None = None):
    """Put a box into the scene, as a vtkMRMLMarkupsROINode that shows its outline only.

    :param box: where it lies; without one the node waits to be placed (see `start_placing`).
    """
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetFillOpacity(0.0)
    display.SetPropertiesLabelVisibility(False)
    if box is not None:
        set_roi(node, box)
    return node


def set_roi(node, box: Box) -> None:
    """Move a ROI to a box.

    :raises InvalidBox: if the node lies under a transform: the box would end up elsewhere.
    """
    if node.GetParentTransformNode() is not None:
        raise InvalidBox(f"The box '{node.GetName()}' lies under a transform and cannot be set; move it by hand.")
    changing = node.StartModify()
    object_to_node = np.eye(4)
    object_to_node[:3, :3] = _as_rotation(box.axes)
    object_to_node[:3, 3] = box.center
    node.SetAndObserveObjectToNodeMatrix(to_vtk(object_to_node))
    node.SetSize(*box.size)
    node.SetCenter(*box.center)
    node.EndModify(changing)


def box_of(node) -> Box:
    """The box of a ROI in the scene's world, rotated as it is drawn.

    A transform above the ROI may stretch it; what it shears is replaced by the nearest box.

    :raises InvalidBox: if it has not been placed yet, or is flat.
    """
    if node.GetNumberOfControlPoints() == 0 or min(node.GetSize()) <= 0:
        raise InvalidBox(f"The box '{node.GetName()}' has not been drawn yet, or is flat: draw it around the tumor.")
    object_to_world = to_numpy(node.GetObjectToWorldMatrix())
    edges = object_to_world[:3, :3]
    stretch = np.linalg.norm(edges, axis=0)
    center = np.empty(3)
    node.GetCenterWorld(center)
    return Box(center, np.array(node.GetSize()) * stretch, _as_rotation(edges / stretch))


def is_placed(node) -> bool:
    """Whether a ROI has been drawn."""
    return node.GetNumberOfControlPoints() > 0 and min(node.GetSize()) > 0


def start_placing(scene, node) -> None:
    """Let the next two clicks in a slice view span a ROI; then the mouse is free again."""
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    # vtkSlicerMarkupsLogic.StartPlaceMode would place points: it sets the class of points anew.
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(0)
    interaction.SetCurrentInteractionMode(interaction.Place)


def _as_rotation(axes: np.ndarray) -> np.ndarray:
    """The rotation nearest to three directions. The box is the same when one of its edges is turned round."""
    left, _, right = np.linalg.svd(axes)
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        rotation[:, 2] *= -1
    return rotation
