"""The search finds what comparing everything would find, to the last bit, however absurd the masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.growth.bricks import gather, pack
from TumorRetrievalLib.growth.overlap_search import OverlapSearch
from TumorRetrievalLib.growth.thesis_search import DownsampledSearch, baseline_scores, sampled_indices

EDGE = 32


def ball(rng, edge: int = EDGE) -> np.ndarray:
    centre, radius = rng.uniform(0.2 * edge, 0.8 * edge, 3), rng.uniform(0.05 * edge, 0.4 * edge)
    return sum((x - c) ** 2 for x, c in zip(np.indices((edge,) * 3), centre, strict=True)) <= radius**2


def shell(rng, edge: int = EDGE) -> np.ndarray:
    outer = ball(rng, edge)
    return outer & ~(ball(rng, edge) & outer) if rng.random() < 0.5 else outer ^ np.roll(outer, 2, axis=1)


SHAPES = {
    "ball": ball,
    "shell": shell,
    "several": lambda rng: ball(rng) | ball(rng) | ball(rng),
    "noise": lambda rng: rng.random((EDGE,) * 3) < rng.choice((0.001, 0.3)),
    "everything": lambda rng: np.ones((EDGE,) * 3, bool),
    "one voxel": lambda rng: np.indices((EDGE,) * 3).sum(axis=0) == rng.integers(0, 2) * 3 * (EDGE - 1),
}


def a_mask(rng, kinds) -> np.ndarray:
    while not (mask := SHAPES[rng.choice(kinds)](rng)).any():
        pass
    return mask


def some_tumors(rng, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    kinds = ["ball", "ball", "ball", "shell", "several", "noise", "one voxel"]
    tumors = [(a_mask(rng, kinds), a_mask(rng, kinds)) for _ in range(count)]
    return tumors + tumors[: count // 4]  # twins: the database's order decides between them


def search_among(tumors, edge: int = EDGE) -> OverlapSearch:
    return OverlapSearch(*(gather([pack(pair[n]) for pair in tumors]) for n in (0, 1)), edge)


def plain_scores(tumors, whole, core, weights=(1.0, 1.0)) -> np.ndarray:
    """The definition, in the plainest NumPy."""

    def dice(a, b):
        return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))

    return np.array([weights[0] * dice(whole, w) + weights[1] * dice(core, c) for w, c in tumors])


@pytest.fixture(scope="module")
def tumors():
    return some_tumors(np.random.default_rng(11), 60)


@pytest.fixture(scope="module")
def search(tumors):
    return search_among(tumors)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.tuples(*[st.sampled_from(sorted(SHAPES))] * 2),
    weights=st.sampled_from([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.3, 2.0)]),
    k=st.integers(1, 90),
)
def test_the_best_are_those_of_comparing_everything(tumors, search, seed, kinds, weights, k):
    rng = np.random.default_rng(seed)
    whole, core = (a_mask(rng, [kind]) for kind in kinds)

    found = search.search(whole, core, k, whole_weight=weights[0], core_weight=weights[1])

    scores = plain_scores(tumors, whole, core, weights)
    expected = np.lexsort((np.arange(len(tumors)), -scores))[:k]
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.scores, scores[expected])
    everything = search.search_everything(whole, core, k, whole_weight=weights[0], core_weight=weights[1])
    np.testing.assert_array_equal(found.indices, everything.indices)
    np.testing.assert_array_equal(found.scores, everything.scores)


def test_a_tumor_of_the_database_finds_itself_first(tumors, search):
    for index in range(0, 60, 7):
        match = search.search(*tumors[index], k=1)

        assert (match.indices[0], match.scores[0]) == (index, 2.0)
        assert match.whole_dice[0] == match.core_dice[0] == 1.0


def test_equal_tumors_come_in_the_order_of_the_database(tumors, search):
    assert list(search.search(*tumors[3], k=2).indices) == [3, 63]


MEMORY = {
    "Fortran": np.asfortranarray,
    "other axes first": lambda m: np.ascontiguousarray(m.transpose(1, 2, 0)).transpose(2, 0, 1),
    "read backwards": lambda m: np.ascontiguousarray(m[:, ::-1])[:, ::-1],
    "every second voxel": lambda m: np.repeat(m, 2, axis=2)[:, :, ::2],
    "bytes": lambda m: m.astype(np.uint8) * 4,
    "negative": lambda m: -m.astype(np.int64),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_it_does_not_matter_how_a_mask_lies_in_memory(tumors, search, kind):
    whole, core = (MEMORY[kind](mask) for mask in tumors[5])

    match = search.search(whole, core, k=1)

    assert (match.indices[0], match.scores[0]) == (5, 2.0)


def test_packing_and_unpacking_gives_the_same_mask(tumors):
    masks = [whole for whole, _ in tumors]
    packed = gather([pack(mask) for mask in masks])

    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(packed.unpack(index, EDGE), mask)
        assert packed.voxels[index] == np.count_nonzero(mask)


@pytest.mark.parametrize(
    ("whole", "core"),
    [
        (np.zeros((EDGE,) * 3, bool), np.ones((EDGE,) * 3, bool)),
        (np.ones((EDGE,) * 3, bool), np.zeros((EDGE,) * 3, bool)),
        (np.ones((EDGE, EDGE, 16), bool), np.ones((EDGE,) * 3, bool)),
        (np.ones((64,) * 3, bool), np.ones((64,) * 3, bool)),
        (np.ones((EDGE,) * 3, np.float32), np.ones((EDGE,) * 3, bool)),
    ],
    ids=["no whole tumor", "no core", "not a cube", "another grid", "not a mask"],
)
def test_masks_that_cannot_be_searched_with_are_refused(search, whole, core):
    with pytest.raises(InvalidTumorMask):
        search.search(whole, core)


def test_an_empty_core_is_no_obstacle_where_the_core_does_not_count(tumors, search):
    match = search.search(tumors[8][0], np.zeros((EDGE,) * 3, bool), k=1, core_weight=0)

    assert (match.indices[0], match.core_dice[0]) == (8, 0.0)


@pytest.mark.parametrize("weights", [(0, 0), (-1, 1), (1, float("nan")), (float("inf"), 1)])
def test_weights_that_mean_nothing_are_refused(tumors, search, weights):
    with pytest.raises(InvalidTumorMask):
        search.search(*tumors[0], whole_weight=weights[0], core_weight=weights[1])


def test_the_baseline_of_the_thesis_gives_the_same_scores(tumors, search):
    whole, core = tumors[17]

    scores = baseline_scores(search, whole, core)

    np.testing.assert_array_equal(scores, plain_scores(tumors, whole, core))
    assert search.search(whole, core, k=1).scores[0] == scores.max()


@pytest.mark.parametrize(("source", "target"), [(128, 64), (128, 32), (64, 32)])
def test_downsampling_takes_the_voxels_that_the_thesis_took(source, target):
    from scipy.ndimage import zoom

    ramp = np.arange(source)

    np.testing.assert_array_equal(sampled_indices(source, target), zoom(ramp, target / source, order=0))


def test_the_downsampled_search_compares_what_zoom_leaves_of_the_masks():
    from scipy.ndimage import zoom

    rng = np.random.default_rng(5)
    tumors = [(ball(rng, 64), ball(rng, 64)) for _ in range(12)]
    whole, core = ball(rng, 64), ball(rng, 64)

    found = DownsampledSearch(search_among(tumors, 64), 32).search(whole, core, k=12)

    small = [tuple(zoom(mask, 0.5, order=0) for mask in pair) for pair in tumors]
    scores = plain_scores(small, zoom(whole, 0.5, order=0), zoom(core, 0.5, order=0))
    np.testing.assert_array_equal(found, np.lexsort((np.arange(12), -scores)))
