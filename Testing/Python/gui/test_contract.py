"""The stand-ins promise what the real widgets promise, by the table of their sources."""

import pytest

from Testing.SlicerHost.contract import CONTRACT

PLAIN = {name for name in CONTRACT if not name.startswith("qMRML")}


@pytest.fixture(params=CONTRACT)
def stand_in(app, request):
    """A new widget of each class of the table, and what the table says of it."""
    import ctk
    import slicer

    made = getattr(ctk if request.param in PLAIN else slicer, request.param)()
    yield made, CONTRACT[request.param]
    made.deleteLater()


def test_a_new_stand_in_has_the_real_defaults(stand_in):
    made, promise = stand_in

    assert {name: getattr(made, name) for name in promise.defaults} == promise.defaults


def test_every_property_is_one_for_ui_files_too(stand_in):
    made, promise = stand_in

    assert [name for name in promise.defaults if made.metaObject().indexOfProperty(name) < 0] == []


def test_every_signal_can_be_connected_by_its_real_signature(stand_in):
    made, promise = stand_in

    for signature in promise.signals:
        assert made.connect(signature, print) and made.disconnect(signature, print)


def test_a_signal_that_the_real_class_has_not_is_refused(stand_in):
    made, _ = stand_in

    for wrong in ("changed()", "valueChanged(QColor)", "currentNodeChanged(vtkMRMLVolumeNode*)", "clicked"):
        with pytest.raises(AttributeError):
            made.connect(wrong, print)


def test_every_method_is_there(stand_in):
    made, promise = stand_in

    assert [name for name in promise.methods if not callable(getattr(made, name, None))] == []


def test_an_unknown_property_is_refused(stand_in):
    made, _ = stand_in

    with pytest.raises(AttributeError):
        made.colour = "red"


def test_the_table_covers_every_stand_in(app):
    import qt

    assert set(qt.QUiLoader.stand_ins) == set(CONTRACT)


def test_a_slider_moved_by_hand_tells_its_value_once_per_step(app):
    import ctk

    told = []
    slider = ctk.ctkSliderWidget()
    slider.connect("valueChanged(double)", told.append)
    slider.maximum = 1.0
    slider.value = 0.5
    slider._slider.setValue(7500)

    assert told == [0.5, 0.75] and slider.value == 0.75 and slider.spinBox().value == 0.75


def test_a_slider_without_tracking_tells_its_value_when_it_is_let_go(app):
    import ctk

    told, telling = [], []
    slider = ctk.ctkSliderWidget()
    slider.tracking = False
    slider.connect("valueChanged(double)", told.append)
    slider.connect("valueIsChanging(double)", telling.append)
    slider._slider.setSliderDown(True)
    slider._slider.setSliderPosition(5000)
    assert told == [] and len(telling) == 1 and slider.value == 0

    slider._slider.setSliderDown(False)
    assert told == [slider.value] and slider.value == pytest.approx(50, abs=0.1)


def test_the_lower_end_of_a_range_never_passes_the_upper(app):
    import ctk

    widget = ctk.ctkRangeWidget()
    widget.setValues(10, 40)
    widget.minimumValue = 60

    assert (widget.minimumValue, widget.maximumValue) == (40, 40)


def test_a_collapsed_section_hides_its_contents_and_shows_again_what_was_shown(app):
    import ctk
    import qt

    section = ctk.ctkCollapsibleButton("Details")
    box = qt.QVBoxLayout(section)
    shown, hidden = qt.QLabel("shown"), qt.QLabel("hidden")
    box.addWidget(shown)
    box.addWidget(hidden)
    hidden.visible = False
    section.show()
    section.collapsed = True
    assert shown.isHidden() and section.maximumHeight < 60

    section.collapsed = False
    assert not shown.isHidden() and hidden.isHidden()


class TestNodeComboBox:
    """qMRMLNodeComboBox in a scene."""

    @pytest.fixture
    def selector(self, scene):
        import slicer

        made = slicer.qMRMLNodeComboBox()
        made.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        made.setMRMLScene(scene)
        yield made
        made.setMRMLScene(None)

    def test_the_first_node_is_chosen_by_itself(self, selector, scene):
        told = []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", told.append)
        first = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "First")
        scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Second")

        assert selector.currentNode() is first and told == [first] and selector.nodeCount() == 2

    def test_nothing_is_chosen_where_none_is_a_choice(self, selector, scene):
        selector.noneEnabled = True
        scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "First")

        assert selector.currentNode() is None and selector.nodeCount() == 1

    def test_a_deleted_node_is_no_longer_chosen(self, selector, scene):
        first = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "First")
        scene.RemoveNode(first)

        assert selector.currentNode() is None and selector.currentNodeID == ""

    def test_a_closed_scene_leaves_nothing_chosen(self, selector, scene):
        scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "First")
        scene.Clear(0)

        assert selector.currentNode() is None and selector.nodeCount() == 0

    def test_a_node_of_another_class_is_not_listed_and_cannot_be_chosen(self, selector, scene):
        scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Scan")
        selector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLModelNode", "Model"))

        assert selector.nodeCount() == 1 and selector.currentNode() is None

    def test_hidden_nodes_and_nodes_without_the_attribute_are_left_out(self, selector, scene):
        hidden = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Hidden")
        hidden.SetHideFromEditors(True)
        marked = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Marked")
        marked.SetAttribute("Kind", "scan")
        scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Plain")
        selector.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "scan")

        assert selector.nodeCount() == 1 and selector.nodeFromIndex(0) is marked
