"""An index on a Qdrant server is the index in a folder: the same cases in the same order with the same scores."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from TumorRetrievalLib.cohort.case import Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.errors import (
    CannotWrite,
    CaseAlreadyIndexed,
    IndexDamaged,
    IndexOfAnotherModel,
    IndexUnreachable,
    InvalidRequest,
    UnknownCase,
    UnreadableFile,
)
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval import open_index as opening
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.familiarity import best_match
from TumorRetrievalLib.retrieval.open_index import copy_cases, server_address
from TumorRetrievalLib.retrieval.qdrant_index import QdrantIndex
from TumorRetrievalLib.retrieval.ranking import nearest_tumors
from TumorRetrievalLib.retrieval.together import nearest_cases

from .conftest import MODEL, Cohort
from .test_case_index import FILTERS


@pytest.fixture
def client():
    with_points = QdrantClient(":memory:")
    yield with_points
    with_points.close()


@pytest.fixture
def on_server(client, cohort):
    index = QdrantIndex.create(client, "cases", MODEL)
    index.add(cohort.cases, cohort.vectors)
    return index


def found(hits):
    return [(hit.case, hit.place, hit.patient) for hit in hits]


def scores(hits):
    """Sums over the blocks may come in another order, so their last digit may differ."""
    return [pytest.approx([hit.score, *hit.blocks.values()], abs=1e-12) for hit in hits]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([1, 5, 40]),
    distinct=st.sampled_from([None, 1, 5]),
    some_unknown=st.booleans(),
    filtered=st.sampled_from(range(len(FILTERS))),
    numbers=st.lists(st.floats(0.1, 5) | st.just(0.0), min_size=4, max_size=4).filter(any),
)
def test_both_find_the_same_tumors_with_the_same_scores_in_the_same_order(
    tmp_path_factory, seed, k, distinct, some_unknown, filtered, numbers
):
    cohort = Cohort(25, seed, distinct=distinct, some_unknown=some_unknown)
    weights = dict(zip(DEFAULT_LAYOUT.names, numbers, strict=True))
    filters, _ = FILTERS[filtered]
    queries = np.concatenate(cohort.vectors)[:3]
    queries = queries[DEFAULT_LAYOUT.counts(queries, weights)]
    with QdrantIndex.create(QdrantClient(":memory:"), "cases", MODEL) as there:
        there.add(cohort.cases, cohort.vectors)
        with cohort.fill(tmp_path_factory.mktemp("index") / "i") as here:
            expected = here.search(queries, k, filters, weights)

        answer = there.search(queries, k, filters, weights)

    assert [found(hits) for hits in answer] == [found(hits) for hits in expected]
    for hits, others in zip(answer, expected, strict=True):
        assert [repr(hit.record) for hit in hits] == [repr(other.record) for other in others]
        assert [[hit.score, *hit.blocks.values()] for hit in hits] == scores(others)


def test_what_is_built_on_an_index_finds_the_same_on_a_server(on_server, filled, cohort):
    query, several = cohort.vectors[3][0], np.concatenate(cohort.vectors)[:3]

    assert found(nearest_tumors(on_server, query, 7)) == found(nearest_tumors(filled, query, 7))
    together = [[(hit.case, hit.score) for hit in nearest_cases(index, several, 5)] for index in (on_server, filled)]
    assert together[0] == together[1]
    assert best_match(on_server, query) == best_match(filled, query)


def test_cases_come_back_as_they_were_added(client):
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    box = Box([1.5, -2, 3], [4, 5, 6], turned)
    tumors = (Tumor(id="a", box=box, type="glioma", core_ml=4.25, atlas_mm=(1.1, 2, 3)), Tumor(id="b"))
    case = Case(
        "Fall ÄÖ '1'; 世界", "Müller", t1c=Path("scan.nii"), tumors=tumors, recipe=SyntheticRecipe(17, "glioma", 2),
        mask_labels=MaskLabels((1,), (1, 2), "ours"), mask_origin="expert",
    )  # fmt: skip
    vectors = Cohort(1, 3).vectors[0][[0, 0]]
    index = QdrantIndex.create(client, "cases", MODEL)

    index.add([case, Case("no tumors", "p")], [vectors, np.zeros((0, DEFAULT_LAYOUT.size))])
    again = index.get(case.id)

    assert again.t1c == Path("scan.nii").absolute()
    assert (again.patient, again.recipe, again.mask_labels) == (case.patient, case.recipe, case.mask_labels)
    assert again.tumors[0].atlas_mm == (1.1, 2, 3) and np.array_equal(again.tumors[0].box.axes, turned)
    assert again.tumors[1].box is None and again.tumors[1].type is None
    assert np.array_equal(index.vectors_of(case.id), vectors)
    assert index.case_ids() == ["Fall ÄÖ '1'; 世界", "no tumors"] and len(index) == 2
    assert index.get("no tumors").tumors == ()


def test_statistics_are_those_of_the_index_in_a_folder(on_server, filled):
    both = [
        {name: index.stats()[name] for name in ("cases", "tumors", "types", "model", "blocks")}
        for index in (on_server, filled)
    ]

    assert both[0] == both[1] and len(on_server) == len(filled)


def test_removed_cases_are_gone(on_server, cohort):
    on_server.remove(["case-0000", "case-0001"])

    assert "case-0000" not in on_server and "case-0002" in on_server
    hits = on_server.search(cohort.vectors[0][:1], 1000)[0]
    assert not {hit.case for hit in hits} & {"case-0000", "case-0001"}
    assert len(hits) == len(on_server) == sum(len(case.tumors) for case in cohort.cases[2:])
    on_server.verify()
    with pytest.raises(UnknownCase):
        on_server.remove(["case-0005", "nobody"])
    assert "case-0005" in on_server


def test_an_interrupted_addition_leaves_nothing_behind(client, cohort, monkeypatch):
    index, upsert, calls = QdrantIndex.create(client, "cases", MODEL), client.upsert, []

    def fail_the_second_time(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return upsert(*arguments, **options)

    monkeypatch.setattr("TumorRetrievalLib.retrieval.qdrant_index._POINTS_AT_ONCE", 20)
    monkeypatch.setattr(client, "upsert", fail_the_second_time)
    with pytest.raises(KeyboardInterrupt):
        index.add(cohort.cases, cohort.vectors)

    assert len(calls) == 2 and index.case_ids() == [] and len(index) == 0


def test_a_case_cannot_be_added_twice_and_what_does_not_fit_is_refused(on_server, cohort):
    with pytest.raises(CaseAlreadyIndexed, match="case-0003"):
        on_server.add([cohort.cases[3]], [cohort.vectors[3]])
    new = Case("new", "p", tumors=(Tumor(),))
    with pytest.raises(CaseAlreadyIndexed, match="new"):
        on_server.add([new, new], [cohort.vectors[0][:1]] * 2)
    for vectors in ([np.zeros((2, DEFAULT_LAYOUT.size))], [np.ones((1, DEFAULT_LAYOUT.size))]):
        with pytest.raises(ValueError):
            on_server.add([new], vectors)
    assert "new" not in on_server
    with pytest.raises(ValueError, match="k must be"):
        on_server.search(cohort.vectors[0], 0)


def test_an_index_of_another_model_or_none_at_all_is_refused(client, on_server):
    with pytest.raises(CannotWrite):
        QdrantIndex.create(client, "cases", MODEL)
    with pytest.raises(IndexOfAnotherModel):
        QdrantIndex.open(client, "cases", "b" * 64)
    assert QdrantIndex.open(client, "cases", MODEL).manifest.model_hash == MODEL
    with pytest.raises(UnreadableFile, match="no case index"):
        QdrantIndex.open(client, "another")


def test_a_lost_tumor_is_noticed(client, on_server):
    on_server.verify()
    from TumorRetrievalLib.retrieval.qdrant_records import tumor_point

    client.delete("cases", [tumor_point("case-0004", 0)])

    with pytest.raises(IndexDamaged, match="case-0004"):
        on_server.verify()


def test_an_index_in_a_folder_is_copied_to_a_server(client, filled, cohort, monkeypatch):
    monkeypatch.setattr(opening, "_CASES_AT_ONCE", 7)
    there = QdrantIndex.create(client, "copy", filled.manifest.model_hash, filled.layout)

    assert copy_cases(filled, there) == 60
    query = cohort.vectors[0]
    assert [found(hits) for hits in there.search(query, 9)] == [found(hits) for hits in filled.search(query, 9)]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("qdrant://localhost:6334/cases", "qdrant://localhost:6334/cases"),
        (Path("qdrant://db.example.org/my-cases.2"), "qdrant://db.example.org:6333/my-cases.2"),
        (Path("/data/qdrant/index"), "None"),
        ("index", "None"),
    ],
)
def test_only_an_address_leads_to_a_server(place, said):
    assert str(server_address(place)) == said


@pytest.mark.parametrize("place", ["qdrant://", "qdrant://host", "qdrant://host:99999/c", "qdrant://user@host/c"])
def test_half_an_address_is_refused(place):
    with pytest.raises(InvalidRequest, match="qdrant://HOST"):
        server_address(place)


def test_the_connection_is_encrypted_unless_the_server_is_this_computer(monkeypatch):
    asked = []
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda **options: asked.append(options))
    monkeypatch.delenv(opening.TLS, raising=False)
    monkeypatch.setenv(opening.API_KEY, "secret")

    for place in ("qdrant://localhost/c", "qdrant://db.example.org/c"):
        opening.connect(server_address(place))
    monkeypatch.setenv(opening.TLS, "/etc/our-ca.pem")
    opening.connect(server_address("qdrant://db.example.org/c"))

    assert [options["https"] for options in asked] == [False, True, True]
    assert asked[2]["verify"] == "/etc/our-ca.pem" and {options["api_key"] for options in asked} == {"secret"}
    monkeypatch.setenv(opening.TLS, "off")
    with pytest.raises(InvalidRequest, match="readable for all"):
        opening.connect(server_address("qdrant://db.example.org/c"))


def test_an_uploaded_index_is_opened_by_its_address(client, cohort, tmp_path, monkeypatch):
    cohort.fill(tmp_path / "index").close()
    monkeypatch.setattr(opening, "connect", lambda address: client)
    monkeypatch.setattr(client, "close", lambda: None)  # one connection serves both: the points are in this process
    place = Path("qdrant://localhost/ours")

    with CaseIndex.open(tmp_path / "index") as index:
        assert opening.upload_index(index, place) == 60
        expected = index.search(cohort.vectors[0], 5)

    with opening.open_index(place, MODEL) as there, opening.open_index(tmp_path / "index", MODEL) as here:
        assert [found(hits) for hits in there.search(cohort.vectors[0], 5)] == [found(hits) for hits in expected]
        assert isinstance(here, CaseIndex)
    with pytest.raises(InvalidRequest, match="no server"):
        opening.upload_index(None, tmp_path)


def test_a_server_that_does_not_answer_is_said():
    with pytest.raises(IndexUnreachable, match="localhost:1/"):
        opening.open_index("qdrant://localhost:1/cases")
