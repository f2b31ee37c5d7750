"""The map of the known cases: fetched when somebody looks, the patient and the list marked, and answering the mouse."""

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from Testing.Python.gui.panels.conftest import hit, wait_until


@pytest.fixture
def mapped(answered):
    """The panels after a search, with the map opened."""
    open_map(answered)
    wait_until(lambda: answered.map.map is not None)
    return answered


def open_map(panel):
    from Testing.SlicerHost import host

    panel.mapPanel.ui.mapSection.collapsed = False
    host.settle()


def place_in(view, number: int) -> QPoint:
    x, y = view.placeOf(view._points[number])
    return QPoint(round(x), round(y))


def point_at(view, place: QPoint) -> None:
    where = QPointF(place)
    QApplication.sendEvent(view, QMouseEvent(QEvent.MouseMove, where, where, Qt.NoButton, Qt.NoButton, Qt.NoModifier))


def test_nothing_is_fetched_before_somebody_looks(answered, worker):
    wait_until(lambda: not answered.compare.isLoading)

    assert not worker.tasks("map")


def test_the_map_is_fetched_once_with_the_search_and_every_listed_case(mapped, worker):
    mapped.results.setWeight("type", 2.0)
    wait_until(lambda: not mapped.results.isRanking)

    (asked,) = worker.tasks("map")
    assert [one["case"] for one in asked["also"]] == [f"case-{number}" for number in range(5)]
    assert "result" in asked


def test_points_have_the_colour_of_their_type_and_listed_cases_their_rank(mapped):
    from TumorRetrievalGui.map_view import PALETTE

    view = mapped.mapPanel.view
    # case-6 (metastasis, the third type) is on the map and not in the list.
    wanted, shown = QColor(PALETTE[2]), view.grab().toImage().pixelColor(place_in(view, 6))
    assert abs(shown.hue() - wanted.hue()) < 12 and shown.saturation() > 60
    assert mapped.map.marks() == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5} or len(mapped.map.marks()) == 5
    assert set(mapped.map.marks().values()) == {1, 2, 3, 4, 5}


def test_the_legend_names_the_types_that_there_are(mapped):
    legend = mapped.mapPanel.ui.legendLabel.text

    assert "glioma" in legend and "metastasis" in legend and "schwannoma" not in legend


def test_the_patients_place_is_marked(mapped):
    view = mapped.mapPanel.view
    x, y = view.placeOf((0.0, 0.0))
    arm, ground = (view.grab().toImage().pixelColor(round(x), round(y) + shift).lightness() for shift in (10, 60))

    assert abs(arm - ground) > 100


def test_coming_closer_shows_the_patient_and_the_list_alone(mapped):
    view, box = mapped.mapPanel.view, mapped.mapPanel.ui.nearBox
    view.setMarks({0: 1}, [0.9, 0.1])
    before = view.placeOf(view._points[0])
    box.checked = True

    x, y = view.placeOf(view._points[0])
    assert 0 < x < view.width and 0 < y < view.height
    assert np.linalg.norm(np.subtract((x, y), view.placeOf([0.9, 0.1]))) > 100
    assert not 0 < view.placeOf(view._points[4])[0] < view.width, "what is far away is out of sight"
    box.checked = False
    assert view.placeOf(view._points[0]) == before


def test_of_marks_that_would_cover_each_other_the_first_keeps_its_number(app, window):
    from TumorRetrievalGui.map_view import MapView

    view = MapView()
    view.resize(300, 300)
    view.setPoints([[0.0, 0.0], [0.05, 0.0], [0.8, 0.0]], ["#e69f00"] * 3)
    alone = view.grab().toImage()
    view.setMarks({0: 1, 1: 2, 2: 3}, None)
    painted = view.grab().toImage()

    def marked(point, radius):
        """Whether a ring of that radius was painted around a point."""
        x, y = view.placeOf(point)
        return painted.pixelColor(round(x), round(y - radius)) != alone.pixelColor(round(x), round(y - radius))

    assert marked([0.0, 0.0], 7) and marked([0.8, 0.0], 7)
    # The second is there too, but as a small ring at its neighbour's side.
    assert not marked([0.12, 0.0], 7)


