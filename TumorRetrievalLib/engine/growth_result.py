"""What a growth simulation leaves behind: images on the scan's grid, transforms, and result.json."""

import json
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.growth_fit import GrowthFit, Overlap
from TumorRetrievalLib.engine.tumor_masks import TumorMasks
from TumorRetrievalLib.growth.growth import CORE_THRESHOLD, WHOLE_THRESHOLD
from TumorRetrievalLib.growth.parameters import GrowthParameters
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.registration.deformable import DeformableAlignment
from TumorRetrievalLib.registration.transform_files import write_transforms

FILES = {
    "density": "density.nii.gz",
    "contours": "contours.nii.gz",
    "spread": "spread.nii.gz",
    "tumor_core": "tumor_core.nii.gz",
    "whole_tumor": "whole_tumor.nii.gz",
    "patient_to_atlas": "patient_to_atlas.h5",
    "atlas_to_patient": "atlas_to_patient.h5",
    "report": "growth.html",
}
"""Beside result.json. The images lie on the scan's own grid: `density` is the tumor cell density, 0..1; `contours` is 1
from a density of 0.2 and 2 from 0.6; `spread` is the standard deviation of the density over the best k matches;
`tumor_core` and `whole_tumor` are what was fitted. The transforms are ITK's, of points in LPS mm."""

FAMILY_MEMBERS = 5


def write_images(
    out: Path, density: Volume, spread: Volume, masks: TumorMasks, alignment: AtlasAlignment | DeformableAlignment
) -> None:
    """Write everything but the report and result.json.

    :param density: :param spread: on the scan's grid.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    write_volume(out / FILES["density"], density)
    write_volume(out / FILES["spread"], spread)
    write_labels(out / FILES["contours"], contours_of(density))
    write_labels(out / FILES["tumor_core"], masks.core)
    write_labels(out / FILES["whole_tumor"], masks.whole)
    write_transforms(
        alignment,
        patient_to_atlas=out / FILES["patient_to_atlas"],
        atlas_to_patient=out / FILES["atlas_to_patient"],
    )


def contours_of(density: Volume) -> LabelMap:
    """1 where FLAIR would show a density, 2 where T1 with contrast would."""
    levels = (density.data >= WHOLE_THRESHOLD).astype(np.uint8) + (density.data >= CORE_THRESHOLD)
    return LabelMap(levels, density.affine)


def write_result(out: Path, result: dict) -> None:
    """Write result.json, the mark of a complete result."""
    with atomic_file(out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def describe(
    fit: GrowthFit,
    contours: LabelMap,
    masks: TumorMasks,
    alignment: AtlasAlignment | DeformableAlignment,
    masks_from: str,
) -> dict:
    """The content of result.json, but for `database` (`file`, `tumors`), `notes` and `seconds`.

    - `tumor`: `core_ml`, `whole_ml`, `masks_from` ("files" or "network").
    - `parameters`: `origin_atlas_mm`, `origin_patient_mm` (RAS), `lambda_mm2` = D / rho and `tau` = rho T. These are
      all that a scan can tell. `same_tumor` lists members of the family of (D, rho, T) that end in this very density:
      `days` (T), `rho_per_day`, `d_mm2_per_day` (in white matter); empty if none lies in the thesis' ranges.
    - `dice`: `retrieval` (best match) and `refined` (null if not asked for), measured in the atlas; `in_patient`, of
      the contours written. Each `core`, `whole` and `combined`, their sum, at most 2.
    - `matches`: the best k, best first: `index` in the database, `core`, `whole`, `combined`, `origin_atlas_mm`,
      `lambda_mm2`, `tau`.
    - `volumes_ml`: `density_from_0.2`, `density_from_0.6`, in the patient.
    - `registration`: `stage` ("similarity", "affine" or "deformable"), `brain_overlap`; where the atlas was bent also
      `inverse_error_mm` (largest in the brain), `volume_ratio` [smallest, largest] and `agreement` [before, after].
    - `transform`: `patient_to_atlas`, the affine part, 4 x 4, RAS mm to RAS mm.
    - `files`: what lies beside result.json.
    """
    whole, core = contours.data >= 1, contours.data >= 2
    in_patient = Overlap(_dice(core, masks.core.data != 0), _dice(whole, masks.whole.data != 0))
    affine = alignment.affine if isinstance(alignment, DeformableAlignment) else alignment
    return {
        "tumor": {
            "core_ml": round(masks.core.volume_ml(), 3),
            "whole_ml": round(masks.whole.volume_ml(), 3),
            "masks_from": masks_from,
        },
        "parameters": {
            **_parameters(fit.parameters),
            "origin_patient_mm": _rounded(alignment.to_patient(fit.parameters.origin)),
            "same_tumor": _family(fit.parameters),
        },
        "dice": {
            "retrieval": _overlap(fit.retrieved),
            "refined": None if fit.refined is None else _overlap(fit.refined),
            "in_patient": _overlap(in_patient),
        },
        "matches": _matches(fit),
        "volumes_ml": {
            "density_from_0.2": round(float(whole.sum()) * contours.grid.voxel_ml, 3),
            "density_from_0.6": round(float(core.sum()) * contours.grid.voxel_ml, 3),
        },
        "registration": _registration(alignment),
        "transform": {"patient_to_atlas": np.round(affine.patient_to_atlas, 8).tolist()},
        "files": dict(FILES),
    }


def _parameters(parameters: GrowthParameters) -> dict:
    return {
        "origin_atlas_mm": _rounded(parameters.origin),
        "lambda_mm2": round(parameters.spread, 4),
        "tau": round(parameters.tau, 4),
    }


def _family(parameters: GrowthParameters) -> list[dict]:
    """Some of the (D, rho, T) that give this tumor, evenly spread over the possible ages (in their logarithm)."""
    ages = parameters.possible_ages()
    if ages is None:
        return []
    rates = [parameters.rates_at_age(float(days)) for days in np.geomspace(*ages, FAMILY_MEMBERS)]
    return [
        {
            "days": round(rate.days, 1),
            "rho_per_day": round(rate.proliferation, 5),
            "d_mm2_per_day": round(rate.diffusivity, 5),
        }
        for rate in rates
    ]


def _matches(fit: GrowthFit) -> list[dict]:
    overlaps = [Overlap(*pair) for pair in zip(fit.matches.core_dice, fit.matches.whole_dice, strict=True)]
    return [
        {"index": int(index), **_overlap(overlap), **_parameters(candidate)}
        for index, overlap, candidate in zip(fit.matches.indices, overlaps, fit.candidates, strict=True)
    ]


def _registration(alignment: AtlasAlignment | DeformableAlignment) -> dict:
    if isinstance(alignment, AtlasAlignment):
        return {"stage": alignment.stage, "brain_overlap": round(float(alignment.brain_overlap), 4)}
    return {
        "stage": "deformable",
        "brain_overlap": round(float(alignment.affine.brain_overlap), 4),
        "inverse_error_mm": round(alignment.inverse_error_mm, 3),
        "volume_ratio": [round(alignment.smallest_volume_ratio, 3), round(alignment.largest_volume_ratio, 3)],
        "agreement": [round(alignment.agreement_before, 4), round(alignment.agreement, 4)],
    }


def _overlap(overlap: Overlap) -> dict[str, float]:
    return {name: round(float(getattr(overlap, name)), 4) for name in ("core", "whole", "combined")}


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2.0 * np.count_nonzero(one & other) / total if total else 0.0


def _rounded(point) -> list[float]:
    return [round(float(x), 2) for x in point]
