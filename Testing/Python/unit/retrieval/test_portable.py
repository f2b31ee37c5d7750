"""An index as one file: it comes back as it was, and a file that somebody has tampered with puts nothing in place."""

import hashlib
import io
import json
import stat
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.errors import CannotWrite, IndexDamaged, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.portable import export_index, import_index

from .conftest import MODEL, Cohort


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The bytes of an export of a few cases, with files in an archive and a kept mask."""
    folder = tmp_path_factory.mktemp("packed")
    cohort = Cohort(5)
    (folder / "made.nii.gz").write_bytes(b"the mask of a tumor")
    scanned = Case("scanned", "p", t1c=folder / "home of jane" / "a" / "t1c.nii.gz", tumors=(Tumor(),))
    with cohort.fill(folder / "index") as index:
        index.add(
            [scanned], [cohort.vectors[0][:1]], root=folder / "home of jane", masks={"scanned": folder / "made.nii.gz"}
        )
    export_index(folder / "index", folder / "index.zip")
    return (folder / "index.zip").read_bytes()


@pytest.fixture
def changed(packed, tmp_path):
    """A function that writes the export with some members changed, and says where."""

    def make(change, *, sums=False):
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        members = change(members)
        if sums:
            files = [
                {"name": info.filename, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for info, data in members[1:]
            ]
            members[0] = (members[0][0], json.dumps(json.loads(members[0][1]) | {"files": files}).encode())
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for info, data in members:
                archive.writestr(info, data, compress_type=info.compress_type)
        return path

    return make


def named(name, data=b"x", mode=stat.S_IFREG | 0o644, compression=zipfile.ZIP_STORED):
    info = zipfile.ZipInfo(name)
    info.filename = name  # the constructor cuts it at a null character
    info.external_attr, info.compress_type = mode << 16, compression
    return info, data


def refused(path, tmp_path, match=None):
    with pytest.raises((UnreadableFile, IndexDamaged), match=match):
        import_index(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".tmp-*")), "nothing is left lying about"
    assert not (tmp_path.parent / "evil").exists()


def test_an_index_comes_back_as_it_was(tmp_path):
    cohort = Cohort(30)
    cohort.fill(tmp_path / "index").close()

    said = export_index(tmp_path / "index", tmp_path / "index.zip")
    stats = import_index(tmp_path / "index.zip", tmp_path / "deep" / "new")

    assert (said["cases"], stats["cases"]) == (30, 30)
    with CaseIndex.open(tmp_path / "index", MODEL) as one, CaseIndex.open(tmp_path / "deep" / "new", MODEL) as other:
        assert one.case_ids() == other.case_ids()
        query = cohort.vectors[3]
        assert [(hit.case, hit.score) for hits in one.search(query, 9) for hit in hits] == [
            (hit.case, hit.score) for hits in other.search(query, 9) for hit in hits
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "index", "index.zip"]


def test_an_export_holds_masks_and_no_path_outside_the_archive(packed, tmp_path):
    assert b"home of jane" not in packed and b"/" + b"tmp" not in packed and b"../" not in packed
    (tmp_path / "x.zip").write_bytes(packed)

    import_index(tmp_path / "x.zip", tmp_path / "new")

    with CaseIndex.open(tmp_path / "new") as index:
        index.verify()
        assert index.get("scanned").mask.read_bytes() == b"the mask of a tumor"
        assert index.get("scanned").t1c == tmp_path / "new" / "a" / "t1c.nii.gz"


def test_the_same_index_makes_the_same_file(tmp_path):
    Cohort(3).fill(tmp_path / "index").close()
    for name in ("a", "b"):
        export_index(tmp_path / "index", tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_that_holds_something_is_left_alone(packed, tmp_path):
    (tmp_path / "x.zip").write_bytes(packed)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "thesis.txt").write_text("mine")

    with pytest.raises(CannotWrite, match="not empty"):
        import_index(tmp_path / "x.zip", tmp_path / "new")

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["thesis.txt"]


EVIL = {
    "a way out": named("../evil"),
    "a way out in the folder of masks": named("masks/../../evil"),
    "an absolute name": named("/tmp/evil"),
    "a drive": named("C:\\evil"),
    "backslashes": named("masks\\..\\..\\evil"),
    "a null character": named("manifest.json\0.txt"),
    "a link": named("vectors-77.npy", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "a device": named("vectors-77.npy", b"", stat.S_IFCHR | 0o666),
    "a folder": named("masks/", b"", stat.S_IFDIR | 0o755),
    "a program": named("run.py"),
    "a salt": named("index.salt"),
    "a compressed bomb": named("vectors-77.npy", bytes(50_000_000), compression=zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("kind", EVIL)
def test_a_member_that_no_export_has_is_refused(changed, tmp_path, kind):
    refused(changed(lambda members: [*members, EVIL[kind]], sums=True), tmp_path, "holds|names a file twice|own size")


def test_a_member_that_is_there_twice_is_refused(changed, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = changed(lambda members: [*members, members[-1]])
    refused(path, tmp_path, "twice")


def test_members_that_overlap_to_seem_more_are_refused(packed, tmp_path):
    # Each entry of the directory points at the largest member: the sizes then add up to more than the file.
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        start = archive.start_dir
    data = bytearray(packed)
    place = start
    while data[place : place + 4] == b"PK\1\2":
        data[place + 20 : place + 28] = largest.file_size.to_bytes(4, "little") * 2
        place += 46 + sum(int.from_bytes(data[place + at : place + at + 2], "little") for at in (28, 30, 32))
    path = tmp_path / "overlap.zip"
    path.write_bytes(data)

    refused(path, tmp_path, "more than its own size")


@pytest.mark.parametrize("kind", ["cases", "vectors", "masks", "manifest"])
def test_a_changed_member_is_noticed(changed, tmp_path, kind):
    def flip(members):
        return [
            (info, data[:-9] + bytes([data[-9] ^ 1]) + data[-8:] if info.filename.startswith(kind) else data)
            for info, data in members
        ]

    if kind != "masks":
        refused(changed(flip, sums=True), tmp_path, "damaged")
    refused(changed(flip), tmp_path, "checksum")


def test_a_missing_member_is_noticed(changed, tmp_path):
    for number in range(1, 5):
        refused(changed(lambda members, n=number: members[:n] + members[n + 1 :]), tmp_path, "does not hold")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"null", b'{"kind": 1}', b"[" * 10_000, b"\xff"])
def test_contents_that_say_nothing_are_refused(changed, tmp_path, text):
    refused(changed(lambda members: [(members[0][0], text), *members[1:]]), tmp_path, "contents.json")


def test_a_file_of_a_later_version_says_so(changed, tmp_path):
    def later(members):
        return [(members[0][0], json.dumps(json.loads(members[0][1]) | {"version": 2}).encode()), *members[1:]]

    refused(changed(later), tmp_path, "version 2")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_puts_anything_in_place_that_is_not_whole(packed, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("hostile")
    damaged = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))]
    (folder / "x.zip").write_bytes(damaged)

    try:
        import_index(folder / "x.zip", folder / "new")
    except TumorRetrievalError:
        assert [path.name for path in folder.iterdir()] == ["x.zip"]
    else:
        with CaseIndex.open(folder / "new") as index:
            index.verify()
            assert index.stats()["cases"] == 6


def test_records_that_are_none_are_refused_although_all_sums_are_right(tmp_path):
    from TumorRetrievalLib.retrieval import generations

    with Cohort(3).fill(tmp_path / "index") as index:
        database = index._database
        database.execute("UPDATE tumors SET box = '[[1, 2, 3], [0, 0, 0], 7]' WHERE row = 1")
        database.commit()
        generations.commit(index.folder, index.manifest, database, np.asarray(index._vectors))
    export_index(tmp_path / "index", tmp_path / "x.zip")

    refused(tmp_path / "x.zip", tmp_path, "makes no sense")