def test_the_case_under_the_mouse_is_named_with_its_rank(mapped):
    view, label = mapped.mapPanel.view, mapped.mapPanel.ui.caseLabel
    assert "Click on one" in label.text
    point_at(view, place_in(view, 7))
    assert label.text == "case-7: glioma, frontal lobe, right"

    number = next(number for number, rank in mapped.map.marks().items() if rank == 2)
    point_at(view, place_in(view, number))
    assert label.text.startswith("2. case-1: meningioma")
    point_at(view, QPoint(3, 3))
    assert "Click on one" in label.text


def test_a_click_on_a_listed_case_opens_it_and_selects_its_row(mapped):
    number = next(number for number, rank in mapped.map.marks().items() if rank == 5)
    QTest.mouseClick(mapped.mapPanel.view, Qt.LeftButton, Qt.NoModifier, place_in(mapped.mapPanel.view, number))
    wait_until(lambda: len(mapped.query.parameters.cases) == 4)

    assert mapped.resultsPanel.table.chosen.case == "case-4"
    assert "case-4" in [shown.case for shown in mapped.resultsPanel.table.checked]


def test_a_click_on_any_other_case_opens_it_too(mapped):
    QTest.mouseClick(mapped.mapPanel.view, Qt.LeftButton, Qt.NoModifier, place_in(mapped.mapPanel.view, 7))
    wait_until(lambda: len(mapped.query.parameters.cases) == 4)

    assert mapped.query.parameters.cases[3].GetName().startswith("case-7, glioma")


def test_a_click_beside_every_point_does_nothing(mapped, worker):
    worker.asked.clear()
    QTest.mouseClick(mapped.mapPanel.view, Qt.LeftButton, Qt.NoModifier, QPoint(3, 3))

    assert not worker.tasks("case")


def test_a_listed_case_that_is_not_on_the_map_is_asked_for(mapped, worker):
    worker.answers["rerank"] = lambda arguments: {"hits": [hit(30), hit(1)]}
    mapped.results.setWeight("type", 0.5)
    wait_until(lambda: len(worker.tasks("map")) == 2)
    wait_until(lambda: not mapped.map.isRunning)

    assert {one["case"] for one in worker.tasks("map")[1]["also"]} == {"case-30", "case-1"}
    assert len(mapped.map.marks()) == 2


def test_drawing_the_map_shows_how_far_it_is_and_can_be_stopped_and_begun_again(answered, worker):
    plain = worker.answers["map"]
    worker.answers["map"] = lambda arguments: None
    open_map(answered)
    ui = answered.mapPanel.ui
    wait_until(lambda: "50 %" in ui.mapMessage.text)
    QTest.mouseClick(ui.mapButton, Qt.LeftButton)
    assert worker.cancelled and not answered.map.isRunning and ui.mapButton.text == "Draw the map"
    answered.results.setWeight("type", 2.0)
    wait_until(lambda: not answered.results.isRanking)
    assert len(worker.tasks("map")) == 1, "what was stopped is not begun again by itself"

    worker.answers["map"] = plain
    QTest.mouseClick(ui.mapButton, Qt.LeftButton)
    wait_until(lambda: answered.map.map is not None)
    assert not ui.mapButton.isVisible()


def test_a_map_that_cannot_be_drawn_is_told(answered, worker):
    from TumorRetrievalLib.errors import MissingPackage

    def fail(arguments):
        raise MissingPackage("The map needs the Python package scikit-learn.")

    worker.answers["map"] = fail
    open_map(answered)
    wait_until(lambda: "scikit-learn" in answered.mapPanel.ui.mapMessage.text)

    assert answered.mapPanel.ui.mapButton.isVisible() and "scikit-learn" in answered.log.text


def test_the_map_can_be_looked_at_before_any_search(panel, worker):
    open_map(panel)
    wait_until(lambda: panel.map.map is not None)

    assert worker.tasks("map") == [{"also": []}] and panel.map.query() is None


def test_five_thousand_points_are_painted_without_a_pause(app, window):
    import time

    import numpy as np
    from TumorRetrievalGui.map_view import PALETTE, MapView

    view = MapView()
    view.resize(400, 400)
    view.setPoints(np.random.default_rng(0).uniform(-1, 1, (5000, 2)), [PALETTE[i % 5] for i in range(5000)])
    view.setMarks({number: number + 1 for number in range(12)}, [0, 0])
    seconds = []
    for _ in range(3):
        view._ground = None
        began = time.thread_time()
        view.grab()
        seconds.append(time.thread_time() - began)

    assert min(seconds) < 0.1
