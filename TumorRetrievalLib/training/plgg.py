"""The recipe of Vafaeikia et al. 2021: FLAIR in atlas space, six divisions of the patients, with or without the marker.

The paper registers its scans to SRI24; here the atlas is the bundled MNI152. The patients are those of a manifest with
the columns `flair`, `mask` and `marker`, or synthetic ones (`synthesis.markers`), as many as the paper had.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.manifest import read_manifest
from TumorRetrievalLib.errors import GeometryMismatch, ManifestError, UnknownLabel
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.resample import resample, resample_labels
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.networks.device import choose_device
from TumorRetrievalLib.networks.losses import plgg_loss
from TumorRetrievalLib.networks.plgg import MARKERS, PlggNetwork
from TumorRetrievalLib.registration.affine import register_to_atlas
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.synthesis.fields import axes_of, streams
from TumorRetrievalLib.synthesis.markers import LABEL_NOISE, plan_marker_case
from TumorRetrievalLib.synthesis.painting import Style, paint
from TumorRetrievalLib.synthesis.raster import rasterise
from TumorRetrievalLib.training.intervals import mean_with_interval
from TumorRetrievalLib.training.recipes import PLGG, Recipe
from TumorRetrievalLib.training.task import SYNTHETIC, Measured, Progress, TrainingRequest, TrainingTask
from TumorRetrievalLib.training.trainer import TrainingRun
from TumorRetrievalLib.training.whole_scans import (
    VOXEL_MM,
    Patches,
    PreparedScan,
    ScanStore,
    brain_grid,
    dice,
    name_of_case,
    normalised,
    patch_batches,
    prepare_cohort,
    read_in_windows,
    require_drawn,
)

SPLITS = 6
SHARES = {"training": 0.7, "validation": 0.15, "test": 0.15}
PATIENTS = 311
FIRST_SEED = 3_000_000

FILTERS = {"published": 32, "small": 8}

# Half the resolution with the same field of view, a quarter of the filters, and minutes instead of days, for a machine
# without a GPU; the rate is higher and falls faster, as there are a hundred times fewer steps.
SMALL = replace(
    PLGG,
    crop=(64, 64, 56),
    batch_size=2,
    learning_rate=1e-3,
    warmup_steps=20,
    clip_norm=2.0,
    ema_decay=0.98,
    max_steps=None,
    max_minutes=20,
)


@dataclass(frozen=True, eq=False)
class MarkerData:
    """Patients, prepared.

    :param parts: "training", "validation", "test" -> names of scans in the store.
    :param edges: of a patch in voxels.
    """

    store: ScanStore
    parts: dict[str, list[str]]
    edges: tuple[int, int, int]


def plgg_task(request: TrainingRequest, progress: Progress) -> TrainingTask:
    """The training that a user asks for.

    :raises ManifestError: if the manifest lacks scans, masks or markers, or knows one marker only.
    :raises GeometryMismatch: :raises InvalidImage: if a mask does not fit its scan, or is empty.
    """
    data = marker_data(request, progress)
    labels = [data.store.read(name).label for name in data.parts["training"]]
    weights = None if request.single_task else class_weights(labels)
    recipe = SMALL if request.size == "small" else replace(PLGG, max_steps=_steps(len(labels)))
    recipe = replace(recipe, task_weights={} if request.single_task else PLGG.task_weights, seed=request.split)
    torch.manual_seed(recipe.seed)

    def batches(recipe: Recipe):
        # Left and right alone are mirrored: in atlas space front and top are where they are.
        patches = Patches(data.store, data.parts["training"], recipe.edges, recipe.seed, flips=(0,))
        return patch_batches(patches, recipe)

    synthetic = request.data == SYNTHETIC
    patients = sum(map(len, data.parts.values()))
    return TrainingTask(
        network=PlggNetwork(FILTERS[request.size], markers=0 if request.single_task else len(MARKERS)),
        recipe=recipe,
        batches=batches,
        contract={
            "channels": ["flair"],
            "masks": ["whole_tumor"],
            "labels": {} if request.single_task else {"marker": list(MARKERS)},
            "spacing_mm": [VOXEL_MM[request.size]] * 2,
            "normalisation": "FLAIR in MNI152 space, brain to median 0, spread 1",
            "data": {"synthetic": synthetic, "patients": patients, "size": request.size, "split": request.split},
        },
        data=_words(synthetic, patients, request),
        failures=FAILURES if synthetic else FAILURES[1:],
        measure=partial(_measure, data=data),
        loss=partial(plgg_loss, class_weights=weights),
    )


FAILURES = (
    "Trained on synthetic scans whose marker follows a rule of ours (synthesis/markers.py): what it says about a "
    "patient's marker means nothing.",
    "The mask is one for all of the tumor; FLAIR alone does not part tumor from oedema.",
    "A scan that cannot be brought to the atlas cannot be read.",
)


def marker_data(request: TrainingRequest, progress: Progress) -> MarkerData:
    """The patients of a request, prepared and divided: 70 % to train on, 15 % each to validate and to test on.

    The number of the split is the seed of the division, by patient.
    """
    if not 1 <= request.split <= SPLITS:
        raise UnknownLabel(f"There is no split {request.split}; the splits are 1 to {SPLITS}.")
    spacing = VOXEL_MM[request.size]
    store = ScanStore(request.cases or request.out / "cases")
    if request.data == SYNTHETIC:
        seeds = range(FIRST_SEED, FIRST_SEED + (request.patients or PATIENTS))
        names = {seed: f"marker-{seed}-{spacing:g}mm" for seed in seeds}
        cohort = [
            (Case(name, name, tumors=(Tumor(type="glioma"),)), name, partial(synthetic_patient, seed, spacing))
            for seed, name in names.items()
        ]
    else:
        cases = [case for case in read_manifest(request.data) if case.mask is not None and case.flair is not None]
        _require_enough(cases, request)
        cohort = [(case, name_of_case(case, spacing), partial(real_patient, case, spacing)) for case in cases]
    edges = SMALL.edges if request.size == "small" else PLGG.edges
    return MarkerData(store, prepare_cohort(store, cohort, SHARES, request.split, progress), edges)


def synthetic_patient(seed: int, spacing: float) -> PreparedScan:
    """A synthetic patient's FLAIR in atlas space, with the tumor's mask and the marker on record."""
    with torch.inference_mode():
        plan, marker = plan_marker_case(seed)
        grid = brain_grid(spacing)
        geometry = rasterise(plan, grid)
        rng, generator = streams(seed, "scan")
        style = Style(wide=False, head=False, artefacts=bool(rng.random() < 0.4))
        flair = paint(geometry, axes_of(grid), style, rng, generator)["flair"].numpy()
    affine = plan.anatomy.affine_to_atlas() @ grid.affine
    mask = LabelMap((geometry.label > 0).numpy(), affine)
    return _in_atlas(Volume(flair, affine), mask, spacing, MARKERS.index(marker))


def real_patient(case: Case, spacing: float) -> PreparedScan:
    """A patient of a manifest, brought to the atlas: by the T1c where there is one, else by the FLAIR itself.

    :raises GeometryMismatch: if the mask lies on the grid of neither.
    :raises InvalidImage: if the mask is empty.
    :raises UnknownLabel: if the marker is none of MARKERS.
    """
    flair, mask = read_volume(case.flair), read_labels(case.mask)
    guide = flair if case.t1c is None else read_volume(case.t1c)
    if not any(mask.grid.same_as(scan.grid) for scan in (flair, guide)):
        raise GeometryMismatch(
            f"Case {case.id!r}: the mask {case.mask} (shape {mask.shape}) lies neither on the grid of the FLAIR (shape "
            f"{flair.shape}) nor on that of the T1c. Resample it onto the scan's grid first."
        )
    drawn = np.isin(mask.data, case.mask_labels.whole) if case.mask_labels else mask.data > 0
    require_drawn(case, drawn)
    to_atlas = register_to_atlas(guide).patient_to_atlas
    moved = LabelMap(drawn, to_atlas @ mask.affine)
    return _in_atlas(Volume(flair.data, to_atlas @ flair.affine), moved, spacing, _marker_of(case))


def class_weights(labels: list[int]) -> torch.Tensor:
    """For the weighted cross-entropy: each marker in inverse proportion to how often it occurs; 0 where it does not.

    :param labels: of the training patients, -1 where not known.
    :raises ManifestError: if fewer than two markers occur.
    """
    counts = torch.tensor([labels.count(marker) for marker in range(len(MARKERS))], dtype=torch.float32)
    present = counts > 0
    if present.sum() < 2:
        known = ", ".join(name for name, there in zip(MARKERS, present, strict=True) if there) or "none"
        raise ManifestError(
            f"A marker is learned from at least two kinds of patients; those to train on have {known}. Fill in the "
            f"column 'marker' ({', '.join(MARKERS)}), or train with --single-task."
        )
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


def measure_part(network: PlggNetwork, data: MarkerData, part: str, progress: Progress | None = None) -> list[dict]:
    """The Dice of each patient of a part, and the marker's chances beside the truth."""
    device = choose_device()
    network.to(device).eval()
    rows = []
    for number, name in enumerate(data.parts[part]):
        if progress is not None:
            progress(number / len(data.parts[part]), f"Measuring: {part}, {number + 1} of {len(data.parts[part])}")
        scan = data.store.read(name)
        chance, labels = read_in_windows(network, scan.image, data.edges, device)
        chances = labels["marker"].tolist() if "marker" in labels else None
        overlap = dice(chance[0] > 0.5, scan.masks[0]) or 0.0  # None: a tumor too small for the grid is not found
        rows.append({"dice": overlap, "marker": scan.label, "chances": chances})
    network.cpu()
    return rows


