"""How far to trust an index: numbers with known answers, and a page that says them."""

import json

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.evaluation import audit
from TumorRetrievalLib.evaluation.audit import audit_index
from TumorRetrievalLib.evaluation.neighbours import similarity_matrix
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, block_shares, similarities
from TumorRetrievalLib.retrieval.case_index import CaseIndex

MODEL = "a" * 64


def index_of(folder, tumors):
    """An index of tumors given as (patient, direction of the appearance, type, more facts about the case)."""
    cases, vectors = [], []
    for number, (patient, direction, kind, *more) in enumerate(tumors):
        tumor = Tumor(type=kind, area="cerebellum" if kind == "glioma" else None)
        cases.append(Case(f"c{number:03d}", patient, tumors=(tumor,), **(more[0] if more else {})))
        vectors.append(DEFAULT_LAYOUT.combine({"appearance": np.array(direction, float)})[None])
    with CaseIndex.create(folder, MODEL) as index:
        index.add(cases, vectors)
    return folder


def around(angle, rng):
    angle = angle + rng.normal(0, 0.05)
    return [np.cos(angle), np.sin(angle), *rng.normal(0, 0.05, 4)]


@pytest.fixture
def clusters(tmp_path):
    """Gliomas that look alike and meningiomas that look alike, of forty patients with two tumors each."""
    rng = np.random.default_rng(0)
    tumors = [(f"g{i // 2}", around(0, rng), "glioma") for i in range(60)]
    tumors += [(f"m{i // 2}", around(1.5, rng), "meningioma") for i in range(20)]
    return index_of(tmp_path / "index", tumors)


def test_labels_that_look_alike_are_told_and_the_chance_is_said(clusters, tmp_path):
    result = audit_index(clusters, tmp_path / "out")

    row = result["labels"]["type"]
    assert (row["tumors"], row["patients"], row["agrees"], row["interval"]) == (80, 40, 1.0, [1.0, 1.0])
    assert row["most_frequent"] == 0.75
    assert {name: one["agrees"] for name, one in result["types"].items()} == {"glioma": 1.0, "meningioma": 1.0}
    assert result["types"]["meningioma"]["most_frequent"] == 0.0
    assert result["areas"]["cerebellum"]["type"]["tumors"] == 60
    assert result["labels"]["left_right"] == {"tumors": 0, "patients": 0}
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == result
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "meningioma" in page and "100 %" in page and "diagnosis" not in page.lower() and "<script" not in page


def test_a_patient_does_not_answer_about_itself(tmp_path):
    # Each patient's two tumors are one picture, of a type that nobody else near them has.
    rng = np.random.default_rng(1)
    tumors = []
    for patient in range(20):
        kind = ("glioma", "meningioma")[patient % 2]
        direction = rng.normal(size=8)
        tumors += [(f"p{patient}", direction, kind), (f"p{patient}", direction, kind)]

    result = audit_index(index_of(tmp_path / "index", tumors), tmp_path / "out")

    assert result["labels"]["type"]["agrees"] < 0.8, "only the twin of the same patient knows"
    assert result["near_duplicates"] == [], "one patient may be alike as often as it likes"


def test_resampling_patients_gives_wider_intervals_than_many_tumors_of_few_patients_suggest(tmp_path):
    right = np.repeat([1, 0, 1, 1, 0, 1], 50)
    patients = np.repeat(np.arange(6), 50)

    low, high = audit._interval(right, patients, np.random.default_rng(0))
    each_alone = audit._interval(right, np.arange(300), np.random.default_rng(0))

    assert low < 0.4 and high == 1.0
    assert each_alone[0] > 0.6 and each_alone[1] < 0.73


def test_a_scan_under_two_patients_is_pointed_out(tmp_path):
    rng = np.random.default_rng(2)
    twin = around(0.7, rng)
    tumors = [
        ("p1", twin, "glioma", {"voxels_sha256": "11" * 32}),
        ("p2", twin, "glioma", {"voxels_sha256": "11" * 32}),
        ("p3", around(3.0, rng), "glioma", {"voxels_sha256": "22" * 32}),
        ("p4", around(4.5, rng), None),
    ]

    result = audit_index(index_of(tmp_path / "index", tumors), tmp_path / "out")

    assert result["same_scans"] == [["c000", "c001"]] and result["scans_compared"] == 3
    assert result["near_duplicates"] == [{"cases": ["c000", "c001"], "distance": 0.0}]
    assert "c000 = c001" in (tmp_path / "out" / "audit.html").read_text()
    assert any("1 of 4 tumors have no type" in note for note in result["notes"])
    assert any("Every known type is glioma" in note for note in result["notes"])


def test_a_name_from_an_archive_cannot_become_part_of_the_page(tmp_path):
    rng = np.random.default_rng(3)
    folder = tmp_path / "index"
    evil = "<script>alert(1)</script>"
    with CaseIndex.create(folder, MODEL) as index:
        vector = DEFAULT_LAYOUT.combine({"appearance": rng.normal(size=8)})[None]
        index.add([Case(f"{evil}{i}", f"p{i}", tumors=(Tumor(),)) for i in range(2)], [vector, vector])

    audit_index(folder, tmp_path / "out")

    assert evil not in (tmp_path / "out" / "audit.html").read_text()


def test_one_patient_alone_cannot_be_audited(tmp_path):
    folder = index_of(tmp_path / "index", [("p", [1, 0], "glioma"), ("p", [0, 1], "glioma")])

    with pytest.raises(UnreadableFile, match="at least two"):
        audit_index(folder, tmp_path / "out")


def test_of_a_large_index_some_patients_ask_and_that_is_said(clusters, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "MOST_QUERIES", 10)
    monkeypatch.setattr(audit, "_CANDIDATES", 3)
    monkeypatch.setattr(audit, "_CHUNK_NUMBERS", 200)

    result = audit_index(clusters, tmp_path / "out")

    assert result["asked"] == 10 and result["labels"]["type"]["patients"] == 5
    assert result["labels"]["type"]["agrees"] == 1.0
    assert any("10 of 80 tumors asked" in note for note in result["notes"])


def test_the_similarities_are_those_of_a_search():
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(30):
        blocks = {name: rng.normal(size=n) for name, n in DEFAULT_LAYOUT.blocks if name == "type" or rng.random() < 0.6}
        rows.append(DEFAULT_LAYOUT.combine(blocks))
    rows = np.array(rows)

    matrix = similarity_matrix(rows, rows, DEFAULT_LAYOUT)

    for row, vector in zip(matrix, rows, strict=True):
        expected = similarities(block_shares(DEFAULT_LAYOUT.query_vector(vector), rows, DEFAULT_LAYOUT))
        assert row == pytest.approx(expected, abs=1e-6)
