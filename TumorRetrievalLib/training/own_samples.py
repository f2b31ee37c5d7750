"""Training samples from a hospital's own cases, cut exactly as a drawn box is cut in use.

A sample is a scan, a box drawn by hand around one of its tumors, and what the person who drew the mask has outlined.
Each time the patient lies a little differently, is a little larger or smaller, and the scanner was a little different.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader, Dataset

from TumorRetrievalLib.errors import InvalidBox, InvalidImage
from TumorRetrievalLib.imaging.box import Box, box_of_region
from TumorRetrievalLib.imaging.intensity import HIGHEST, LOWEST, normalise_crop
from TumorRetrievalLib.imaging.resample import resample, resample_labels
from TumorRetrievalLib.imaging.tumor_crop import COARSEST_MM, CROP, Crop, Scan, crop_spacing, cut_crop
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.synthesis.fields import streams
from TumorRetrievalLib.training import paper_samples, samples
from TumorRetrievalLib.training.own_cases import OwnScan, as_slices
from TumorRetrievalLib.training.samples import UNKNOWN, SampleMix, count_from, drawn_box, one_thread
from TumorRetrievalLib.training.whole_scans import ScanStore

TURN_DEG, STRETCH = 7.0, 0.1
"""How the patient lies and how large the head is: standard deviation about each axis, and largest change of length."""
WINDOW_MM = 2.0
"""Voxels of the cubes in which a whole brain is searched without a box."""
_WIDENED, _WIDEN = 0.1, 1.35
"""How often, and by what factor, the cube is larger than the box asks for: in use, where a tumor runs out of it."""
_ANOTHER = 1 << 39
"""Added to the number of a sample that cannot be made."""


@dataclass(frozen=True, eq=False)
class OwnSample:
    """What the network is shown, and the truth.

    :param image: float32 (4, n, n, n); :param masks: float32 (2, n, n, n).
    :param box: i0, i1, j0, j1, k0, k1.
    :param known: bool (2,), whether the truth of each mask is known.
    :param spacing_mm: edge of a voxel.
    :param patient: number of the patient.
    """

    image: np.ndarray
    masks: np.ndarray
    box: list[int]
    labels: dict[str, int]
    known: list[bool]
    spacing_mm: float
    patient: int


class OwnCrops(Dataset):
    """Endless samples for the default network: number n is drawn from the n-th random number of `seed`.

    Every patient is shown equally often, however many scans and tumors there are.

    :param patients: for each patient the names of the scans in the store.
    :param crop: edge in voxels, at most `CROP`.
    :param changed: let patients lie differently and scanners differ; not where something is measured.
    """

    def __init__(
        self,
        store: ScanStore,
        patients: Sequence[Sequence[str]],
        crop: int = CROP,
        seed: int = 0,
        mix: SampleMix | None = None,
        changed: bool = True,
    ):
        self.store, self.patients, self.crop, self.seed = store, patients, crop, seed
        self.mix, self.changed = mix or SampleMix(), changed

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> OwnSample:
        rng, _ = streams(self.seed, f"own sample {number}")
        patient = int(rng.integers(len(self.patients)))
        scans = self.patients[patient]
        scan: OwnScan = self.store.read(scans[int(rng.integers(len(scans)))])
        try:
            image, masks, box, labels, spacing = _shown(scan, rng, self.mix, self.changed)
        except (InvalidBox, InvalidImage):  # a hand has drawn on background alone
            return self[number + _ANOTHER]
        if self.changed:
            _change_intensities(image, rng)
            if rng.random() < 0.5:
                image, masks = image[:, ::-1], masks[:, ::-1]
                box = [CROP - box[1], CROP - box[0], *box[2:]]
        image, masks, box = _middle(image, masks, box, self.crop)
        return OwnSample(image, masks, box, labels, [True, scan.whole_known], spacing, patient)


def own_collate(several: list[OwnSample]) -> Batch:
    """Samples to a batch."""
    rows = [(torch.from_numpy(a.image.copy()), torch.from_numpy(a.masks.copy()), a.box, a.labels) for a in several]
    return replace(samples.collate(rows), mask_known=torch.tensor([one.known for one in several]))


def own_batches(crops: OwnCrops, batch_size: int, workers: int = 1) -> Callable[[int], Iterator[Batch]]:
    """A function for the trainer: given the steps taken, the batches from there on."""

    def from_step(step: int) -> Iterator[Batch]:
        numbers = (range(n * batch_size, (n + 1) * batch_size) for n in count_from(step))
        yield from DataLoader(
            crops, batch_sampler=numbers, num_workers=workers, collate_fn=own_collate, worker_init_fn=one_thread
        )

    return from_step


class OwnPatches(Dataset):
    """Endless patches for the network of Pisov et al. 2018, as `paper_samples.PaperPatches` has them.

    :param patients: for each patient the names of the scans in the store.
    :param crop: edge in voxels.
    :param spacing: edge of a voxel in mm.
    """

    def __init__(
        self, store: ScanStore, patients: Sequence[Sequence[str]], crop: int = 120, seed: int = 0, spacing: float = 1.0
    ):
        self.store, self.patients, self.crop, self.seed, self.spacing = store, patients, crop, seed, spacing

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, list[list[int]], list[dict[str, int]]]:
        """(T1c (1, n, n, n), mask (1, n, n, n), a box per tumor that lies wholly in the patch, their labels)."""
        rng, _ = streams(self.seed, f"own patch {number}")
        scans = self.patients[int(rng.integers(len(self.patients)))]
        scan: OwnScan = self.store.read(scans[int(rng.integers(len(scans)))])
        turn = _turn(rng)
        seen = scan.as_seen(flair=False, turn=turn)
        tumor = scan.tumors[int(rng.integers(len(scan.tumors)))]
        box = box_of_region(seen.t1c.grid, as_slices(tumor.regions["core"] or tumor.regions["whole"]))
        room = max(0.0, (self.crop / 2 - 3) * self.spacing - box.size.max() / 2)
        grid = Grid.around(box.center + rng.uniform(-room, room, 3), self.spacing, (self.crop,) * 3)
        try:
            image = _normalised_patch(seen, grid)
        except InvalidImage:  # an offset has led out of the head
            return self[number + _ANOTHER]
        _change_intensities(image[None], rng)
        core = resample_labels(LabelMap(scan.core.data, seen.t1c.affine), grid).data
        inside = [(paper_samples.box_inside(core == index), one) for index, one in enumerate(scan.tumors, start=1)]
        boxes, labels = [box for box, _ in inside if box], [one.classes for box, one in inside if box]
        return torch.from_numpy(image[None]), torch.from_numpy((core > 0).astype(np.float32)[None]), boxes, labels


def _normalised_patch(seen: Scan, grid: Grid) -> np.ndarray:
    signal = resample(seen.channels()[0][1], grid).data > 0.5
    brain = None if seen.brain_on is None else seen.brain_on(grid).data > 0
    return normalise_crop(resample(seen.t1c, grid).data, signal, brain, np.zeros(grid.shape, bool))


def _shown(
    scan: OwnScan, rng: np.random.Generator, mix: SampleMix, changed: bool
) -> tuple[np.ndarray, np.ndarray, list[int], dict[str, int], float]:
    """Image, masks, box, labels and the voxels' edge in mm."""
    turn = _turn(rng) if changed else None
    seen = scan.as_seen(flair=rng.random() >= mix.no_flair, brain=rng.random() < 0.8, turn=turn)
    affine = seen.t1c.affine
    numbers = {"core": LabelMap(scan.core.data, affine), "whole": LabelMap(scan.whole.data, affine)}
    if rng.random() < mix.healthy:
        return _elsewhere(seen, numbers, rng)
    number = 1 + int(rng.integers(len(scan.tumors)))
    around_core = rng.random() < mix.around_core or not scan.whole_known
    around = "core" if around_core and scan.tumors[number - 1].regions["core"] else "whole"
    region = scan.tumors[number - 1].regions[around]
    box, mine = _drawn_by_hand(numbers[around], region, number, around, rng, together=rng.random() < mix.together)
    prompted = rng.random() >= mix.no_box
    crop = _cut(seen, box, around, rng, prompted=prompted)
    shown = mine if prompted else range(1, 1 + len(scan.tumors))
    labels = {"type": _common([scan.tumors[one - 1].classes["type"] for one in mine]), "enhancement": UNKNOWN}
    ranges = [end for part in box.voxel_hull(crop.grid) for end in (part.start, part.stop)]
    return crop.image, _masks(numbers, shown, crop.grid), ranges, labels, float(crop.grid.spacing[0])


