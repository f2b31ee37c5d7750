"""A scan in the scene lies where it lies in the patient, however it is stored."""

import numpy as np
import pytest

from TumorRetrievalLib.errors import CurvedTransform, InvalidImage


def test_a_scan_comes_back_from_the_scene_voxel_for_voxel(scene, scan):
    from TumorRetrievalLib.scene.volumes import add_volume, volume_of

    back = volume_of(add_volume(scene, scan, "Scan"))

    assert np.array_equal(back.data, scan.data) and back.data.dtype == np.float32
    assert np.allclose(back.affine, scan.affine)


def test_slicer_finds_the_bright_voxel_on_the_left_where_it_is(scene, scan):
    from Testing.SlicerHost.phantoms import BRIGHT
    from TumorRetrievalLib.scene.volumes import add_volume

    node = add_volume(scene, scan, "Scan")

    import vtk

    ras_to_ijk = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(ras_to_ijk)
    i, j, k = (round(x) for x in ras_to_ijk.MultiplyPoint((*BRIGHT, 1))[:3])
    assert node.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) == 500


def test_the_scene_owns_its_voxels(scene, upright):
    from TumorRetrievalLib.scene.volumes import add_volume, volume_of

    node = add_volume(scene, upright, "Scan")
    before = upright.data.copy()
    upright.data[:] = 0

    assert np.array_equal(volume_of(node).data, before)


def test_a_transform_above_a_scan_moves_it_in_the_world(scene, scan):
    from Testing.SlicerHost.phantoms import BRIGHT, brightest, turned
    from TumorRetrievalLib.scene.transforms import add_alignment, put_under
    from TumorRetrievalLib.scene.volumes import add_volume, volume_of

    matrix = np.eye(4)
    matrix[:3, :3] = turned(40)
    matrix[:3, 3] = (5, -7, 9)
    node = add_volume(scene, scan, "Scan")
    put_under(add_alignment(scene, matrix, "Moved"), node)

    assert np.allclose(brightest(volume_of(node)), turned(40) @ BRIGHT + (5, -7, 9))


def test_a_transform_that_bends_space_is_refused_with_the_way_out(scene, upright):
    import slicer
    import vtk

    from TumorRetrievalLib.scene.volumes import add_volume, volume_of

    node = add_volume(scene, upright, "Scan")
    transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Bent")
    grid = slicer.vtkOrientedGridTransform()
    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_DOUBLE, 3)
    grid.SetDisplacementGridData(image)
    transform.SetAndObserveTransformToParent(grid)
    node.SetAndObserveTransformNodeID(transform.GetID())

    with pytest.raises(CurvedTransform, match="Harden"):
        volume_of(node)


def test_a_volume_without_an_image_is_refused(scene):
    from TumorRetrievalLib.scene.volumes import volume_of

    with pytest.raises(InvalidImage, match="holds no image"):
        volume_of(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"))


def test_no_volume_is_refused(scene):
    from TumorRetrievalLib.scene.volumes import volume_of

    with pytest.raises(InvalidImage):
        volume_of(None)


def test_a_colour_picture_is_refused(scene):
    import slicer.util

    from TumorRetrievalLib.scene.volumes import volume_of

    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Colours")
    slicer.util.updateVolumeFromArray(node, np.zeros((3, 4, 5, 3), np.uint8))

    with pytest.raises(InvalidImage, match="3 values per voxel"):
        volume_of(node)


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float64])
def test_a_scan_of_another_number_type_is_read_as_it_is(scene, kind):
    import slicer.util

    from TumorRetrievalLib.scene.volumes import volume_of

    kji = np.arange(24).reshape(2, 3, 4).astype(kind)
    node = slicer.util.addVolumeFromArray(kji)

    assert np.array_equal(volume_of(node).data, kji.transpose(2, 1, 0))
