"""Small scans, and a manifest of them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.label_schemes import FOUR_LABELS
from TumorRetrievalLib.cohort.manifest import write_manifest
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.networks.plgg import MARKERS
from TumorRetrievalLib.training import med3d, plgg


@pytest.fixture
def coarse(monkeypatch):
    """The small size of both recipes, smaller still: 8 mm, and patches of 24 voxels."""
    for module in (plgg, med3d):
        monkeypatch.setitem(module.VOXEL_MM, "small", 8.0)
    monkeypatch.setattr(plgg, "SMALL", replace(plgg.SMALL, crop=(24, 24, 24)))
    monkeypatch.setattr(med3d, "SMALL", replace(med3d.SMALL, crop=24))


@pytest.fixture
def in_atlas_already(monkeypatch):
    """Scans of the test lie in the atlas as they are; the registration has tests of its own."""
    monkeypatch.setattr(plgg, "register_to_atlas", lambda scan: SimpleNamespace(patient_to_atlas=np.eye(4)))


@pytest.fixture
def hospital(tmp_path):
    """A function that writes a manifest of `count` patients; `change` may alter a patient's case."""

    def write(count=8, change=lambda number, case: case, root=tmp_path / "hospital"):
        root.mkdir(exist_ok=True)
        cases = []
        for number in range(count):
            grid = Grid.around((0, -18, 4), 8.0, (20, 24, 20))
            inside = (np.indices(grid.shape) - np.array([8, 9 + number % 3, 9])[:, None, None, None]).__abs__().max(0)
            rng = np.random.default_rng(number)
            image = 100 + 10 * rng.standard_normal(grid.shape) + 100 * (inside < 3)
            image[0] = 0
            label = np.select([inside < 1, inside < 2, inside < 3], [1, 4, 2]).astype(np.uint8)
            files = {name: root / f"{number}_{name}.nii.gz" for name in ("t1c", "flair", "mask")}
            write_volume(files["t1c"], Volume(image, grid.affine))
            write_volume(files["flair"], Volume(image + 1, grid.affine))
            write_labels(files["mask"], LabelMap(label, grid.affine))
            tumor = Tumor(type="glioma", marker=MARKERS[number % 3].lower())
            case = Case(f"case{number}", f"patient{number}", **files, tumors=(tumor,), mask_labels=FOUR_LABELS)
            cases.append(change(number, case))
        write_manifest(root / "manifest.csv", cases)
        return str(root / "manifest.csv")

    return write
