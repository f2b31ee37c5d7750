"""What a user may wish for: examples, mirror images, look-alikes, several tumors together."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.engine.search import Wishes, example_of, search, search_together
from TumorRetrievalLib.errors import UnknownCase
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.kernel_features import position_features

PLACES = {"left": (-40, 10, 20), "right": (40, 10, 20), "rear": (-30, -80, 10), "rear right": (30, -80, 10)}


def embedding(seed: int, place: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = {name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks}
    return DEFAULT_LAYOUT.combine(blocks | {"position": position_features(PLACES[place])})


@pytest.fixture
def index(tmp_path):
    """Four tumors that differ in their place alone, one more at each place that differs in everything else, too."""
    cases, vectors = [], []
    for number, place in enumerate(PLACES):
        kind = "glioma" if number < 2 else "meningioma"
        cases.append(Case(place, f"patient {place}", tumors=(Tumor(id="1", type=kind),)))
        vectors.append(embedding(0, place)[None])
        cases.append(Case(f"other/{place}", f"another {place}", tumors=(Tumor(id="a/b"), Tumor(id="2"))))
        vectors.append(np.stack([embedding(number + 1, place), embedding(number + 9, place)]))
    with CaseIndex.create(tmp_path / "index", "m" * 64) as index:
        index.add(cases, vectors)
        yield index


def names(answer) -> list[str]:
    return [hit.case for hit in answer.hits]


def test_the_side_counts_unless_it_is_to_be_ignored(index):
    asked = embedding(0, "left")

    usual = search(index, asked, 9, Wishes()).hits
    assert usual[0].case == "left" and next(hit.score for hit in usual if hit.case == "right") < 0.8
    answer = search(index, asked, 2, Wishes(mirrored=True))
    assert names(answer) == ["left", "right"]
    assert [hit.score for hit in answer.hits] == pytest.approx([1, 1], abs=1e-5)


def test_examples_draw_the_list_to_the_same_side_as_they_lie_on_also_in_the_mirror(index):
    asked = embedding(0, "left")
    liked = Wishes(liked=(("rear", "1"),), factors={"appearance": 0, "type": 0, "extent": 0})

    plain = {hit.case: hit.score for hit in search(index, asked, 99, liked).hits}
    flipped = {
        hit.case: hit.score for hit in search(index, asked, 99, Wishes(**{**vars(liked), "mirrored": True})).hits
    }

    assert plain["rear"] > plain["rear right"]
    # The tumor and its example change sides together, so each place is worth what its mirror image is, as far as the
    # features of places are those of a kernel.
    assert flipped["rear right"] == pytest.approx(plain["rear"], abs=0.1)
    assert flipped["right"] == pytest.approx(plain["left"], abs=0.1) and plain["right"] < 0.5 < flipped["right"]


def test_an_example_without_a_tumor_is_the_tumor_of_that_case_that_is_most_similar(index):
    asked = embedding(9, "left")

    case, tumor = "other/left", "2"
    by_case = search(index, asked, 9, Wishes(liked=((case, None),)))
    by_tumor = search(index, asked, 9, Wishes(liked=((case, tumor),)))

    assert [(hit.case, hit.score) for hit in by_case.hits] == [(hit.case, hit.score) for hit in by_tumor.hits]


def test_names_with_slashes_are_understood_and_unknown_ones_refused(index):
    assert example_of(index, "left") == ("left", None)
    assert example_of(index, "left/1") == ("left", "1")
    assert example_of(index, "other/rear right") == ("other/rear right", None)
    assert example_of(index, "other/left/a/b") == ("other/left", "a/b")
    for text in ("nobody", "left/7", "other", "/", ""):
        with pytest.raises(UnknownCase, match="has no case"):
            example_of(index, text)


def test_look_alikes_say_which_type_they_are_not(index):
    answer = search(index, embedding(0, "left"), 5, Wishes(look_alikes=True))

    assert answer.look_alikes_of == "glioma"
    assert names(answer)[0].startswith("rear") and {hit.record.type for hit in answer.hits} == {"meningioma"}
    assert search(index, embedding(0, "left"), 5, Wishes()).look_alikes_of is None


def test_tumors_together_find_the_scan_with_both_on_either_side_if_the_side_is_ignored(tmp_path):
    pair = [np.stack([embedding(0, one), embedding(1, other)]) for one, other in (("left", "rear"), ("right", "rear"))]
    mirror_images = np.stack([embedding(0, "right"), embedding(1, "rear right")])
    cases = [Case(name, name, tumors=(Tumor(id="1"), Tumor(id="2"))) for name in ("same", "one moved", "mirrored")]
    with CaseIndex.create(tmp_path / "pairs", "m" * 64) as index:
        index.add(cases, [*pair, mirror_images])

        usual = search_together(index, pair[0], 3, Wishes())
        either_side = search_together(index, pair[0], 2, Wishes(mirrored=True))

    assert [hit.case for hit in usual] == ["same", "one moved", "mirrored"]
    assert {hit.case for hit in either_side} == {"same", "mirrored"}
    assert [hit.score for hit in either_side] == pytest.approx([1, 1], abs=1e-5)
