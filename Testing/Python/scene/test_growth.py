"""A simulated tumor from the atlas is shown where it belongs in the patient, proved with landmarks."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.volume import Grid, Volume

PEAK = (19.0, -15.0, 9.0)
"""Where the simulated tumor is densest: atlas RAS mm, right and rear."""


@pytest.fixture
def patient_to_atlas() -> np.ndarray:
    """A registration that turns, stretches and shifts: far from its own inverse."""
    from Testing.SlicerHost.phantoms import turned

    matrix = np.eye(4)
    matrix[:3, :3] = turned(20) @ np.diag([1.2, 0.9, 1.0])
    matrix[:3, 3] = (8, -5, 15)
    return matrix


def density_around(peak, width: float = 12.0) -> Volume:
    """A density that falls off from 1 at a place of the atlas."""
    grid = Grid.around((0, 0, 0), 2.0, (48, 46, 44))
    squared = ((grid.voxel_centres() - np.asarray(peak)) ** 2).sum(axis=1)
    return Volume(np.exp(-squared / width**2).reshape(grid.shape), grid.affine)


@pytest.fixture
def overlay(scene, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import add_density

    return add_density(scene, density_around(PEAK), patient_to_atlas, "Growth")


def in_patient(patient_to_atlas, point) -> np.ndarray:
    return (np.linalg.inv(patient_to_atlas) @ (*point, 1.0))[:3]


def test_the_densest_place_of_the_atlas_is_shown_at_the_same_place_of_the_patient(overlay, patient_to_atlas):
    from Testing.SlicerHost.phantoms import brightest
    from TumorRetrievalLib.scene.volumes import volume_of

    assert np.allclose(brightest(volume_of(overlay)), in_patient(patient_to_atlas, PEAK))


def test_slicers_own_transform_agrees_on_the_direction(overlay, patient_to_atlas):
    import vtk

    to_world = vtk.vtkGeneralTransform()
    overlay.GetParentTransformNode().GetTransformToWorld(to_world)

    assert np.allclose(to_world.TransformPoint(PEAK), in_patient(patient_to_atlas, PEAK))


def test_a_better_registration_moves_the_map(overlay):
    from Testing.SlicerHost.phantoms import brightest
    from TumorRetrievalLib.scene.growth import set_registration
    from TumorRetrievalLib.scene.volumes import volume_of

    set_registration(overlay, np.eye(4))

    assert np.allclose(brightest(volume_of(overlay)), PEAK)


def test_the_contours_lie_around_the_densest_place_in_the_patient(overlay, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import parts_of

    widths = []
    for contour in (part for part in parts_of(overlay) if part.IsA("vtkMRMLModelNode")):
        bounds = np.zeros(6)
        contour.GetRASBounds(bounds)
        middle = bounds.reshape(3, 2).mean(axis=1)
        assert np.allclose(middle, in_patient(patient_to_atlas, PEAK), atol=1.5)
        widths.append(np.ptp(bounds[4:]))

    expected = [2 * 12 * np.sqrt(-np.log(level)) for level in (0.2, 0.6)]
    assert np.allclose(widths, expected, rtol=0.1)


def test_another_time_of_the_simulation_replaces_map_and_contours(overlay):
    from TumorRetrievalLib.scene.growth import parts_of, set_density, set_registration
    from TumorRetrievalLib.scene.volumes import volume_of

    set_registration(overlay, np.eye(4))
    earlier = density_around((-30, 0, 0), width=6)
    set_density(overlay, earlier)

    assert np.array_equal(volume_of(overlay).data, earlier.data)
    contour = next(part for part in parts_of(overlay) if part.IsA("vtkMRMLModelNode"))
    assert contour.GetPolyData().GetCenter()[0] == pytest.approx(-30, abs=1)


def test_a_density_too_low_for_a_contour_has_an_empty_one(scene, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import add_density, parts_of

    density = density_around(PEAK)
    thin = Volume(density.data * 0.1, density.affine)
    node = add_density(scene, thin, patient_to_atlas, "Thin")

    models = [part for part in parts_of(node) if part.IsA("vtkMRMLModelNode")]
    assert [model.GetPolyData().GetNumberOfPoints() for model in models] == [0, 0]


def test_a_threshold_hides_the_low_densities_only(overlay):
    from TumorRetrievalLib.scene.growth import set_threshold

    set_threshold(overlay, 0.35)
    display = overlay.GetDisplayNode()

    assert display.GetApplyThreshold() and display.GetLowerThreshold() == pytest.approx(0.35)
    assert display.GetUpperThreshold() >= 1


BEND_MM = (4.0, -3.0, 2.0)
"""How far the bend of these tests moves a point of the straightened patient on its way to the atlas."""


class EverywhereTheSame:
    """A `growth.Bend` that moves all points alike: its effect can be worked out by hand."""

    grid = Grid.around((0, 0, 0), 6.0, (40, 40, 40))
    from_straight = np.broadcast_to(np.array(BEND_MM, np.float32)[:, None, None, None], (3, 40, 40, 40))
    to_straight = -from_straight


def ages(peak=PEAK, widths=(4.0, 8.0, 12.0)) -> list[Volume]:
    """A tumor that gets wider."""
    return [density_around(peak, width) for width in widths]


def add_tumor(scene, patient_to_atlas, **options):
    from TumorRetrievalLib.scene.growth import add_growth

    spread = Volume(density_around((0, 0, 0)).data * 0.4, density_around(PEAK).affine)
    return add_growth(scene, ages(), spread, patient_to_atlas, "Growth", **options)


def middle_of(node) -> np.ndarray:
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    return bounds.reshape(3, 2).mean(axis=1)


def shown_at(node, point) -> float:
    """What slices show of a volume at a place of the world (RAS mm)."""
    import vtk

    from TumorRetrievalLib.scene.matrices import to_numpy

    from_world = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformFromWorld(from_world)
    to_voxel = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(to_voxel)
    voxel = to_numpy(to_voxel) @ (*from_world.TransformPoint(point), 1.0)
    return float(node.GetImageData().GetScalarComponentAsDouble(*np.rint(voxel[:3]).astype(int).tolist(), 0))


def test_through_a_bend_the_densest_place_is_shown_where_both_parts_of_the_way_lead(scene, patient_to_atlas):
    from TumorRetrievalLib.scene.growth import contours_of

    node = add_tumor(scene, patient_to_atlas, bend=EverywhereTheSame())
    place = in_patient(patient_to_atlas, np.array(PEAK) - BEND_MM)
    mistaken = in_patient(patient_to_atlas, np.array(PEAK) + BEND_MM)

    assert shown_at(node, place) == pytest.approx(1.0, abs=0.02)
    assert shown_at(node, mistaken) < 0.6
    for contour in contours_of(node):
        assert np.allclose(middle_of(contour), place, atol=1.5)


@pytest.mark.parametrize("way", ["straight", "bent"])
def test_the_density_lies_on_its_side_of_scans_stored_in_any_way(scene, scan, way):
    """The scan's own voxel directions play no part: the registration speaks of RAS mm."""
    from Testing.SlicerHost.phantoms import BRIGHT, brightest
    from TumorRetrievalLib.scene.volumes import add_volume, volume_of

    node = add_volume(scene, scan, "Scan")
    to_atlas = np.eye(4)
    to_atlas[:3, 3] = np.array(PEAK) - BRIGHT
    if way == "bent":
        to_atlas[:3, 3] -= BEND_MM
    density = add_tumor(scene, to_atlas, bend=EverywhereTheSame() if way == "bent" else None, scan=node)

    landmark = brightest(volume_of(node))
    assert np.allclose(landmark, BRIGHT) and landmark[0] < 0
    assert shown_at(density, landmark) == pytest.approx(1.0, abs=0.02)
    assert shown_at(density, landmark * (-1, 1, 1)) < 0.3


