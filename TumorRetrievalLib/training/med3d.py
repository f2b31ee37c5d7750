"""The recipe of Epstein & Shimshi 2021: Med3D encoders beside a U-Net, T1c and FLAIR to WT, TC and ET.

The paper trains on BraTS 2019. Here the scans are those of a manifest, skull-stripped as BraTS has them, with the
columns `flair`, `mask` and `mask_scheme`; or synthetic gliomas, as many as the paper had patients.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from TumorRetrievalLib.cohort.case import Case, MaskLabels
from TumorRetrievalLib.cohort.label_schemes import CAVITY_IS_4, ENHANCING_IS_3, ENHANCING_IS_4, FOUR_LABELS, PEDIATRIC
from TumorRetrievalLib.cohort.manifest import read_manifest
from TumorRetrievalLib.errors import GeometryMismatch, ManifestError, UnknownLabel
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.resample import resample, resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.networks.device import choose_device
from TumorRetrievalLib.networks.med3d import LAYERS, MODALITIES, REGIONS, Med3dUNet
from TumorRetrievalLib.networks.medicalnet import load_medicalnet
from TumorRetrievalLib.synthesis.fields import axes_of, streams
from TumorRetrievalLib.synthesis.lesions import plan_case
from TumorRetrievalLib.synthesis.painting import draw_style, paint
from TumorRetrievalLib.synthesis.raster import ENHANCING, rasterise
from TumorRetrievalLib.training.intervals import mean_with_interval
from TumorRetrievalLib.training.recipes import MED3D, Recipe
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
    upright_grid,
)

PATIENTS, HELD_OUT = 377, 43
"""As in the paper: 334 to train on and 43 to validate."""
FIRST_SEED = 4_000_000

WIDTH = {"published": 16, "small": 8}
# Half the resolution with the same field of view, a narrower U-Net, and minutes, for a machine without a GPU. Soft Dice
# stands beside the cross-entropy: by the latter alone, a few hundred steps still call everything background (measured).
SMALL = replace(
    MED3D,
    crop=64,
    loss="default",
    warmup_steps=20,
    clip_norm=2.0,
    ema_decay=0.98,
    max_steps=None,
    max_minutes=20,
)

ENHANCING_LABEL = {FOUR_LABELS: 4, ENHANCING_IS_4: 4, ENHANCING_IS_3: 3, CAVITY_IS_4: 3, PEDIATRIC: 1}
"""The label of enhancing tumor in each convention."""

FAILURES = (
    "The metrics here are of synthetic gliomas; on scans of patients see `evaluate brats`.",
    "Two of the paper's four modalities: T1 and T2 are not used.",
    "Scans must be skull-stripped.",
)


def med3d_task(request: TrainingRequest, progress: Progress) -> TrainingTask:
    """The training that a user asks for.

    :raises ManifestError: if the manifest has too few patients with T1c, FLAIR and mask, or does not say what the
        labels in the masks mean.
    :raises WeightsError: if the checkpoint is not one of MedicalNet of that depth.
    """
    if request.encoder not in LAYERS:
        known = ", ".join(map(str, LAYERS))
        raise UnknownLabel(f"There is no encoder {request.encoder}. Those of MedicalNet here: {known}.")
    if request.freeze and request.checkpoint is None:
        raise UnknownLabel("Only trained encoders are worth freezing: name MedicalNet's weights with --checkpoint.")
    recipe = SMALL if request.size == "small" else MED3D
    torch.manual_seed(recipe.seed)
    network = Med3dUNet(request.encoder, WIDTH[request.size], request.freeze)
    pretrained = None
    if request.checkpoint is not None:
        left_out = load_medicalnet(network, request.checkpoint)
        pretrained = {"file": Path(request.checkpoint).name, "left_out": left_out}
    store, parts = scans_of(request, progress)
    if recipe.max_steps:
        recipe = replace(recipe, max_steps=10 * len(parts["training"]))

    def batches(recipe: Recipe):
        patches = Patches(store, parts["training"], recipe.edges, recipe.seed, flips=(0, 1, 2))
        return patch_batches(patches, recipe)

    synthetic = request.data == SYNTHETIC
    patients = sum(map(len, parts.values()))
    return TrainingTask(
        network=network,
        recipe=recipe,
        batches=batches,
        contract={
            "channels": list(MODALITIES),
            "masks": list(REGIONS),
            "spacing_mm": [VOXEL_MM[request.size]] * 2,
            "normalisation": "brain of the skull-stripped scan to median 0, spread 1",
            "encoders": {"depth": request.encoder, "frozen": request.freeze, "medicalnet": pretrained},
            "window": list(recipe.edges),
        },
        data=f"{patients} synthetic gliomas made from the MNI152 atlas; no patient"
        if synthetic
        else f"{patients} scans of {Path(request.data).name}",
        failures=FAILURES if synthetic else FAILURES[1:],
        measure=partial(_measure, store=store, names=parts["held out"], edges=recipe.edges),
    )


def scans_of(request: TrainingRequest, progress: Progress) -> tuple[ScanStore, dict[str, list[str]]]:
    """The scans of a request, prepared, and their names in the store: "training" and "held out" (43 in 377)."""
    spacing = VOXEL_MM[request.size]
    store = ScanStore(request.cases or request.out / "cases")
    if request.data == SYNTHETIC:
        seeds = range(FIRST_SEED, FIRST_SEED + (request.patients or PATIENTS))
        names = {seed: f"glioma-{seed}-{spacing:g}mm" for seed in seeds}
        cohort = [(Case(name, name), name, partial(synthetic_glioma, seed, spacing)) for seed, name in names.items()]
    else:
        cases = [case for case in read_manifest(request.data) if case.t1c and case.flair and case.mask]
        if len({case.patient for case in cases}) < 4:
            raise ManifestError(f"{request.data}: at least 4 patients with t1c, flair and mask are needed.")
        cohort = [(case, name_of_case(case, spacing), partial(real_scan, case, spacing)) for case in cases]
    share = HELD_OUT / PATIENTS
    return store, prepare_cohort(store, cohort, {"training": 1 - share, "held out": share}, 0, progress)


def synthetic_glioma(seed: int, spacing: float) -> PreparedScan:
    """A synthetic patient with one glioma, painted in a style of its own, without the skull."""
    with torch.inference_mode():
        plan = plan_case(seed, "glioma", 1)
        grid = brain_grid(spacing)
        geometry = rasterise(plan, grid)
        rng, generator = streams(seed, "med3d")
        painted = paint(geometry, axes_of(grid), replace(draw_style(rng), head=False), rng, generator)
    image = [normalised(Volume(painted[name].numpy(), grid.affine)) for name in MODALITIES]
    label = geometry.label.numpy()
    return PreparedScan(np.stack(image), np.stack([label > 0, geometry.core.numpy(), label == ENHANCING]))


def real_scan(case: Case, spacing: float) -> PreparedScan:
    """A case of a manifest on upright voxels.

    :raises ManifestError: if it does not say what the labels in the mask mean.
    :raises GeometryMismatch: if the mask does not lie on the T1c's grid.
    :raises InvalidImage: if the mask is empty.
    """
    if case.mask_labels not in ENHANCING_LABEL:
        raise ManifestError(
            f"Case {case.id!r}: which label is enhancing tumor? Say it in the column 'mask_scheme': brats2013, "
            f"brats2017, brats2021, brats2024 or brats-ped-2024."
        )
    t1c, flair, mask = read_volume(case.t1c), read_volume(case.flair), read_labels(case.mask)
    if not mask.grid.same_as(t1c.grid):
        raise GeometryMismatch(
            f"Case {case.id!r}: the mask {case.mask} (shape {mask.shape}) does not lie on the grid of the T1c (shape "
            f"{t1c.shape}). Resample it onto the scan's grid first."
        )
    regions = regions_of(mask, case.mask_labels)
    require_drawn(case, regions)
    grid = upright_grid(t1c.grid, spacing)
    drawn = [resample_labels(LabelMap(region, mask.affine), grid).data > 0 for region in regions]
    return PreparedScan(image_on(grid, t1c, flair), np.stack(drawn))


def image_on(grid: Grid, t1c: Volume, flair: Volume) -> np.ndarray:
    """Both modalities, normalised, on one grid, float32 (2, X, Y, Z)."""
    return np.stack([normalised(resample(scan, grid, fill=float(scan.data.min()))) for scan in (t1c, flair)])


def regions_of(mask: LabelMap, labels: MaskLabels) -> np.ndarray:
    """Whole tumor, tumor core and enhancing tumor in a mask, bool (3, X, Y, Z)."""
    enhancing = (ENHANCING_LABEL[labels],)
    return np.stack([np.isin(mask.data, kinds) for kinds in (labels.whole, labels.core, enhancing)])


def _measure(
    run: TrainingRun, progress: Progress, *, store: ScanStore, names: list[str], edges: tuple[int, int, int]
) -> Measured:
    device = choose_device()
    network = run.network.to(device).eval()
    rows: dict[str, list[float | None]] = {region: [] for region in REGIONS}
    for number, name in enumerate(names):
        progress(number / len(names), f"Measuring: {number + 1} of {len(names)}")
        scan = store.read(name)
        chances, _ = read_in_windows(network, scan.image, edges, device)
        for region, found, truth in zip(REGIONS, chances > 0.5, scan.masks, strict=True):
            rows[region].append(dice(found, truth))
    network.cpu()
    metrics = {f"held_out_dice_{region}": mean_with_interval(values) for region, values in rows.items()}
    return Measured({"quality": {name: metric["mean"] for name, metric in metrics.items()}}, metrics)
