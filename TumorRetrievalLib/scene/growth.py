"""A simulated tumor, morphed from the atlas back into the patient: a coloured overlay with contours.

The density stays on the atlas' grid. A transform above it says where each of its voxels lies in the patient, so that
nothing is resampled and the map moves along when a better registration is found.
"""

import numpy as np
import vtk

from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.scene.matrices import to_vtk
from TumorRetrievalLib.scene.volumes import add_volume, set_volume

CONTOURS = (0.2, 0.6)
"""Cell densities that are drawn as lines: what FLAIR shows, and what enhances (the thesis' visibility thresholds)."""

_TRANSFORM, _COLORS, _CONTOUR = "TumorRetrieval.Transform", "TumorRetrieval.Colors", "TumorRetrieval.Contour"
_CONTOUR_COLORS = ((1.0, 0.9, 0.3), (1.0, 0.25, 0.2))
_COLOR_STOPS = ((0.0, (0.1, 0.1, 0.6)), (0.2, (0.1, 0.6, 0.9)), (0.6, (1.0, 0.8, 0.1)), (1.0, (0.85, 0.1, 0.1)))
_LOWEST_SHOWN = 0.01


def add_density(scene, density: Volume, patient_to_atlas, name: str):
    """Put a cell density into the scene, as it lies in the patient.

    :param density: cell density, 0 to 1, with the atlas' affine (voxel -> atlas RAS mm).
    :param patient_to_atlas: patient RAS mm -> atlas RAS mm, shape (4, 4).
    :returns: the volume node. Its transform, its colours and its contours are found again by `parts_of`.
    """
    node = add_volume(scene, density, name)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", f"{name}: atlas to patient")
    node.SetNodeReferenceID(_TRANSFORM, transform.GetID())
    node.SetAndObserveTransformNodeID(transform.GetID())
    set_registration(node, patient_to_atlas)
    colors = _add_colors(scene, name)
    node.SetNodeReferenceID(_COLORS, colors.GetID())
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    set_threshold(node, _LOWEST_SHOWN)
    _draw_contours(scene, node)
    return node


def set_registration(node, patient_to_atlas) -> None:
    """Say anew where the patient lies in the atlas.

    Slicer asks a transform where a point of the world (the patient) lies in what is under it (the atlas): that is
    the registration itself, "from parent". Its inverse looks just as plausible and is wrong.

    :param patient_to_atlas: patient RAS mm -> atlas RAS mm, shape (4, 4).
    """
    node.GetNodeReference(_TRANSFORM).SetMatrixTransformFromParent(to_vtk(patient_to_atlas))


def set_density(node, density: Volume) -> None:
    """Show another density in place of the present one: another time, another fit."""
    set_volume(node, density)
    for contour in _contours_of(node):
        _draw(contour, node)


def set_threshold(node, lowest: float) -> None:
    """Hide every density below a value."""
    display = node.GetDisplayNode()
    display.SetThreshold(lowest, 1.0)
    display.ApplyThresholdOn()


def parts_of(node) -> list:
    """Every node that belongs to a density: itself, its transform, its colours, its contours."""
    helpers = [node.GetNodeReference(role) for role in (_TRANSFORM, _COLORS)]
    return [node, *[helper for helper in helpers if helper is not None], *_contours_of(node)]


def _contours_of(node) -> list:
    count = node.GetNumberOfNodeReferences(_CONTOUR)
    return [contour for i in range(count) if (contour := node.GetNthNodeReference(_CONTOUR, i)) is not None]


def _add_colors(scene, name: str):
    """A map from blue (a few cells) to red (full), which Slicer also shows as a legend."""
    node = scene.AddNewNodeByClass("vtkMRMLProceduralColorNode", f"{name}: colours")
    function = vtk.vtkDiscretizableColorTransferFunction()
    for density, color in _COLOR_STOPS:
        function.AddRGBPoint(density, *color)
    node.SetAndObserveColorTransferFunction(function)
    node.SetHideFromEditors(True)
    return node


def _draw_contours(scene, node) -> None:
    for level, color in zip(CONTOURS, _CONTOUR_COLORS, strict=True):
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{node.GetName()}: {level:g}")
        model.SetAttribute(_CONTOUR, f"{level:g}")
        model.CreateDefaultDisplayNodes()
        display = model.GetDisplayNode()
        display.SetColor(*color)
        display.SetOpacity(0.4)
        display.SetVisibility2D(True)
        display.SetSliceIntersectionThickness(2)
        model.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        node.AddNodeReferenceID(_CONTOUR, model.GetID())
        _draw(model, node)


def _draw(contour, node) -> None:
    """Compute the surface of one density in the coordinates of the density's node."""
    flying = vtk.vtkFlyingEdges3D()
    flying.SetInputData(_without_geometry(node))
    flying.SetValue(0, float(contour.GetAttribute(_CONTOUR)))
    flying.ComputeNormalsOff()
    voxel_to_node = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(voxel_to_node)
    place = vtk.vtkTransform()
    place.SetMatrix(voxel_to_node)
    mover = vtk.vtkTransformPolyDataFilter()
    mover.SetInputConnection(flying.GetOutputPort())
    mover.SetTransform(place)
    mover.Update()
    contour.SetAndObservePolyData(mover.GetOutput())


def _without_geometry(node) -> vtk.vtkImageData:
    """The voxels in voxel coordinates; MRML keeps the geometry in the node."""
    image = vtk.vtkImageData()
    image.ShallowCopy(node.GetImageData())
    image.SetOrigin(np.zeros(3))
    image.SetSpacing(np.ones(3))
    return image
