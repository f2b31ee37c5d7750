"""A result list shows each case once, and as many cases as were asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.kernel_features import place_of, position_features
from TumorRetrievalLib.retrieval.mirror import mirrored
from TumorRetrievalLib.retrieval.ranking import look_alikes, nearest_tumors

from .conftest import MODEL, Cohort, similarity


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
    hits = nearest_tumors(index, query, 5, one_per="tumor")

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


def test_a_patient_takes_one_place_however_many_scans_there_are(tmp_path, query):
    scans = [Case(f"scan-{i}", "the same patient", tumors=(Tumor(),)) for i in range(30)]
    others = [Case(f"z-{i}", f"patient {i}", tumors=(Tumor(),)) for i in range(3)]
    vectors = [query[None]] * 30 + [Cohort(1, i).vectors[0][:1] for i in range(3)]
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add([*scans, *others], vectors)

        assert nearest_tumors(index, query, 2)[0].patient == "the same patient"
        assert len({hit.patient for hit in nearest_tumors(index, query, 9)}) == 4
        by_scan = nearest_tumors(index, query, 40, one_per="case")
        assert [hit.case for hit in by_scan[:2]] == ["scan-0", "scan-1"] and len(by_scan) == 33


class Placed:
    """Tumors at known places of the atlas: their embeddings, and an index of them."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.places = rng.uniform((-60, -90, -40), (60, 60, 70), (count, 3))
        self.others = [{name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks} for _ in range(count)]
        self.vectors = np.stack([self.embedding(i, place) for i, place in enumerate(self.places)])

    def embedding(self, number, place):
        return DEFAULT_LAYOUT.combine(self.others[number] | {"position": position_features(place)})

    def cases(self, rng):
        types = rng.choice(["glioma", "meningioma", "metastasis"], len(self.places))
        return [
            Case(f"case-{i:03d}", f"patient {i // 2}", tumors=(Tumor(type=str(kind)),)) for i, kind in enumerate(types)
        ]


@settings(max_examples=200)
@given(st.tuples(st.floats(-90, 90), st.floats(-120, 90), st.floats(-90, 100)))
def test_a_place_is_read_back_from_its_features(place):
    assert np.allclose(place_of(position_features(place).astype(np.float32)), place, atol=1e-3)


def test_the_mirror_image_lies_on_the_other_side_and_its_mirror_image_is_the_tumor_itself():
    placed = Placed(50, 3)
    for number, place in enumerate(placed.places):
        image = mirrored(placed.vectors[number], DEFAULT_LAYOUT)
        assert np.allclose(image, placed.embedding(number, place * (-1, 1, 1)), atol=1e-6)
        assert np.allclose(mirrored(image, DEFAULT_LAYOUT), placed.vectors[number], atol=1e-6)


def test_a_tumor_without_a_place_is_its_own_mirror_image(query):
    nowhere = query.copy()
    nowhere[DEFAULT_LAYOUT.slices["position"]] = 0

    assert np.array_equal(mirrored(nowhere, DEFAULT_LAYOUT), nowhere)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), k=st.sampled_from([1, 5, 200]), one_per=st.sampled_from(["patient", "tumor"]))
def test_of_two_images_of_a_tumor_the_better_one_counts_and_nothing_better_is_missed(
    tmp_path_factory, seed, k, one_per
):
    placed = Placed(60, seed)
    cases = placed.cases(np.random.default_rng(seed))
    images = np.stack([placed.vectors[0], mirrored(placed.vectors[0], DEFAULT_LAYOUT)])
    weights = {"appearance": 0.1, "position": 0.8, "type": 0.1}
    with CaseIndex.create(tmp_path_factory.mktemp("index") / "i", MODEL) as index:
        index.add(cases, placed.vectors[:, None])
        hits = nearest_tumors(index, images, k, weights=weights, one_per=one_per)

    best = [max(similarity(image, vector, weights) for image in images) for vector in placed.vectors]
    expected = sorted(zip(best, cases, strict=True), key=lambda one: (-one[0], one[1].id))
    if one_per == "patient":
        expected = list({case.patient: (score, case) for score, case in reversed(expected)}.values())
        expected.sort(key=lambda one: (-one[0], one[1].id))
    assert [hit.score for hit in hits] == pytest.approx([score for score, _ in expected[:k]], abs=1e-6)
    assert [hit.case for hit in hits] == [case.id for _, case in expected[:k]]


def test_look_alikes_are_the_most_similar_tumors_of_another_type_than_the_best_match(tmp_path):
    placed = Placed(60, 1)
    rng = np.random.default_rng(1)
    cases = [*placed.cases(rng), Case("unlabelled", "nobody", tumors=(Tumor(),))]
    query = placed.vectors[7]
    with CaseIndex.create(tmp_path / "index", MODEL) as index:
        index.add(cases, [*placed.vectors[:, None], query[None]])

        left_out, hits = look_alikes(index, query, 5)
        _, meningiomas = look_alikes(index, query, 5, filters=Filters(types=("meningioma",)))
        own_type = cases[7].tumors[0].type
        same = look_alikes(index, query, 5, filters=Filters(types=(own_type,)))
        nothing = look_alikes(index, query, 5, filters=Filters(exclude_cases=tuple(case.id for case in cases)))

        everything = nearest_tumors(index, query, 100)
    assert left_out == own_type, "the best match is the query itself; the unlabelled tumor like it says nothing"
    others = [hit for hit in everything if hit.record.type not in (None, own_type)]
    assert hits[0].case == others[0].case and own_type not in {hit.record.type for hit in hits}
    assert {hit.record.type for hit in meningiomas} == {"meningioma"} - {own_type}
    assert same == (own_type, [])
    assert nothing == (None, [])
