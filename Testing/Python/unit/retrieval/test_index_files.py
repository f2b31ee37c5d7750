"""What an index keeps besides its tables: where the scans are, and the masks that the network drew."""

import gzip
import os

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, MaskLabels, Tumor
from TumorRetrievalLib.errors import CannotWrite, IndexDamaged
from TumorRetrievalLib.retrieval.archive_paths import stored_root
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex

from .conftest import MODEL, Cohort

VECTOR = Cohort(1).vectors[0][:1]
LABELS = MaskLabels((1,), (1, 2), "drawn by the network")


def case_in(folder, name="a", **facts):
    return Case(name, f"patient of {name}", t1c=folder / name / "t1c.nii.gz", tumors=(Tumor(),), **facts)


def mask_file(folder, content=b"mask"):
    path = folder / "made.nii.gz"
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


def test_scans_are_found_after_index_and_archive_have_moved_together(tmp_path):
    (tmp_path / "before").mkdir()
    archive = tmp_path / "before" / "archive"
    with CaseIndex.create(tmp_path / "before" / "index", MODEL) as index:
        index.add([case_in(archive), case_in(archive, "b")], [VECTOR, VECTOR], root=archive)

    (tmp_path / "before").rename(tmp_path / "after")

    with CaseIndex.open(tmp_path / "after" / "index") as index:
        assert index.get("b").t1c == tmp_path / "after" / "archive" / "b" / "t1c.nii.gz"
        assert index.roots() == {"../archive": 2}


def test_an_archive_that_moved_alone_is_found_again_when_said_where(tmp_path):
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        for name in ("first", "second"):
            index.add([case_in(tmp_path / name, name)], [VECTOR], root=tmp_path / name)
        index.move_roots({"../first": stored_root(tmp_path / "elsewhere", tmp_path / "index")})

        assert index.get("first").t1c == tmp_path / "elsewhere" / "first" / "t1c.nii.gz"
        assert index.get("second").t1c == tmp_path / "second" / "second" / "t1c.nii.gz"
        index.move_roots({"../elsewhere": "../second"})
        assert index.roots() == {"../second": 2}
        assert index.get("first").t1c == tmp_path / "second" / "first" / "t1c.nii.gz"


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_to_the_index_leads_to_the_same_scans(tmp_path):
    (tmp_path / "deep" / "down").mkdir(parents=True)
    archive = tmp_path / "archive"
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "down")
    with CaseIndex.create(tmp_path / "link" / "index", MODEL) as index:
        index.add([case_in(archive)], [VECTOR], root=archive)

    for folder in (tmp_path / "link" / "index", tmp_path / "deep" / "down" / "index"):
        with CaseIndex.open(folder) as index:
            assert index.get("a").t1c == archive / "a" / "t1c.nii.gz"


def test_a_scan_outside_the_archive_is_refused(tmp_path):
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        with pytest.raises(ValueError):
            index.add([case_in(tmp_path / "other")], [VECTOR], root=tmp_path / "archive")
        assert "a" not in index


def test_names_of_any_length_and_script_are_kept(tmp_path):
    archive = tmp_path.joinpath(*(["Größe 世界 " * 8] * 12))
    names = ["x" * 5000, "Fall/../..", "it's; DROP TABLE cases --", "\u202egnp.exe", "nul\x01"]
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        cases = [Case(name, name, t1c=archive / str(n), tumors=(Tumor(id=name),)) for n, name in enumerate(names)]
        index.add(cases, [VECTOR] * len(names), root=archive)
    with CaseIndex.open(tmp_path / "index", writable=True) as index:
        assert [index.get(name).t1c for name in names] == [archive / str(n) for n in range(len(names))]
        assert sorted({hit.case for hit in index.search(VECTOR, 9)[0]}) == sorted(names)
        index.remove(names)
        assert index.case_ids() == []


def test_what_is_known_about_a_mask_comes_back(tmp_path):
    case = case_in(tmp_path, mask_labels=LABELS, mask_origin="expert", voxels_sha256="ab" * 32)
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add([case], [VECTOR])
    with CaseIndex.open(tmp_path / "index") as index:
        again = index.get("a")
        assert (again.mask_labels, again.mask_origin, again.voxels_sha256) == (LABELS, "expert", "ab" * 32)
        assert index.case_of_voxels() == {"ab" * 32: "a"}


