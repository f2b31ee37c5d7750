"""Bundled files are found where they are installed, and never handed out damaged."""

import hashlib

import pytest

from TumorRetrievalLib import resources
from TumorRetrievalLib.errors import MissingResource
from TumorRetrievalLib.resources import resource


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """An empty place that looks like the folder the library was installed to."""
    library = tmp_path / "TumorRetrievalLib"
    library.mkdir()
    monkeypatch.setattr(resources, "LIBRARY", library)
    return tmp_path


def put(path, content: bytes, *, listed: bytes | None = None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if listed is not None:
        path.with_name("SHA256SUMS").write_text(f"{hashlib.sha256(listed).hexdigest()}  {path.name}\n")
    return path


def test_data_inside_the_library_wins_over_data_beside_it(installation):
    inside = put(installation / "TumorRetrievalLib" / "Resources" / "Labels" / "types.json", b"inside")
    put(installation / "Resources" / "Labels" / "types.json", b"beside")

    assert resource("Labels", "types.json") == inside


def test_a_checkout_has_its_data_beside_the_library(installation):
    beside = put(installation / "Resources" / "Labels" / "types.json", b"beside")

    assert resource("Labels", "types.json") == beside
    assert resource("Labels") == beside.parent


def test_a_missing_file_is_named_together_with_the_places_searched(installation):
    with pytest.raises(MissingResource, match="Atlas/nothing.nii.gz") as caught:
        resource("Atlas", "nothing.nii.gz")

    assert str(installation / "Resources") in str(caught.value)


def test_a_file_with_the_right_checksum_is_handed_out(installation):
    path = put(installation / "Resources" / "Models" / "weights", b"good", listed=b"good")

    assert resource("Models", "weights") == path


def test_a_damaged_file_is_refused_even_after_a_good_one_was_seen(installation):
    path = put(installation / "Resources" / "Models" / "weights", b"good", listed=b"good")
    resource("Models", "weights")
    path.write_bytes(b"truncat")

    with pytest.raises(MissingResource, match="damaged"):
        resource("Models", "weights")


def test_a_file_that_no_checksum_mentions_passes(installation):
    put(installation / "Resources" / "Models" / "weights", b"good", listed=b"good")
    note = put(installation / "Resources" / "Models" / "note.txt", b"anything")

    assert resource("Models", "note.txt") == note
