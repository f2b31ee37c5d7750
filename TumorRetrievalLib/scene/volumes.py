"""Scans between the library and the scene."""

import numpy as np
import slicer.util

from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.scene.matrices import node_to_world, to_numpy, to_vtk


def add_volume(scene, volume: Volume, name: str):
    """Put a scan into the scene, as a vtkMRMLScalarVolumeNode with a display."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    set_volume(node, volume)
    node.CreateDefaultDisplayNodes()
    return node


def set_volume(node, volume: Volume) -> None:
    """Replace what a volume node holds."""
    node.SetIJKToRASMatrix(to_vtk(volume.affine))
    # Slicer's arrays are (k, j, i). Its function copies, so that the scene owns the memory.
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume.data.transpose(2, 1, 0)))


def volume_of(node) -> Volume:
    """A volume node as a scan in the scene's world: transforms above it are taken into its affine.

    :raises InvalidImage: if it has no image, or several values per voxel (colours, vectors).
    :raises CurvedTransform: if a transform above it bends space.
    """
    image = node.GetImageData() if node else None
    if image is None or image.GetNumberOfPoints() == 0:
        raise InvalidImage(f"The volume '{node.GetName() if node else 'None'}' holds no image; choose another.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InvalidImage(
            f"The volume '{node.GetName()}' has {image.GetNumberOfScalarComponents()} values per voxel, as a colour "
            f"picture has; choose a scan with one."
        )
    kji = slicer.util.arrayFromVolume(node)
    return Volume(np.array(kji.transpose(2, 1, 0), dtype=np.float32, order="C"), _voxel_to_world(node))


def _voxel_to_world(node) -> np.ndarray:
    """Voxel index -> the scene's RAS mm, shape (4, 4)."""
    voxel_to_node = to_vtk(np.eye(4))
    node.GetIJKToRASMatrix(voxel_to_node)
    return node_to_world(node) @ to_numpy(voxel_to_node)
