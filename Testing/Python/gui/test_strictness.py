"""What PythonQt would only print, or not notice at all, stops a test on this host."""

import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="box">
<item><widget class="qMRMLNodeComboBox" name="inputSelector"><property name="nodeTypes"><stringlist>
<string>vtkMRMLScalarVolumeNode</string></stringlist></property>
<property name="noneEnabled"><bool>true</bool></property>
</widget></item>
<item><widget class="ctkSliderWidget" name="weightSlider">
<property name="maximum"><double>2</double></property></widget>
</item></layout></widget>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


@pytest.fixture
def ui_file(tmp_path):
    """Write a .ui file."""

    def write(text: str):
        path = tmp_path / "Panel.ui"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_properties_are_attributes(app):
    import qt

    label = qt.QLabel("a")
    label.text = "b"
    label.enabled = False

    assert label.text == "b" and label.enabled is False and label.isEnabled() is False
    assert qt.QSpinBox().maximum == 99 and qt.QPushButton("x").checkable is False


def test_calling_a_property_is_an_error(app):
    import qt

    for call in (lambda: qt.QLabel("a").text(), lambda: qt.QCheckBox().checked(), lambda: qt.QSpinBox().value()):
        with pytest.raises(TypeError):
            call()


def test_a_widget_takes_no_new_attributes_but_a_subclass_does(app):
    import qt

    class Own(qt.QLabel):
        """A module's own widget."""

    own = Own()
    own.anything = 1
    with pytest.raises(AttributeError, match="no property 'txt'"):
        qt.QLabel().txt = "a"


def test_signals_are_connected_by_their_signature(app):
    import qt

    told = []
    button = qt.QPushButton("x")
    button.connect("clicked()", lambda: told.append("no argument"))
    button.connect("clicked(bool)", told.append)
    box = qt.QComboBox()
    box.addItems(["a", "b"])
    box.connect("currentIndexChanged(int)", told.append)
    button.click()
    box.setCurrentIndex(1)

    assert sorted(map(str, told)) == ["1", "False", "no argument"]


@pytest.mark.parametrize("wrong", ["clicked(int)", "pushed()", "clicked", "clicked(bool", "text()"])
def test_a_wrong_signature_is_an_error(app, wrong):
    import qt

    with pytest.raises(AttributeError, match="no signal"):
        qt.QPushButton().connect(wrong, print)


def test_disconnecting_ends_the_calls_and_says_whether_there_were_any(app):
    import qt

    told = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", told.append)

    assert button.disconnect("clicked(bool)", told.append)
    button.click()
    assert told == []


def test_pythonqts_names_for_objects(app):
    import qt

    timer = qt.QTimer()
    timer.singleShot = True
    label = qt.QLabel()
    label.name = "title"

    assert timer.singleShot is True and callable(qt.QTimer.singleShot)
    assert label.objectName == "title" and label.className() == "QLabel"


def test_a_ui_file_is_loaded_with_its_properties_and_its_connections(scene, ui_file):
    import slicer.util

    widget = slicer.util.loadUI(ui_file(UI))
    ui = slicer.util.childWidgetVariables(widget)
    widget.setMRMLScene(scene)

    assert ui.inputSelector.mrmlScene() is scene and ui.inputSelector.noneEnabled
    assert ui.weightSlider.maximum == 2 and ui.inputSelector.nodeTypes == ["vtkMRMLScalarVolumeNode"]


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("ctkSliderWidget", "ctkSlidrWidget", "ctkSlidrWidget"),
        ('name="maximum"', 'name="maximun"', "weightSlider.maximun"),
        ("mrmlSceneChanged(vtkMRMLScene*)", "sceneChanged(vtkMRMLScene*)", "sceneChanged"),
        ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "setScene"),
    ],
)
def test_a_mistake_in_a_ui_file_is_an_error_that_names_it(app, ui_file, right, wrong, named):
    import slicer.util

    from Testing.SlicerHost.ui_files import UnknownUi

    with pytest.raises(UnknownUi, match=named):
        slicer.util.loadUI(ui_file(UI.replace(right, wrong)))


def test_an_exception_in_a_slot_is_noticed(app, errors_in_callbacks):
    import qt

    def fail():
        raise KeyError("in a slot")

    button = qt.QPushButton()
    button.connect("clicked()", fail)
    button.click()

    assert [str(error) for error in errors_in_callbacks] == ["'in a slot'"]
    errors_in_callbacks.clear()


def test_an_exception_in_an_observer_is_noticed(scene, errors_in_callbacks):
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", "Model")

    def fail(*_):
        raise KeyError("in an observer")

    tag = node.AddObserver("ModifiedEvent", fail)
    node.Modified()
    node.RemoveObserver(tag)

    assert [str(error) for error in errors_in_callbacks] == ["'in an observer'"]
    errors_in_callbacks.clear()


def test_resuming_what_was_not_paused_is_an_error(app):
    import slicer.util

    with slicer.util.RenderBlocker():
        pass
    with pytest.raises(RuntimeError, match="more often"):
        app.resumeRender()
