"""The panel of the known cases: which are searched, and how an archive becomes an index."""

import pytest

from Testing.Python.gui.panels.conftest import wait_until
from Testing.Python.gui.panels.index.conftest import BUNDLED, PLAN, plan, press, stats, type_into
from TumorRetrievalLib.errors import IndexOfAnotherModel, UnreadableFile


def test_nothing_is_fetched_before_somebody_looks(indexing, panel):
    assert panel.indexPanel.ui.indexSection.collapsed and not indexing.tasks("index_stats")


def test_the_panel_says_what_is_searched(ui):
    assert ui.factsLabel.text == "Cases: 1234. Tumors: 1235 (glioma 1234, type unknown 1)."
    assert ui.bundledButton.checked and not ui.indexPath.isVisible()


def test_the_folder_chosen_here_is_that_of_the_settings_and_the_other_way_round(ui, own, panel, tmp_path):
    settings = panel.settingsPanel.ui
    assert settings.indexPath.currentPath == str(own) == panel.settings.index

    settings.indexPath.currentPath = str(tmp_path)
    assert ui.indexPath.currentPath == str(tmp_path)

    press(ui.bundledButton)
    assert settings.indexPath.currentPath == "" == panel.settings.index and not ui.indexPath.isVisible()
    press(ui.folderButton)
    assert panel.settings.index == str(tmp_path), "the folder was not forgotten"


def test_a_path_that_is_typed_is_looked_at_once_the_typing_stops(ui, own, indexing):
    asked = len(indexing.tasks("index_stats"))
    for end in range(1, 9):
        ui.indexPath.currentPath = "/archive"[:end]
    wait_until(lambda: len(indexing.tasks("index_stats")) > asked)
    wait_until(lambda: "Cases: 3." in ui.factsLabel.text)

    assert [task["index"] for task in indexing.tasks("index_stats")[asked:]] == ["/archive"]


@pytest.mark.parametrize("error", [UnreadableFile, IndexOfAnotherModel])
def test_a_folder_that_cannot_be_searched_is_told(ui, indexing, tmp_path, error):
    def fail(arguments):
        raise error("This is no index that can be used here.")

    indexing.answers["index_stats"] = fail
    press(ui.folderButton)
    ui.indexPath.currentPath = str(tmp_path)

    wait_until(lambda: "no index" in ui.factsLabel.text)
    assert ui.factsLabel.styleSheet


def test_an_archive_that_has_moved_is_named(ui, own, indexing):
    lost = [{"folder": "/archive", "cases": 3, "there": False}]
    indexing.answers["index_stats"] = lambda arguments: stats(archives=lost)
    ui.indexPath.currentPath = "/elsewhere"

    wait_until(lambda: "/archive is not there" in ui.factsLabel.text)


def test_an_archive_is_looked_through_before_anything_is_written(ui, indexing, tmp_path):
    press(ui.newButton)
    assert "Choose the folder" in ui.planButton.toolTip and not ui.planButton.enabled
    assert not ui.buildButton.enabled
    press(ui.newButton)
    lines = plan(ui, tmp_path)

    assert indexing.tasks("index_build")[0]["dry_run"] is True
    assert lines[0] == "Left out: t1c.nii.gz: The file is cut short; copy it again."
    assert "one: glioma, outlined, with FLAIR" in lines and "two: no mask" in lines
    assert "Cases: 2 " in ui.indexMessage.text and "Problems: 1." in ui.indexMessage.text and ui.buildButton.enabled


def test_another_archive_has_to_be_looked_through_first(ui, tmp_path):
    plan(ui, tmp_path)
    ui.archivePath.currentPath = str(tmp_path / "other")

    assert not ui.buildButton.enabled and "Look first" in ui.buildButton.toolTip


@pytest.mark.parametrize("into", ["archive", "archive/index", BUNDLED])
def test_an_index_is_never_made_in_the_archive_or_among_the_bundled_files(ui, tmp_path, into):
    press(ui.newButton)
    ui.archivePath.currentPath = str(tmp_path / "archive")
    ui.intoPath.currentPath = str(tmp_path / into)

    assert not ui.planButton.enabled and ui.planButton.toolTip


def test_a_build_makes_the_index_that_is_searched_from_then_on_and_lists_what_was_left_out(ui, panel, tmp_path):
    plan(ui, tmp_path)
    press(ui.buildButton)
    wait_until(lambda: not panel.index.isRunning)

    assert panel.settings.index == str(tmp_path / "index") and ui.folderButton.checked
    assert "Added: 2. Left out: 1." in ui.indexMessage.text
    assert [ui.foundList.item(i).text() for i in range(ui.foundList.count)] == [
        "Left out: t1c.nii.gz: The file is cut short; copy it again."
    ]


def test_a_build_shows_how_far_it_is_can_be_stopped_and_goes_on_with_the_same_button(ui, indexing, panel, tmp_path):
    plan(ui, tmp_path)
    plain, indexing.answers["index_build"] = indexing.answers["index_build"], lambda arguments: None
    press(ui.buildButton)
    wait_until(lambda: ui.indexProgress.value == 500)
    assert "Searches wait" in ui.indexMessage.text and "Wait for the end" in ui.buildButton.toolTip
    press(ui.indexCancelButton)
    assert indexing.cancelled and "press the button again" in ui.indexMessage.text and not ui.indexProgress.isVisible()
    assert panel.settings.index == ""

    indexing.answers["index_build"] = plain
    press(ui.buildButton)
    wait_until(lambda: "Added: 2" in ui.indexMessage.text)


def test_a_very_long_list_is_cut(ui, indexing, tmp_path):
    many = [{**PLAN["cases"][0], "case": f"case-{number}"} for number in range(5000)]
    indexing.answers["index_build"] = lambda arguments: {**PLAN, "cases": many}
    lines = plan(ui, tmp_path)

    assert len(lines) == 202 and lines[200] == "... and 4801 more"


def test_after_any_change_the_list_says_so_and_offers_to_search_again(answered, ui, own, indexing):
    notice = answered.resultsPanel.ui
    assert notice.indexChangedWidget.isVisible(), "another index was chosen"
    press(notice.searchAgainButton)
    wait_until(lambda: not answered.query.isRunning and not answered.results.isRanking)
    assert not notice.indexChangedWidget.isVisible() and indexing.tasks("find")[-1]["index"] == str(own)

    press(ui.removeButton)
    type_into(ui.removeEdit, "case-1")
    press(ui.eraseButton)
    wait_until(lambda: notice.indexChangedWidget.isVisible())
    answered.query.parameters.t1c = None
    answered.query.inputsChanged()
    assert not notice.searchAgainButton.enabled and "T1" in notice.searchAgainButton.toolTip


def test_without_a_result_there_is_nothing_to_search_again(ui, own, panel):
    assert not panel.resultsPanel.ui.indexChangedWidget.isVisible()


def test_one_form_is_open_at_a_time(answered, ui, tmp_path):
    plan(ui, tmp_path)
    press(ui.addButton)

    assert ui.addForm.isVisible() and not ui.newForm.isVisible() and not ui.newButton.checked
    assert not ui.foundList.isVisible() and not ui.indexMessage.isVisible(), "what was found belongs to the other form"
    press(ui.addButton)
    assert not ui.addForm.isVisible()
