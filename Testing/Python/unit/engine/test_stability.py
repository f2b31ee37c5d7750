"""What becomes of the list of similar cases when the box is drawn again by another hand."""

import numpy as np
import pytest

from TumorRetrievalLib.engine.find import find_similar
from TumorRetrievalLib.engine.rerank import Query, rerank
from TumorRetrievalLib.engine.stability import check_search, distorted_inside, jittered_embeddings, stability
from TumorRetrievalLib.errors import Cancelled, InvalidBox, InvalidRequest
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.case_index import CaseIndex


@pytest.fixture
def index(tiny_index):
    with CaseIndex.open(tiny_index) as index:
        yield index


def some_embedding(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return DEFAULT_LAYOUT.combine({name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks})


def shown(hits) -> list[tuple[str, str]]:
    return [(hit.case, hit.tumor) for hit in hits]


def test_boxes_that_are_read_alike_keep_the_whole_list_at_its_similarity(index):
    asked = some_embedding(1)
    hits = rerank(index, asked, 2)

    checked = stability(index, np.repeat(asked[None], 5, axis=0), shown(hits), 2)

    assert [one.kept for one in checked] == [5, 5]
    for one, hit in zip(checked, hits, strict=True):
        assert one.scores == pytest.approx([hit.score] * 5)
        assert one.described() == {"kept": 5, "boxes": 5, "score_spread": 0.0}
        assert one.in_words() == "stays in 5 of 5 boxes"


def test_a_case_that_other_boxes_do_not_find_is_counted_down_and_its_similarity_spreads(index):
    asked = some_embedding(1)
    others = [some_embedding(seed) for seed in range(2, 60)]
    (first,) = rerank(index, asked, 1)
    elsewhere = next(other for other in others if rerank(index, other, 1)[0].case != first.case)

    (one,) = stability(index, np.array([asked, asked, elsewhere]), shown([first]), 1)

    assert one.kept == 2 and one.scores[2] < one.scores[0]
    assert one.described()["score_spread"] == pytest.approx(np.std(one.scores), abs=1e-4)


def test_weights_and_feedback_count_as_they_do_in_the_list(index):
    asked = some_embedding(1)
    wishes = {"factors": {"extent": 0.0}, "disliked": shown(rerank(index, asked, 1))}
    hits = rerank(index, asked, 3, **wishes)

    checked = stability(index, asked[None], shown(hits), 3, **wishes)

    assert [one.scores[0] for one in checked] == pytest.approx([hit.score for hit in hits])


def test_find_tells_for_every_hit_in_how_many_boxes_it_stays_and_so_does_asking_later(request_for, index):
    request = request_for(jitter=2, report=False)
    result = find_similar(request)

    found = [hit["stability"] for hit in result["tumors"][0]["hits"]]
    assert all(one["boxes"] == 2 and 0 <= one["kept"] <= 2 and one["score_spread"] >= 0 for one in found)
    assert any(one["score_spread"] > 0 for one in found), "other boxes are read differently"
    query = Query.kept(request.out)
    later = check_search(query, 0, index, request.t1c, request.flair, k=request.k, model=request.model, count=2)
    assert [one.described() for one in later] == found


def test_the_report_says_in_how_many_boxes_a_case_stays(request_for):
    request = request_for(jitter=1)
    result = find_similar(request)

    kept = result["tumors"][0]["hits"][0]["stability"]["kept"]
    assert f"stays in {kept} of 1 boxes" in (request.out / "report.html").read_text()


def test_drawing_again_can_be_stopped_between_two_boxes():
    read = []

    class Reader:
        def read(self, scan, box, around):
            read.append(box)
            raise InvalidBox("background")

    class Scan:
        grid = Grid.around((0, 0, 0), 1.0, (50, 50, 50))

    class Patient:
        t1c, scan = Scan(), None

    def stop(fraction, message):
        if len(read) == 3:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        jittered_embeddings(Patient(), Box.aligned((0, 0, 0), (9, 9, 9)), "core", Reader(), progress=stop)
    with pytest.raises(InvalidBox, match="background"):
        jittered_embeddings(Patient(), Box.aligned((0, 0, 0), (9, 9, 9)), "core", Reader(), count=1)


def test_a_box_drawn_again_resembles_the_first_and_touches_the_scan():
    grid = Grid.around((0, 0, 0), 1.0, (60, 60, 60))
    box = Box.aligned((27, 0, 0), (12, 20, 30))
    rng = np.random.default_rng(0)

    boxes = [distorted_inside(box, grid, rng) for _ in range(200)]

    for other in boxes:
        other.voxel_hull(grid)
    assert np.allclose(np.mean([other.center for other in boxes], axis=0), box.center, atol=1)
    assert np.allclose(np.exp(np.mean([np.log(other.size) for other in boxes], axis=0)), box.size, rtol=0.1)
    assert np.std([other.size[1] for other in boxes]) > 2
    with pytest.raises(InvalidBox, match="hardly touches"):
        distorted_inside(Box.aligned((400, 0, 0), (5, 5, 5)), grid, rng)


def test_a_search_that_was_kept_without_its_boxes_has_to_be_made_again(index, sample):
    with pytest.raises(InvalidRequest, match="Search again"):
        check_search(Query(some_embedding(1)[None], index.folder, "m"), 0, index, sample["t1c"], k=1)
