"""What a recipe makes of its data: a network, batches for it, and how to measure the result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from TumorRetrievalLib.training.pisov import TASKS as PISOV_TASKS
from TumorRetrievalLib.training.recipes import Recipe
from TumorRetrievalLib.training.trainer import Batches, Loss, TrainingRun

SYNTHETIC = "SYNTHETIC"
"""Given instead of a manifest: synthetic patients."""
SIZES = ("published", "small")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class TrainingRequest:
    """What a user asks for.

    :param out: folder of the run.
    :param data: a manifest, or SYNTHETIC.
    :param minutes: :param steps: the budget, instead of the recipe's own.
    :param start: a model folder whose weights are trained further; None = fresh weights.
    :param drawings: patients that are drawn for the recipe "default" before training begins.
    :param size: one of SIZES; None = as published where there is a GPU, else small.
    :param cases: where prepared scans are kept; None = in `out`.
    :param single_task: plgg: without the marker.
    :param split: plgg: which of the six divisions of the patients, from 1 on.
    :param encoder: med3d-unet: depth of the encoders.
    :param checkpoint: med3d-unet: MedicalNet's weights for them.
    :param freeze: med3d-unet: keep the encoders as the checkpoint has them.
    :param channels: pisov: of the feature map.
    :param tasks: pisov: what is trained, some of `training.pisov.TASKS`.
    :param patients: how many synthetic patients; None = as many as the paper had.
    """

    out: Path
    data: str = SYNTHETIC
    minutes: float | None = None
    steps: int | None = None
    start: Path | None = None
    drawings: int = 3000
    size: str | None = None
    cases: Path | None = None
    single_task: bool = False
    split: int = 1
    encoder: int = 10
    checkpoint: Path | None = None
    freeze: bool = False
    channels: int = 64
    tasks: tuple[str, ...] = PISOV_TASKS
    patients: int | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """What a trained network was measured to do.

    :param contract: goes into the model's contract as it is.
    :param metrics: name -> `mean`, `low`, `high`, `n` (see `intervals`).
    """

    contract: dict = field(default_factory=dict)
    metrics: dict[str, dict] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """A recipe with its data.

    :param batches: makes the batches of a recipe, which may be smaller than `recipe`.
    :param contract: what the model's contract says besides the training and the quality.
    :param data: what it is trained on, in words for a reader.
    :param failures: where it is known to fail, in sentences.
    :param measure: looks at the finished network.
    :param loss: instead of the one that the recipe names.
    """

    network: nn.Module
    recipe: Recipe
    batches: Callable[[Recipe], Batches]
    contract: dict
    data: str
    failures: tuple[str, ...]
    measure: Callable[[TrainingRun, Progress], Measured]
    loss: Loss | None = None
