"""How each network is trained, as data: a recipe can be printed, stored beside the weights, and compared."""

import math
from dataclasses import asdict, dataclass, field, replace

COSINE_FLOOR = 0.01
CONTINUED_RATE = 2 / 3
SMALLEST_CROP = 32
"""Voxels. Below, a crop shows too little around a tumor to learn from."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a training runs, except the network and the data.

    A training ends after `max_steps` or `max_minutes`, whichever is first, and the learning rate follows the share of
    that budget that is used up: also a training with a time limit ends with a fully decayed rate.

    :param loss: a name in `networks.losses.LOSSES`.
    :param task_weights: task -> weight of its term in the loss.
    :param crop: edge of the cubic crops in voxels, or their three edges.
    :param optimizer: "adamw", or "sgd" (Nesterov momentum 0.9).
    :param schedule: "cosine", or "steps": a tenth of the rate after each of `drops`.
    :param drops: shares of the budget, increasing.
    :param warmup_steps: over which the rate rises linearly from 0.
    :param clip_norm: the longest gradient that is not shortened; None = never shorten.
    :param ema_decay: of the running average of the weights, which is the result; 0 = the last weights are the result.
    :param mixed_precision: bfloat16 (or float16) where the device is faster in it.
    :param checkpoint_minutes: between two checkpoints.
    """

    name: str
    loss: str
    task_weights: dict[str, float] = field(default_factory=dict)
    batch_size: int
    crop: int | tuple[int, int, int]
    optimizer: str
    learning_rate: float
    weight_decay: float = 0.0
    schedule: str
    drops: tuple[float, ...] = ()
    warmup_steps: int = 0
    clip_norm: float | None = None
    ema_decay: float = 0.0
    max_steps: int | None = None
    max_minutes: float | None = None
    mixed_precision: bool = True
    seed: int = 0
    checkpoint_minutes: float = 3.0

    def __post_init__(self):
        if self.max_steps is None and self.max_minutes is None:
            raise ValueError(f"The recipe {self.name} needs max_steps or max_minutes, or it would never end.")

    def share(self, step: int, seconds: float) -> float:
        """The used-up part of the budget, 0 to 1, after `step` steps and `seconds` of training."""
        by_steps = step / self.max_steps if self.max_steps else 0.0
        by_time = seconds / (60 * self.max_minutes) if self.max_minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self, step: int, share: float) -> float:
        """The learning rate of the step number `step` (from 0), at `share` of the budget."""
        if self.schedule == "steps":
            factor = 0.1 ** sum(share >= drop for drop in self.drops)
        else:
            factor = COSINE_FLOOR + (1 - COSINE_FLOOR) * (1 + math.cos(math.pi * share)) / 2
        return self.learning_rate * factor * min(1.0, (step + 1) / (self.warmup_steps + 1))

    @property
    def edges(self) -> tuple[int, int, int]:
        """The three edges of a crop in voxels."""
        return (self.crop,) * 3 if isinstance(self.crop, int) else self.crop

    def smaller(self) -> "Recipe | None":
        """The same with less memory: half the batch; or, where a batch is one crop, three quarters of its edges.

        Edges stay multiples of 8 and at least SMALLEST_CROP. None where nothing is left to halve or to cut.
        """
        if self.batch_size > 1:
            return replace(self, batch_size=self.batch_size // 2)
        edges = tuple(min(edge, max(SMALLEST_CROP, edge * 3 // 4 // 8 * 8)) for edge in self.edges)
        if edges == self.edges:
            return None
        return replace(self, crop=edges[0] if isinstance(self.crop, int) else edges)

    def continued(self) -> "Recipe":
        """The same for weights that are trained already: the full rate would first undo what they have learned."""
        return replace(self, learning_rate=self.learning_rate * CONTINUED_RATE)

    def to_json(self) -> dict:
        """The recipe as plain JSON values."""
        crop = self.crop if isinstance(self.crop, int) else list(self.crop)
        return {**asdict(self), "crop": crop, "drops": list(self.drops)}


DEFAULT = Recipe(
    name="default",
    loss="default",
    task_weights={"type": 0.2, "enhancement": 0.1},
    batch_size=2,
    crop=64,
    optimizer="adamw",
    learning_rate=1.5e-3,
    weight_decay=1e-4,
    schedule="cosine",
    warmup_steps=60,
    clip_norm=2.0,
    ema_decay=0.998,
    max_minutes=80,
)

# Pisov et al. 2018, section 3.1: 120 epochs of 200 batches of two 120^3 patches; SGD with Nesterov momentum at 0.1,
# a tenth after epoch 90 and again after 105; weight 1e-3 for every classification.
PISOV = Recipe(
    name="pisov",
    loss="paper",
    task_weights=dict.fromkeys(("type", "area", "left_right", "front_rear", "upper_lower"), 1e-3),
    batch_size=2,
    crop=120,
    optimizer="sgd",
    learning_rate=0.1,
    schedule="steps",
    drops=(90 / 120, 105 / 120),
    max_steps=120 * 200,
)

# Vafaeikia et al. 2021, section 2.3: Adam at 1e-4 "initially" (how it falls is not said), batches of four, patches of
# 128 x 128 x 112, 400 epochs of 70 % of 311 patients; 0.3 times the cross-entropy of the marker.
PLGG = Recipe(
    name="plgg",
    loss="plgg",
    task_weights={"marker": 0.3},
    batch_size=4,
    crop=(128, 128, 112),
    optimizer="adamw",  # without weight decay, as here, that is Adam
    learning_rate=1e-4,
    schedule="cosine",
    max_steps=400 * 218 // 4,
)

# Epstein & Shimshi 2021: Adam at 1e-3 with a scheduler (not said which), batches of one, cross-entropy, ten epochs of
# 334 scans. Of the "center crop" the size is not given; 128 mm hold most of a brain.
MED3D = Recipe(
    name="med3d-unet",
    loss="voxels",
    batch_size=1,
    crop=128,
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    max_steps=10 * 334,
)

RECIPES = {recipe.name: recipe for recipe in (DEFAULT, PISOV, PLGG, MED3D)}
