"""Slices with their types and tumors, from a file of arrays; and how they are divided for training and testing."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidSlices
from TumorRetrievalLib.networks.slices import EDGE, SLICE_TYPES

MOST_SLICES = 100_000
DIGEST_LENGTH = 12
HELD_OUT = 0.2

_ARRAYS = {
    "image": ((EDGE, EDGE), "u"),
    "label": ((), "ui"),
    "mask_packed": ((EDGE, EDGE // 8), "u"),
    "mask_known": ((), "b"),
    "fold": ((), "ui"),
}
"""Name -> (shape of one slice's entry, kinds of numbers)."""
_NEEDED = ("image", "label")


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices of contrast-enhanced T1, 128 x 128, upright as a viewer shows them.

    :param images: uint8 (n, 128, 128).
    :param labels: int64 (n,), places in `SLICE_TYPES`.
    :param masks: bool (n, 128, 128), the tumor.
    :param mask_known: bool (n,), whether the mask says anything.
    :param folds: int64 (n,), such that no patient is in two folds; None where that is not known.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    mask_known: np.ndarray
    folds: np.ndarray | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, which: np.ndarray) -> "SliceSet":
        """The slices at these places, in this order."""
        folds = None if self.folds is None else self.folds[which]
        return SliceSet(
            self.images[which], self.labels[which], self.masks[which], self.mask_known[which], folds
        )  # fmt: skip

    def digests(self) -> list[str]:
        """The first characters of every image's SHA-256: by them a slice is recognised."""
        return [hashlib.sha256(image.tobytes()).hexdigest()[:DIGEST_LENGTH] for image in self.images]

    def require_trainable(self) -> None:
        """:raises InvalidSlices: if there is nothing to learn: fewer than two types, or hardly any slices."""
        if len(np.unique(self.labels)) < 2:
            raise InvalidSlices(
                f"All slices show the same type ({SLICE_TYPES[self.labels[0]]}): there is nothing to tell apart. "
                f"Add slices of another type."
            )
        if len(self) < 10:
            raise InvalidSlices(f"Only {len(self)} slices to train on; at least 10 are needed.")


def read_slices(path: Path | str) -> SliceSet:
    """Reads a file of slices.

    It is an `.npz` with `image`, uint8 (n, 128, 128), and `label`, whole numbers (n,), places in `SLICE_TYPES`; and,
    where that is known, `mask_packed`, uint8 (n, 128, 16), the masks packed by `numpy.packbits` along the last axis,
    `mask_known`, bool (n,), and `fold`, whole numbers (n,), such that no patient has slices in two folds. Other
    arrays are not looked at. Names, types and shapes are checked before any array is loaded, and nothing is unpickled.

    :raises InvalidSlices: if the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {name: _header(archive, name) for name in _ARRAYS if f"{name}.npy" in archive.namelist()}
            _check_headers(headers, path)
            arrays = {name: _array(archive, name) for name in headers}
    except InvalidSlices:
        raise
    except Exception as error:  # damaged archives and headers raise many kinds
        raise InvalidSlices(f"The file of slices {path} cannot be read: {error}. It must be an .npz.") from error
    count = len(arrays["label"])
    labels = arrays["label"].astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(SLICE_TYPES):
        raise InvalidSlices(
            f"The labels in {path} reach from {labels.min()} to {labels.max()}; they must be from 0 to "
            f"{len(SLICE_TYPES) - 1} ({', '.join(SLICE_TYPES)})."
        )
    packed = arrays.get("mask_packed")
    no_masks = np.zeros((count, EDGE, EDGE), bool)
    masks = no_masks if packed is None else np.unpackbits(packed, axis=-1).astype(bool)
    known = arrays.get("mask_known", np.full(count, packed is not None))
    folds = arrays["fold"].astype(np.int64) if "fold" in arrays else None
    return SliceSet(arrays["image"], labels, masks, known, folds)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, without its numbers."""
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return shape, dtype


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _check_headers(headers: dict[str, tuple[tuple[int, ...], np.dtype]], path: Path) -> None:
    missing = [name for name in _NEEDED if name not in headers]
    if missing:
        raise InvalidSlices(f"The file of slices {path} lacks the array {' and '.join(missing)}.")
    count = headers["label"][0][0] if headers["label"][0] else 0
    if not 0 < count <= MOST_SLICES:
        raise InvalidSlices(f"The file {path} holds {count} slices; it must be from 1 to {MOST_SLICES}.")
    for name, (shape, dtype) in headers.items():
        entry, kinds = _ARRAYS[name]
        wrong_size = name in ("image", "mask_packed") and dtype != np.uint8
        if shape != (count, *entry) or dtype.kind not in kinds or wrong_size:
            raise InvalidSlices(
                f"The array {name} in {path} is {dtype} {shape}; with {count} labels it must be "
                f"{'uint8' if entry else {'b': 'bool'}.get(kinds, 'whole numbers')} {(count, *entry)}."
            )


def patient_folds(slices: SliceSet) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For every fold of patients: the places of the slices to train on and of those to test on.

    :raises InvalidSlices: if the file does not divide its patients.
    """
    if slices.folds is None or len(np.unique(slices.folds)) < 2:
        raise InvalidSlices("These slices are not divided by patients: the file needs an array fold with two or more.")
    folds = {int(fold): slices.folds == fold for fold in np.unique(slices.folds)}
    return {f"fold {fold}": (np.flatnonzero(~mine), np.flatnonzero(mine)) for fold, mine in folds.items()}


def random_fifth(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places to train on and, one in five, to test or validate on; slices of one patient can be in both."""
    order = np.random.default_rng(seed).permutation(count)
    held_out = round(HELD_OUT * count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def random_folds(places: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cross-validation over `places` as the paper did it: (to train on, to validate on), slice by slice."""
    parts = np.array_split(np.random.default_rng(seed).permutation(places), folds)
    return [(np.sort(np.concatenate(parts[:n] + parts[n + 1 :])), np.sort(parts[n])) for n in range(folds)]
