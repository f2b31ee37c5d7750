"""Outlined tumors keep their voxels, their place and their meaning."""

import numpy as np
import pytest

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import LabelMap


@pytest.fixture
def masks(scan):
    """A core of 6 mm within a tumor of 12 mm, left of the middle."""
    from Testing.SlicerHost.phantoms import BRIGHT, ball
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR

    return {TUMOR_CORE: ball(scan.grid, BRIGHT, 6), WHOLE_TUMOR: ball(scan.grid, BRIGHT, 12)}


@pytest.fixture
def volume_node(scene, scan):
    from TumorRetrievalLib.scene.volumes import add_volume

    return add_volume(scene, scan, "Scan")


def test_both_parts_come_back_voxel_for_voxel_although_they_overlap(scene, scan, masks, volume_node):
    from TumorRetrievalLib.scene.segmentations import add_tumor, mask_of

    node = add_tumor(scene, masks, "Tumor", volume_node)

    for part, mask in masks.items():
        assert np.array_equal(resample_labels(mask_of(node, part), scan.grid).data, mask.data)


def test_a_part_is_found_by_its_code_after_the_user_renamed_it(scene, masks, volume_node):
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor, parts_of

    node = add_tumor(scene, masks, "Tumor", volume_node)
    core_id = parts_of(node)[TUMOR_CORE]
    node.GetSegmentation().GetSegment(core_id).SetName("Whole tumor")

    assert parts_of(node)[TUMOR_CORE] == core_id != parts_of(node)[WHOLE_TUMOR]


def test_slicer_reads_the_codes_as_neoplasm_and_mass_in_the_brain(scene, masks, volume_node):
    import slicer

    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor, parts_of

    node = add_tumor(scene, masks, "Tumor", volume_node)
    terminologies = slicer.vtkSlicerTerminologiesModuleLogic
    found = {}
    for part, segment_id in parts_of(node).items():
        entry = slicer.vtkSlicerTerminologyEntry()
        segment = node.GetSegmentation().GetSegment(segment_id)
        assert terminologies.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
        region = entry.GetRegionObject() if hasattr(entry, "GetRegionObject") else entry.GetAnatomicRegionObject()
        found[part] = (entry.GetTypeObject().GetCodeValue(), region.GetCodeValue())

    assert found == {TUMOR_CORE: ("86049000", "12738006"), WHOLE_TUMOR: ("4147007", "12738006")}


def test_an_outline_follows_the_transform_of_its_scan_and_is_read_in_the_world(scene, scan, masks, volume_node):
    from Testing.SlicerHost.phantoms import BRIGHT, turned
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, add_tumor, mask_of
    from TumorRetrievalLib.scene.transforms import add_alignment, put_under

    moved = np.eye(4)
    moved[:3, :3] = turned(90)
    moved[:3, 3] = (3, 0, -2)
    put_under(add_alignment(scene, moved, "Moved"), volume_node)
    in_world = {part: LabelMap(mask.data, moved @ mask.affine) for part, mask in masks.items()}
    mask = mask_of(add_tumor(scene, in_world, "Tumor", volume_node), TUMOR_CORE)

    centre = mask.grid.to_world(np.argwhere(mask.data)).mean(axis=0)
    assert np.allclose(centre, turned(90) @ BRIGHT + (3, 0, -2), atol=0.5)


def test_a_tumor_without_an_enhancing_core_has_an_empty_segment(scene, scan, masks, volume_node):
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, add_tumor, mask_of, parts_of

    masks[TUMOR_CORE] = LabelMap(np.zeros(scan.shape, np.uint8), scan.affine)
    node = add_tumor(scene, masks, "Tumor", volume_node)

    assert len(parts_of(node)) == 2
    with pytest.raises(InvalidTumorMask, match="no voxels of the tumor core"):
        mask_of(node, TUMOR_CORE)


def test_a_tumor_has_a_surface_for_the_3d_view(scene, masks, volume_node):
    import vtk

    from Testing.SlicerHost.phantoms import BRIGHT
    from TumorRetrievalLib.scene.segmentations import WHOLE_TUMOR, add_surface, add_tumor, parts_of

    node = add_tumor(scene, masks, "Tumor", volume_node)
    add_surface(node)
    surface = vtk.vtkPolyData()

    assert node.GetClosedSurfaceRepresentation(parts_of(node)[WHOLE_TUMOR], surface)
    bounds = np.array(surface.GetBounds()).reshape(3, 2)
    assert np.allclose(bounds.mean(axis=1), BRIGHT, atol=2.5)


def test_a_tumor_without_a_core_has_a_surface_all_the_same(scene, scan, masks, volume_node):
    import vtk

    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_surface, add_tumor, parts_of

    masks[TUMOR_CORE] = LabelMap(np.zeros(scan.shape, np.uint8), scan.affine)
    node = add_tumor(scene, masks, "Tumor", volume_node)
    add_surface(node)
    surface = vtk.vtkPolyData()

    assert node.GetClosedSurfaceRepresentation(parts_of(node)[WHOLE_TUMOR], surface)
    assert surface.GetNumberOfPoints() > 20


def test_a_foreign_segmentation_has_none_of_our_parts(scene):
    import slicer

    from TumorRetrievalLib.scene.segmentations import parts_of

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Foreign")
    node.GetSegmentation().AddEmptySegment("Tumor core", "Tumor core")
    odd = slicer.vtkSegment()
    odd.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), "nonsense")
    node.GetSegmentation().AddSegment(odd)

    assert parts_of(node) == {}
