"""Outlined tumors: two overlapping segments, identified by their terminology codes and never by their names."""

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.scene.matrices import node_to_world, to_numpy, to_vtk


@dataclass(frozen=True)
class Part:
    """One segment of an outlined tumor.

    :param name: what the user reads.
    :param code: its type in SNOMED CT.
    :param meaning: what SNOMED CT calls it.
    :param color: red, green and blue, 0 to 1.
    """

    name: str
    code: str
    meaning: str
    color: tuple[float, float, float]

    def terminology(self) -> str:
        """Slicer's serialised terminology entry: category ~ type ~ its modifier ~ region ~ its modifier."""
        return "~".join(
            (
                "Segmentation category and type - 3D Slicer General Anatomy list",
                "SCT^49755003^Morphologically Altered Structure",
                f"SCT^{self.code}^{self.meaning}",
                "^^",
                "Anatomic codes - DICOM master list",
                "SCT^12738006^Brain",
                "^^",
            )
        )


TUMOR_CORE = Part("Tumor core", "86049000", "Neoplasm, Primary", (0.95, 0.35, 0.20))
WHOLE_TUMOR = Part("Whole tumor", "4147007", "Mass", (0.95, 0.80, 0.25))
PARTS = (TUMOR_CORE, WHOLE_TUMOR)


def add_tumor(scene, masks: dict[Part, LabelMap], name: str, volume_node=None):
    """Put an outlined tumor into the scene, as a vtkMRMLSegmentationNode shown as outlines.

    :param masks: part -> its mask in the scene's world; an empty mask gives an empty segment.
    :param volume_node: the scan it was outlined on; the outline then follows the transforms above it.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    to_node = np.eye(4)
    if volume_node is not None:
        to_node = np.linalg.inv(node_to_world(volume_node))
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    for part, mask in masks.items():
        segment = slicer.vtkSegment()
        segment.SetName(part.name)
        segment.SetColor(*part.color)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), part.terminology())
        segment.AddRepresentation("Binary labelmap", _oriented_image(mask, to_node))
        node.GetSegmentation().AddSegment(segment)
    _show_outlines(node)
    return node


def add_surface(node) -> None:
    """Let an outlined tumor also appear in 3D views. It takes a while, and only the patient's is looked at there."""
    if any(_voxels_of(node, part) is not None for part in PARTS):
        node.CreateClosedSurfaceRepresentation()


def parts_of(node) -> dict[Part, str]:
    """Which parts a segmentation holds, by their codes: part -> segment id."""
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
    codes = {_type_code(segmentation.GetSegment(segment_id)): segment_id for segment_id in reversed(ids)}
    return {part: codes[part.code] for part in PARTS if part.code in codes}


def mask_of(node, part: Part) -> LabelMap:
    """A part of an outlined tumor in the scene's world, on as much of its grid as the segment fills.

    :raises InvalidTumorMask: if there is no such segment, or it is empty.
    """
    image = _voxels_of(node, part)
    if image is None:
        raise InvalidTumorMask(f"'{node.GetName()}' has no voxels of the {part.name.lower()}; outline it first.")
    voxel_to_node = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(voxel_to_node)
    extent = image.GetExtent()
    shift = np.eye(4)
    shift[:3, 3] = extent[::2]
    scalars = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions(), order="F")
    affine = node_to_world(node) @ to_numpy(voxel_to_node) @ shift
    return LabelMap((scalars != 0).astype(np.uint8), affine)


def _voxels_of(node, part: Part):
    """The vtkOrientedImageData of a part; None if the part is missing or empty."""
    segment_id = parts_of(node).get(part)
    image = slicer.vtkOrientedImageData()
    if segment_id is None or not node.GetBinaryLabelmapRepresentation(segment_id, image) or image.IsEmpty():
        return None
    return image


def _type_code(segment) -> str:
    """The type's code in a segment's terminology entry, "" if it has none."""
    text = vtk.reference("")
    if not segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text):
        return ""
    parts = str(text).split("~")
    return parts[2].split("^")[1] if len(parts) > 2 and parts[2].count("^") == 2 else ""


def _oriented_image(mask: LabelMap, to_node: np.ndarray):
    """The voxels of a mask, cut to those that are set, which is what Slicer does with its own segments."""
    filled = mask.data != 0
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(to_vtk(to_node @ mask.affine))
    if not filled.any():
        return image
    low, high = _bounds(filled)
    region = filled[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    image.SetExtent(*np.stack([low, high - 1], axis=1).ravel().tolist())
    scalars = numpy_to_vtk(region.astype(np.uint8).ravel(order="F"), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    image.GetPointData().SetScalars(scalars)
    return image


def _bounds(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one-past-last index of what is set along each axis; something has to be."""
    along = [np.flatnonzero(filled.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array([places[0] for places in along]), np.array([places[-1] + 1 for places in along])


def _show_outlines(node) -> None:
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSliceIntersectionThickness(2)
    # The core lies inside the whole tumor and has to show through it.
    if (whole := parts_of(node).get(WHOLE_TUMOR)) is not None:
        display.SetSegmentOpacity3D(whole, 0.35)
