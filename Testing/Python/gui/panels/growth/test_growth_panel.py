"""The growth simulation in the panel: fitted, looked at and removed, with real mouse events."""

import numpy as np
import pytest

from Testing.Python.gui.panels.conftest import CENTER, brain, tumor, wait_until
from Testing.Python.gui.panels.growth.conftest import click_on_row, overlays, press, radius_of, slide


def test_before_a_search_there_is_no_growth_and_the_button_would_say_why(growing, ready):
    assert not ready.growthPanel.widget.isVisible()
    assert "Find similar cases first" in ready.growthPanel.ui.fitButton.toolTip


def test_the_section_is_folded_until_it_is_asked_for_or_there_is_a_fit_to_show(answered, growing):
    section = answered.growthPanel.ui.growthSection
    assert section.isVisible() and section.collapsed
    answered.growth.startFit(bent=False)
    wait_until(lambda: answered.growth.fit is not None)

    assert not section.collapsed and answered.growthPanel.ui.shownWidget.isVisible()


def test_the_fit_is_asked_for_with_the_scan_and_the_outlines_on_its_grid(searched, growing, patient):
    from TumorRetrievalLib.imaging.files import read_labels, read_volume

    asked = []
    growing.answers["growth"] = lambda arguments: asked.append(
        (read_volume(arguments["t1c"]), read_labels(arguments["core"]), read_labels(arguments["whole"]))
    )
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: asked)

    scan, core, whole = asked[0]
    assert scan.grid.same_as(brain()[0].grid) and core.grid.same_as(scan.grid)
    assert np.array_equal(core.data, brain()[1].data) and np.array_equal(whole.data, brain()[1].data)
    assert growing.tasks("growth")[0]["deformable"] is True and "box" not in growing.tasks("growth")[0]


def test_of_several_tumors_the_one_that_is_chosen_is_fitted(growing, ready):
    from TumorRetrievalGui.box_logic import suggestBoxes

    from TumorRetrievalLib.imaging.box import Box

    suggestBoxes(ready.query.parameters, [Box.aligned(CENTER, (24, 24, 24))] * 2)
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen and not ready.compare.isLoading)
    ready.results.chooseTumor(1)
    ready.growth.startFit(bent=False)
    wait_until(lambda: ready.growth.fit is not None)

    request = growing.tasks("growth")[0]
    assert request["box"] == tumor(1)["box"] and request["deformable"] is False
    assert "Tumor 2" in ready.growthPanel.ui.fitLabel.text


def test_the_density_lies_over_the_patients_tumor_in_every_view_of_the_patient(fitted, scene, patient):
    from TumorRetrievalGui.query_logic import folderOf

    from TumorRetrievalLib.scene.folders import nodes_in
    from TumorRetrievalLib.scene.volumes import volume_of

    density = volume_of(fitted.growth.density)
    middle = np.average(density.grid.voxel_centres(), axis=0, weights=density.data.ravel())

    assert np.allclose(middle, CENTER, atol=0.5)
    assert overlays(scene, patient) == {fitted.growth.density.GetID()}
    assert fitted.growth.density in nodes_in(scene, folderOf(fitted.query.parameters))


def test_after_the_fit_every_slice_shows_the_tumor(fitted, scene):
    red = scene.GetNodeByID("vtkMRMLSliceNodeRed")

    assert red.GetSliceOffset() == pytest.approx(CENTER[2], abs=1.5)


def test_the_fit_is_told_in_ranges_and_never_as_one_age_or_rate(fitted):
    ui = fitted.growthPanel.ui

    assert "0.70 (core) and 0.80 (whole tumor)" in ui.fitLabel.text
    assert "100 to 1200 days" in ui.familyLabel.text and "0.01 to 0.12 per day" in ui.familyLabel.text
    assert "0.04 to 0.48 mm²" in ui.familyLabel.text
    assert ui.growthNotes.text == "The tumor has several foci."
    assert [ui.matchList.item(i).text() for i in range(ui.matchList.count)][1] == "Match 1: 0.60 + 0.70 = 1.30"


def test_opacity_and_threshold_follow_their_sliders(fitted, scene, patient):
    ui = fitted.growthPanel.ui
    slide(ui.opacitySlider, to=25)
    slide(ui.thresholdSlider, to=40)

    import slicer.util

    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    shown = [view for view in views if view.GetBackgroundVolumeID() == patient.GetID()]
    assert shown and all(abs(view.GetForegroundOpacity() - 0.25) < 0.03 for view in shown)
    assert abs(fitted.growth.density.GetDisplayNode().GetLowerThreshold() - 0.4) < 0.03
    assert ui.thresholdValue.text == f"{ui.thresholdSlider.value} %"


def test_an_earlier_age_is_a_smaller_tumor_at_the_same_place(fitted):
    ui = fitted.growthPanel.ui
    grown_up = radius_of(fitted)
    slide(ui.ageSlider, to=2)

    assert ui.ageSlider.value == 2 and ui.ageValue.text == "50 %"
    assert radius_of(fitted) == pytest.approx(grown_up / 2, rel=0.1)
    assert "100 to 1200 days" in ui.ageSlider.toolTip


def test_another_match_shows_that_tumor_at_the_same_age(fitted, growing):
    ui = fitted.growthPanel.ui
    slide(ui.ageSlider, to=2)
    click_on_row(ui.matchList, 2)
    wait_until(lambda: fitted.growth.view.match == 1)

    assert growing.tasks("growth_stages")[0]["lambda_mm2"] == 6.0
    assert radius_of(fitted) == pytest.approx(20.0 / 2, rel=0.1)
    assert ui.matchList.currentRow == 2 and ui.ageSlider.value == 2


def test_the_uncertainty_takes_the_densitys_place_and_gives_it_back(fitted, scene, patient):
    from TumorRetrievalLib.scene.growth import uncertainty_of

    box = fitted.growthPanel.ui.uncertaintyBox
    press(box)
    assert overlays(scene, patient) == {uncertainty_of(fitted.growth.density).GetID()}
    assert "deviation" in fitted.growthPanel.ui.legendLabel.text

    press(box)
    assert overlays(scene, patient) == {fitted.growth.density.GetID()}


def test_beside_similar_cases_the_density_lies_over_the_patients_column_alone(fitted, scene, patient):
    fitted.compare.show()
    wait_until(lambda: overlays(scene, patient) == {fitted.growth.density.GetID()})

    for case in fitted.query.parameters.cases:
        assert overlays(scene, case) == {None}


def test_removing_leaves_the_scene_as_it_was_before_the_fit(searched, scene, patient):
    before = {node.GetID() for node in scene.GetNodes()}
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: searched.growth.fit is not None)
    press(searched.growthPanel.ui.removeButton)

    assert {node.GetID() for node in scene.GetNodes()} == before
    assert overlays(scene, patient) == {None} and not searched.growthPanel.ui.shownWidget.isVisible()
    assert searched.growthPanel.ui.fitButton.enabled


def test_a_second_fit_takes_the_place_of_the_first(fitted, scene):
    count = scene.GetNumberOfNodes()
    first = fitted.growth.density.GetID()
    press(fitted.growthPanel.ui.fitButton)
    wait_until(lambda: not fitted.growth.isFitting)

    assert scene.GetNumberOfNodes() == count and fitted.growth.density.GetID() != first


def test_a_new_search_takes_the_simulation_with_it(fitted):
    density = fitted.growth.density.GetID()
    fitted.query.find()
    wait_until(lambda: not fitted.query.isRunning)

    assert fitted.growth.fit is None and fitted.query.parameters.scene.GetNodeByID(density) is None
