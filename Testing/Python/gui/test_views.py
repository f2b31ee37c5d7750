"""The host's views are Slicer's own, and a mouse over them does what it does in Slicer."""

import numpy as np
import pytest


@pytest.fixture
def red(app, window, scan):
    """The axial view with the scan in it."""
    from Testing.SlicerHost import host

    widget = app.layoutManager().sliceWidget("Red")
    widget.sliceLogic().FitSliceToAll()
    widget.sliceLogic().SetSliceOffset(0.0)
    host.settle()
    return widget


@pytest.fixture
def roi(scene):
    """A box of 20 mm around the origin."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    node.CreateDefaultDisplayNodes()
    node.SetSize(20, 20, 20)
    node.SetCenter(0, 0, 0)
    slicer.app.processEvents()
    return node


def picture(widget) -> np.ndarray:
    from Testing.SlicerHost import host

    host.settle()
    return widget.sliceView()._view.pixels()


def test_a_slice_shows_the_scan_bright_where_it_is_bright(red):
    pixels = picture(red)

    height, width, _ = pixels.shape
    assert pixels[height // 2, width // 2].mean() > 200 > 100 > pixels[height // 2, width // 4].mean()


def test_the_patients_right_is_on_the_left_of_an_axial_slice(red):
    from Testing.SlicerHost.mouse import place_of

    assert place_of(red, (30, 0, 0)).x() < red.sliceView().width / 2 < place_of(red, (-30, 0, 0)).x()


def test_the_outline_of_a_box_lies_over_the_image_and_does_not_hide_it(red, roi):
    pixels = picture(red)

    height, width, _ = pixels.shape
    assert (np.ptp(pixels.astype(int), axis=2) > 40).any(), "the coloured outline"
    assert pixels[height // 2 + 6, width // 2 + 6].mean() > 100, "the bright ball inside the box"


def test_dragging_the_middle_of_a_box_moves_it_as_far_as_the_mouse_went(red, roi):
    from Testing.SlicerHost.mouse import drag, place_of

    drag(red.sliceView(), place_of(red, (0, 0, 0)), place_of(red, (-12, 8, 0)))

    assert np.allclose(roi.GetCenter(), (-12, 8, 0), atol=1.0)
    assert np.allclose(roi.GetSize(), 20)


def test_dragging_a_handle_of_a_box_makes_it_longer_on_that_side(red, roi):
    from Testing.SlicerHost.mouse import drag, place_of

    roi.GetDisplayNode().SetHandlesInteractive(True)
    picture(red)
    drag(red.sliceView(), place_of(red, (10, 0, 0)), place_of(red, (20, 0, 0)))

    assert roi.GetSize()[0] == pytest.approx(30, abs=1.5) and roi.GetCenter()[0] == pytest.approx(5, abs=1)


def test_two_clicks_place_a_box_between_them(red, scene):
    from Testing.SlicerHost.mouse import click, place_of
    from TumorRetrievalLib.scene.rois import add_roi, start_placing

    node = add_roi(scene, "Box")
    start_placing(scene, node)
    click(red.sliceView(), place_of(red, (5, -5, 0)))
    click(red.sliceView(), place_of(red, (20, 10, 0)))

    assert np.allclose(node.GetCenter(), (12.5, 2.5, 0), atol=1) and np.allclose(list(node.GetSize())[:2], 15, atol=1)


def test_the_wheel_goes_through_the_slices(red):
    from Testing.SlicerHost.mouse import wheel

    before = red.mrmlSliceNode().GetSliceOffset()
    wheel(red.sliceView(), 3)

    assert abs(red.mrmlSliceNode().GetSliceOffset() - before) == pytest.approx(6, abs=0.01)


def test_the_bar_above_a_slice_follows_the_wheel_and_moves_the_slice(red):
    from Testing.SlicerHost.mouse import wheel

    slider = red.sliceController()._slider
    wheel(red.sliceView(), 2)
    assert slider.value == round(red.mrmlSliceNode().GetSliceOffset() * 10)

    slider.setValue(100)
    assert red.mrmlSliceNode().GetSliceOffset() == pytest.approx(10)


def test_the_3d_view_turns_under_the_mouse(app, window, scene):
    from PySide6.QtCore import QPoint

    from Testing.SlicerHost.mouse import drag

    view = app.layoutManager().threeDWidget(0).threeDView()
    before = np.array(view.cameraNode().GetPosition())
    middle = view.rect.center()
    drag(view, middle, middle + QPoint(40, 10))

    assert np.linalg.norm(np.array(view.cameraNode().GetPosition()) - before) > 1


def test_a_layout_of_ones_own_shows_its_views_and_the_old_ones_come_back(app, window, scene):
    from Testing.SlicerHost import host

    manager = app.layoutManager()
    node = manager.layoutLogic().GetLayoutNode()
    description = (
        '<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="Extra">'
        '<property name="orientation" action="default">Coronal</property></view></item></layout>'
    )
    if not node.IsLayoutDescription(501):
        node.AddLayoutDescription(501, description)
    manager.setLayout(501)
    host.settle()
    assert manager.sliceWidget("Extra").isVisible() and not manager.sliceWidget("Red").isVisible()
    assert manager.sliceWidget("Extra").mrmlSliceNode().GetOrientation() == "Coronal"

    manager.setLayout(host.FIRST_LAYOUT)
    host.settle()
    assert manager.sliceWidget("Red").isVisible() and not manager.sliceWidget("Extra").isVisible()
