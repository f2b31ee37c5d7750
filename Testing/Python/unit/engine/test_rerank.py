import json

import numpy as np
import pytest

from TumorRetrievalLib.engine.rerank import QUERY_FILE, Query, block_weights, moved, rerank
from TumorRetrievalLib.errors import UnknownCase, UnreadableFile
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, DEFAULT_WEIGHTS
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.filters import Filters


@pytest.fixture
def index(tiny_index):
    with CaseIndex.open(tiny_index) as index:
        yield index


@pytest.fixture
def asked() -> np.ndarray:
    """A tumor that is in no index."""
    rng = np.random.default_rng(4)
    return DEFAULT_LAYOUT.combine({name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks})


def some_tumor(index, number: int) -> tuple[str, str]:
    case = index.case_ids()[number]
    return case, index.get(case).tumors[0].id


def cosine(index, embedding, tumor, name) -> float:
    part = DEFAULT_LAYOUT.slices[name]
    return float(embedding[part] @ index.vectors_of(tumor[0])[0][part])


def test_a_search_that_is_kept_comes_back_bit_for_bit(asked, tmp_path):
    turned = Box((1, 2, 3), (10, 20, 30), [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    to_atlas = np.array([[1.1, 0, 0, -4], [0, 0.9, 0.1, 7], [0, 0, 1, 1 / 3], [0, 0, 0, 1]])
    Query(asked[None], tmp_path / "index", "b" * 64, [turned], "whole", to_atlas).keep(tmp_path)

    again = Query.kept(tmp_path)

    assert np.array_equal(again.embeddings, asked[None]) and np.array_equal(again.patient_to_atlas, to_atlas)
    assert (again.index, again.model, again.around) == (tmp_path / "index", "b" * 64, "whole")
    (box,) = again.boxes
    assert all(np.array_equal(getattr(box, name), getattr(turned, name)) for name in ("center", "size", "axes"))


def test_a_search_that_was_kept_without_its_boxes_is_still_ranked(asked, tmp_path):
    (tmp_path / QUERY_FILE).write_text(json.dumps({"index": "i", "model": "m", "embeddings": [asked.tolist()]}))

    again = Query.kept(tmp_path)

    assert again.boxes == [] and again.patient_to_atlas is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"index": "i", "model": "m", "embeddings": [[1], [1, 2]]}',
        '{"index": "i", "model": "m", "embeddings": [[NaN]]}',
        '{"index": "i", "model": "m", "embeddings": [[1]], "boxes": [[[0, 0, 0]]]}',
        '{"index": "i", "model": "m", "embeddings": [[1]], "patient_to_atlas": [1]}',
    ],
)
def test_a_damaged_search_is_named_with_the_way_out(tmp_path, content):
    (tmp_path / QUERY_FILE).write_text(content)

    with pytest.raises(UnreadableFile, match="Search again"):
        Query.kept(tmp_path)


def test_turning_a_block_up_doubles_its_weight_and_leaves_the_others():
    assert block_weights({"position": 2}) == {**DEFAULT_WEIGHTS, "position": 2 * DEFAULT_WEIGHTS["position"]}


def test_scores_are_the_sums_of_their_shares_whatever_the_weights_and_feedback(index, asked):
    liked, disliked = [some_tumor(index, 0)], [some_tumor(index, 1)]

    hits = rerank(index, asked, 3, factors={"extent": 0, "type": 3}, liked=liked, disliked=disliked)

    assert len(hits) == 3
    for hit in hits:
        assert hit.score == pytest.approx(sum(hit.blocks.values()))
        assert hit.blocks["extent"] == 0
        assert hit.score <= 1 + 1e-6


def test_filters_hold(index, asked):
    hits = rerank(index, asked, 9, filters=Filters(types=("glioma",)))

    assert {hit.record.type for hit in hits} == {"glioma"}


def test_more_like_this_brings_it_up_and_less_like_this_takes_it_down(index, asked):
    tumor = some_tumor(index, 2)
    usual, more, less = (
        {hit.case: hit.score for hit in rerank(index, asked, 99, liked=liked, disliked=disliked)}[tumor[0]]
        for liked, disliked in (([], []), ([tumor], []), ([], [tumor]))
    )

    assert less < usual < more
    for name in DEFAULT_LAYOUT.names:
        assert cosine(index, moved(index, asked, [tumor], []), tumor, name) > cosine(index, asked, tumor, name)


def test_without_feedback_nothing_moves(index, asked):
    assert np.allclose(moved(index, asked, [], []), asked, atol=1e-6)


def test_every_block_keeps_its_length_and_an_unknown_one_stays_unknown(index, asked):
    part = DEFAULT_LAYOUT.slices["position"]
    asked[part] = 0

    target = moved(index, asked, [some_tumor(index, 0), some_tumor(index, 3)], [some_tumor(index, 1)])

    DEFAULT_LAYOUT.check(target[None])
    assert not target[part].any()


def test_feedback_on_a_tumor_that_is_not_there_is_refused(index, asked):
    case = index.case_ids()[0]

    for tumor in (("nobody", "1"), (case, "no such tumor")):
        with pytest.raises(UnknownCase):
            rerank(index, asked, 1, liked=[tumor])
