"""What any search over vectors promises, asked of each of them; and the small things they share."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.errors import MissingPackage
from TumorRetrievalLib.retrieval.best_search import MANY, best_search
from TumorRetrievalLib.retrieval.compact_search import CompactSearch
from TumorRetrievalLib.retrieval.faiss_search import FaissSearch
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch
from TumorRetrievalLib.retrieval.vector_search import at_least_kth, rounding_margin


def unit_vectors(count, size, rng):
    vectors = rng.normal(size=(count, size))
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def kth_best(vectors, query, k, rows):
    scores = np.sort(vectors[rows].astype(np.float64) @ query.astype(np.float64))[::-1]
    return scores[min(k, len(scores)) - 1]


@pytest.mark.parametrize("search", [NumpySearch, FaissSearch, CompactSearch])
class TestAnySearch:
    @settings(max_examples=60)
    @given(
        seed=st.integers(0, 10**6),
        count=st.integers(1, 300),
        k=st.integers(1, 40),
        part=st.sampled_from([None, 0.05, 0.2, 0.5, 1.0]),
        distinct=st.sampled_from([2, 20, 10**6]),
    )
    def test_candidates_hold_all_of_the_k_best_and_all_that_tie_with_the_last(
        self, search, seed, count, k, part, distinct
    ):
        rng = np.random.default_rng(seed)
        vectors = unit_vectors(count, 12, rng)[np.arange(count) % distinct]
        queries = unit_vectors(3, 12, rng)
        rows = np.arange(count) if part is None else np.flatnonzero(rng.random(count) < part)
        if len(rows) == 0:
            rows = np.array([0])

        searchable = search(vectors)
        found = searchable.candidates(queries, k, None if part is None else searchable.subset(rows))

        for query, its_rows in zip(queries, found, strict=True):
            scores = vectors.astype(np.float64) @ query.astype(np.float64)
            wanted = rows[scores[rows] >= kth_best(vectors, query, k, rows)]
            assert set(wanted) <= set(its_rows.tolist()) <= set(rows)
            assert len(set(its_rows.tolist())) == len(its_rows)

    def test_candidates_are_few_when_nothing_ties(self, search):
        rng = np.random.default_rng(0)
        vectors = unit_vectors(5000, 16, rng)

        (found,) = search(vectors).candidates(vectors[:1], 5)

        assert 5 <= len(found) <= 8
        assert 0 in found

    def test_many_queries_at_once_find_what_each_finds_alone(self, search):
        rng = np.random.default_rng(0)
        searchable = search(unit_vectors(2000, 16, rng))
        queries = unit_vectors(50, 16, rng)

        together = searchable.candidates(queries, 3)

        for query, found in zip(queries, together, strict=True):
            (alone,) = searchable.candidates(query[None], 3)
            assert set(alone[:3]) & set(found.tolist())
            assert sorted(alone) == sorted(found)

    def test_the_vectors_stay_readable_by_row(self, search):
        vectors = unit_vectors(100, 16, np.random.default_rng(0))

        assert np.array_equal(search(vectors.copy()).vectors, vectors)

    def test_an_index_without_vectors_finds_nothing(self, search):
        (found,) = search(np.zeros((0, 16), np.float32)).candidates(np.ones((1, 16), np.float32), 5)

        assert len(found) == 0


def test_scores_closer_than_rounding_can_tell_all_stay():
    scores = np.array([0.9, 0.5, 0.5 - rounding_margin(64) / 2, 0.4, 0.1], dtype=np.float32)

    assert at_least_kth(scores, 2, 64).tolist() == [0, 1, 2]
    assert at_least_kth(scores, 9, 64).tolist() == [0, 1, 2, 3, 4]


@given(st.integers(0, 10**6), st.integers(2, 128))
def test_the_margin_covers_what_float32_loses(seed, size):
    rng = np.random.default_rng(seed)
    one, other = unit_vectors(2, size, rng)

    error = abs(float(one @ other) - float(one.astype(np.float64) @ other.astype(np.float64)))

    assert 2 * error <= rounding_margin(size)


def test_without_faiss_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)

    with pytest.raises(MissingPackage, match="faiss-cpu"):
        FaissSearch(np.zeros((1, 4), np.float32))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 5),
    size=st.sampled_from([1, 7, 33, 104]),
    spread=st.sampled_from([1e-3, 0.05, 1.0]),
    part=st.sampled_from([None, 0.2, 0.6]),
)
def test_the_first_pass_over_codes_never_drops_one_of_the_best(seed, k, size, spread, part):
    """Thousands of vectors, many of them nearer to each other than their codes can tell."""
    rng = np.random.default_rng(seed)
    vectors = (unit_vectors(1, size, rng) + spread * rng.normal(size=(3000, size)) / np.sqrt(size)).astype(np.float32)
    vectors /= np.maximum(1.0, np.linalg.norm(vectors, axis=1).max())
    query = vectors[0] * rng.uniform(0, 1, size).astype(np.float32)
    rows = np.arange(3000) if part is None else np.flatnonzero(rng.random(3000) < part)

    search = CompactSearch(vectors)
    (found,) = search.candidates(query[None], k, None if part is None else search.subset(rows))

    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    assert set(rows[scores[rows] >= kth_best(vectors, query, k, rows)]) <= set(found.tolist()) <= set(rows.tolist())


def test_codes_leave_few_candidates_among_many_vectors():
    vectors = unit_vectors(50_000, 104, np.random.default_rng(0))

    (found,) = CompactSearch(vectors).candidates(vectors[7:8], 5)

    assert 7 in found and len(found) < 500


def test_numbers_of_any_size_are_searched(tmp_path):
    rng = np.random.default_rng(0)
    for factor in (1e-20, 1e10):
        vectors = (rng.normal(size=(2000, 16)) * factor).astype(np.float32)
        (found,) = CompactSearch(vectors).candidates(vectors[5:6], 1)
        assert int(np.argmax(vectors.astype(float) @ vectors[5].astype(float))) in found
    (found,) = CompactSearch(np.zeros((2000, 16), np.float32)).candidates(np.ones((1, 16), np.float32), 1)
    assert len(found) == 2000


def test_vectors_in_a_file_are_searched_without_being_read_into_memory(tmp_path):
    vectors = unit_vectors(3000, 16, np.random.default_rng(0))
    np.save(tmp_path / "vectors.npy", vectors)

    search = CompactSearch(np.load(tmp_path / "vectors.npy", mmap_mode="r"))

    assert isinstance(search.vectors, np.memmap)
    assert 17 in search.candidates(vectors[17:18], 1)[0]


def test_many_vectors_are_searched_by_their_codes_and_few_as_they_are(monkeypatch):
    few, many = np.zeros((10, 4), np.float32), np.zeros((MANY, 4), np.float32)

    assert (best_search(few).name, best_search(many).name) == ("faiss", "compact")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert best_search(many).name == "faiss"
