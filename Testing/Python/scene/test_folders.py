"""Everything that a query put into the scene goes again in one act, and nothing else does."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.box import Box


@pytest.fixture
def query(scene, upright):
    """The folder of a query with one node of every kind in it."""
    from Testing.SlicerHost.phantoms import BRIGHT, ball
    from TumorRetrievalLib.scene.folders import add_folder, put_into
    from TumorRetrievalLib.scene.growth import add_density, parts_of
    from TumorRetrievalLib.scene.rois import add_roi
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, add_tumor
    from TumorRetrievalLib.scene.transforms import add_alignment, put_under
    from TumorRetrievalLib.scene.volumes import add_volume

    case = add_volume(scene, upright, "Case 1")
    alignment = add_alignment(scene, np.eye(4), "Case 1 onto patient")
    put_under(alignment, case)
    tumor = add_tumor(scene, {TUMOR_CORE: ball(upright.grid, BRIGHT, 6)}, "Tumor", case)
    roi = add_roi(scene, "Box", Box.aligned(BRIGHT, (10, 10, 10)))
    density = add_density(scene, upright, np.eye(4), "Growth")
    folder = add_folder(scene, "Query 1")
    put_into(scene, folder, case, alignment, tumor, roi, *parts_of(density))
    return folder


def ids(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def test_a_folder_lists_what_was_put_into_it(scene, query):
    from TumorRetrievalLib.scene.folders import nodes_in

    names = {node.GetName() for node in nodes_in(scene, query)}

    assert {"Case 1", "Case 1 onto patient", "Tumor", "Box", "Growth", "Growth: 0.2"} <= names


def test_removing_a_folder_leaves_no_node_of_the_query_behind(scene, upright, query, request):
    from TumorRetrievalLib.scene.folders import folders_in, nodes_in, remove_folder

    of_the_query = {node.GetID() for node in nodes_in(scene, query)}
    remove_folder(scene, query)

    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLTransformNode", "vtkMRMLModelNode", "vtkMRMLMarkupsROINode")
    assert not of_the_query & ids(scene) and folders_in(scene) == []
    assert [scene.GetNumberOfNodesByClass(kind) for kind in kinds] == [0, 0, 0, 0]
    leftovers = ("ScalarVolumeDisplay", "SegmentationDisplay", "MarkupsROIDisplay", "ModelDisplay")
    assert [scene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node") for kind in leftovers] == [0, 0, 0, 0]


def test_the_patients_scan_and_other_queries_stay(scene, upright, query):
    from TumorRetrievalLib.scene.folders import add_folder, folders_in, put_into, remove_folder
    from TumorRetrievalLib.scene.volumes import add_volume

    patient = add_volume(scene, upright, "Patient")
    other = add_folder(scene, "Query 2")
    kept = add_volume(scene, upright, "Case of query 2")
    put_into(scene, other, kept)
    remove_folder(scene, query)

    assert folders_in(scene) == [other]
    assert scene.IsNodePresent(patient) and scene.IsNodePresent(kept) and patient.GetDisplayNode() is not None


def test_a_node_is_listed_once_however_often_it_is_put_somewhere(scene, upright):
    from TumorRetrievalLib.scene.folders import add_folder, nodes_in, put_into
    from TumorRetrievalLib.scene.volumes import add_volume

    first, second = add_folder(scene, "Query 1"), add_folder(scene, "Query 2")
    node = add_volume(scene, upright, "Case")
    put_into(scene, first, node)
    put_into(scene, second, node, node)

    assert nodes_in(scene, first) == [] and nodes_in(scene, second) == [node]


def test_removing_a_folder_after_the_user_deleted_some_of_its_nodes_is_no_error(scene, query):
    from TumorRetrievalLib.scene.folders import folders_in, nodes_in, remove_folder

    for node in nodes_in(scene, query)[::2]:
        scene.RemoveNode(node)
    remove_folder(scene, query)

    assert folders_in(scene) == []
