"""Bringing a known case to where the patient's tumor is, so that linked views show the same place."""

import numpy as np

from TumorRetrievalLib.scene.matrices import to_vtk


def onto_lesion(case_center, query_center, rotation=None) -> np.ndarray:
    """The map that brings a case's lesion onto the patient's: case RAS mm -> patient RAS mm, shape (4, 4).

    Lengths are kept, so that sizes can be compared by eye.

    :param case_center: middle of the case's lesion, RAS mm of the case.
    :param query_center: middle of the patient's, RAS mm of the patient.
    :param rotation: how to turn the case's head to the patient's, shape (3, 3); not at all by default.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if rotation is None else rotation
    matrix[:3, 3] = np.asarray(query_center, float) - matrix[:3, :3] @ np.asarray(case_center, float)
    return matrix


def through_atlas(case_to_atlas, query_to_atlas) -> np.ndarray:
    """The map that brings every place of a case's brain onto the same place of the patient's.

    :param case_to_atlas: case RAS mm -> atlas RAS mm, shape (4, 4).
    :param query_to_atlas: patient RAS mm -> atlas RAS mm, shape (4, 4).
    :returns: case RAS mm -> patient RAS mm, shape (4, 4). It stretches as the two registrations do.
    """
    return np.linalg.inv(np.asarray(query_to_atlas, float)) @ np.asarray(case_to_atlas, float)


def turn_of(matrix) -> np.ndarray:
    """The rotation in an affine map without its stretches (polar decomposition), shape (3, 3)."""
    left, _, right = np.linalg.svd(np.asarray(matrix, float)[:3, :3])
    return left @ right


def add_alignment(scene, matrix, name: str):
    """Put a map into the scene, as a vtkMRMLTransformNode.

    :param matrix: RAS mm of what will lie under it -> RAS mm of the scene, shape (4, 4).
    """
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetMatrixTransformToParent(to_vtk(matrix))
    return node


def put_under(transform_node, *nodes) -> None:
    """Let nodes follow a transform."""
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform_node.GetID())