@pytest.mark.parametrize("bend", [None, EverywhereTheSame()], ids=["straight", "bent"])
def test_the_density_follows_the_scan_when_its_transform_changes(scene, upright, patient_to_atlas, bend):
    from TumorRetrievalLib.scene.growth import contours_of
    from TumorRetrievalLib.scene.matrices import to_vtk
    from TumorRetrievalLib.scene.volumes import add_volume

    scan = add_volume(scene, upright, "Scan")
    above = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Above")
    above.SetMatrixTransformToParent(to_vtk(patient_to_atlas))
    scan.SetAndObserveTransformNodeID(above.GetID())
    node = add_tumor(scene, patient_to_atlas, bend=bend, scan=scan)
    place = in_patient(patient_to_atlas, np.array(PEAK) - (BEND_MM if bend else 0))
    assert shown_at(node, place) == pytest.approx(1.0, abs=0.02)

    further = patient_to_atlas.copy()
    further[:3, 3] += (0, 0, 30)
    above.SetMatrixTransformToParent(to_vtk(further))

    assert shown_at(node, place + (0, 0, 30)) == pytest.approx(1.0, abs=0.02)
    for contour in contours_of(node):
        assert np.allclose(middle_of(contour), place + (0, 0, 30), atol=1.5)


def test_every_age_can_be_shown_and_its_contours_with_it(scene):
    from TumorRetrievalLib.scene.growth import contours_of, show_stage, stage_count
    from TumorRetrievalLib.scene.volumes import volume_of

    node = add_tumor(scene, np.eye(4))
    assert stage_count(node) == 3 and np.array_equal(volume_of(node).data, ages()[-1].data)

    sizes = []
    for number in range(3):
        show_stage(node, number)
        assert np.abs(volume_of(node).data - ages()[number].data).max() <= 0.5 / 255 + 1e-6
        sizes.append(np.ptp(np.array(contours_of(node)[0].GetPolyData().GetBounds())[:2]))
    assert sizes[0] < sizes[1] < sizes[2]


