"""Training samples for the network of Pisov et al. 2018: whole patches of T1c with all their tumors.

The paper's patients are not public. Synthetic ones of the same composition take their place: 80 % of a cohort with the
shares of its Table 1, whose seeds no index uses.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from TumorRetrievalLib.cohort.labels import ALLOWED, describe_position
from TumorRetrievalLib.imaging.intensity import normalise_crop
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.synthesis.fields import axes_of, streams
from TumorRetrievalLib.synthesis.lesions import CasePlan, plan_case
from TumorRetrievalLib.synthesis.painting import draw_style, paint
from TumorRetrievalLib.synthesis.raster import rasterise
from TumorRetrievalLib.synthesis.scan import atlas_position
from TumorRetrievalLib.training.samples import count_from, one_thread

FIRST_SEED = 2_000_000
COHORT = 989
"""Patients of the paper."""
PATIENTS = 791
"""80 % of them, to train on: the first. All is drawn from a patient's number, so the rest is a random fifth."""
SHARES = {"metastasis": 399 / 989, "meningioma": 339 / 989, "schwannoma": 251 / 989}
TASKS = {label: len(values) for label, values in ALLOWED.items()}


class PaperPatches(Dataset):
    """Endless patches: number n shows a patient, a tumor and an offset drawn from the n-th random number of `seed`.

    :param crop: edge in voxels; the paper's is 120.
    :param spacing: edge of a voxel in mm; the paper's are 0.94 x 0.94 x 1.
    """

    def __init__(self, crop: int = 120, seed: int = 0, patients: int = PATIENTS, spacing: float = 1.0):
        self.crop, self.seed, self.patients, self.spacing = crop, seed, patients, spacing

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, list[list[int]], list[dict[str, int]]]:
        """(T1c (1, n, n, n), mask (1, n, n, n), a box per tumor that lies wholly in the patch, their labels)."""
        rng, generator = streams(self.seed, f"patch {number}")
        plan = plan_patient(int(rng.integers(self.patients)))
        if not plan.lesions:
            return self[number + (1 << 39)]
        lesion = plan.lesions[int(rng.integers(len(plan.lesions)))]
        room = max(0.0, (self.crop / 2 - 3) * self.spacing - lesion.radius)
        grid = Grid.around(lesion.center + rng.uniform(-room, room, 3), self.spacing, (self.crop,) * 3)
        geometry = rasterise(plan, grid)
        image = paint(geometry, axes_of(grid), draw_style(rng), rng, generator)["t1c"].numpy()
        nothing = np.zeros(image.shape, bool)
        image = normalise_crop(image, image > 0, geometry.brain.numpy(), nothing)
        boxes, labels = [], []
        core, lesion_of = geometry.core.numpy(), geometry.lesion.numpy()
        for index in range(1, len(plan.lesions) + 1):
            box = box_inside(core & (lesion_of == index))
            if box is not None:
                boxes.append(box)
                middle = grid.to_world((np.array(box[::2]) + np.array(box[1::2]) - 1) / 2)
                labels.append(_labels(plan.tumor_type, atlas_position(plan, middle)))
        return torch.from_numpy(image[None]), torch.from_numpy(core[None].astype(np.float32)), boxes, labels


def plan_patient(number: int) -> CasePlan:
    """The patient of a number below `COHORT`."""
    seed = FIRST_SEED + number
    tumor_type = str(streams(seed, "type")[0].choice(list(SHARES), p=list(SHARES.values())))
    return plan_case(seed, tumor_type)


def box_inside(mask: np.ndarray) -> list[int] | None:
    """Half-open ranges around a mask, or None if it is empty or reaches the border."""
    box = []
    for axis in range(3):
        taken = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        if len(taken) == 0 or taken[0] == 0 or taken[-1] == mask.shape[axis] - 1:
            return None
        box += [int(taken[0]), int(taken[-1]) + 1]
    return box


def _labels(tumor_type: str, atlas_mm: np.ndarray) -> dict[str, int]:
    known = {"type": tumor_type, **vars(describe_position(atlas_mm))}
    return {task: ALLOWED[task].index(known[task]) for task in TASKS}


def collate(samples: list) -> Batch:
    """Samples to a batch."""
    images, masks, boxes, labels = zip(*samples, strict=True)
    rows = [[index, *box] for index, several in enumerate(boxes) for box in several]
    flat = [one for several in labels for one in several]
    return Batch(
        torch.stack(images),
        torch.stack(masks),
        torch.tensor(rows, dtype=torch.int64).reshape(-1, 7),
        {task: torch.tensor([one[task] for one in flat], dtype=torch.int64) for task in TASKS},
        torch.ones(len(samples), 1, dtype=torch.bool),
    )


def paper_batches(patches: PaperPatches, batch_size: int, workers: int = 1) -> Callable[[int], Iterator[Batch]]:
    """A function for the trainer: given the steps taken, the batches from there on."""

    def from_step(step: int) -> Iterator[Batch]:
        numbers = (range(n * batch_size, (n + 1) * batch_size) for n in count_from(step))
        yield from DataLoader(
            patches, batch_sampler=numbers, num_workers=workers, collate_fn=collate, worker_init_fn=one_thread
        )

    return from_step
