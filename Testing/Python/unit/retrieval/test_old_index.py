"""An index of an earlier version is read as it is, and becomes today's when it is written."""

import hashlib
import json
import sqlite3

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.errors import IndexDamaged
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex

from .conftest import MODEL

VERSION_1 = """
CREATE TABLE cases (
    id TEXT PRIMARY KEY NOT NULL,
    patient TEXT NOT NULL,
    t1c TEXT,
    flair TEXT,
    mask TEXT,
    provenance TEXT NOT NULL,
    recipe TEXT
) WITHOUT ROWID;
CREATE TABLE tumors (
    row INTEGER PRIMARY KEY,
    case_id TEXT NOT NULL REFERENCES cases(id),
    place INTEGER NOT NULL,
    id TEXT NOT NULL,
    box TEXT,
    type TEXT,
    area TEXT,
    left_right TEXT,
    front_rear TEXT,
    upper_lower TEXT,
    linear_size_mm REAL,
    core_ml REAL,
    whole_ml REAL,
    atlas_mm TEXT,
    UNIQUE (case_id, place),
    UNIQUE (case_id, id)
);
INSERT INTO cases VALUES ('Fall Ä', 'p1', '{root}/a/t1c.nii.gz', NULL, '{root}/a/seg.nii.gz', 'our clinic', NULL);
INSERT INTO cases VALUES ('b', 'p2', '{root}/b/t1c.nii.gz', '{root}/b/flair.nii.gz', NULL, '', NULL);
INSERT INTO cases VALUES ('made', 'p3', NULL, NULL, NULL, 'synthetic',
    '{{"seed": 7, "tumor_type": "glioma", "lesion_count": 2}}');
INSERT INTO tumors VALUES (0, 'b', 0, '1', '[[1, 2, 3], [4, 5, 6], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]]', 'meningioma',
    NULL, 'left', 'front', 'upper', 31.5, 4.25, 9.5, '[1.5, 2.5, 3.5]');
INSERT INTO tumors VALUES (1, 'made', 0, 'x', NULL, 'glioma', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tumors VALUES (2, 'Fall Ä', 0, '1', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""
"""What version 1 wrote, frozen: tables and rows."""


def write_version_1(folder, root, sql=VERSION_1):
    """An index as version 1 left it: the files, and the manifest with its sums."""
    folder.mkdir()
    database = sqlite3.connect(folder / "cases-3.sqlite")
    database.executescript(sql.format(root=root))
    database.commit()
    database.close()
    rng = np.random.default_rng(0)
    rows = [DEFAULT_LAYOUT.combine({name: rng.normal(size=n) for name, n in DEFAULT_LAYOUT.blocks}) for _ in range(3)]
    np.save(folder / "vectors-3.npy", np.array(rows, np.float32))
    index = {
        "blocks": [list(block) for block in DEFAULT_LAYOUT.blocks],
        "cases": 3,
        "cases_sha256": hashlib.sha256((folder / "cases-3.sqlite").read_bytes()).hexdigest(),
        "generation": 3,
        "layout_hash": DEFAULT_LAYOUT.hash,
        "model_hash": MODEL,
        "tumors": 3,
        "vectors_sha256": hashlib.sha256((folder / "vectors-3.npy").read_bytes()).hexdigest(),
    }
    content = {"kind": "TumorRetrieval case index", "schema": 1, "index": index}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(content | {"sha256": digest}, indent=1, sort_keys=True) + "\n")
    return np.array(rows, np.float32)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "writer.lock"}


def what_version_1_knew(index, root):
    first, second, made = index.get("Fall Ä"), index.get("b"), index.get("made")
    assert (first.patient, first.provenance, first.tumors[0].box) == ("p1", "our clinic", None)
    assert (first.t1c, first.flair, first.mask) == (root / "a/t1c.nii.gz", None, root / "a/seg.nii.gz")
    assert (second.t1c, second.flair, second.mask) == (root / "b/t1c.nii.gz", root / "b/flair.nii.gz", None)
    assert (made.recipe.seed, made.t1c) == (7, None)
    (tumor,) = second.tumors
    assert (tumor.type, tumor.left_right, tumor.core_ml, tumor.atlas_mm) == (
        "meningioma",
        "left",
        4.25,
        (1.5, 2.5, 3.5),
    )
    assert tumor.box.size.tolist() == [4, 5, 6] and tumor.marker is None
    assert (first.mask_labels, first.mask_origin, first.voxels_sha256) == (None, None, None)


def test_an_index_of_version_1_is_read_and_searched_and_not_touched(tmp_path):
    vectors = write_version_1(tmp_path / "old", tmp_path / "archive")
    before = content(tmp_path / "old")

    with CaseIndex.open(tmp_path / "old", MODEL) as index:
        what_version_1_knew(index, tmp_path / "archive")
        assert [hits[0].case for hits in index.search(vectors, 1)] == ["b", "made", "Fall Ä"]
        index.verify()

    assert content(tmp_path / "old") == before


def test_the_first_write_makes_it_an_index_of_today(tmp_path):
    vectors = write_version_1(tmp_path / "old", tmp_path / "archive")

    with CaseIndex.open(tmp_path / "old", writable=True) as index:
        assert json.loads((tmp_path / "old/manifest.json").read_text())["schema"] == 1, "opening writes nothing"
        index.add([Case("new", "p9", tumors=(Tumor(type="glioma", marker="IDH mutant"),))], [vectors[:1]])

    assert json.loads((tmp_path / "old/manifest.json").read_text())["schema"] == 2
    with CaseIndex.open(tmp_path / "old", MODEL) as index:
        what_version_1_knew(index, tmp_path / "archive")
        assert index.get("new").tumors[0].marker == "IDH mutant"
        assert np.array_equal(index.vectors_of("b"), vectors[:1])
        index.verify()
    assert str(tmp_path).encode() not in b"".join(content(tmp_path / "old").values()), "paths have become relative"


def test_the_bundled_index_opens_unchanged():
    folder = resource("Index")
    before = content(folder)

    with CaseIndex.open(folder) as index:
        assert index.stats()["cases"] == 1239
        assert index.get(index.case_ids()[0]).provenance.startswith("synthetic")

    assert content(folder) == before


@pytest.mark.parametrize(
    "more",
    [
        "CREATE TRIGGER t AFTER INSERT ON cases BEGIN DELETE FROM cases; END;",
        "CREATE VIEW v AS SELECT * FROM cases;",
        "CREATE TABLE other (x);",
        "ALTER TABLE cases ADD COLUMN extra TEXT;",
    ],
)
def test_tables_that_are_not_ours_are_refused(tmp_path, more):
    write_version_1(tmp_path / "old", tmp_path / "archive", VERSION_1 + more)

    with pytest.raises(IndexDamaged, match="other tables"):
        CaseIndex.open(tmp_path / "old")
