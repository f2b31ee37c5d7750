import sys

import pytest

from TumorRetrievalLib import cli


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `tumor-retrieval` with arguments; returns its exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tumor-retrieval", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return run
