"""Synthetic patients for tests: planned once, drawn coarsely."""

from functools import cache

import pytest
import torch

from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.fields import HEAD_CENTER, axes_of
from TumorRetrievalLib.synthesis.lesions import CasePlan, plan_case
from TumorRetrievalLib.synthesis.raster import Geometry, rasterise


@cache
def _plan(tumor_type: str, seed: int = 1, lesion_count: int | None = None) -> CasePlan:
    with torch.inference_mode():
        return plan_case(seed, tumor_type, lesion_count)


@pytest.fixture(scope="session")
def plan_of():
    """`plan_of(tumor_type, seed, lesion_count)`: a planned patient, the same object for the same arguments."""
    return _plan


@pytest.fixture(scope="session")
def coarse_head() -> Grid:
    """A whole head in 4 mm voxels."""
    return Grid.around(HEAD_CENTER, 4.0, (45, 54, 45))


@pytest.fixture(scope="session")
def glioma(coarse_head) -> Geometry:
    """A patient with a ring-enhancing tumor and oedema, in 4 mm voxels."""
    with torch.inference_mode():
        return rasterise(_plan("glioma", 3), coarse_head)


@pytest.fixture(scope="session")
def coarse_axes(coarse_head):
    return axes_of(coarse_head)
