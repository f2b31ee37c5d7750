"""Packages are installed at the first search and after asking; a refusal and a failure are plain sentences."""

import subprocess

import pytest


@pytest.fixture
def dependencies(app):
    from TumorRetrievalGui.dependencies import Dependencies

    return Dependencies()


def test_what_a_search_needs_is_listed_and_installed_here(dependencies):
    assert dependencies.areInstalled()
    dependencies.ensureInstalled()


def test_a_refusal_says_what_it_means_and_how_to_go_on(dependencies, monkeypatch):
    import slicer.packaging
    from TumorRetrievalGui.query_logic import NotPossible

    def refuse(requirements, requester):
        raise RuntimeError("refused")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", refuse)

    with pytest.raises(NotPossible, match="Press the button again"):
        dependencies.ensureInstalled()


def test_a_failing_pip_is_told_with_its_code(dependencies, monkeypatch):
    import slicer.packaging
    from TumorRetrievalGui.query_logic import NotPossible

    def fail(requirements, requester):
        raise subprocess.CalledProcessError(3, "pip")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", fail)

    with pytest.raises(NotPossible, match="ended with 3"):
        dependencies.ensureInstalled()


def test_without_pytorch_its_extension_is_named(dependencies, monkeypatch):
    from TumorRetrievalGui import dependencies as module
    from TumorRetrievalGui.query_logic import NotPossible

    monkeypatch.setattr(module, "_hasTorch", lambda: False)

    assert not dependencies.areInstalled()
    with pytest.raises(NotPossible, match="extension PyTorch"):
        dependencies.ensureInstalled()
