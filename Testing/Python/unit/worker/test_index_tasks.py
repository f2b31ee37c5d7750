"""The worker's tasks about indexes: arguments in, plain values out, and nothing that is not understood."""

import json
import sys
from pathlib import Path

import pytest

from TumorRetrievalLib.errors import Cancelled, InvalidRequest, UnknownCase
from TumorRetrievalLib.worker.engine_tasks import TASKS

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from small_archive import use_stand_in, write_case

sys.path.pop(0)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    use_stand_in(monkeypatch.setattr)
    for name in ("one", "two", "bad"):
        write_case(tmp_path / "archive", name)
    return tmp_path / "archive"


def ask(task, progress=lambda fraction, message: None, **given):
    answer = TASKS[task](given, progress)
    json.dumps(answer, allow_nan=False)
    return answer


def test_an_archive_is_listed_built_added_to_and_told_about(archive, tmp_path):
    index = str(tmp_path / "index")

    plan = ask("index_build", archive=str(archive), index=index, dry_run=True)
    assert len(plan["cases"]) == 3 and not (tmp_path / "index").exists()
    built = ask("index_build", archive=str(archive), index=index)
    assert sorted(built["added"]) == ["one", "two"] and len(built["problems"]) == 1
    added = ask("index_add", index=index, cases=[str(write_case(tmp_path / "new", "three"))])
    assert added["added"] == ["three"]
    assert ask("index_remove", index=index, cases=["one"])["removed"] == ["one"]
    facts = ask("index_stats", index=index)
    assert (facts["cases"], sorted(one["cases"] for one in facts["archives"])) == (2, [1, 1])


def test_a_build_stops_when_it_is_told_to(archive, tmp_path):
    def cancel(_fraction, _message):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        ask("index_build", cancel, archive=str(archive), index=str(tmp_path / "index"))


@pytest.mark.parametrize("cases", [None, [], "one", [1]])
def test_requests_that_name_no_cases_are_refused(archive, tmp_path, cases):
    for task in ("index_add", "index_remove"):
        with pytest.raises(InvalidRequest):
            ask(task, index=str(tmp_path / "index"), cases=cases)


def test_an_unknown_case_is_named(archive, tmp_path):
    ask("index_build", archive=str(archive), index=str(tmp_path / "index"))

    with pytest.raises(UnknownCase, match="'nobody'"):
        ask("index_remove", index=str(tmp_path / "index"), cases=["nobody"])
