"""From a real scan to similar cases and a growth simulation, in the module's own panel with the real worker."""

import ctypes.util
import subprocess
import sys

import numpy as np
import pytest

from TumorRetrievalLib.imaging.box import boxes_around_components
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.resources import LIBRARY

CASE = "BraTS-GLI-00000-000"


@pytest.mark.skipif(ctypes.util.find_library("EGL") is None, reason="Slicer's views need libEGL")
def test_the_panel_searches_compares_and_fits_a_simulation(real_data, tmp_path):
    scan = real_data / "brats3d" / CASE
    seg = read_labels(scan / "seg.nii.gz")
    box = max(boxes_around_components(LabelMap(np.isin(seg.data, (1, 3)), seg.affine)), key=lambda b: np.prod(b.size))
    numbers = ",".join(f"{value:.1f}" for value in (*box.center, *(np.abs(box.axes) @ box.size)))

    command = [sys.executable, "-m", "Testing.panel_picture", scan / "t1c.nii.gz", tmp_path / "panel.png", "--growth"]
    run = subprocess.run(
        [*command, "--flair", scan / "flair.nii.gz", f"--box={numbers}"],
        capture_output=True, text=True, timeout=500, cwd=LIBRARY.parent,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    assert (tmp_path / "panel.png").stat().st_size > 50_000
