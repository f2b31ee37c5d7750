"""Tissue to grow in: the bundled atlas on a coarse grid, and blocks in which mathematics knows the answer."""

import numpy as np
import pytest

from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.tissue import Tissue
from TumorRetrievalLib.imaging.volume import Grid


@pytest.fixture(scope="session")
def atlas():
    """The bundled atlas on 64^3 voxels: everything is the same as on 128^3, only faster."""
    return load_growth_atlas(64)


def block(mask: np.ndarray, spacing: float = 1.0, diffusivity: np.ndarray | None = None) -> Tissue:
    """Tissue of white matter wherever `mask` says so, or with a diffusivity of its own, and walls around it."""
    diffusivity = mask.astype(float) if diffusivity is None else diffusivity * mask
    faces = []
    for axis in range(3):
        face = np.zeros(mask.shape)
        here = [slice(None)] * 3
        there = [slice(None)] * 3
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        a, b = diffusivity[tuple(here)], diffusivity[tuple(there)]
        face[tuple(here)] = np.where(a * b > 0, 2 * a * b / np.maximum(a + b, 1e-12), 0)
        faces.append(face)
    return Tissue(mask, faces, Grid(mask.shape, np.diag((spacing, spacing, spacing, 1.0))))


@pytest.fixture
def make_block():
    """`block`, for tests that need a shape of their own."""
    return block
