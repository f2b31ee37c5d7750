"""The regions of BraTS in real masks, and a network of Epstein & Shimshi's kind on a real scan."""

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.importers.archive import list_archive
from TumorRetrievalLib.evaluation.brats import evaluate_brats
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.networks.med3d import REGIONS, Med3dUNet
from TumorRetrievalLib.networks.weights import save_model
from TumorRetrievalLib.training.med3d import regions_of

ENHANCING = {"BRATS2013_pat0001": 4, "Brats18_2013_2_1": 4, "BraTS-GLI-00000-000": 3}
"""Of one case of each convention, as the data's own description says."""


@pytest.mark.parametrize("name", ENHANCING)
def test_each_convention_of_brats_gives_nested_regions_with_its_own_enhancing_label(real_data, name):
    case = list_archive(real_data / "brats3d" / name).cases[0]
    mask = read_labels(case.mask)

    whole, core, enhancing = regions_of(mask, case.mask_labels)

    assert np.array_equal(whole, mask.data > 0) and np.array_equal(core, (mask.data > 0) & (mask.data != 2))
    assert np.array_equal(enhancing, mask.data == ENHANCING[name]) and enhancing.any()


def test_a_network_outlines_a_real_scan_in_windows_and_is_scored_on_the_experts_voxels(real_data, tmp_path):
    torch.manual_seed(0)
    contract = {"channels": ["t1c", "flair"], "spacing_mm": [4.0, 4.0], "window": [24, 24, 24]}
    model = save_model(tmp_path, Med3dUNet(10, width=8), contract)

    result = evaluate_brats(real_data / "brats3d" / "BraTS-GLI-00000-000", model, device="cpu")

    assert list(result["cases"]) == ["BraTS-GLI-00000-000"]
    assert all(0 <= result["cases"]["BraTS-GLI-00000-000"][region] <= 1 for region in REGIONS)
