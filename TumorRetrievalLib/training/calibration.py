"""Chooses what training cannot: where to cut a probability, and how sure of a type to be.

On synthetic patients that neither training nor the index has seen, and never on the real scans that the result is
measured on.
"""

from dataclasses import dataclass

import numpy as np
import torch

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
    :param type_temperature: divides the type logits.
    :param measured: Dice inside the box at these thresholds, and the accuracy of the type, on the same patients.
    :param intervals: the same as `mean`, `low`, `high`, `n`.
    """

    thresholds: dict[str, dict[str, float]]
    type_temperature: float
    measured: dict[str, float]
    intervals: dict[str, dict]


def calibrate(network: DefaultNetwork, bank: GeometryBank, seed: int = 1) -> Calibration:
    """Choose thresholds by mean Dice and the temperature by likelihood.

    :param bank: drawn patients with seeds from `FIRST_SEED` on. Where none of their tumors is large, 0.5 is kept.
    """
    device = choose_device()
    network = network.to(device).eval()
    thresholds, measured, intervals = {}, {}, {}
    logits, types = [], []
    for around, share in (("core", 1.0), ("whole", 0.0)):
        crops = PaintedCrops(bank, 64, seed, SampleMix(no_box=0.0, around_core=share, healthy=0.0))
        scores: dict[str, list[np.ndarray]] = {"core": [], "whole": []}
        for number in range(SAMPLES):
            batch = collate([crops[number]]).to(device)
            with torch.inference_mode(), mixed_precision(device):
                output = network(batch.image, batch.boxes)
            logits.append(output.labels["type"][0].float().cpu())
            types.append(batch.labels["type"][0].cpu())
            large = float(batch.masks[0, 0].sum()) * crops.spacing_of(number) ** 3 / 1000 >= LARGE_ML
            if large:
                for index, rows in enumerate(scores.values()):
                    rows.append(_dice_at_each(output.masks[0, index], batch.masks[0, index], batch.boxes[0, 1:]))
        means = {mask: np.mean(rows, axis=0) for mask, rows in scores.items() if rows}
        best = {mask: THRESHOLDS[int(np.argmax(mean))] for mask, mean in means.items()}
        thresholds[around] = {"core": 0.5, "whole": 0.5} | best
        measured |= {f"{mask}_with_box_around_{around}": round(float(mean.max()), 4) for mask, mean in means.items()}
        intervals |= {
            f"{mask}_with_box_around_{around}": mean_with_interval(np.array(rows)[:, int(np.argmax(means[mask]))])
            for mask, rows in scores.items()
            if rows
        }
    temperature, right = _temperature(torch.stack(logits), torch.stack(types))
    measured["type_accuracy"] = round(float(np.mean(right)), 4)
    intervals["type_accuracy"] = mean_with_interval(right)
    return Calibration(thresholds, temperature, measured, intervals)


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
