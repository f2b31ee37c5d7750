"""The whole brain, read in cubes at two resolutions."""

import numpy as np
import pytest

from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.retrieval.embedder import SWEEPS_MM, Reading, TumorReader

PLACE = np.array((-22.0, 15.0, 8.0))


class Eye(TumorReader):
    """Sees a ball as core, and a larger one as tumor, in voxels that are small enough."""

    def __init__(self, coarsest_mm: float):
        self.coarsest_mm, self.boxes_seen = coarsest_mm, 0

    def read_crop(self, crop):
        distance = np.linalg.norm(crop.grid.voxel_centres() - PLACE, axis=1).reshape(crop.grid.shape)
        sharp = crop.grid.spacing[0] <= self.coarsest_mm
        self.boxes_seen += int(crop.image[2:].any())
        masks = [Volume(((distance < r) * sharp).astype(np.float32), crop.grid.affine) for r in (8.0, 14.0)]
        return Reading(*masks, {}, np.ones(2))


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A left-handed scan with thick slices, noise in an ellipsoid."""
    grid = Grid((50, 55, 25), np.array([[-2.0, 0, 0, 49], [0, 2.0, 0, -54], [0, 0, 4.0, -48], [0, 0, 0, 1]]))
    inside = np.linalg.norm(grid.voxel_centres() / (46, 50, 44), axis=1).reshape(grid.shape) < 1
    noise = np.random.default_rng(0).normal(100, 10, grid.shape).astype(np.float32)
    return Scan.of(Volume(np.where(inside, noise, 0), grid.affine))


def at(volume: Volume, point) -> float:
    return float(volume.data[tuple(np.round(volume.grid.to_voxel(point)).astype(int))])


@pytest.mark.parametrize(("coarsest_mm", "chance"), [(3.0, 1.0), (1.5, 0.5), (0.5, 0.0)])
def test_what_one_resolution_alone_sees_is_half_sure(scan, coarsest_mm, chance):
    core, whole = Eye(coarsest_mm).read_everywhere(scan)

    assert core.grid.spacing == pytest.approx((SWEEPS_MM[-1],) * 3)
    assert at(core, PLACE) == pytest.approx(chance, abs=0.02)
    assert at(whole, PLACE + (0, 11, 0)) == pytest.approx(chance, abs=0.02)
    assert at(core, PLACE + (0, 11, 0)) == at(whole, PLACE * (-1, 1, 1)) == 0


def test_no_box_is_drawn_and_progress_never_falls(scan):
    told, eye = [], Eye(3.0)

    eye.read_everywhere(scan, lambda share, _: told.append(share))

    assert eye.boxes_seen == 0
    assert told == sorted(told) and told[0] < 0.3 and told[-1] == 1.0
