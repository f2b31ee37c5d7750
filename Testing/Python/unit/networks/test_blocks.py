import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.networks.blocks import ResBlock, TaskHeads, depth_to_space, roi_pool, space_to_depth
from TumorRetrievalLib.networks.norm import GroupNorm


def largest_in_touched_cells(features, box, stride):
    """RoiPool cell by cell: a cell counts when it shares a voxel with the box."""
    sample, *ranges = box
    best = torch.full((features.shape[1],), -torch.inf)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in features.shape[2:])).tolist():
        overlaps = [
            max(low, cell * stride) < min(high, (cell + 1) * stride)
            for cell, low, high in zip(index, ranges[0::2], ranges[1::2], strict=True)
        ]
        if all(overlaps):
            best = torch.maximum(best, features[sample, :, index[0], index[1], index[2]])
    return best


edges = st.tuples(st.integers(0, 15), st.integers(1, 16)).filter(lambda edge: edge[0] < edge[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1), edges, edges, edges, st.sampled_from([1, 2, 4, 8]))
def test_roi_pool_is_the_maximum_over_every_cell_that_the_box_touches(sample, i, j, k, stride):
    features = torch.randn(2, 3, *(16 // stride,) * 3)
    box = [sample, *i, *j, *k]

    pooled = roi_pool(features, torch.tensor([box]), stride)

    assert torch.equal(pooled[0], largest_in_touched_cells(features, box, stride))


def test_roi_pool_finds_one_cell_even_for_a_box_of_one_voxel():
    features = torch.arange(8.0).reshape(1, 1, 2, 2, 2)

    pooled = roi_pool(features, torch.tensor([[0, 15, 16, 0, 1, 15, 16]]), stride=8)

    assert pooled.item() == features[0, 0, 1, 0, 1]


def test_roi_pool_without_boxes_is_empty_but_keeps_the_channels():
    assert roi_pool(torch.randn(2, 5, 4, 4, 4), torch.zeros((0, 7), dtype=torch.int64)).shape == (0, 5)


def test_the_gradient_of_roi_pool_reaches_only_the_voxel_that_won():
    features = torch.zeros(1, 1, 4, 4, 4)
    features[0, 0, 1, 2, 1] = 5
    features.requires_grad_()

    roi_pool(features, torch.tensor([[0, 0, 3, 0, 3, 0, 3]])).sum().backward()

    assert features.grad.nonzero().tolist() == [[0, 0, 1, 2, 1]]


def test_folding_space_into_channels_and_back_loses_nothing():
    x = torch.randn(2, 3, 4, 6, 8)

    folded = space_to_depth(x)

    assert folded.shape == (2, 24, 2, 3, 4)
    assert torch.equal(depth_to_space(folded), x)


def test_folded_voxels_stay_where_they_were():
    x = torch.zeros(1, 1, 4, 4, 4)
    x[0, 0, 3, 0, 2] = 1

    _, _, i, j, k = space_to_depth(x).nonzero()[0].tolist()

    assert (i, j, k) == (1, 0, 1)


def test_folding_gives_the_memory_layout_that_convolutions_want():
    assert space_to_depth(torch.randn(1, 4, 4, 4, 4)).is_contiguous(memory_format=torch.channels_last_3d)


def test_a_fresh_residual_block_changes_its_input_only_a_little():
    x = torch.randn(1, 16, 8, 8, 8)

    change = ResBlock(16)(x) - x

    assert 0 < change.std() < 0.3 * x.std()


def test_a_residual_block_leaves_its_input_as_it_was():
    x = torch.randn(1, 16, 8, 8, 8)
    before = x.clone()

    ResBlock(16)(x)

    assert torch.equal(x, before)


def test_a_task_may_be_called_type():
    assert TaskHeads(4, {"type": 5})(torch.zeros(2, 4))["type"].shape == (2, 5)


def test_the_quick_group_norm_agrees_with_float64_up_to_the_precision_of_bfloat16():
    x = (2 * torch.randn(2, 16, 6, 5, 4) + 1).bfloat16().to(memory_format=torch.channels_last_3d)
    quick, exact = GroupNorm(4, 16), torch.nn.GroupNorm(4, 16).double()
    for norm in (quick, exact):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, 16))
            norm.bias.copy_(torch.linspace(-1, 1, 16))
    gradient = torch.randn(x.shape).bfloat16()
    inputs = x.clone().requires_grad_(), x.double().requires_grad_()

    outputs = [norm(value) for norm, value in zip((quick, exact), inputs, strict=True)]
    for output in outputs:
        output.backward(gradient.to(output.dtype))

    pairs = [outputs, [v.grad for v in inputs], [quick.weight.grad, exact.weight.grad]]
    pairs.append([quick.bias.grad, exact.bias.grad])
    for found, expected in pairs:
        assert (found.double() - expected).abs().max() < 0.01 * expected.abs().max()


def test_the_quick_group_norm_keeps_channels_last():
    x = torch.randn(2, 16, 4, 4, 4).bfloat16().to(memory_format=torch.channels_last_3d).requires_grad_()

    GroupNorm(4, 16)(x).sum().backward()

    assert x.grad.is_contiguous(memory_format=torch.channels_last_3d)
