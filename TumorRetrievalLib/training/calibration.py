"""Chooses what training cannot: where to cut a probability, and how sure of a type to be.

On patients that training has not seen: synthetic ones that are in no index either, or a fifth of a hospital's own.
Never on the real scans that the shipped model is measured on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.device import choose_device, mixed_precision
from TumorRetrievalLib.synthesis.bank import GeometryBank
from TumorRetrievalLib.training.intervals import mean_with_interval
from TumorRetrievalLib.training.samples import PaintedCrops, SampleMix, collate

FIRST_SEED = 9_000_000
THRESHOLDS = tuple(round(0.1 + 0.05 * step, 2) for step in range(11))
TEMPERATURES = tuple(round(0.5 * 1.1**step, 3) for step in range(22))
SAMPLES = 120
"""Painted crops for each kind of box."""
LARGE_ML = 4.0
"""Thresholds are chosen on tumors at least this large: of smaller ones Dice says little."""


@dataclass(frozen=True)
class Calibration:
    """Goes into the model's contract.

    :param thresholds: what the box is drawn around -> mask ("core", "whole") -> probability.
    :param type_temperature: divides the type logits; 1 where the patients have no two types that are known.
    :param measured: Dice inside the box at these thresholds, and the accuracy of the type, on the same patients.
    :param intervals: the same as `mean`, `low`, `high`, `n`.
    """

    thresholds: dict[str, dict[str, float]]
    type_temperature: float
    measured: dict[str, float]
    intervals: dict[str, dict]


@dataclass(frozen=True, eq=False)
class Shown:
    """What the network is asked.

    :param batch: of one sample.
    :param spacing_mm: edge of its voxels.
    :param patient: whose it is; intervals are of patients, not of samples.
    """

    batch: Batch
    spacing_mm: float
    patient: int


def painted(bank: GeometryBank, seed: int = 1) -> Callable[[SampleMix], Callable[[int], Shown]]:
    """Samples of drawn patients, with seeds from `FIRST_SEED` on."""

    def samples_of(mix: SampleMix) -> Callable[[int], Shown]:
        crops = PaintedCrops(bank, 64, seed, mix)
        return lambda number: Shown(collate([crops[number]]), crops.spacing_of(number), number)

    return samples_of


def calibrate(network: DefaultNetwork, samples_of: Callable[[SampleMix], Callable[[int], Shown]]) -> Calibration:
    """Choose thresholds by mean Dice and the temperature by likelihood.

    :param samples_of: gives for a mix a function from the number of a sample to the sample. Where none of the tumors
        is large, or nobody has outlined what a mask shows, 0.5 is kept.
    """
    device = choose_device()
    network = network.to(device).eval()
    thresholds, measured, intervals = {}, {}, {}
    logits, types, patients = [], [], []
    for around, share in (("core", 1.0), ("whole", 0.0)):
        sample = samples_of(SampleMix(no_box=0.0, around_core=share, healthy=0.0))
        scores: dict[str, list[np.ndarray]] = {"core": [], "whole": []}
        of_patient: dict[str, list[int]] = {"core": [], "whole": []}
        for number in range(SAMPLES):
            shown = sample(number)
            batch = shown.batch.to(device)
            with torch.inference_mode(), mixed_precision(device):
                output = network(batch.image, batch.boxes)
            logits.append(output.labels["type"][0].float().cpu())
            types.append(batch.labels["type"][0].cpu())
            patients.append(shown.patient)
            if float(batch.masks[0, 0].sum()) * shown.spacing_mm**3 / 1000 < LARGE_ML:
                continue
            for index, (mask, rows) in enumerate(scores.items()):
                if batch.mask_known[0, index]:
                    rows.append(_dice_at_each(output.masks[0, index], batch.masks[0, index], batch.boxes[0, 1:]))
                    of_patient[mask].append(shown.patient)
        means = {mask: np.mean(rows, axis=0) for mask, rows in scores.items() if rows}
        best = {mask: THRESHOLDS[int(np.argmax(mean))] for mask, mean in means.items()}
        thresholds[around] = {"core": 0.5, "whole": 0.5} | best
        measured |= {f"{mask}_with_box_around_{around}": round(float(mean.max()), 4) for mask, mean in means.items()}
        intervals |= {
            f"{mask}_with_box_around_{around}": mean_with_interval(
                _by_patient(np.array(scores[mask])[:, int(np.argmax(mean))], of_patient[mask])
            )
            for mask, mean in means.items()
        }
    known = [row for row, number in enumerate(types) if number >= 0]
    temperature = 1.0
    if len({int(types[row]) for row in known}) > 1:
        chosen = [torch.stack([column[row] for row in known]) for column in (logits, types)]
        temperature, right = _temperature(*chosen)
        measured["type_accuracy"] = round(float(np.mean(right)), 4)
        intervals["type_accuracy"] = mean_with_interval(_by_patient(right, [patients[row] for row in known]))
    return Calibration(thresholds, temperature, measured, intervals)


def _by_patient(values: Sequence[float], patients: list[int]) -> list[float]:
    """The mean of each patient."""
    of: dict[int, list[float]] = {}
    for value, patient in zip(values, patients, strict=True):
        of.setdefault(patient, []).append(float(value))
    return [float(np.mean(some)) for some in of.values()]


def _dice_at_each(logits: torch.Tensor, truth: torch.Tensor, box: torch.Tensor) -> np.ndarray:
    """Dice inside the box for every threshold, shape (len(THRESHOLDS),)."""
    i0, i1, j0, j1, k0, k1 = box.tolist()
    chances = logits.float().sigmoid()[i0:i1, j0:j1, k0:k1]
    inside = truth[i0:i1, j0:j1, k0:k1] > 0
    answers = [chances > threshold for threshold in THRESHOLDS]
    return np.array([float(2 * (a & inside).sum() / ((a.sum() + inside.sum()).clamp(min=1))) for a in answers])


def _temperature(logits: torch.Tensor, types: torch.Tensor) -> tuple[float, list[float]]:
    """The most likely temperature; and for each tumor 1 where the likeliest type is the true one, else 0."""
    losses = [float(torch.nn.functional.cross_entropy(logits / t, types)) for t in TEMPERATURES]
    return TEMPERATURES[int(np.argmin(losses))], (logits.argmax(1) == types).float().tolist()
