"""WT, TC and ET Dice of a med3d-unet on real scans, beside the paper's table."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.importers.archive import list_archive
from TumorRetrievalLib.errors import UnreadableFile, WeightsError
from TumorRetrievalLib.evaluation.segmentation import dice
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Volume

PAPER = {
    "ResNet-10, frozen": {"whole_tumor": 0.741, "tumor_core": 0.338, "enhancing": 0.13},
    "ResNet-10, trained": {"whole_tumor": 0.741, "tumor_core": 0.353, "enhancing": 0.246},
    "ResNet-50, frozen": {"whole_tumor": 0.351, "tumor_core": 0.161, "enhancing": 0.0792},
    "ResNet-18, trained": {"whole_tumor": 0.218, "tumor_core": 0.0258, "enhancing": 0.00277},
}
"""Epstein & Shimshi 2021, on 43 scans of BraTS 2019 with four modalities and MedicalNet's weights."""


def evaluate_brats(
    cases: Path,
    model: Path,
    json_path: Path | None = None,
    device: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict:
    """Dice of whole tumor, tumor core and enhancing tumor in whole scans, without a box.

    :param cases: an archive whose cases have T1c, FLAIR and a mask in a convention of BraTS (see `list_archive`). The
        scans are skull-stripped.
    :param model: folder that `train med3d-unet` has left.
    :returns: `mean` (region -> mean Dice with its interval), `cases` (case -> region -> Dice; None where the expert saw
        none), `paper`, `left_out` (case -> why), `model`.
    :raises WeightsError: if the model is of another architecture.
    :raises UnreadableFile: if no case can be used.
    """
    from TumorRetrievalLib.networks.med3d import REGIONS, Med3dUNet
    from TumorRetrievalLib.networks.weights import load_model
    from TumorRetrievalLib.training.intervals import mean_with_interval
    from TumorRetrievalLib.training.med3d import ENHANCING_LABEL

    loaded = load_model(model, device)
    if not isinstance(loaded.network, Med3dUNet):
        found = loaded.contract["architecture"]
        raise WeightsError(f"The model in {model} is a {found}; this needs one that `train med3d-unet` has made.")
    report = progress or (lambda fraction, message: None)
    rows, left_out = {}, {}
    listed = list_archive(cases).cases
    for number, case in enumerate(listed):
        report(number / len(listed), case.id)
        if not (case.t1c and case.flair and case.mask):
            left_out[case.id] = "it lacks T1c, FLAIR or mask"
        elif case.mask_labels not in ENHANCING_LABEL:
            left_out[case.id] = "which label is enhancing tumor is not known"
        else:
            rows[case.id] = _scores(case, loaded)
    if not rows:
        raise UnreadableFile(f"No case in {cases} has T1c, FLAIR and a mask whose labels are known.")
    result = {
        "mean": {region: mean_with_interval([row[region] for row in rows.values()]) for region in REGIONS},
        "cases": rows,
        "left_out": left_out,
        "paper": PAPER,
        "channels": list(loaded.contract["channels"]),
        "model": loaded.sha256,
    }
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _scores(case, loaded) -> dict[str, float | None]:
    from TumorRetrievalLib.networks.med3d import REGIONS
    from TumorRetrievalLib.training.med3d import image_on, regions_of
    from TumorRetrievalLib.training.whole_scans import read_in_windows, upright_grid

    t1c, flair, mask = read_volume(case.t1c), read_volume(case.flair), read_labels(case.mask)
    t1c.require_same_grid(mask, f"The mask of {case.id}")
    grid = upright_grid(t1c.grid, float(loaded.contract["spacing_mm"][0]))
    window = tuple(loaded.contract["window"])
    chances, _ = read_in_windows(loaded.network, image_on(grid, t1c, flair), window, loaded.device)
    scores = {}
    for region, chance, truth in zip(REGIONS, chances, regions_of(mask, case.mask_labels), strict=True):
        found = resample(Volume(chance, grid.affine), t1c.grid).data > 0.5
        scores[region] = round(dice(found, truth), 4) if np.any(truth) else None
    return scores
