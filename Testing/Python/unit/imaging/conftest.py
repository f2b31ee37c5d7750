"""Scans for tests: small, and with geometries that a careless program gets wrong."""

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import write_volume
from TumorRetrievalLib.imaging.volume import Grid, Volume


def _affine(rotation, spacing, flips=(1, 1, 1), order=(0, 1, 2), centre=(0, 0, 0), shape=(1, 1, 1)) -> np.ndarray:
    """Voxel -> RAS mm with array axes permuted by `order`, flipped, scaled and rotated, the middle at `centre`."""
    matrix = Rotation.from_rotvec(rotation).as_matrix() @ np.diag(np.multiply(spacing, flips).astype(float))
    affine = np.eye(4)
    affine[:3, :3] = matrix[:, list(order)]
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


@st.composite
def _grids(draw, steepest: float = 3.0) -> Grid:
    shape = draw(st.tuples(*[st.integers(2, 12)] * 3))
    rotation = draw(st.tuples(*[st.floats(-steepest, steepest)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.4, 7.0)] * 3))
    flips = draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    order = draw(st.permutations(range(3)))
    centre = draw(st.tuples(*[st.floats(-80, 80)] * 3))
    return Grid(shape, _affine(rotation, spacing, flips, order, centre, shape))


@st.composite
def _boxes(draw, rotated: bool = True) -> Box:
    center = draw(st.tuples(*[st.floats(-60, 60)] * 3))
    size = draw(st.tuples(*[st.floats(0.5, 60)] * 3))
    rotation = draw(st.tuples(*[st.floats(-3, 3)] * 3)) if rotated else (0, 0, 0)
    return Box(center, size, Rotation.from_rotvec(rotation).as_matrix())


@pytest.fixture(scope="session")
def affine_of():
    """Builds an affine: `affine_of(rotation vector, spacing, flips, order, centre, shape)`."""
    return _affine


@pytest.fixture(scope="session")
def grids():
    """A strategy for grids of any orientation: oblique, left-handed, with permuted axes and unequal voxels.

    `grids(steepest=0.2)` keeps them within 0.2 rad of the body's axes (up to their order and direction).
    """
    return _grids


@pytest.fixture(scope="session")
def boxes():
    """A strategy for boxes, `boxes(rotated=False)` for those along R, A and S."""
    return _boxes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _noise() -> Volume:
    shape = (9, 8, 7)
    affine = _affine((0.1, -0.2, 0.3), (0.8, 0.9, 3.0), flips=(-1, 1, 1), centre=(12, -20, 30), shape=shape)
    return Volume(np.random.default_rng(7).integers(0, 100, shape).astype(np.float32), affine)


@pytest.fixture
def scan() -> Volume:
    """Noise on an oblique, left-handed grid of thick slices; whole numbers, so that any integer type can hold it."""
    return _noise()


@pytest.fixture(scope="session")
def scan_bytes(tmp_path_factory):
    """The content of that scan as a file: `scan_bytes(".nrrd")`."""
    folder = tmp_path_factory.mktemp("good")

    def content(suffix: str) -> bytes:
        path = folder / f"scan{suffix}"
        if not path.exists():
            write_volume(path, _noise())
        return path.read_bytes()

    return content
