import numpy as np
import pytest
import torch

from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.fields import (
    HEAD_CENTER,
    HEAD_HALF_WIDTH,
    SmoothField,
    axes_of,
    length,
    sample,
    streams,
)


def field(scale_mm: float, seed: int = 5) -> SmoothField:
    return SmoothField(torch.Generator().manual_seed(seed), scale_mm)


def test_the_same_seed_and_purpose_give_the_same_numbers_and_another_purpose_others():
    def draw(seed, name):
        rng, generator = streams(seed, name)
        return rng.random(), float(torch.rand(1, generator=generator))

    assert draw(7, "head") == draw(7, "head")
    assert len({draw(7, "head"), draw(7, "lesions"), draw(8, "head")}) == 3
    assert len({draw(7, "head")[1], draw(7, "lesions")[1], draw(8, "head")[1]}) == 3


@pytest.mark.parametrize("scale_mm", [6.0, 14.0, 36.0])
def test_a_smooth_field_has_zero_mean_and_variance_about_one(scale_mm):
    axes = axes_of(Grid.around(HEAD_CENTER, 5.0, (52, 52, 52)))
    values = torch.stack([field(scale_mm, seed).on(axes) for seed in range(6)])

    assert abs(float(values.mean())) < 0.1
    assert float(values.var()) == pytest.approx(1.0, abs=0.15)


def test_two_rasters_read_the_same_field_where_they_share_points():
    fine = axes_of(Grid.around((10, 0, 0), 1.5, (21, 21, 21)))
    coarse = axes_of(Grid.around((10, 0, 0), 3.0, (11, 11, 11)))

    assert torch.allclose(field(12.0).on(fine)[::2, ::2, ::2], field(12.0).on(coarse), atol=1e-5)


def test_a_smooth_field_has_no_detail_finer_than_its_scale():
    along = field(24.0).on(axes_of(Grid.around(HEAD_CENTER, 1.0, (60, 8, 8))))

    assert float(along.diff(dim=0).abs().max()) < 0.25


def test_a_field_stays_bounded_outside_the_head():
    far = HEAD_HALF_WIDTH + 500.0
    axes = tuple(torch.tensor([c - far, c, c + far]) for c in HEAD_CENTER)

    assert float(field(10.0).on(axes).abs().max()) < 6


@pytest.mark.parametrize("turn", ["rotated", "mirrored"])
def test_a_grid_that_is_not_upright_is_refused(turn):
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    if turn == "rotated":
        affine[:2, :2] = [[1.9, -0.6], [0.6, 1.9]]

    with pytest.raises(ValueError, match="R, A and S"):
        axes_of(Grid((5, 5, 5), affine))


def test_reading_a_map_at_its_voxels_gives_the_voxels_and_zero_far_outside():
    maps = torch.arange(60, dtype=torch.float32).reshape(1, 3, 4, 5)
    grid = Grid.around((1.0, 2.0, 3.0), 2.0, (3, 4, 5))
    origin = torch.tensor(grid.affine[:3, 3], dtype=torch.float32)
    points = torch.stack(torch.meshgrid(*axes_of(grid), indexing="ij"))

    assert torch.allclose(sample(maps, origin, 2.0, points), maps, atol=1e-4)
    assert not sample(maps, origin, 2.0, points + 100).any()


def test_length_is_euclidean():
    assert float(length(torch.tensor([[2.0], [3.0], [6.0]]))) == pytest.approx(7.0)
