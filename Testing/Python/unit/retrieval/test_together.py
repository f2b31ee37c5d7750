"""Several tumors of a scan are one question: scans are compared as sets, and none that is better is missed."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.retrieval import together
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, DEFAULT_WEIGHTS
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.together import nearest_cases

from .conftest import MODEL, Cohort, similarity


def by_trying_every_pairing(cohort, queries, weights, filters):
    """(case, patient, score) of every scan, by the definition."""
    found = []
    for case, vectors in zip(cohort.cases, cohort.vectors, strict=True):
        kept = [v for tumor, v in zip(case.tumors, vectors, strict=True) if filters.accept(case, tumor)]
        if not kept:
            continue
        gains = [[max(similarity(query, vector, weights) or 0.0, 0.0) for vector in kept] for query in queries]
        longer = max(len(queries), len(kept))
        square = np.zeros((longer, longer))
        square[: len(queries), : len(kept)] = gains
        best = max(sum(square[i, j] for i, j in enumerate(order)) for order in permutations(range(longer)))
        if best > 0:
            found.append((case.id, case.patient, 2 * best / (len(queries) + len(kept))))
    return sorted(found, key=lambda one: (-one[2], one[0]))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    asked=st.integers(1, 4),
    k=st.sampled_from([1, 3, 100]),
    first=st.sampled_from([1, 4, 1000]),
    some_unknown=st.booleans(),
    filters=st.sampled_from([Filters(), Filters(left_right=("left",)), Filters(smallest_ml=10.0)]),
    one_per=st.sampled_from(["patient", "case"]),
)
def test_the_best_scans_are_those_that_trying_every_pairing_finds(
    tmp_path_factory, seed, asked, k, first, some_unknown, filters, one_per
):
    cohort = Cohort(30, seed, some_unknown=some_unknown)
    rng = np.random.default_rng(seed)
    queries = np.concatenate(Cohort(asked, seed + 1).vectors)[:asked]
    queries[0] = np.concatenate(cohort.vectors)[rng.integers(30)]
    if not all(any(query[part].any() for part in DEFAULT_LAYOUT.slices.values()) for query in queries):
        return
    expected = by_trying_every_pairing(cohort, queries, DEFAULT_WEIGHTS, filters)
    if one_per == "patient":
        expected = list({patient: one for one in reversed(expected) for patient in [one[1]]}.values())
        expected.sort(key=lambda one: (-one[2], one[0]))

    with pytest.MonkeyPatch.context() as patch, cohort.fill(tmp_path_factory.mktemp("index") / "i") as index:
        patch.setattr(together, "_FIRST", first)
        hits = nearest_cases(index, queries, k, filters=filters, one_per=one_per)

    assert [hit.score for hit in hits] == pytest.approx([score for *_, score in expected[:k]], abs=1e-6)
    scores = {case: score for case, _, score in expected}
    assert [scores[hit.case] for hit in hits] == pytest.approx([hit.score for hit in hits], abs=1e-6)
    for hit in hits:
        assert sum(hit.blocks.values()) == pytest.approx(hit.score)
        assert len({pair.place for pair in hit.pairs.values()}) == len(hit.pairs), "no tumor is paired twice"


@pytest.fixture
def archive(tmp_path):
    """One scan with three tumors, the same tumors each in a scan of its own, and one with the three and seven more."""
    three, more = (np.concatenate(Cohort(count, seed).vectors)[:n] for count, seed, n in ((9, 1, 3), (20, 2, 7)))

    def case(name, count):
        return Case(name, f"patient of {name}", tumors=tuple(Tumor(id=str(i)) for i in range(count)))

    alone = [case(f"alone-{i}", 1) for i in range(3)]
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add([case("same", 3), *alone, case("more", 10)],
                  [three, *three[:, None], np.concatenate([three, more])])  # fmt: skip
        yield index, three


def test_the_same_tumors_come_first_then_those_with_some_more_and_single_ones_last(archive):
    index, three = archive

    hits = nearest_cases(index, three, 5)

    # Three pairs of similarity one: 2 * 3 / (3 + 3), 2 * 3 / (3 + 10), and 2 * 1 / (3 + 1) for a single one.
    assert [hit.score for hit in hits] == pytest.approx([1, 0.5, 0.5, 0.5, 6 / 13])
    assert hits[0].case == "same" and hits[4].case == "more"
    assert {number: pair.record.id for number, pair in hits[0].pairs.items()} == {0: "0", 1: "1", 2: "2"}
    assert {hit.case: list(hit.pairs) for hit in hits[1:4]} == {f"alone-{i}": [i] for i in range(3)}


def test_a_single_tumor_is_best_matched_by_a_scan_with_only_that_one(archive):
    index, three = archive

    assert nearest_cases(index, three[1:2], 1)[0].case == "alone-1"


def test_tumors_that_do_not_pass_the_filter_are_not_there(archive):
    index, three = archive

    assert nearest_cases(index, three, 5, filters=Filters(types=("glioma",))) == []
    left = nearest_cases(
        index, three, 5, filters=Filters(exclude_cases=("same",), exclude_patients=("patient of more",))
    )
    assert {hit.case for hit in left} == {"alone-0", "alone-1", "alone-2"}
