"""The list of similar cases says why each is there, and every change of mind re-ranks it at once."""

import time

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from Testing.Python.gui.panels.conftest import CENTER, hit, wait_until

PICTURE, FACTS = 0, 1


@pytest.fixture
def ui(answered):
    return answered.resultsPanel.ui


def place_in(table, row: int, column: int) -> QPoint:
    """The middle of a cell, in the pixels of the table's viewport."""
    return table.visualItemRect(table.item(row, column)).center()


def choose(ui, row: int) -> None:
    QTest.mouseClick(ui.hitTable.viewport(), Qt.LeftButton, Qt.NoModifier, place_in(ui.hitTable, row, FACTS))


def press(button):
    assert button.enabled and button.isVisible(), button.toolTip
    QTest.mouseClick(button, Qt.LeftButton)


def idle(panel) -> bool:
    return not panel.results.isRanking


def test_the_list_names_similarity_type_place_and_size(ui):
    assert ui.hitTable.rowCount == 5
    assert ui.hitTable.item(0, FACTS).text().split("\n") == ["95 %  glioma", "frontal lobe, right", "4.2 ml"]


def test_a_row_is_high_enough_for_everything_that_is_said(answered, ui, worker):
    stays = {"kept": 9, "boxes": 10, "score_spread": 0.02}
    wordy = hit(0, area="brain stem and both of its cerebellar peduncles", stability=stays)
    worker.answers["rerank"] = lambda arguments: {"hits": [wordy, hit(1)]}
    ui.typeSlider.value = 110
    wait_until(lambda: idle(answered))

    width, lines = ui.hitTable.columnWidth(FACTS), ui.hitTable.item(0, FACTS).text().split("\n")
    metrics = ui.hitTable.fontMetrics()
    needed = sum(1 + metrics.horizontalAdvance(line) // width for line in lines) * metrics.lineSpacing()
    assert ui.hitTable.rowHeight(0) >= needed > ui.hitTable.rowHeight(1)


def test_the_bars_say_in_words_what_each_part_adds(ui):
    from TumorRetrievalLib.retrieval.blocks import DEFAULT_WEIGHTS

    words = ui.hitTable.item(0, 2).toolTip().split("\n")
    most = round(100 * DEFAULT_WEIGHTS["appearance"] / sum(DEFAULT_WEIGHTS.values()))

    assert words[0].endswith("95 %:") and words[1] == f"Appearance: 38 % of at most {most} %"


def test_the_patients_own_tumor_is_described_above_the_list(ui):
    assert "core 7.2 ml, with oedema 21 ml" in ui.tumorLabel.text
    assert "glioma 70 %, metastasis 20 %" in ui.tumorLabel.text


def test_before_a_search_the_list_says_what_to_do(panel):
    ui = panel.resultsPanel.ui

    assert ui.emptyLabel.text == "Find similar cases first." and not ui.hitTable.isVisible()


def test_every_case_of_the_list_gets_its_picture(answered, ui):
    table = answered.resultsPanel.table
    wait_until(lambda: all(table.hasPicture(shown) for shown in answered.results.hits))
    picture = ui.hitTable.item(4, PICTURE).data(Qt.DecorationRole).toImage()
    middle = picture.pixelColor(picture.width() // 2, picture.height() // 2)
    corner = picture.pixelColor(picture.width() // 2, 2)

    assert middle.lightness() > corner.lightness() + 50, "the bright tumor lies in the middle"


def test_a_slider_re_ranks_at_once_with_the_new_weight(answered, ui, worker):
    began = time.perf_counter()
    ui.positionSlider.value = 250
    wait_until(lambda: idle(answered))

    assert worker.tasks("rerank")[-1]["weights"] == {"position": 2.5}
    assert ui.hitTable.item(0, FACTS).text().startswith("67 %")
    assert ui.positionValue.text == "× 2.5"
    assert time.perf_counter() - began < 5


def test_a_slider_that_is_dragged_asks_again_only_when_the_last_answer_is_there(answered, ui, worker):
    for value in range(110, 210, 10):
        ui.extentSlider.value = value
    wait_until(lambda: idle(answered))

    asked = worker.tasks("rerank")
    assert len(asked) == 2 and asked[-1]["weights"] == {"extent": 2.0}


def test_with_every_slider_at_zero_it_is_said_that_nothing_counts(answered, ui, worker):
    for block in ("appearance", "type", "position", "extent"):
        getattr(ui, f"{block}Slider").value = 0
    wait_until(lambda: idle(answered))

    assert "Nothing counts" in ui.emptyLabel.text
    assert all(any(arguments["weights"].get(block, 1) for block in ("appearance", "type", "position", "extent"))
               for arguments in worker.tasks("rerank"))  # fmt: skip
    press(ui.resetButton)
    wait_until(lambda: idle(answered))
    assert worker.tasks("rerank")[-1]["weights"] == {} and ui.typeSlider.value == 100


def test_filters_reach_the_worker_and_are_taken_back_together(answered, ui, worker):
    ui.filtersSection.collapsed = False
    ui.typeFilter.setCurrentIndex(ui.typeFilter.findText("glioma"))
    ui.sideFilter.setCurrentIndex(ui.sideFilter.findText("left"))
    ui.smallestBox.value = 2.5
    wait_until(lambda: idle(answered))
    wanted = {"types": ["glioma"], "left_right": ["left"], "smallest_ml": 2.5}
    assert worker.tasks("rerank")[-1]["filters"] == wanted

    press(ui.clearFiltersButton)
    wait_until(lambda: idle(answered))
    assert worker.tasks("rerank")[-1]["filters"] == {} and ui.typeFilter.currentIndex == 0


def test_filters_that_leave_nothing_are_named_as_the_reason(answered, ui, worker):
    worker.answers["rerank"] = lambda arguments: {"hits": []}
    ui.areaFilter.setCurrentIndex(3)
    wait_until(lambda: idle(answered))

    assert "Show only" in ui.emptyLabel.text and not ui.hitTable.isVisible()


def test_more_like_this_is_asked_for_marked_and_taken_back(answered, ui, worker):
    assert not ui.moreButton.enabled and "Choose a case" in ui.moreButton.toolTip
    choose(ui, 1)
    press(ui.moreButton)
    wait_until(lambda: idle(answered))
    assert worker.tasks("rerank")[-1]["more"] == [{"case": "case-1", "tumor": "1"}]
    row = next(row for row in range(5) if "meningioma" in ui.hitTable.item(row, FACTS).text())
    assert ui.hitTable.item(row, FACTS).text().startswith("+")

    press(ui.lessButton)
    wait_until(lambda: idle(answered))
    assert worker.tasks("rerank")[-1]["more"] == [] and worker.tasks("rerank")[-1]["less"]
    press(ui.forgetFeedbackButton)
    wait_until(lambda: idle(answered))
    assert worker.tasks("rerank")[-1]["less"] == []


def test_a_double_click_opens_a_case_beside_the_patient_as_well(answered, ui):
    viewport, where = ui.hitTable.viewport(), place_in(ui.hitTable, 3, FACTS)
    QTest.mouseClick(viewport, Qt.LeftButton, Qt.NoModifier, where)
    QTest.mouseDClick(viewport, Qt.LeftButton, Qt.NoModifier, where)
    wait_until(lambda: len(answered.query.parameters.cases) == 4)

    assert ui.hitTable.item(3, PICTURE).checkState() == Qt.Checked


def test_unchecked_cases_leave_the_comparison_when_it_is_shown_again(answered, ui):
    ui.hitTable.item(1, PICTURE).setCheckState(Qt.Unchecked)
    press(ui.compareButton)

    assert [node.GetName().split(",")[0] for node in answered.query.parameters.cases] == ["case-0", "case-2"]


def test_more_cases_than_fit_are_refused_with_the_number(answered, ui, worker):
    worker.answers["rerank"] = lambda arguments: {"hits": [hit(i, score=0.9) for i in range(8)]}
    ui.typeSlider.value = 110
    wait_until(lambda: idle(answered))
    for row in range(8):
        ui.hitTable.item(row, PICTURE).setCheckState(Qt.Checked)

    assert not ui.compareButton.enabled and "At most 6" in ui.compareButton.toolTip


def test_a_list_that_is_ranked_anew_keeps_what_is_checked_and_chosen(answered, ui):
    choose(ui, 0)
    ui.appearanceSlider.value = 50
    wait_until(lambda: idle(answered))

    chosen = answered.resultsPanel.table.chosen
    assert chosen.case == "case-0" and [shown.case for shown in answered.resultsPanel.table.checked] == [
        "case-2",
        "case-1",
        "case-0",
    ]


def test_each_box_has_its_own_list(ready, worker):
    from TumorRetrievalGui.box_logic import addBox

    from TumorRetrievalLib.imaging.box import Box

    for center in (CENTER, (-20, 10, 5)):
        addBox(ready.query.parameters, Box.aligned(center, (20, 20, 20)))
    ready.query.find()
    wait_until(lambda: ready.compare.isOpen)
    worker.asked.clear()
    ui = ready.resultsPanel.ui
    assert ui.tumorSelector.count == 2 and "cerebellum" in ui.tumorSelector.itemText(1)

    ui.tumorSelector.setCurrentIndex(1)
    ui.tumorSelector.activated.emit(1)
    wait_until(lambda: idle(ready))

    assert worker.tasks("rerank")[-1]["tumor"] == 1 and ready.results.hits[0].case == "case-5"


def test_a_failed_ranking_is_told_and_the_list_stays(answered, ui, worker):
    from TumorRetrievalLib.errors import WorkerFailed

    def fail(arguments):
        raise WorkerFailed("The worker process ended unexpectedly. Try again; it is started anew.")

    worker.answers["rerank"] = fail
    ui.typeSlider.value = 0
    wait_until(lambda: idle(answered))

    assert "started anew" in ui.emptyLabel.text and ui.hitTable.rowCount == 5


def test_a_synthetic_case_is_called_so_in_the_list_and_beside_the_patient(answered, ui, worker):
    plain = worker.answers["case"]
    worker.answers["case"] = lambda arguments: {**plain(arguments), "provenance": "synthetic: seed 7"}
    answered.compare.open(answered.results.hits[3:4])
    wait_until(lambda: not answered.compare.isLoading)

    assert ui.hitTable.item(3, FACTS).text().endswith("31 ml, synthetic")
    assert not ui.hitTable.item(0, FACTS).text().endswith("synthetic")
    assert answered.query.parameters.cases[0].GetName().endswith("synthetic")


def test_pictures_wait_until_the_user_lets_go_of_the_slider(app):
    from TumorRetrievalGui.case_loader import PictureQueue
    from TumorRetrievalGui.results_logic import Hit
    from TumorRetrievalGui.signals import Signal

    asked = []

    class Loader:
        pictured = Signal()

        def load(self, shown, *, done, failed):
            asked.append(shown.case)

    pictures = PictureQueue(Loader())
    for number in range(3):
        pictures.want([Hit.of(hit(number))])
    assert asked == []
    wait_until(lambda: asked)
    assert asked == ["case-2"]


def test_long_notes_are_wrapped_and_do_not_widen_the_panel(answered, ui):
    before = answered.resultsPanel.widget.minimumSizeHint().width()
    answer = answered.query.parameters.answer
    answer["notes"] = ["Nothing in this index may be called similar to what is in box 1. " * 4]
    answered.query.parameters.answer = answer
    answered.results.rank()
    wait_until(lambda: idle(answered) and ui.notesLabel.isVisible())

    assert answered.resultsPanel.widget.minimumSizeHint().width() == before
    assert ui.notesLabel.height > 4 * ui.notesLabel.fontMetrics().lineSpacing()
