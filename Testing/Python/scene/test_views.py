"""The comparison's layouts are Slicer's to read, and stand beside every other layout."""

import pytest


@pytest.fixture
def layout_node(mrml, scene):
    from TumorRetrievalLib.scene.views import register_layouts

    register_layouts(scene)
    yield mrml.layout_node
    mrml.layout_node.SetViewArrangement(mrml.layout_node.SlicerLayoutFourUpView)


@pytest.mark.parametrize("plane", ["Sagittal", "Coronal"])
@pytest.mark.parametrize("cases", range(1, 7))
def test_slicer_makes_two_views_for_the_patient_and_for_each_case(layout_node, scene, cases, plane):
    from TumorRetrievalLib.scene.views import comparison_slices, layout_id

    layout_node.SetViewArrangement(layout_id(cases, plane))
    views = comparison_slices(scene)

    assert [view.GetOrientation() for view in views] == ["Axial", plane] * (cases + 1)
    assert [view.GetLayoutLabel() for view in views[::2]] == ["P", "1", "2", "3", "4", "5", "6"][: cases + 1]
    assert scene.GetSingletonNode("TumorRetrieval3D", "vtkMRMLViewNode") is not None


def test_views_that_slicer_put_into_another_group_are_gathered(layout_node, scene):
    from TumorRetrievalLib.scene.views import VIEW_GROUP, comparison_slices, gather, layout_id, three_d_view

    layout_node.SetViewArrangement(layout_id(2, "Sagittal"))
    views = [*comparison_slices(scene), three_d_view(scene)]
    for view in views:
        view.SetViewGroup(1)
    gather(scene)

    assert {view.GetViewGroup() for view in views} == {VIEW_GROUP}
    assert scene.GetNodeByID("vtkMRMLSliceNodeRed").GetViewGroup() == 0


def test_no_layout_of_slicers_own_is_touched(mrml, scene):
    from TumorRetrievalLib.scene.views import register_layouts

    own = [value for name, value in vars(type(mrml.layout_node)).items() if name.startswith("SlicerLayout")]
    layouts = [value for value in own if isinstance(value, int) and mrml.layout_node.IsLayoutDescription(value)]
    before = {layout: mrml.layout_node.GetLayoutDescription(layout) for layout in layouts}
    register_layouts(scene)

    assert len(before) > 10
    assert {layout: mrml.layout_node.GetLayoutDescription(layout) for layout in layouts} == before


def test_every_comparison_has_an_identifier_of_its_own_above_slicers(layout_node):
    from TumorRetrievalLib.scene.views import growing_layout_id, layout_id, plan_of

    all_ids = [layout_id(cases, plane) for plane in ("Sagittal", "Coronal") for cases in range(1, 7)]

    assert len(set(all_ids)) == 12 and min(all_ids) > 100
    assert [plan_of(identifier) for identifier in all_ids[:2]] == [(1, "Sagittal"), (2, "Sagittal")]
    assert plan_of(3) is plan_of(7400) is plan_of(7408) is plan_of(7447) is plan_of(7500) is None
    assert plan_of(growing_layout_id(0, "Coronal")) == (0, "Coronal")


@pytest.mark.parametrize("cases", [0, 7])
def test_no_cases_or_too_many_are_refused(cases):
    from TumorRetrievalLib.scene.views import layout_id

    with pytest.raises(ValueError, match="1 to 6 cases"):
        layout_id(cases, "Sagittal")


def test_registering_twice_is_the_same_as_once(layout_node, scene):
    from TumorRetrievalLib.scene.views import layout_id, register_layouts

    identifier = layout_id(3, "Sagittal")
    before = layout_node.GetLayoutDescription(identifier)
    register_layouts(scene)

    assert layout_node.GetLayoutDescription(identifier) == before


def test_a_scene_without_views_has_nothing_to_fill_and_that_is_no_error(layout_node, scene, upright):
    from TumorRetrievalLib.scene.comparison import Shown, show_comparison
    from TumorRetrievalLib.scene.volumes import add_volume

    patient, case = add_volume(scene, upright, "Patient"), add_volume(scene, upright, "Case")

    show_comparison(scene, Shown(patient), [Shown(case)])