def accuracy_of(rows: list[dict]) -> list[float]:
    """1 where the likeliest marker is the one on record, else 0, for each patient whose marker is known."""
    known = [row for row in rows if row["chances"] is not None and row["marker"] >= 0]
    return [float(int(np.argmax(row["chances"])) == row["marker"]) for row in known]


def _measure(run: TrainingRun, progress: Progress, *, data: MarkerData) -> Measured:
    metrics = {}
    for part in ("validation", "test"):
        rows = measure_part(run.network, data, part, progress)
        metrics[f"{part}_dice"] = mean_with_interval([row["dice"] for row in rows])
        if accuracy_of(rows):
            metrics[f"{part}_marker_accuracy"] = mean_with_interval(accuracy_of(rows))
    return Measured({"quality": {name: metric["mean"] for name, metric in metrics.items()}}, metrics)


def _in_atlas(flair: Volume, mask: LabelMap, spacing: float, label: int) -> PreparedScan:
    grid = brain_grid(spacing)
    moved = resample(flair, grid)
    brain = resample_labels(load_atlas().brain, grid).data > 0
    # The signal ends where the atlas' brain does: a skull, where there is one, is not for this network.
    moved = Volume(np.where(brain, moved.data, flair.data.min()), grid.affine)
    # Half of a voxel decides, not its centre: at 2 mm a small tumor would lose or win a layer.
    drawn = resample(Volume(mask.data, mask.affine), grid).data >= 0.5
    return PreparedScan(normalised(moved, brain)[None], drawn[None], label)


