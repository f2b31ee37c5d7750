"""Training samples for the default network: a painted crop, a drawn box, and the truth.

A sample goes through exactly what a scan goes through when the tool is used: a box drawn by hand around the core or
around everything, and intensities normalised on the ordinary brain outside that box.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.imaging.intensity import normalise_crop
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.synthesis.bank import CROP, Drawing, GeometryBank
from TumorRetrievalLib.synthesis.fields import axes_of, streams
from TumorRetrievalLib.synthesis.painting import draw_style, paint
from TumorRetrievalLib.synthesis.raster import Geometry, cropped, healed
from TumorRetrievalLib.training.team import this_team

ENHANCEMENT = ("ring", "solid", "patchy", "none", "cystic")
"""Classes of the auxiliary task that teaches the appearance vector how a tumor takes up contrast."""

_ENHANCEMENT_OF_KIND = {
    "ring": 0, "solid": 1, "homogeneous": 1, "patchy": 2, "nonenhancing": 3, "cystic": 4,
}  # fmt: skip

UNKNOWN = -1
"""A label that the loss leaves out."""

TASKS = {"type": len(TYPES), "enhancement": len(ENHANCEMENT)}


@dataclass(frozen=True)
class SampleMix:
    """How often each situation occurs in training.

    :param no_flair: FLAIR is missing.
    :param no_box: no box is drawn; then every tumor in sight has to be outlined.
    :param around_core: of the drawn boxes, the share around the core (the rest around everything).
    :param healthy: there is no tumor and no box, and nothing is to be outlined.
    :param together: of the patients with several tumors in sight, the share with one box around all of them.
    """

    no_flair: float = 0.33
    no_box: float = 0.15
    around_core: float = 0.6
    healthy: float = 0.05
    together: float = 0.15


class PaintedCrops(Dataset):
    """Endless samples: number n is painted from the n-th random number of `seed`, so a resumed training goes on.

    :param crop: edge in voxels, at most `CROP`.
    """

    def __init__(self, bank: GeometryBank, crop: int = 64, seed: int = 0, mix: SampleMix | None = None):
        self.bank, self.crop, self.seed, self.mix = bank, crop, seed, mix or SampleMix()
        self._patients: list[int] = []

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, list[int], dict[str, int]]:
        """(image (4, n, n, n), masks (2, n, n, n), box i0 i1 j0 j1 k0 k1, labels)."""
        rng, generator, patient = self._begin(number)
        drawing, geometry = self.bank.read(patient)
        origin = rng.integers(0, CROP - self.crop + 1, 3)
        region = tuple(slice(int(a), int(a) + self.crop) for a in origin)
        geometry = cropped(geometry, region)
        if rng.random() < self.mix.healthy:
            geometry = healed(geometry)
        axes = tuple(a[part] for a, part in zip(axes_of(drawing.grid), region, strict=True))
        painted = paint(geometry, axes, draw_style(rng), rng, generator)
        return assemble(drawing, geometry, painted, rng, self.mix)

    def spacing_of(self, number: int) -> float:
        """Edge of a sample's voxels in mm."""
        return self.bank.read(self._begin(number)[2])[0].spacing_mm

    def _begin(self, number: int) -> tuple[np.random.Generator, torch.Generator, int]:
        """A sample's sources of randomness, and the seed of its patient."""
        rng, generator = streams(self.seed, f"sample {number}")
        if not self._patients or number % 256 == 0:
            self._patients = self.bank.seeds()
        return rng, generator, self._patients[int(rng.integers(len(self._patients)))]


def assemble(
    drawing: Drawing, geometry: Geometry, painted: dict[str, torch.Tensor], rng: np.random.Generator, mix: SampleMix
) -> tuple[torch.Tensor, torch.Tensor, list[int], dict[str, int]]:
    """Draw the box, normalise, choose what the network has to answer."""
    mine = geometry.lesion == drawing.focus
    if rng.random() < mix.together:
        mine = geometry.lesion > 0
    core, whole = (geometry.core & mine).numpy(), ((geometry.label > 0) & mine).numpy()
    around_core = rng.random() < mix.around_core
    box = drawn_box(core if around_core or not whole.any() else whole, rng)
    prompted = rng.random() >= mix.no_box and whole.any()
    inside = np.zeros(core.shape, np.float32)
    inside[tuple(slice(a, b) for a, b in zip(box[::2], box[1::2], strict=True))] = 1.0
    brain = geometry.brain.numpy() if rng.random() < 0.8 else None
    names = ["t1c"] if rng.random() < mix.no_flair else ["t1c", "flair"]
    image = np.zeros((4, *core.shape), np.float32)
    for channel, name in enumerate(names):
        raw = painted[name].numpy()
        image[channel] = normalise_crop(raw, raw > 0, brain, inside > 0)
    if prompted:
        image[2 if around_core else 3] = inside
    else:
        core, whole = geometry.core.numpy(), (geometry.label > 0).numpy()
    masks = np.stack([core, whole]).astype(np.float32)
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, ::-1]
        box = [core.shape[0] - box[1], core.shape[0] - box[0], *box[2:]]
    labels = {"type": TYPES.index(drawing.tumor_type), "enhancement": _ENHANCEMENT_OF_KIND[drawing.kind]}
    if not geometry.label.any():
        labels = dict.fromkeys(labels, UNKNOWN)
    return torch.from_numpy(image.copy()), torch.from_numpy(masks.copy()), box, labels


def drawn_box(mask: np.ndarray, rng: np.random.Generator) -> list[int]:
    """A box as a hand draws it: each face a little outside the mask, at times a little inside.

    :returns: half-open voxel ranges i0, i1, j0, j1, k0, k1.
    """
    box = []
    careless = rng.random() < 0.25
    for axis in range(3):
        taken = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        if len(taken) == 0:
            taken = [mask.shape[axis] // 2]
        low, high = int(taken[0]), int(taken[-1]) + 1
        size = high - low
        spread = (-0.15, 0.35) if careless else (-0.05, 0.15)
        low = round(low - size * rng.uniform(*spread))
        high = round(high + size * rng.uniform(*spread))
        low = min(max(low, 0), mask.shape[axis] - 1)
        box += [low, min(max(high, low + 1), mask.shape[axis])]
    return box


def collate(samples: list) -> Batch:
    """Samples to a batch."""
    images, masks, boxes, labels = zip(*samples, strict=True)
    rows = [[index, *box] for index, box in enumerate(boxes)]
    return Batch(
        torch.stack(images),
        torch.stack(masks),
        torch.tensor(rows, dtype=torch.int64),
        {task: torch.tensor([one[task] for one in labels]) for task in labels[0]},
        torch.ones(len(samples), 2, dtype=torch.bool),
    )


def one_thread(_worker: int) -> None:
    """Set-up of a loader's process: several of them share the cores with the training."""
    torch.set_num_threads(1)


def painted_batches(crops: PaintedCrops, batch_size: int, workers: int = 1) -> Callable[[int], Iterator[Batch]]:
    """A function for the trainer: given the steps taken, the batches from there on."""

    def from_step(step: int) -> Iterator[Batch]:
        numbers = (range(n * batch_size, (n + 1) * batch_size) for n in count_from(step))
        loader = DataLoader(
            crops,
            batch_sampler=numbers,
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=one_thread,
            prefetch_factor=4 if workers else None,
        )
        yield from loader

    return from_step


def count_from(step: int) -> Iterator[int]:
    """Numbers of the batches that this process has to make from `step` on: of a team, every process takes its own."""
    team = this_team()
    return itertools.count(step * team.size + team.rank, team.size)
