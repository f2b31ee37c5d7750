"""Progress is a bar on a terminal and a few plain lines in a log."""

import pytest

from TumorRetrievalLib.commands import output
from TumorRetrievalLib.commands.output import shown_progress


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told to."""
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_one_line_per_step_and_one_every_few_seconds(clock, capsys):
    with shown_progress() as progress:
        for step in range(10):
            progress(step / 20, "Reading")
            clock[0] += 1.0
        progress(0.5, "Searching")

    assert capsys.readouterr().err.splitlines() == ["  0 % Reading", " 25 % Reading", " 50 % Searching"]


def test_progress_never_mixes_with_the_result(capsys):
    with shown_progress() as progress:
        progress(0.1, "Reading")

    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_with_the_step_as_it_is_written(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")

    with shown_progress() as progress:
        progress(0.25, "Reading [scan].nii")

    assert "Reading [scan].nii" in capsys.readouterr().err
