"""A comparison that was saved comes back with the scene: scans, boxes, outlines, alignments, growth, columns."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.box import Box


@pytest.fixture
def saved(app, window, scene, tmp_path):
    """A scene with one of everything, saved; and what it held."""
    import slicer.util

    from Testing.SlicerHost.phantoms import AXES, BRIGHT, ball, phantom, turned
    from TumorRetrievalLib.scene.comparison import Shown, show_comparison
    from TumorRetrievalLib.scene.folders import add_folder, put_into
    from TumorRetrievalLib.scene.growth import add_density, parts_of
    from TumorRetrievalLib.scene.rois import add_roi
    from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor
    from TumorRetrievalLib.scene.transforms import add_alignment, onto_lesion, put_under
    from TumorRetrievalLib.scene.volumes import add_volume

    patient_scan, case_scan = phantom(AXES["oblique"]), phantom(AXES["left-handed"])
    patient, case = add_volume(scene, patient_scan, "Patient"), add_volume(scene, case_scan, "Case")
    alignment = add_alignment(scene, onto_lesion(BRIGHT, (30, 0, 5), turned(15)), "Case onto patient")
    put_under(alignment, case)
    masks = {TUMOR_CORE: ball(patient_scan.grid, BRIGHT, 6), WHOLE_TUMOR: ball(patient_scan.grid, BRIGHT, 12)}
    tumor = add_tumor(scene, masks, "Tumor", patient)
    box = Box(BRIGHT, (20, 14, 10), turned(30))
    roi = add_roi(scene, "Box", box)
    density = add_density(scene, phantom(AXES["upright"]), np.diag([1.2, 1.1, 0.9, 1.0]), "Growth")
    put_into(scene, add_folder(scene, "Query"), case, alignment, tumor, roi, *parts_of(density))
    show_comparison(scene, Shown(patient, tumor, density), [Shown(case)])
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    return path, {"patient": patient_scan, "masks": masks, "box": box}


@pytest.fixture
def restored(app, scene, saved):
    """The same scene after closing it, going to another layout and reading the file."""
    import slicer.util

    from Testing.SlicerHost import host
    from TumorRetrievalLib.scene.views import register_layouts

    scene.Clear(0)
    app.layoutManager().setLayout(host.FIRST_LAYOUT)
    register_layouts(scene)
    slicer.util.loadScene(str(saved[0]))
    host.settle()
    return saved[1]


def node(name):
    import slicer.util

    return slicer.util.getNode(name)


def test_scans_boxes_and_outlines_come_back(restored):
    from TumorRetrievalLib.imaging.resample import resample_labels
    from TumorRetrievalLib.scene.rois import box_of
    from TumorRetrievalLib.scene.segmentations import mask_of
    from TumorRetrievalLib.scene.volumes import volume_of

    patient = volume_of(node("Patient"))
    assert patient.grid.same_as(restored["patient"].grid) and np.array_equal(patient.data, restored["patient"].data)
    assert np.allclose(np.sort(box_of(node("Box")).corners(), axis=0), np.sort(restored["box"].corners(), axis=0))
    for part, mask in restored["masks"].items():
        assert np.array_equal(resample_labels(mask_of(node("Tumor"), part), patient.grid).data, mask.data)


def test_the_alignment_of_the_case_and_the_growth_map_come_back(restored):
    from Testing.SlicerHost.phantoms import BRIGHT, brightest
    from TumorRetrievalLib.scene.growth import parts_of, set_threshold
    from TumorRetrievalLib.scene.volumes import volume_of

    growth = node("Growth")
    set_threshold(growth, 0.3)

    assert np.allclose(brightest(volume_of(node("Case"))), (30, 0, 5), atol=1e-3)
    assert np.allclose(brightest(volume_of(growth)), np.array(BRIGHT) / (1.2, 1.1, 0.9), atol=1e-3)
    assert [part.GetName() for part in parts_of(growth)[1:]] == [
        "Growth: atlas to patient", "Growth: colours", "Growth: 0.2", "Growth: 0.6"
    ]  # fmt: skip


def test_the_columns_and_the_folder_come_back_and_a_new_guard_knows_them(app, scene, restored):
    from Testing.SlicerHost import host
    from TumorRetrievalLib.scene.comparison import ColumnGuard, is_shown, volumes_shown
    from TumorRetrievalLib.scene.folders import folders_in, nodes_in
    from TumorRetrievalLib.scene.views import COLUMNS

    assert is_shown(scene) and volumes_shown(scene) == [node("Patient"), node("Case")]
    assert node("Case") in nodes_in(scene, folders_in(scene)[0])
    guard = ColumnGuard(scene)
    axial = app.layoutManager().sliceWidget(COLUMNS[1].view_name("Axial"))
    axial.sliceController().setBackgroundVolume(node("Patient"))
    host.settle()
    guard.stop()
    assert axial.mrmlSliceCompositeNode().GetBackgroundVolumeID() == node("Case").GetID()


def test_the_columns_of_a_restored_comparison_are_linked_with_each_other_alone(app, scene, restored):
    from Testing.SlicerHost.mouse import wheel
    from TumorRetrievalLib.scene.comparison import ColumnGuard
    from TumorRetrievalLib.scene.views import COLUMNS

    guard = ColumnGuard(scene)
    manager = app.layoutManager()
    red = manager.sliceWidget("Red").mrmlSliceNode()
    red.SetViewGroup(1)  # where reading a scene leaves the columns
    before = red.GetSliceOffset()
    patient, case = (manager.sliceWidget(column.view_name("Axial")) for column in COLUMNS[:2])
    wheel(patient.sliceView(), 2)
    guard.stop()
    red.SetViewGroup(0)

    assert case.mrmlSliceNode().GetSliceOffset() == pytest.approx(patient.mrmlSliceNode().GetSliceOffset())
    assert red.GetSliceOffset() == before


def test_the_layout_before_the_comparison_is_still_known(app, scene, restored):
    from Testing.SlicerHost import host
    from TumorRetrievalLib.scene.comparison import leave_comparison

    leave_comparison(scene)

    assert app.layoutManager().layout == host.FIRST_LAYOUT