class TestKeptMasks:
    def fill(self, tmp_path):
        index = CaseIndex.create(tmp_path / "index", MODEL)
        index.add([case_in(tmp_path)], [VECTOR], masks={"a": mask_file(tmp_path)})
        return index

    def test_a_mask_is_kept_as_long_as_its_case(self, tmp_path):
        with self.fill(tmp_path) as index:
            kept = index.get("a").mask
            assert kept.parent == tmp_path / "index" / "masks"
            assert kept.read_bytes() == (tmp_path / "made.nii.gz").read_bytes()
            index.add([case_in(tmp_path, "b")], [VECTOR])
            assert kept.exists()
            index.remove(["a"])
            assert not kept.parent.exists()

    def test_a_changed_or_missing_mask_is_noticed_by_verify(self, tmp_path):
        with self.fill(tmp_path) as index:
            index.verify()
            kept = index.get("a").mask
            whole = kept.read_bytes()
            kept.write_bytes(whole[:-1] + b"?")
            with pytest.raises(IndexDamaged, match="fails its checksum"):
                index.verify()
            kept.unlink()
            with pytest.raises(IndexDamaged, match="missing"):
                index.verify()

    def test_a_write_that_fails_leaves_no_mask_and_loses_none(self, tmp_path, monkeypatch):
        with self.fill(tmp_path) as index:
            before = sorted((tmp_path / "index" / "masks").iterdir())

            def full(*_, **__):
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(np, "save", full)
            with pytest.raises(CannotWrite):
                index.add([case_in(tmp_path, "b")], [VECTOR], masks={"b": mask_file(tmp_path, b"other")})
            with pytest.raises(CannotWrite):
                index.remove(["a"])
            assert sorted((tmp_path / "index" / "masks").iterdir()) == before

    def test_what_a_killed_writer_left_is_cleared_and_nothing_else(self, tmp_path):
        self.fill(tmp_path).close()
        masks = tmp_path / "index" / "masks"
        litter = [masks / f"{'0' * 64}.nii.gz", masks / f".tmp-00ff00ff-{'1' * 64}.nii.gz"]
        for path in (*litter, masks / "notes.txt"):
            path.write_text("x")

        CaseIndex.open(tmp_path / "index", writable=True).close()

        assert not any(path.exists() for path in litter) and (masks / "notes.txt").exists()
        assert len(list(masks.iterdir())) == 2

    def test_a_snapshot_takes_the_masks_along_and_still_finds_the_scans(self, tmp_path):
        with self.fill(tmp_path) as index:
            index.snapshot(tmp_path / "far" / "away" / "copy")
            content = index.get("a").mask.read_bytes()

        with CaseIndex.open(tmp_path / "far" / "away" / "copy") as copy:
            copy.verify()
            assert copy.get("a").mask.read_bytes() == content
            assert copy.get("a").mask.is_relative_to(tmp_path / "far")
            assert copy.get("a").t1c == tmp_path / "a" / "t1c.nii.gz"
            assert DEFAULT_LAYOUT.size == copy.vectors_of("a").shape[1]


def test_no_free_page_and_no_forgotten_archive_tells_of_what_was_removed(tmp_path):
    secret, kept = Cohort(150, 1, prefix="secret"), Cohort(5, 2, prefix="kept")
    scanned = case_in(tmp_path / "archive of jane", "secret-scan")
    with kept.fill(tmp_path / "index") as index:
        index.add(secret.cases, secret.vectors)
        index.add([scanned], [VECTOR], root=tmp_path / "archive of jane")
        everything = b"".join(path.read_bytes() for path in (tmp_path / "index").iterdir())
        assert b"secret" in everything and b"archive of jane" in everything

        index.remove([case.id for case in secret.cases] + ["secret-scan"])

        everything = b"".join(path.read_bytes() for path in (tmp_path / "index").iterdir())
        assert b"secret" not in everything and b"archive of jane" not in everything
        assert not any(vector[0].tobytes()[:64] in everything for vector in secret.vectors)
        assert len(index.case_ids()) == 5
