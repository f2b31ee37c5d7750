"""Landmarks prove that a case is brought onto the patient, and not the other way round."""

import numpy as np
import pytest


@pytest.fixture
def maps():
    """Two registrations to the atlas with turns, stretches and shifts of their own: of the case, of the patient."""
    from Testing.SlicerHost.phantoms import turned

    def affine(turn, stretch, shift):
        matrix = np.eye(4)
        matrix[:3, :3] = turn @ np.diag(stretch)
        matrix[:3, 3] = shift
        return matrix

    return affine(turned(12), (1.1, 0.9, 1.0), (4, -3, 10)), affine(turned(-8, axis=0), (0.95, 1.0, 1.05), (-6, 2, 0))


def world_of(node, point) -> np.ndarray:
    """Where Slicer shows a point of a node."""
    import vtk

    transform = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(transform)
    return np.array(transform.TransformPoint(point))


@pytest.fixture
def case_node(scene, upright):
    from TumorRetrievalLib.scene.volumes import add_volume

    return add_volume(scene, upright, "Case")


def test_the_cases_lesion_is_shown_where_the_patients_is(scene, case_node):
    from Testing.SlicerHost.phantoms import brightest
    from TumorRetrievalLib.scene.transforms import add_alignment, onto_lesion, put_under
    from TumorRetrievalLib.scene.volumes import volume_of

    lesion, target = brightest(volume_of(case_node)), (33, -12, 20)
    put_under(add_alignment(scene, onto_lesion(lesion, target), "Case onto patient"), case_node)

    assert np.allclose(brightest(volume_of(case_node)), target)


def test_a_turned_case_keeps_its_sizes_and_its_lesion_in_place(scene, case_node, maps):
    from TumorRetrievalLib.scene.transforms import add_alignment, onto_lesion, put_under, through_atlas, turn_of

    case_to_atlas, query_to_atlas = maps
    turn = turn_of(through_atlas(case_to_atlas, query_to_atlas))
    put_under(add_alignment(scene, onto_lesion((10, 20, 30), (-5, 0, 8), turn), "Case onto patient"), case_node)

    assert np.allclose(world_of(case_node, (10, 20, 30)), (-5, 0, 8))
    assert np.linalg.norm(world_of(case_node, (10, 20, 30)) - world_of(case_node, (0, 0, 0))) == pytest.approx(
        np.linalg.norm((10, 20, 30))
    )


def test_the_same_place_of_the_brain_is_shown_at_the_same_place(scene, case_node, maps):
    from TumorRetrievalLib.scene.transforms import add_alignment, put_under, through_atlas

    case_to_atlas, query_to_atlas = maps
    put_under(add_alignment(scene, through_atlas(case_to_atlas, query_to_atlas), "Case onto patient"), case_node)
    landmark = np.array([12.0, -30.0, 25.0, 1.0])  # in the atlas
    in_case, in_patient = (np.linalg.inv(matrix) @ landmark for matrix in maps)

    assert np.allclose(world_of(case_node, in_case[:3]), in_patient[:3])
    assert not np.allclose(world_of(case_node, in_patient[:3]), in_case[:3]), "the wrong direction looks plausible"
