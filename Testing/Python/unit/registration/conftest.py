"""Patients made from the atlas, whose true place in the atlas is therefore known."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.alignment import apply_affine
from TumorRetrievalLib.registration.atlas import load_atlas

LANDMARKS_MNI = np.array(
    [
        (0, 28, 7),  # genu of the corpus callosum
        (0, -38, 14),  # splenium
        (-26, 2, 0),  # left putamen
        (26, 2, 0),  # right putamen
        (-10, -90, 2),  # left occipital pole
        (40, 36, 29),  # right dorsolateral prefrontal cortex
        (-50, -20, -20),  # left temporal lobe
        (0, -27, -35),  # pons
        (22, -60, -35),  # right cerebellum
        (5, -25, 68),  # vertex
    ],
    float,
)
TUMOR_MNI = np.array((-32.0, -8.0, 32.0))
"""The middle of the tumor of every patient here: on the left."""

SKULL, SCALP = 0.1, 1.6
"""Brightness next to a brain of about 1."""


@dataclass(frozen=True, eq=False)
class Patient:
    """A scan, and the truth about it.

    :param landmarks: patient RAS mm, shape (n, 3); :param landmarks_mni: where they lie in the atlas.
    :param tumor: its voxels; :param tumor_mni: its middle, on the left.
    """

    scan: Volume
    landmarks: np.ndarray
    landmarks_mni: np.ndarray
    tumor: LabelMap
    tumor_mni: np.ndarray


@pytest.fixture(scope="session")
def make_patient():
    """Makes a patient: how the head lies (degrees about R, A, S; scales to the atlas; mm), and how it was scanned."""

    def make(
        *, turned_deg=(0, 0, 0), scales=(1, 1, 1), moved_mm=(0, 0, 0), spacing=(2, 2, 2), axes=None, head=False
    ) -> Patient:
        patient_to_atlas = _pose(turned_deg, scales, moved_mm)
        grid = _grid_over(patient_to_atlas, np.asarray(spacing, float), axes, margin_mm=25.0 if head else 8.0)
        return _patient_on(grid, patient_to_atlas, head)

    return make


def _pose(turned_deg, scales, moved_mm) -> np.ndarray:
    """Patient RAS mm -> atlas RAS mm of a head that lies turned about R, A, S and away from the atlas."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(scales) @ Rotation.from_euler("xyz", turned_deg, degrees=True).as_matrix()
    affine[:3, 3] = affine[:3, :3] @ -np.asarray(moved_mm, float)
    return affine


def _grid_over(patient_to_atlas: np.ndarray, spacing: np.ndarray, axes, margin_mm: float) -> Grid:
    """A grid that covers the patient's brain with a margin, along any (also left-handed) axes."""
    axes = np.eye(3) if axes is None else np.asarray(axes, float)
    brain = load_atlas().brain
    points = brain.grid.to_world(np.argwhere(brain.data > 0)[::50])
    along = apply_affine(np.linalg.inv(patient_to_atlas), points) @ axes
    low, high = along.min(axis=0) - margin_mm, along.max(axis=0) + margin_mm
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ low
    return Grid(tuple(np.ceil((high - low) / spacing).astype(int)), affine)


def _patient_on(grid: Grid, patient_to_atlas: np.ndarray, head: bool) -> Patient:
    """A T1c-like scan: other contrasts than the atlas's, a large ring-enhancing tumor, a bias field, noise.

    :param head: with skull, scalp and a neck; the air is noisy.
    """
    atlas = load_atlas()
    to_atlas = np.linalg.inv(atlas.grid.affine) @ patient_to_atlas @ grid.affine

    def mapped(data):
        return ndimage.affine_transform(data, to_atlas[:3, :3], to_atlas[:3, 3], grid.shape, order=1)

    csf, gray, white = (mapped(part.data) for part in (atlas.csf, atlas.gray, atlas.white))
    image = 0.25 * csf + 0.85 * gray + 1.0 * white
    position = (apply_affine(patient_to_atlas, grid.voxel_centres())).reshape(*grid.shape, 3)
    from_tumor = np.linalg.norm(position - TUMOR_MNI, axis=-1)
    inside = mapped(atlas.brain.data.astype(np.float32)) > 0.5
    image[inside & (from_tumor < 24)] = 1.5
    image[inside & (from_tumor < 19)] = 0.35
    rng = np.random.default_rng(5)
    image *= 1.0 + 0.15 * position[..., 1] / 100 + 0.1 * position[..., 0] / 100
    image += rng.normal(0, 0.03, grid.shape)
    if head:
        image = np.where(inside, image, _around(inside, position, grid) + np.abs(rng.normal(0, 0.02, grid.shape)))
    else:
        image = np.where(inside, np.maximum(image, 0.02), 0.0)
    landmarks = apply_affine(np.linalg.inv(patient_to_atlas), LANDMARKS_MNI)
    tumor = LabelMap(inside & (from_tumor < 24), grid.affine)
    return Patient(Volume(1000 * image, grid.affine), landmarks, LANDMARKS_MNI, tumor, TUMOR_MNI)


def _around(brain: np.ndarray, position: np.ndarray, grid: Grid) -> np.ndarray:
    """Skull, scalp and neck: distances in mm from the brain, in the layers of a head; the neck is a cylinder below."""
    from_brain = ndimage.distance_transform_edt(~brain, sampling=grid.spacing)
    layers = np.select([from_brain < 9, from_brain < 15], [SKULL, SCALP], 0.0)
    neck = (np.hypot(position[..., 0], position[..., 1] + 25) < 55) & (position[..., 2] < -50) & (from_brain > 6)
    return np.where(neck, 0.8, layers)