def _drawn_by_hand(
    numbers: LabelMap, region: list[int], number: int, around: str, rng: np.random.Generator, *, together: bool
) -> tuple[Box, list[int]]:
    """A box, upright as the patient lies, around one tumor or around all that are near it; and which those are."""
    tight = box_of_region(numbers.grid, as_slices(region))
    grid = Grid.around(tight.center, crop_spacing(tight, around), (CROP,) * 3)
    near = resample_labels(numbers, grid).data
    target = near > 0 if together else near == number
    mine = sorted({number, *np.unique(near[target]).tolist()})
    return box_of_region(grid, as_slices(drawn_box(target, rng))), mine


def _cut(seen: Scan, box: Box, around: str, rng: np.random.Generator, *, prompted: bool) -> Crop:
    """The cube of a box; without one, the same cube or one of those in which a whole brain is searched."""
    if prompted or rng.random() < 0.5:
        spacing = crop_spacing(box, around)
        if rng.random() < _WIDENED and spacing * _WIDEN <= COARSEST_MM:
            spacing *= _WIDEN
        crop = cut_crop(seen, box, around, spacing)
    else:
        crop = _window(seen, box.center + rng.uniform(-0.25, 0.25, 3) * CROP * WINDOW_MM)
        box.voxel_hull(crop.grid)
    if not prompted:
        crop.image[2:] = 0.0
    return crop


