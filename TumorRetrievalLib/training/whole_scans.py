"""Whole scans to train on: prepared once and kept on disk, cut into patches at random, and outlined in windows."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.cohort.splits import split_by_patient
from TumorRetrievalLib.errors import Cancelled, CannotWrite, InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.imaging.intensity import has_signal, normalise_crop
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.device import mixed_precision
from TumorRetrievalLib.synthesis.fields import streams
from TumorRetrievalLib.synthesis.scan import CENTER_RAS
from TumorRetrievalLib.training.recipes import Recipe
from TumorRetrievalLib.training.samples import count_from, one_thread

VOXEL_MM = {"published": 1.0, "small": 2.0}
EXTENT_MM = (160, 192, 160)
"""Of a whole brain, around CENTER_RAS."""

OVERLAP = 0.25
"""Of neighbouring windows, as a share of their edge."""


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan as a network sees it.

    :param image: float32 (channels, X, Y, Z), normalised.
    :param masks: bool (masks, X, Y, Z).
    :param label: class of the whole scan, -1 where it is not known.
    """

    image: np.ndarray
    masks: np.ndarray
    label: int = -1

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What is kept on disk."""
        return {
            "image": self.image.astype(np.float16),
            "masks": np.packbits(self.masks, axis=-1),
            "facts": np.array(json.dumps({"label": self.label, "edge": self.masks.shape[-1]})),
        }

    @classmethod
    def from_arrays(cls, stored: dict[str, np.ndarray]) -> "PreparedScan":
        """The scan that `to_arrays` was called on."""
        facts = json.loads(str(stored["facts"]))
        masks = np.unpackbits(stored["masks"], axis=-1, count=facts["edge"]).astype(bool)
        return cls(stored["image"].astype(np.float32), masks, int(facts["label"]))


class ScanStore:
    """A folder of prepared scans, one file each; safe for several trainings at once.

    :param kind: what they are: a class with `to_arrays` and `from_arrays`, such as `PreparedScan`.
    """

    def __init__(self, folder: Path | str, kind: type = PreparedScan):
        self.folder, self.kind = Path(folder), kind
        make_folder(self.folder)

    def has(self, name: str) -> bool:
        """Whether a scan has been prepared."""
        return self._path(name).exists()

    def get_or_make(self, name: str, make: Callable) -> None:
        """Prepares a scan, unless that was done before."""
        if self.has(name):
            return
        scan = make()
        with atomic_file(self._path(name)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **scan.to_arrays())

    def read(self, name: str):
        """One scan back.

        :raises UnreadableFile: if its file is missing or damaged.
        """
        path = self._path(name)
        try:
            return self.kind.from_arrays(read_arrays(path, "Delete it; it will be prepared again."))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, InvalidImage) as error:
            message = f"{path} is not a prepared scan ({error}). Delete it; it will be prepared again."
            raise UnreadableFile(message) from None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


class Patches(Dataset):
    """Endless patches: number n is cut and flipped as the n-th random number of `seed` says.

    :param names: of the scans in the store.
    :param edges: of a patch in voxels; a scan that is smaller is padded with its first voxel's values.
    :param flips: axes along which half of the patches are mirrored.
    """

    def __init__(self, store: ScanStore, names: list[str], edges: tuple[int, int, int], seed: int, flips: tuple):
        self.store, self.names, self.edges, self.seed, self.flips = store, names, edges, seed, flips

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """(image (C, *edges), masks (M, *edges), label); a patch that misses the tumor has the label -1."""
        rng, _ = streams(self.seed, f"patch {number}")
        scan = self.store.read(self.names[int(rng.integers(len(self.names)))])
        missing = [(0, max(0, edge - size)) for edge, size in zip(self.edges, scan.image.shape[1:], strict=True)]
        image = np.pad(scan.image, [(0, 0), *missing], constant_values=float(scan.image[0, 0, 0, 0]))
        masks = np.pad(scan.masks, [(0, 0), *missing])
        low = [int(rng.integers(size - edge + 1)) for edge, size in zip(self.edges, image.shape[1:], strict=True)]
        region = (slice(None), *(slice(a, a + edge) for a, edge in zip(low, self.edges, strict=True)))
        image, masks = image[region], masks[region]
        mirrored = [axis + 1 for axis in self.flips if rng.random() < 0.5]
        image, masks = np.flip(image, mirrored), np.flip(masks, mirrored)
        label = scan.label if masks.any() else -1
        return torch.from_numpy(image.copy()), torch.from_numpy(masks.astype(np.float32)), label


def workers() -> int:
    """Processes that prepare scans and cut patches: half of the cores, the other half trains."""
    return max(1, (os.cpu_count() or 2) // 2)


def patch_batches(patches: Patches, recipe: Recipe) -> Callable[[int], Iterator[Batch]]:
    """A function for the trainer: given the steps taken, the batches from there on."""

    def from_step(step: int) -> Iterator[Batch]:
        size = recipe.batch_size
        numbers = (range(n * size, (n + 1) * size) for n in count_from(step))
        yield from DataLoader(
            patches, batch_sampler=numbers, num_workers=workers(), collate_fn=_collate, worker_init_fn=one_thread
        )

    return from_step


def _collate(samples: list) -> Batch:
    images, masks, labels = zip(*samples, strict=True)
    no_boxes = torch.zeros((0, 7), dtype=torch.int64)
    known = torch.ones(len(samples), masks[0].shape[0], dtype=torch.bool)
    return Batch(torch.stack(images), torch.stack(masks), no_boxes, {"marker": torch.tensor(labels)}, known)


@torch.no_grad()
def read_in_windows(
    network: nn.Module, image: np.ndarray, edges: tuple[int, int, int], device: torch.device
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outlines a whole scan in overlapping windows as large as the patches of the training.

    :param network: in eval mode on `device`.
    :param image: (C, X, Y, Z).
    :returns: the chance of each mask, float32 (M, X, Y, Z); and for each label of the network its probabilities, the
        mean over the windows, weighted by how much tumor each shows (all alike where none shows any).
    """
    from monai.inferers import sliding_window_inference

    sizes, chances = [], []

    def read(window: torch.Tensor) -> torch.Tensor:
        with mixed_precision(device):
            output: Output = network(window, torch.zeros((0, 7), dtype=torch.int64))
        masks = output.masks.sigmoid()
        sizes.extend((masks[:, 0] > 0.5).sum(dim=(1, 2, 3)).tolist())
        chances.append({task: logits.float().softmax(dim=1).cpu().numpy() for task, logits in output.labels.items()})
        return masks

    window = torch.from_numpy(image[None]).to(device)
    fill = float(image[0, 0, 0, 0])
    masks = sliding_window_inference(window, edges, 1, read, overlap=OVERLAP, mode="gaussian", cval=fill)
    weights = np.array(sizes, float) if any(sizes) else np.ones(len(sizes))
    labels = {task: np.average([chance[task][0] for chance in chances], axis=0, weights=weights) for task in chances[0]}
    return masks[0].cpu().numpy(), labels


