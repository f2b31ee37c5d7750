"""Embeddings are made of blocks whose shares explain the similarity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from TumorRetrievalLib.errors import NothingToCompare
from TumorRetrievalLib.retrieval.blocks import (
    DEFAULT_LAYOUT,
    DEFAULT_WEIGHTS,
    EmbeddingLayout,
    block_shares,
    extent_features,
    position_features,
    similarities,
)

NAMES = DEFAULT_LAYOUT.names


def embedding(seed=0, without=()):
    rng = np.random.default_rng(seed)
    blocks = {name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks}
    return DEFAULT_LAYOUT.combine(blocks | dict.fromkeys(without))


def compare(one, other, weights=None):
    shares = block_shares(DEFAULT_LAYOUT.query_vector(one, weights), other[None], DEFAULT_LAYOUT)
    return dict(zip(NAMES, shares[0], strict=True)), similarities(shares)[0]


def test_a_tumor_is_as_similar_to_itself_as_can_be_and_its_shares_are_the_weights():
    shares, score = compare(embedding(), embedding())

    assert score == pytest.approx(1)
    assert shares == pytest.approx(dict(DEFAULT_WEIGHTS), abs=1e-6)


@given(st.lists(st.floats(0, 10), min_size=4, max_size=4).filter(lambda w: sum(w) > 1e-3), st.integers(0, 99))
def test_the_similarity_is_the_weighted_mean_of_the_blocks_cosines(numbers, seed):
    one, other = embedding(seed), embedding(seed + 100)

    shares, score = compare(one, other, dict(zip(NAMES, numbers, strict=True)))

    cosines = [float(one[part] @ other[part]) for part in DEFAULT_LAYOUT.slices.values()]
    query = DEFAULT_LAYOUT.query_vector(one, dict(zip(NAMES, numbers, strict=True)))
    assert float(query @ other) == pytest.approx(score, abs=1e-6)
    assert score == sum(shares.values())
    assert score == pytest.approx(np.average(cosines, weights=numbers), abs=1e-6)
    assert [shares[name] for name in NAMES] == pytest.approx(np.multiply(cosines, numbers) / sum(numbers), abs=1e-6)


@pytest.mark.parametrize("side", ["query", "hit"])
def test_the_weight_of_an_unknown_block_goes_to_the_others(side):
    whole, lacking = embedding(1), embedding(1, without=["position"])

    shares, score = compare(*((lacking, whole) if side == "query" else (whole, lacking)))

    assert score == pytest.approx(1)
    assert shares["position"] == 0
    rest = 1 - DEFAULT_WEIGHTS["position"]
    assert shares["appearance"] == pytest.approx(DEFAULT_WEIGHTS["appearance"] / rest)
    assert shares["type"] == pytest.approx(DEFAULT_WEIGHTS["type"] / rest)


def test_without_any_common_block_there_is_nothing_to_compare():
    only_position = embedding(without=["appearance", "type", "extent"])

    with pytest.raises(NothingToCompare, match=r"known: position"):
        DEFAULT_LAYOUT.query_vector(only_position, {"appearance": 1, "extent": 2})
    shares = block_shares(DEFAULT_LAYOUT.query_vector(embedding(), {"type": 1}), only_position[None], DEFAULT_LAYOUT)
    assert np.isnan(shares).all()


@pytest.mark.parametrize("weights", [{"colour": 1}, {"type": -1}, {"type": float("nan")}])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(ValueError, match="Weights are numbers >= 0"):
        DEFAULT_LAYOUT.query_vector(embedding(), weights)


def test_a_short_block_is_padded_and_an_absent_one_is_zero():
    vector = DEFAULT_LAYOUT.combine({"type": [0.0, 3.0, 4.0], "position": None})

    slices = DEFAULT_LAYOUT.slices
    assert vector[slices["type"]] == pytest.approx([0, 0.6, 0.8, 0, 0, 0, 0, 0])
    assert not vector[slices["position"]].any()
    assert not vector[slices["appearance"]].any()
    assert DEFAULT_LAYOUT.known_blocks(vector[None]).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("blocks", [{"type": np.ones(9)}, {"type": [np.inf]}, {"colour": [1.0]}, {"type": 1.0}])
def test_blocks_that_do_not_fit_are_refused(blocks):
    with pytest.raises(ValueError):
        DEFAULT_LAYOUT.combine(blocks)


@given(arrays.arrays(np.float64, 8, elements=st.floats(-1e6, 1e6)))
def test_every_known_block_has_length_one(values):
    vector = DEFAULT_LAYOUT.combine({"type": values})

    length = np.linalg.norm(vector)
    assert length == pytest.approx(1, abs=1e-6) or not np.any(values)


def test_vectors_of_another_length_or_scale_are_refused():
    with pytest.raises(ValueError, match=r"shape \(n, "):
        DEFAULT_LAYOUT.check(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="'appearance' of embedding 1 has length 2, not 1"):
        DEFAULT_LAYOUT.check(np.stack([embedding(), 2 * embedding()]))
    with pytest.raises(ValueError, match="length nan"):
        DEFAULT_LAYOUT.check(np.full((1, DEFAULT_LAYOUT.size), np.nan))


def test_the_layouts_hash_changes_with_names_order_and_sizes():
    layouts = [
        EmbeddingLayout((("appearance", 32), ("type", 8))),
        EmbeddingLayout((("type", 8), ("appearance", 32))),
        EmbeddingLayout((("appearance", 31), ("type", 9))),
        DEFAULT_LAYOUT,
    ]

    assert len({layout.hash for layout in layouts}) == 4
    assert EmbeddingLayout(DEFAULT_LAYOUT.blocks).hash == DEFAULT_LAYOUT.hash


def test_the_layout_has_room_for_what_the_features_give():
    sizes = dict(DEFAULT_LAYOUT.blocks)

    assert position_features([0, 0, 0]).shape == (sizes["position"],)
    assert extent_features([10, 10, 10]).shape == (sizes["extent"],)
