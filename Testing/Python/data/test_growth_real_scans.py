"""Real tumors: the simulated density lies on them, on their side, and the report can be drawn."""

import numpy as np
import pytest

from TumorRetrievalLib.engine.growth import GrowthOptions, GrowthRequest, fit_growth
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels
from TumorRetrievalLib.imaging.volume import LabelMap

OEDEMA = 2
CASES = {
    "BRATS2013_pat0001": 1,
    "BraTS-GLI-00001-000": -1,
    "TCGA-DU-7294": 1,
}
"""Case -> side of its tumor: 1 for the patient's right."""


def centroid(image) -> np.ndarray:
    return np.average(image.grid.voxel_centres(), axis=0, weights=image.data.ravel().astype(float))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if number else ()) for number, name in enumerate(CASES)]
)
def test_the_density_lies_on_a_real_tumor_and_on_its_side(real_data, tmp_path, name):
    folder = real_data / "brats3d" / name
    drawn = read_labels(folder / "seg.nii.gz")
    masks = {"core": (drawn.data > 0) & (drawn.data != OEDEMA), "whole": drawn.data > 0}
    for mask, data in masks.items():
        write_labels(tmp_path / f"{mask}.nii.gz", LabelMap(data, drawn.affine))

    result = fit_growth(
        GrowthRequest(
            t1c=folder / "t1c.nii.gz",
            flair=folder / "flair.nii.gz",
            core=tmp_path / "core.nii.gz",
            whole=tmp_path / "whole.nii.gz",
            out=tmp_path,
            options=GrowthOptions(k=5, refined=False),
        )
    )

    density, whole = read_volume(tmp_path / "density.nii.gz"), read_labels(tmp_path / "whole.nii.gz")
    middle = read_volume(folder / "t1c.nii.gz")
    midline = centroid(LabelMap(middle.data > 0, middle.affine))[0]
    mirrored = centroid(whole) * (-1, 1, 1) + (2 * midline, 0, 0)
    assert density.grid.same_as(middle.grid, tolerance_mm=1e-3)
    assert np.linalg.norm(centroid(density) - centroid(whole)) < 15
    assert np.linalg.norm(centroid(density) - mirrored) > 30
    assert np.sign(centroid(density)[0] - midline) == CASES[name]
    assert result["registration"]["stage"] == "deformable"
    assert result["dice"]["in_patient"]["combined"] > 0.9
    assert result["dice"]["in_patient"]["combined"] == pytest.approx(result["dice"]["retrieval"]["combined"], abs=0.1)
    assert result["registration"]["inverse_error_mm"] < 0.3