def prepare_scans(
    store: ScanStore,
    work: dict[str, Callable],
    progress: Callable[[float, str], None],
    workers: int,
    failed: Callable[[str, TumorRetrievalError], None] | None = None,
) -> None:
    """Prepares every scan that is not in the store yet.

    :param work: name -> makes the scan; can be sent to another process.
    :param progress: called with (share, message).
    :param failed: told of a scan that cannot be prepared, with the reason; without it, the first one ends the work.
    """
    missing = {name: make for name, make in work.items() if not store.has(name)}
    for number, (name, finish) in enumerate(_finished(store, missing, workers), start=1):
        try:
            finish()
        except (Cancelled, CannotWrite):
            raise  # not this scan's fault
        except TumorRetrievalError as error:
            if failed is None:
                raise
            failed(name, error)
        progress(number / len(missing), f"Preparing scans: {number} of {len(missing)}")


def _finished(store: ScanStore, missing: dict[str, Callable], workers: int) -> Iterator[tuple[str, Callable]]:
    """For each scan a call that returns when it is prepared, or raises what went wrong."""
    if workers == 1 or len(missing) < 2 * workers:
        for name, make in missing.items():
            yield name, partial(store.get_or_make, name, make)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_prepare, store, name, make): name for name, make in missing.items()}
        for future in as_completed(waiting):
            yield waiting[future], future.result


def _prepare(store: ScanStore, name: str, make: Callable) -> None:
    torch.set_num_threads(1)
    store.get_or_make(name, make)


def prepare_cohort(
    store: ScanStore,
    cohort: Sequence[tuple[Case, str, Callable]],
    shares: dict[str, float],
    seed: int,
    progress: Callable[[float, str], None],
) -> dict[str, list[str]]:
    """Prepares the scans of patients and divides them, by patient.

    :param cohort: (case, its name in the store, what makes its scan).
    :param shares: :param seed: as in `split_by_patient`.
    :returns: name of a part -> names in the store.
    """
    prepare_scans(store, {name: make for _, name, make in cohort}, progress, workers())
    names = {case.id: name for case, name, _ in cohort}
    parts = split_by_patient([case for case, _, _ in cohort], shares, seed)
    return {part: [names[case.id] for case in cases] for part, cases in parts.items()}


def require_drawn(case: Case, drawn: np.ndarray) -> None:
    """:raises InvalidImage: if nothing is drawn in a case's mask."""
    if not drawn.any():
        raise InvalidImage(f"Case {case.id!r}: the mask {case.mask} is empty. Leave the case out, or draw its tumor.")


def brain_grid(spacing_mm: float) -> Grid:
    """The grid of isotropic voxels that holds the whole brain of the atlas, and of a synthetic patient."""
    return Grid.around(CENTER_RAS, spacing_mm, tuple(round(edge / spacing_mm) for edge in EXTENT_MM))


def dice(found: np.ndarray, truth: np.ndarray) -> float | None:
    """2 |A and B| / (|A| + |B|) of two bool arrays; None where there is nothing to find."""
    if not truth.any():
        return None
    return float(2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)))


def name_of_case(case: Case, spacing: float) -> str:
    """What a manifest's case is called in the store: other or newer files, or other labels, make another name."""
    files = [path for path in (case.t1c, case.flair, case.mask) if path is not None]
    stamps = [(str(path.resolve()), path.stat().st_mtime_ns) for path in files]
    said = repr((stamps, case.mask_labels, [tumor.marker for tumor in case.tumors], spacing))
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def upright_grid(grid: Grid, spacing_mm: float) -> Grid:
    """The grid along R, A and S, of isotropic voxels, that covers another one."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, 8).T
    extent = np.ptp(grid.to_world(corners), axis=0)
    return Grid.around(grid.centre(), spacing_mm, tuple(int(n) for n in np.ceil(extent / spacing_mm - 1e-6)))


def normalised(scan: Volume, brain: np.ndarray | None = None) -> np.ndarray:
    """A whole scan with its brain at median 0 and spread 1, and LOWEST where it has no signal.

    :param brain: bool, where the brain is; None: wherever the scan has signal, as in a skull-stripped one.
    """
    signal = has_signal(scan.data)
    return normalise_crop(scan.data, signal, brain, np.zeros(scan.shape, bool))
