"""Bundled files are found where they are installed, and never handed out damaged."""

import hashlib
import os
import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from TumorRetrievalLib import resources
from TumorRetrievalLib.errors import MissingResource
from TumorRetrievalLib.resources import bundled_folder, resource

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from update_checksums import is_bundled

sys.path.pop(0)


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """An empty place that looks like the folder the library was installed to."""
    library = tmp_path / "TumorRetrievalLib"
    library.mkdir()
    monkeypatch.setattr(resources, "LIBRARY", library)
    return tmp_path


def put(path, content: bytes, *, listed: bytes | None = None):
    """Write a file and list it, with the checksum of other content if `listed` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content if listed is None else listed).hexdigest()
    path.with_name("SHA256SUMS").write_text(f"{digest}  {path.name}\n", newline="")
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


def test_a_damaged_file_is_refused_even_after_a_good_one_was_seen(installation):
    path = put(installation / "Resources" / "Models" / "weights", b"good")
    assert resource("Models", "weights") == path
    path.write_bytes(b"truncat")

    for asked in (("Models", "weights"), ("Models",)):
        with pytest.raises(MissingResource, match="weights is damaged"):
            resource(*asked)


def test_a_file_changed_behind_the_clock_is_refused(installation):
    """Same name, same size, and the time of the good one, as an unpacked archive may leave it."""
    path = put(installation / "Resources" / "Models" / "weights", b"good")
    status = resource("Models", "weights").stat()
    path.write_bytes(b"evil")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(MissingResource, match="damaged"):
        resource("Models", "weights")


def test_a_file_that_no_checksum_mentions_is_refused(installation):
    put(installation / "Resources" / "Models" / "weights", b"good")
    (installation / "Resources" / "Models" / "note.txt").write_bytes(b"anything")

    with pytest.raises(MissingResource, match=r"note\.txt was not bundled"):
        resource("Models", "note.txt")


def test_a_folder_that_lost_a_file_is_refused(installation):
    put(installation / "Resources" / "Models" / "weights", b"good").unlink()

    with pytest.raises(MissingResource, match="weights is missing"):
        resource("Models")


def test_a_folder_that_lost_its_list_is_refused(installation):
    put(installation / "Resources" / "Models" / "weights", b"good").with_name("SHA256SUMS").unlink()

    for asked in (("Models", "weights"), ("Models",)):
        with pytest.raises(MissingResource, match="SHA256SUMS is missing"):
            resource(*asked)


BUNDLED = bundled_folder()
FILES = sorted(path.relative_to(BUNDLED) for path in BUNDLED.rglob("*") if path.is_file() and is_bundled(path))


@pytest.mark.parametrize("name", FILES, ids=Path.as_posix)
def test_one_changed_bit_in_any_bundled_file_is_refused(installation, name):
    folder = installation / "Resources" / name.parent
    shutil.copytree(BUNDLED / name.parent, folder)
    assert resource(*name.parent.parts) == folder
    random = Random(name.as_posix())
    content = bytearray((folder / name.name).read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    (folder / name.name).write_bytes(content)

    with pytest.raises(MissingResource, match=r"damaged|missing|not bundled"):
        resource(*name.parent.parts)


def test_any_changed_bit_in_a_list_of_bundled_files_is_refused(installation):
    listing = put(installation / "Resources" / "Labels" / "types.json", b"{}").with_name("SHA256SUMS")
    good = listing.read_bytes()

    for place in range(8 * len(good)):
        listing.write_bytes(bytes(byte ^ (1 << place % 8 if at == place // 8 else 0) for at, byte in enumerate(good)))
        with pytest.raises(MissingResource):
            resource("Labels")