def test_another_simulated_tumor_takes_its_place_with_all_its_ages(scene):
    from Testing.SlicerHost.phantoms import brightest
    from TumorRetrievalLib.scene.growth import set_stages, show_stage, stage_count
    from TumorRetrievalLib.scene.volumes import volume_of

    node = add_tumor(scene, np.eye(4))
    set_stages(node, ages((-31, 5, 3), widths=(5, 10)))

    assert stage_count(node) == 2
    for number in range(2):
        show_stage(node, number)
        assert np.allclose(brightest(volume_of(node)), (-31, 5, 3))


def test_removing_a_simulation_leaves_nothing_of_it(scene):
    from TumorRetrievalLib.scene.growth import remove_growth

    before = {node.GetID() for node in scene.GetNodes()}
    remove_growth(add_tumor(scene, np.eye(4), bend=EverywhereTheSame()))

    left = {node.GetID() for node in scene.GetNodes()} - before
    assert {scene.GetNodeByID(node).GetClassName() for node in left} <= {"vtkMRMLSubjectHierarchyNode"}


def test_a_saved_scene_brings_back_every_age_through_the_same_bend(mrml, scene, patient_to_atlas, tmp_path):
    from TumorRetrievalLib.scene.growth import contours_of, show_stage, stage_count, uncertainty_of

    place = in_patient(patient_to_atlas, np.array(PEAK) - BEND_MM)
    name = add_tumor(scene, patient_to_atlas, bend=EverywhereTheSame()).GetName()
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    mrml.close_scene()
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)

    node = scene.GetFirstNodeByName(name)
    assert stage_count(node) == 3
    show_stage(node, 1)
    assert shown_at(node, place) == pytest.approx(1.0, abs=0.02)
    assert uncertainty_of(node).GetParentTransformNode() is node.GetParentTransformNode()
    assert node.GetDisplayNode().GetColorNode().IsA("vtkMRMLProceduralColorNode")
    for contour in contours_of(node):
        assert np.allclose(middle_of(contour), place, atol=1.5)


def test_a_simulation_is_laid_over_the_patient_and_over_nobody_else(mrml, scene, upright):
    from TumorRetrievalLib.scene.comparison import lay_over
    from TumorRetrievalLib.scene.volumes import add_volume

    patient, other = add_volume(scene, upright, "Patient"), add_volume(scene, upright, "Case")
    node = add_tumor(scene, np.eye(4))
    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(2)]
    for view, volume in zip(views, (patient, other), strict=True):
        view.SetBackgroundVolumeID(volume.GetID())
    lay_over(scene, [patient], node, 0.4)

    assert views[0].GetForegroundVolumeID() == node.GetID() and views[0].GetForegroundOpacity() == pytest.approx(0.4)
    assert not views[1].GetForegroundVolumeID()
