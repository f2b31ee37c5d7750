"""A best match is read on the scale of the index's own best matches."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.familiarity import FEWEST, RARE_PERCENT, best_match, usual_scores
from TumorRetrievalLib.retrieval.filters import Filters

from .conftest import MODEL, Cohort, similarity

WEIGHTS = {"appearance": 0.5, "type": 0.1, "position": 0.2, "extent": 0.2}
ALL_KNOWN = np.ones(len(DEFAULT_LAYOUT.names), bool)


def alike(count: int, seed: int, noise: float = 0.1) -> np.ndarray:
    """Embeddings that differ a little, shape (count, D)."""
    rng, middle = np.random.default_rng(seed), Cohort(1, 3).vectors[0][0]
    rows = middle + noise * rng.normal(size=(count, DEFAULT_LAYOUT.size))
    slices = DEFAULT_LAYOUT.slices.items()
    return np.stack([DEFAULT_LAYOUT.combine({name: row[part] for name, part in slices}) for row in rows])


@pytest.fixture
def index(tmp_path):
    """A hundred patients with two scans each, the second like the first to the last bit."""
    vectors = np.repeat(alike(100, 0), 2, axis=0)
    cases = [Case(f"scan-{i:03d}", f"patient {i // 2}", tumors=(Tumor(),)) for i in range(200)]
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add(cases, vectors[:, None])
        yield index


def test_the_scale_is_each_tumors_best_match_among_other_patients(index):
    vectors = np.concatenate([index.vectors_of(case) for case in index.case_ids()])
    expected = [
        max(similarity(vectors[i], vectors[j], WEIGHTS) for j in range(200) if j // 2 != i // 2) for i in range(200)
    ]

    assert sorted(usual_scores(index, ALL_KNOWN, WEIGHTS)) == pytest.approx(sorted(expected), abs=1e-6)


def test_a_patient_with_more_tumors_than_are_looked_at_first_is_compared_with_others_all_the_same(tmp_path):
    many = Case("many", "p", tumors=tuple(Tumor(id=str(i)) for i in range(50)))
    other = Case("other", "q", tumors=(Tumor(),))
    vectors = alike(51, 1)
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add([many, other], [vectors[:50], vectors[50:]])

        scores = usual_scores(index, ALL_KNOWN, WEIGHTS)

    expected = [
        similarity(vectors[0], vectors[50], WEIGHTS),
        max(similarity(v, vectors[50], WEIGHTS) for v in vectors[:50]),
    ]
    assert sorted(scores) == pytest.approx(sorted(expected), abs=1e-6)


def test_a_tumor_like_those_of_the_index_is_familiar_and_one_unlike_all_is_not(index):
    known, strange = alike(1, 7)[0], Cohort(1, 99).vectors[0][0]

    assert not best_match(index, known, WEIGHTS).rare
    assert best_match(index, strange, WEIGHTS).rare
    assert best_match(index, strange, WEIGHTS).percentile == 0


def test_of_true_tumors_about_as_many_are_called_strange_as_the_threshold_says(index):
    called = [best_match(index, tumor, WEIGHTS).rare for tumor in alike(60, 11)]

    assert np.mean(called) <= 3 * RARE_PERCENT / 100


def test_blocks_that_are_unknown_of_a_tumor_are_not_on_its_scale_either(index):
    tumor = alike(1, 7)[0]
    tumor[DEFAULT_LAYOUT.slices["appearance"]] = 0
    known = DEFAULT_LAYOUT.known_blocks(tumor[None])[0]
    without = {**WEIGHTS, "appearance": 0.0}

    assert sorted(usual_scores(index, known, WEIGHTS)) == pytest.approx(sorted(usual_scores(index, ALL_KNOWN, without)))
    assert best_match(index, tumor, WEIGHTS).percentile == best_match(index, tumor, without).percentile


def test_what_is_shown_of_the_index_does_not_matter_but_the_own_patient_does(index):
    tumor = index.vectors_of("scan-000")[0]

    assert best_match(index, tumor, WEIGHTS, Filters(types=("glioma",))).score == pytest.approx(1)
    assert best_match(index, tumor, WEIGHTS, Filters(exclude_patients=("patient 0",))).score < 0.9999


def test_an_index_of_few_patients_tells_no_percentile(tmp_path):
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        assert best_match(index, alike(1, 1)[0], WEIGHTS).rare, "an empty index knows nothing"
        few = FEWEST - 1
        index.add([Case(f"c{i:02d}", f"p{i}", tumors=(Tumor(),)) for i in range(few)], list(alike(few, 2)[:, None]))

        match = best_match(index, alike(1, 1)[0], WEIGHTS)

    assert match.percentile is None and not match.rare