def _elsewhere(
    seen: Scan, numbers: dict[str, LabelMap], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[int], dict[str, int], float]:
    """A cube anywhere in the head, without a box: mostly healthy brain."""
    shown = np.flatnonzero(seen.channels()[0][1].data)
    place = np.unravel_index(shown[int(rng.integers(len(shown)))], seen.t1c.shape)
    crop = _window(seen, seen.t1c.grid.to_world(place))
    every = range(1, 1 + int(numbers["whole"].data.max()))
    unknown = {"type": UNKNOWN, "enhancement": UNKNOWN}
    return crop.image, _masks(numbers, every, crop.grid), crop.box, unknown, WINDOW_MM


def _window(seen: Scan, center: np.ndarray) -> Crop:
    """The cube without a box in which the tool searches a whole brain."""
    crop = cut_crop(seen, Box.aligned(center, (CROP * WINDOW_MM,) * 3), "whole", WINDOW_MM)
    crop.image[2:] = 0.0
    return crop


def _masks(numbers: dict[str, LabelMap], mine: Sequence[int], grid: Grid) -> np.ndarray:
    """Core and whole tumor of some tumors, float32 (2, n, n, n)."""
    core, whole = (np.isin(resample_labels(numbers[mask], grid).data, list(mine)) for mask in ("core", "whole"))
    return np.stack([core, whole | core]).astype(np.float32)


def _common(classes: list[int]) -> int:
    """The class that all have; UNKNOWN where they differ."""
    return classes[0] if len(set(classes)) == 1 else UNKNOWN


def _turn(rng: np.random.Generator) -> np.ndarray:
    """How a patient lies this time, and how large the head is: RAS mm -> RAS mm, shape (4, 4)."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians(rng.normal(0, TURN_DEG, 3))).as_matrix()
    turn[:3, :3] *= rng.uniform(1 - STRETCH, 1 + STRETCH)
    return turn


def _change_intensities(image: np.ndarray, rng: np.random.Generator) -> None:
    """Another scanner: contrast, shading, sharpness and noise of the channels that hold an image; in place."""
    for channel in image[:2]:
        if not channel.any():
            continue
        nothing = channel == LOWEST
        changed = channel * rng.uniform(0.8, 1.25) + rng.uniform(-0.25, 0.25)
        coarse = rng.normal(0, rng.uniform(0, 0.3), (4, 4, 4))
        changed += ndimage.zoom(coarse, np.array(channel.shape) / 4, order=1)
        if rng.random() < 0.3:
            changed = ndimage.gaussian_filter(changed, rng.uniform(0.3, 0.9))
        changed += rng.normal(0, rng.uniform(0, 0.2), channel.shape)
        channel[:] = np.where(nothing, LOWEST, np.clip(changed, LOWEST, HIGHEST))


def _middle(
    image: np.ndarray, masks: np.ndarray, box: list[int], edge: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The inner part of a cube, where memory is short."""
    low = (CROP - edge) // 2
    part = (slice(None), *(slice(low, low + edge),) * 3)
    inside = np.clip(np.array(box).reshape(3, 2) - low, (0, 1), (edge - 1, edge))
    return image[part], masks[part], np.maximum(inside, inside[:, :1] + (0, 1)).ravel().tolist()
