"""A simulated tumor, morphed from the atlas back into the patient: a coloured overlay with contours.

The density stays on the atlas' grid. A transform above it says where each of its voxels lies in the patient, so that
nothing is resampled and the map moves along when a better registration is found.
"""

from typing import Protocol

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.scene.folders import remove_nodes
from TumorRetrievalLib.scene.matrices import node_to_world, to_numpy, to_vtk
from TumorRetrievalLib.scene.transforms import add_alignment, put_under
from TumorRetrievalLib.scene.volumes import add_volume, set_volume

CONTOURS = (0.2, 0.6)
"""Cell densities that are drawn as lines: what FLAIR shows, and what enhances (the thesis' visibility thresholds)."""

COLOR_STOPS = ((0.0, (0.1, 0.1, 0.6)), (0.2, (0.1, 0.6, 0.9)), (0.6, (1.0, 0.8, 0.1)), (1.0, (0.85, 0.1, 0.1)))
"""Density -> red, green and blue, 0 to 1; linear in between."""

SPREAD_STOPS = ((0.0, (0.25, 0.0, 0.4)), (0.25, (0.8, 0.3, 0.7)), (0.5, (1.0, 0.95, 0.9)))
"""The same for the standard deviation of densities of 0 to 1, which is at most 0.5."""

LOWEST_SHOWN = 0.05
"""The density from which anything is painted, unless the user says otherwise."""

_TRANSFORM, _BACK, _HOME = "TumorRetrieval.Transform", "TumorRetrieval.Back", "TumorRetrieval.Home"
_COLORS, _CONTOUR = "TumorRetrieval.Colors", "TumorRetrieval.Contour"
_STAGES, _SPREAD = "TumorRetrieval.Stages", "TumorRetrieval.Spread"
_CONTOUR_COLORS = ((1.0, 1.0, 1.0), (1.0, 0.2, 1.0))
_LOWEST_SPREAD = 0.05
_LEVELS = 255


class Bend(Protocol):
    """The curved part of the way between a patient and the atlas.

    A point of the patient goes through the straight part and is then moved by `from_straight`; a point of the atlas is
    moved by `to_straight` and then goes through the inverse of the straight part.
    """

    grid: Grid
    to_straight: np.ndarray
    from_straight: np.ndarray


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
    _paint(scene, node, node, COLOR_STOPS)
    set_threshold(node, LOWEST_SHOWN)
    _draw_contours(scene, node)
    return node


def add_growth(
    scene, stages: list[Volume], spread: Volume, patient_to_atlas, name: str, *, bend: Bend | None = None, scan=None
):
    """Put a simulated tumor into the scene, at the time of the scan: what `add_density` adds, its other ages, and the
    map of its uncertainty.

    :param stages: cell densities at ages up to that at the time of the scan, on one grid of the atlas.
    :param spread: standard deviation of the density over the best matches.
    :param patient_to_atlas: as the patient lies in the scene's world; with a bend, its straight part.
    :param scan: the node of the patient's scan: the map follows it when the transform above it changes.
    :returns: the volume node of the density.
    """
    node = add_density(scene, stages[-1], patient_to_atlas, name)
    if bend is not None:
        _bend(scene, node, patient_to_atlas, bend)
    if scan is not None and scan.GetParentTransformNode() is not None:
        _follow(scene, node, scan)
    kept = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", f"{name}: ages")
    kept.SetHideFromEditors(True)
    uncertainty = add_volume(scene, spread, f"{name}: uncertainty")
    for role, other in ((_STAGES, kept), (_SPREAD, uncertainty)):
        node.SetNodeReferenceID(role, other.GetID())
        other.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    _paint(scene, node, uncertainty, SPREAD_STOPS)
    uncertainty.GetDisplayNode().SetThreshold(_LOWEST_SPREAD, SPREAD_STOPS[-1][0])
    uncertainty.GetDisplayNode().ApplyThresholdOn()
    _keep(kept, stages)
    return node


def set_stages(node, stages: list[Volume]) -> None:
    """Let a density have another simulated tumor's ages; which of them is shown, `show_stage` says."""
    _keep(node.GetNodeReference(_STAGES), stages)


def _keep(kept, stages: list[Volume]) -> None:
    kept.SetIJKToRASMatrix(to_vtk(stages[0].affine))
    # One byte per voxel and age: all of a tumor's life takes as much of a saved scene as one map.
    levels = np.stack([np.rint(np.clip(stage.data, 0, 1) * _LEVELS).astype(np.uint8) for stage in stages], axis=-1)
    slicer.util.updateVolumeFromArray(kept, np.ascontiguousarray(levels.transpose(2, 1, 0, 3)))


