"""4 x 4 matrices between NumPy and VTK, and where a node lies in the world."""

import numpy as np
import vtk

from TumorRetrievalLib.errors import CurvedTransform


def to_vtk(matrix) -> vtk.vtkMatrix4x4:
    """A NumPy matrix, shape (4, 4), as VTK's."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, float).ravel())
    return result


def to_numpy(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A VTK matrix as NumPy's, shape (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def node_to_world(node) -> np.ndarray:
    """The transforms above a node as one matrix: the node's own RAS mm -> the scene's RAS mm, shape (4, 4).

    :raises CurvedTransform: if one of them bends space.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise CurvedTransform(
            f"'{node.GetName()}' lies under the transform '{transform.GetName()}', which bends space. "
            f"Harden the transform first (right click on it in the Data module)."
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return to_numpy(matrix)