def _marker_of(case: Case) -> int:
    known = {tumor.marker for tumor in case.tumors if tumor.marker is not None}
    if not known:
        return -1
    wanted = {name.casefold(): number for number, name in enumerate(MARKERS)}
    if len(known) > 1 or (found := wanted.get(next(iter(known)).strip().casefold())) is None:
        raise UnknownLabel(
            f"Case {case.id!r}: the marker {' and '.join(sorted(known))!r} is not one of {', '.join(MARKERS)}."
        )
    return found


def _require_enough(cases: list[Case], request: TrainingRequest) -> None:
    patients = {case.patient for case in cases}
    if len(patients) < 2 * len(SHARES):
        raise ManifestError(
            f"{request.data} has {len(patients)} patients with a FLAIR and a mask; training, validation and test need "
            f"at least {2 * len(SHARES)}."
        )
    if request.single_task:
        return
    counted = Counter(_marker_of(case) for case in cases)
    class_weights([marker for marker in counted.elements() if marker >= 0])


def _steps(patients: int) -> int:
    """The paper's 400 epochs."""
    return max(1, 400 * patients // PLGG.batch_size)


def _words(synthetic: bool, patients: int, request: TrainingRequest) -> str:
    if not synthetic:
        return f"{patients} patients of {Path(request.data).name}, split {request.split} of {SPLITS}"
    return (
        f"{patients} synthetic patients made from the MNI152 atlas, split {request.split} of {SPLITS}; their markers "
        f"are drawn by a rule, {LABEL_NOISE:.0%} of them wrongly on purpose; no patient"
    )
