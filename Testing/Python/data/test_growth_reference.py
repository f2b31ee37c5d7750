"""Six tumors that an independent solver has grown (TumorGrowthToolkit; explicit Euler).

How closely they can agree: Euler's step multiplies a density that grows at the rate g by 1 + g d instead of exp(g d),
d being its step of tau. That is exact growth for the shorter time ln(1 + g d) / g, about 1 - g d / 2 of it. The rate is
1 where cells only proliferate, up to 2 at the front of the slowest wave, 0 where the tissue is full. So that solver's
tumor must be ours of an earlier moment, by no more than the factor 1 - d, and beyond that moment nothing may differ but
second-order terms and the rounding of the file.
"""

import json

import numpy as np
import pytest

from TumorRetrievalLib.growth.growth import Growth
from TumorRetrievalLib.growth.tissue import Tissue
from TumorRetrievalLib.imaging.files import read_volume
from TumorRetrievalLib.imaging.volume import Grid

RUNS = [
    "box_D0.1_rho0.05_T150",
    "box_D0.3_rho0.03_T150",
    "mni2mm_0_D0.13_rho0.025_T300",
    "mni2mm_1_D0.3_rho0.012_T400",
    "mni2mm_2_D0.05_rho0.06_T180",
    "mni2mm_3_D0.5_rho0.02_T300",
]


def toolkit_tissue(gray: np.ndarray, white: np.ndarray, spacing: float) -> Tissue:
    """That solver's tissue: fractions as they are, arithmetic means, a threshold of 0.1."""
    mask = gray + white >= 0.1
    faces = []
    for axis in range(3):
        fraction = np.moveaxis(white + gray / 10, axis, 0)
        inside = np.moveaxis(mask, axis, 0)
        face = np.zeros(mask.shape)
        np.moveaxis(face, axis, 0)[:-1] = np.where(inside[:-1] & inside[1:], (fraction[:-1] + fraction[1:]) / 2, 0)
        faces.append(face)
    return Tissue(mask, faces, Grid(mask.shape, np.diag((spacing, spacing, spacing, 1.0))))


@pytest.mark.parametrize("run", RUNS)
def test_an_independent_solver_grows_the_same_tumor(real_data, run):
    folder = real_data / "growth_reference"
    about = json.loads((folder / f"{run}.json").read_text())
    initial, final = (read_volume(folder / f"{run}_{when}_x10000.nii.gz").data / 10000 for when in ("initial", "final"))
    if run.startswith("box"):
        gray, white = np.zeros(initial.shape), np.ones(initial.shape)
    else:
        gray, white = (read_volume(folder / f"mni2mm_{name}_x255.nii.gz").data / 255 for name in ("gm", "wm"))
    tissue = toolkit_tissue(gray, white, about["dx_mm"])
    spread, tau = about["Dw"] / about["rho"], about["rho"] * about["stopping_time"]
    steps = np.ceil(about["stopping_time"] * about["Dw"] / about["dx_mm"] ** 2 * 8 + 100)

    growth = Growth(tissue, tissue.embed(initial), spread)
    times, masses = [0.0], [initial.sum()]
    while masses[-1] < final.sum():
        growth.advance()
        times.append(growth.tau)
        masses.append(tissue.extract(growth.density_at(growth.tau)).sum())
    moment = np.interp(np.log(final.sum()), np.log(masses), times)
    ours = tissue.extract(growth.density_at(moment))

    assert tau * (1 - tau / steps) <= moment <= tau
    assert np.abs(ours - final).max() < 0.02
    for threshold in (0.2, 0.6):
        a, b = ours >= threshold, final >= threshold
        if b.sum() > 100:
            assert 2 * np.sum(a & b) / (a.sum() + b.sum()) > 0.985
