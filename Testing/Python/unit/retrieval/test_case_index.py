"""What every case index promises, whichever search it uses: one contract, asked of each."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.cohort.case import Case, SyntheticRecipe, Tumor
from TumorRetrievalLib.cohort.labels import ALLOWED, TYPES
from TumorRetrievalLib.errors import CannotWrite, CaseAlreadyIndexed, NothingToCompare, UnknownCase, UnknownLabel
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, DEFAULT_WEIGHTS
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.compact_search import CompactSearch
from TumorRetrievalLib.retrieval.faiss_search import FaissSearch
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch
from TumorRetrievalLib.retrieval.vector_search import rounding_margin

from .conftest import MODEL, Cohort

FILTERS = [
    (Filters(), lambda case, tumor: True),
    (Filters(types=TYPES[:2]), lambda case, tumor: tumor.type in TYPES[:2]),
    (
        Filters(left_right=("left",), smallest_ml=5.0),
        lambda case, tumor: tumor.left_right == "left" and tumor.core_ml is not None and tumor.core_ml >= 5,
    ),
    (
        Filters(exclude_patients=("patient 0", "patient 3"), exclude_cases=("case-0002",)),
        lambda case, tumor: case.patient not in ("patient 0", "patient 3") and case.id != "case-0002",
    ),
    (Filters(largest_ml=-1), lambda case, tumor: False),
]


def names(hits):
    return [(hit.case, hit.tumor) for hit in hits]


@pytest.mark.parametrize("search", [FaissSearch, NumpySearch, CompactSearch])
class TestAnyIndex:
    @settings(max_examples=20)
    @given(
        seed=st.integers(0, 10**6),
        k=st.sampled_from([1, 5, 15, 200]),
        distinct=st.sampled_from([None, 1, 5]),
        some_unknown=st.booleans(),
        filtered=st.sampled_from(range(len(FILTERS))),
        numbers=st.lists(st.floats(0.1, 5) | st.just(0.0), min_size=4, max_size=4).filter(any),
    )
    def test_search_equals_comparing_with_every_tumor(
        self, search, tmp_path_factory, seed, k, distinct, some_unknown, filtered, numbers
    ):
        cohort = Cohort(40, seed, distinct=distinct, some_unknown=some_unknown)
        weights = dict(zip(DEFAULT_LAYOUT.names, numbers, strict=True))
        filters, keep = FILTERS[filtered]
        query = np.concatenate(cohort.vectors)[seed % 40]
        if not any(query[part].any() and weights[name] for name, part in DEFAULT_LAYOUT.slices.items()):
            return

        with cohort.fill(tmp_path_factory.mktemp("index") / "i", search) as index:
            (hits,) = index.search(query[None], k, filters, weights)

        expected = cohort.brute_force(query, k, weights, keep)
        assert [hit.score for hit in hits] == pytest.approx([score for _, _, score in expected], abs=1e-6)
        scores = {(case, tumor): score for case, tumor, score in cohort.brute_force(query, 10**6, weights, keep)}
        assert [scores[name] for name in names(hits)] == pytest.approx([hit.score for hit in hits], abs=1e-6)
        # Equal tumors come in the order of their ids.
        keys = [(-hit.score, hit.case, hit.tumor) for hit in hits]
        assert keys == sorted(keys)
        assert all(hit.score == sum(hit.blocks.values()) for hit in hits)

    def test_a_tumor_finds_itself_first_with_its_labels_and_the_reason(self, search, cohort, tmp_path):
        with cohort.fill(tmp_path / "index", search) as index:
            hit = index.search(cohort.vectors[7][:1], 3)[0][0]

        assert (hit.case, hit.tumor) == ("case-0007", "1")
        assert hit.score == pytest.approx(1)
        assert hit.blocks == pytest.approx(dict(DEFAULT_WEIGHTS), abs=1e-6)
        assert hit.record.type == cohort.cases[7].tumors[0].type
        assert hit.record.box.size == pytest.approx(cohort.cases[7].tumors[0].box.size)

    def test_many_queries_at_once_give_what_each_gives_alone(self, search, cohort, tmp_path):
        queries = np.concatenate(cohort.vectors)[:30]

        with cohort.fill(tmp_path / "index", search) as index:
            together = index.search(queries, 5)
            alone = [index.search(query[None], 5)[0] for query in queries]

        assert [names(hits) for hits in together] == [names(hits) for hits in alone]
        assert [hit.score for hits in together for hit in hits] == [hit.score for hits in alone for hit in hits]

    def test_cases_come_back_as_they_were_added(self, search, tmp_path):
        turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
        box = Box([1.5, -2, 3], [4, 5, 6], turned)
        tumor = Tumor(id="a", box=box, type="glioma", linear_size_mm=31.5, core_ml=4.25, atlas_mm=(1.1, 2, 3))
        tumors = (tumor, Tumor(id="b", type="meningioma"))
        case = Case("Fall ÄÖ '1' -- ; 世界", "Müller", tumors=tumors, recipe=SyntheticRecipe(17, "glioma", 2))
        vectors = Cohort(1, 3).vectors[0][[0, 0]]

        with CaseIndex.create(tmp_path / "index", MODEL, search=search) as index:
            index.add([case], [vectors])
        with CaseIndex.open(tmp_path / "index", search=search) as index:
            again = index.get(case.id)
            assert np.array_equal(index.vectors_of(case.id), vectors)

        assert (again.id, again.patient, again.provenance) == (case.id, case.patient, case.provenance)
        assert (again.recipe, again.t1c) == (case.recipe, None)
        for name in ("id", *ALLOWED, "linear_size_mm", "core_ml", "whole_ml", "atlas_mm"):
            assert [getattr(one, name) for one in again.tumors] == [getattr(one, name) for one in case.tumors]
        assert np.array_equal(again.tumors[0].box.axes, turned)
        assert again.tumors[0].box.center.tolist() == [1.5, -2, 3]
        assert again.tumors[1].box is None

    def test_a_relative_path_still_leads_to_the_scan_from_another_folder(self, search, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "elsewhere").mkdir()
        with CaseIndex.create("index", MODEL, search=search) as index:
            index.add([Case("one", "p", t1c="scan.nii")], [np.zeros((0, DEFAULT_LAYOUT.size))])
        monkeypatch.chdir(tmp_path / "elsewhere")

        with CaseIndex.open("../index", search=search) as index:
            assert index.get("one").t1c == tmp_path / "scan.nii"
            assert index.get("one").flair is None

    def test_removed_cases_are_gone_and_the_others_are_found_as_before(self, search, cohort, tmp_path):
        query = cohort.vectors[0]
        gone = [f"case-{i:04d}" for i in range(0, 60, 3)]
        with cohort.fill(tmp_path / "index", search) as index:
            before = index.search(query, 1000)
            index.remove(gone)
            after = index.search(query, 100)

            assert "case-0000" not in index
            assert "case-0001" in index
            assert len(index) == sum(len(case.tumors) for case in cohort.cases if case.id not in gone)
            index.verify()
        for hits, fewer in zip(before, after, strict=True):
            assert [name for name in names(hits) if name[0] not in gone][: len(fewer)] == names(fewer)
            assert not {hit.case for hit in fewer} & set(gone)

    def test_cases_may_be_added_in_any_number_of_steps(self, search, cohort, tmp_path):
        query = cohort.vectors[0]
        with cohort.fill(tmp_path / "at once", search) as index:
            at_once = index.search(query, 20)
        with CaseIndex.create(tmp_path / "in steps", MODEL, search=search) as index:
            for start in (40, 0, 20):
                index.add(cohort.cases[start : start + 20], cohort.vectors[start : start + 20])
                index.search(query, 3)
            in_steps = index.search(query, 20)

        assert [names(hits) for hits in at_once] == [names(hits) for hits in in_steps]

    def test_an_empty_index_finds_nothing(self, search, cohort, tmp_path):
        with CaseIndex.create(tmp_path / "index", MODEL, search=search) as index:
            assert index.search(cohort.vectors[0][:1], 5) == [[]]
            assert index.search(np.zeros((0, DEFAULT_LAYOUT.size)), 5) == []

    def test_a_query_without_position_finds_the_same_as_one_that_gives_position_no_weight(
        self, search, cohort, tmp_path
    ):
        lacking = cohort.vectors[5][:1].copy()
        lacking[:, DEFAULT_LAYOUT.slices["position"]] = 0
        with cohort.fill(tmp_path / "index", search) as index:
            (hits,) = index.search(lacking, 10)
            (expected,) = index.search(cohort.vectors[5][:1], 10, weights=DEFAULT_WEIGHTS | {"position": 0})

        assert names(hits) == names(expected)
        assert all(hit.blocks["position"] == 0 for hit in hits)


def test_faiss_and_numpy_give_the_same_result_to_the_last_bit(tmp_path):
    cohort = Cohort(200, distinct=20, some_unknown=True)
    cohort.fill(tmp_path / "index").close()
    queries = np.concatenate(cohort.vectors)
    queries = queries[queries[:, DEFAULT_LAYOUT.slices["appearance"]].any(axis=1)]

    results = []
    for search in (FaissSearch, NumpySearch, CompactSearch):
        with CaseIndex.open(tmp_path / "index", search=search) as index:
            assert index.stats()["search"] == search.name
            results.append([(hit.case, hit.tumor, hit.score) for hits in index.search(queries, 15) for hit in hits])

    assert results[0] == results[1] == results[2]


def test_nearly_equal_tumors_are_ordered_by_what_really_differs(tmp_path):
    rng = np.random.default_rng(0)
    query = Cohort(1).vectors[0][:1]
    # Differences far below what float32 arithmetic can tell.
    noise = rng.normal(size=(50, DEFAULT_LAYOUT.size)) * rounding_margin(DEFAULT_LAYOUT.size) / 10
    rows = (query + noise).astype(np.float32)
    cases = [Case(f"c{i:02d}", "p", tumors=(Tumor(id="1", type="glioma"),)) for i in range(50)]
    orders = []
    for search in (FaissSearch, NumpySearch):
        with CaseIndex.create(tmp_path / search.name, MODEL, search=search) as index:
            index.add(cases, list(rows[:, None]))
            orders.append(names(index.search(query, 10)[0]))

    exact = rows.astype(float) @ DEFAULT_LAYOUT.query_vector(query[0])
    assert orders[0] == orders[1] == [(f"c{i:02d}", "1") for i in np.argsort(-exact)[:10]]


def test_ties_of_any_number_are_ordered_by_name_in_little_memory(tmp_path, monkeypatch):
    cohort = Cohort(200, distinct=1)
    expected = cohort.brute_force(cohort.vectors[0][0], 15, {"type": 1})
    with cohort.fill(tmp_path / "index") as index:
        at_once = index.search(cohort.vectors[0][:1], 15, weights={"type": 1})
        monkeypatch.setattr("TumorRetrievalLib.retrieval.case_index._SCORED_AT_ONCE", 32)
        in_parts = index.search(cohort.vectors[0][:1], 15, weights={"type": 1})

    assert names(at_once[0]) == names(in_parts[0]) == [(case, tumor) for case, tumor, _ in expected]


def test_a_tumor_without_any_block_that_counts_is_never_found(tmp_path):
    cohort = Cohort(40, some_unknown=True)
    place = DEFAULT_LAYOUT.slices["position"]
    query = next(vector for vector in np.concatenate(cohort.vectors) if vector[place].any())
    with cohort.fill(tmp_path / "index") as index:
        (hits,) = index.search(query[None], 1000, weights={"position": 1})

        assert len(hits) == sum(bool(vector[place].any()) for vector in np.concatenate(cohort.vectors)) < len(index)


def test_without_faiss_an_index_uses_numpy(monkeypatch, cohort, tmp_path):
    monkeypatch.setitem(sys.modules, "faiss", None)

    with cohort.fill(tmp_path / "index") as index:
        assert index.stats()["search"] == "numpy"


def test_statistics_count_cases_tumors_and_types(filled, cohort):
    stats = filled.stats()

    tumors = [tumor for case in cohort.cases for tumor in case.tumors]
    assert (stats["cases"], stats["tumors"]) == (60, len(tumors))
    assert stats["types"] == {name: sum(t.type == name for t in tumors) for name in sorted(TYPES)}
    assert stats["model"] == MODEL
    assert stats["blocks"] == dict(DEFAULT_LAYOUT.blocks)


def test_a_case_cannot_be_added_twice(filled, cohort):
    with pytest.raises(CaseAlreadyIndexed, match="case-0003"):
        filled.add([cohort.cases[3]], [cohort.vectors[3]])
    new = Case("new", "p", tumors=(Tumor(id="1", type="glioma"),))
    with pytest.raises(CaseAlreadyIndexed, match="new"):
        filled.add([new, new], [cohort.vectors[0][:1]] * 2)

    assert filled.stats()["cases"] == 60


def test_cases_and_vectors_must_fit_together(filled, cohort):
    new = Case("new", "p", tumors=(Tumor(id="1", type="glioma"),))

    for vectors in ([np.zeros((2, DEFAULT_LAYOUT.size))], [], [np.zeros((1, 7))], [np.ones((1, DEFAULT_LAYOUT.size))]):
        with pytest.raises(ValueError):
            filled.add([new], vectors)
    assert "new" not in filled


def test_an_unknown_case_is_named(filled):
    with pytest.raises(UnknownCase, match="'nobody'"):
        filled.get("nobody")
    with pytest.raises(UnknownCase, match="'nobody'"):
        filled.remove(["case-0001", "nobody"])
    assert "case-0001" in filled


def test_an_index_open_for_reading_refuses_to_change(cohort, tmp_path):
    cohort.fill(tmp_path / "index").close()

    with CaseIndex.open(tmp_path / "index") as index, pytest.raises(CannotWrite, match="open for reading only"):
        index.remove(["case-0001"])


def test_searches_that_make_no_sense_are_refused(filled, cohort):
    query = cohort.vectors[0][:1]

    with pytest.raises(ValueError, match="k must be at least 1"):
        filled.search(query, 0)
    with pytest.raises(ValueError, match="shape"):
        filled.search(query[0], 5)
    with pytest.raises(NothingToCompare):
        filled.search(np.zeros_like(query), 5)
    with pytest.raises(UnknownLabel, match="gliom"):
        filled.search(query, 5, Filters(types=("gliom",)))


def test_a_snapshot_is_an_index_of_its_own(filled, cohort, tmp_path):
    filled.snapshot(tmp_path / "copy")
    filled.remove([case.id for case in cohort.cases])

    with CaseIndex.open(tmp_path / "copy", MODEL) as copy:
        assert copy.stats()["cases"] == 60
        assert copy.search(cohort.vectors[9][:1], 1)[0][0].case == "case-0009"
        copy.verify()
    with pytest.raises(CannotWrite, match="holds a case index already"):
        filled.snapshot(tmp_path / "copy")


def test_a_snapshot_can_take_the_place_of_an_older_one_even_if_that_is_damaged(filled, cohort, tmp_path):
    filled.snapshot(tmp_path / "copy")
    with CaseIndex.open(tmp_path / "copy") as reader:
        filled.remove([case.id for case in cohort.cases[1:]])
        filled.snapshot(tmp_path / "copy", replace_old=True)
        assert reader.search(cohort.vectors[9][:1], 1)[0][0].case == "case-0009"
    with CaseIndex.open(tmp_path / "copy") as copy:
        assert copy.stats()["cases"] == 1

    (tmp_path / "copy" / "manifest.json").write_text("{}")
    filled.snapshot(tmp_path / "copy", replace_old=True)
    with CaseIndex.open(tmp_path / "copy") as copy:
        assert copy.stats()["cases"] == 1