def stage_count(node) -> int:
    """How many ages of a simulated tumor there are; 0 if they are gone."""
    kept = node.GetNodeReference(_STAGES)
    image = kept.GetImageData() if kept is not None else None
    return image.GetNumberOfScalarComponents() if image is not None else 0


def show_stage(node, number: int) -> None:
    """Show a simulated tumor at another age. :param number: from 0; the last is that at the time of the scan."""
    kept = node.GetNodeReference(_STAGES)
    levels = slicer.util.arrayFromVolume(kept)[..., number]
    affine = vtk.vtkMatrix4x4()
    kept.GetIJKToRASMatrix(affine)
    set_density(node, Volume(levels.transpose(2, 1, 0).astype(np.float32) / _LEVELS, to_numpy(affine)))


def uncertainty_of(node):
    """The map of a simulated tumor's uncertainty; None if it was deleted."""
    return node.GetNodeReference(_SPREAD)


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
    for contour in contours_of(node):
        _draw(contour, node)


def set_threshold(node, lowest: float) -> None:
    """Hide every density below a value."""
    display = node.GetDisplayNode()
    display.SetThreshold(lowest, 1.0)
    display.ApplyThresholdOn()


def parts_of(node) -> list:
    """Every node that belongs to a density: itself, its transforms, colours, contours, ages and uncertainty."""
    roles = (_TRANSFORM, _BACK, _HOME, _STAGES, _SPREAD)
    helpers = [node.GetNodeReference(role) for role in roles] + _all_of(node, _COLORS)
    return [node, *[helper for helper in helpers if helper is not None], *contours_of(node)]


def remove_growth(node) -> None:
    """Remove a density with everything that belongs to it."""
    remove_nodes(node.GetScene(), parts_of(node))


def contours_of(node) -> list:
    """The surfaces of a density, which slices show as lines: one for each of `CONTOURS`."""
    return _all_of(node, _CONTOUR)


def _all_of(node, role: str) -> list:
    count = node.GetNumberOfNodeReferences(role)
    return [other for i in range(count) if (other := node.GetNthNodeReference(role, i)) is not None]


def _bend(scene, node, patient_to_atlas, bend: Bend) -> None:
    """Let the way between patient and atlas be a curved one.

    Slices ask for the atlas' place of a patient's point, contours for the patient's place of an atlas' point. One
    transform would work out the second from the first point by point, which takes too long for a slider, so there are
    two.
    """
    forth, back = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    for way in (forth, back):
        way.PostMultiply()
    forth.Concatenate(to_vtk(patient_to_atlas))
    forth.Concatenate(_field(bend.from_straight, bend.grid))
    back.Concatenate(_field(bend.to_straight, bend.grid))
    back.Concatenate(to_vtk(np.linalg.inv(patient_to_atlas)))
    node.GetNodeReference(_TRANSFORM).SetAndObserveTransformFromParent(forth)
    way_back = scene.AddNewNodeByClass("vtkMRMLTransformNode", f"{node.GetName()}: contours to patient")
    way_back.SetAndObserveTransformToParent(back)
    way_back.SetHideFromEditors(True)
    node.SetNodeReferenceID(_BACK, way_back.GetID())
    put_under(way_back, *contours_of(node))


def _field(field: np.ndarray, grid: Grid):
    """Displacements (mm, shape (3, i, j, k)) on an upright grid as VTK's transform."""
    image = vtk.vtkImageData()
    image.SetDimensions(*grid.shape)
    image.SetOrigin(*grid.affine[:3, 3])
    image.SetSpacing(*grid.spacing)
    vectors = np.ascontiguousarray(field.transpose(3, 2, 1, 0), np.float32).reshape(-1, 3)
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetInterpolationModeToLinear()
    return transform


def _follow(scene, node, scan) -> None:
    """Let a density, which lies where the scan is now, move with the scan from now on."""
    home = add_alignment(scene, np.linalg.inv(node_to_world(scan)), f"{node.GetName()}: to the scan")
    home.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    home.SetHideFromEditors(True)
    node.SetNodeReferenceID(_HOME, home.GetID())
    ways = (node.GetNodeReference(role) for role in (_TRANSFORM, _BACK))
    put_under(home, *[way for way in ways if way is not None])


def _paint(scene, node, volume, stops) -> None:
    """Give a volume that belongs to a density its colours."""
    colors = _add_colors(scene, volume.GetName(), stops)
    node.AddNodeReferenceID(_COLORS, colors.GetID())
    display = volume.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(stops[0][0], stops[-1][0])


def _add_colors(scene, name: str, stops):
    """A map from values to colours, which Slicer also shows as a legend."""
    node = scene.AddNewNodeByClass("vtkMRMLProceduralColorNode", f"{name}: colours")
    function = vtk.vtkDiscretizableColorTransferFunction()
    for value, color in stops:
        function.AddRGBPoint(value, *color)
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
