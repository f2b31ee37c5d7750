"""The bundled model sees real tumors without a box, and does not see them where there are none."""

import numpy as np
import pytest

from TumorRetrievalLib.engine.familiar import LEAST_SEEN
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.evaluation.nonsense import healthy_box, noise_like
from TumorRetrievalLib.imaging.box import Box, boxes_around_components
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.imaging.volume import LabelMap

OEDEMA = 2
QUICK, MORE = ("BRATS2013_pat0001", "TCGA-DU-7294"), (
    "BRATS2013_pat0002", "BRATS2013_pat0003", "BRATS2013_pat0004", "BraTS-GLI-00000-000", "BraTS-GLI-00001-000",
    "Brats18_2013_2_1",
)  # fmt: skip


def seen(scan: Scan, box: Box) -> float:
    reader = tumor_reader(None, "cpu")
    return read_in_box(scan, box, "core", reader, scan.t1c.grid).seen


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_real_glioma_is_seen_without_its_box_healthy_brain_and_noise_are_not(real_data, name):
    folder = real_data / "brats3d" / name
    t1c, flair, mask = (
        read_volume(folder / "t1c.nii.gz"),
        read_volume(folder / "flair.nii.gz"),
        read_labels(folder / "seg.nii.gz"),
    )
    core = LabelMap(((mask.data != 0) & (mask.data != OEDEMA)).astype(np.uint8), mask.affine)
    box, scan = boxes_around_components(core)[0], Scan.of(t1c, flair)

    assert seen(scan, box) >= LEAST_SEEN
    rng = np.random.default_rng(0)
    healthy = healthy_box(t1c.data > 0, mask.data > 0, t1c.grid, np.minimum(box.size, 35), rng)
    assert seen(scan, healthy) < LEAST_SEEN
    assert seen(Scan.of(noise_like(t1c, rng), noise_like(flair, rng)), box) < LEAST_SEEN
