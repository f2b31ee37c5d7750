"""A result list shows each case once, and as many cases as were asked for."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.ranking import nearest_tumors

from .conftest import MODEL


@pytest.fixture(scope="module")
def query():
    rng = np.random.default_rng(0)
    return DEFAULT_LAYOUT.combine({name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks})


@pytest.fixture
def index(tmp_path, query):
    """One case with 200 tumors, all nearer to the query than the only tumor of each of 20 others."""
    rng = np.random.default_rng(1)

    def beside(noise, count):
        rows = [query + noise * rng.normal(size=query.shape) for _ in range(count)]
        slices = DEFAULT_LAYOUT.slices
        return np.stack([DEFAULT_LAYOUT.combine({name: row[part] for name, part in slices.items()}) for row in rows])

    many = Case("many", "p", tumors=tuple(Tumor(id=str(i), type="metastasis") for i in range(200)))
    others = [Case(f"other-{i:02d}", f"q{i}", tumors=(Tumor(id="1", type="glioma"),)) for i in range(20)]
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add([many, *others], [beside(0.01, 200), *beside(0.3, 20)[:, None]])
        yield index


def test_a_case_with_hundreds_of_tumors_takes_one_place(index, query):
    hits = nearest_tumors(index, query, 5)

    assert hits[0].case == "many"
    assert len({hit.case for hit in hits}) == 5
    assert hits[0].tumor == index.search(query[None], 1)[0][0].tumor
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_all_tumors_of_a_case_may_be_asked_for(index, query):
    hits = nearest_tumors(index, query, 5, one_per_case=False)

    assert [hit.case for hit in hits] == ["many"] * 5


def test_a_longer_list_begins_with_the_shorter_one(index, query):
    shorter = [(hit.case, hit.tumor) for hit in nearest_tumors(index, query, 4)]
    longer = [(hit.case, hit.tumor) for hit in nearest_tumors(index, query, 12)]

    assert longer[:4] == shorter


def test_there_are_fewer_when_the_index_has_no_more(index, query):
    assert len(nearest_tumors(index, query, 100)) == 21
    assert len(nearest_tumors(index, query, 100, filters=Filters(types=("metastasis",)))) == 1
    assert nearest_tumors(index, query, 3, filters=Filters(types=("meningioma",))) == []


def test_weights_change_the_scores(index, query):
    by_place = nearest_tumors(index, query, 5, weights={"position": 1})

    assert all(hit.blocks["position"] == hit.score for hit in by_place)
