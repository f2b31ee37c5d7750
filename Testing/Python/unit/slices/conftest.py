"""Slices that anyone can tell apart: a bright disc, a dark one, or one at the bottom of the head."""

from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.training.slice_data import SliceSet


def drawn_slices(count: int, seed: int = 0) -> SliceSet:
    """Heads with a tumor of type 1, 2 or 3; five patients per fold, two folds."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:128, :128]
    images, masks, labels = [], [], []
    for number in range(count):
        label = 1 + number % 3
        head = ((rows - 64) / 50) ** 2 + ((columns - 64) / 40) ** 2 < 1
        middle = (100, 64) if label == 3 else rng.integers(45, 80, 2)
        mask = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < rng.integers(7, 12) ** 2
        image = np.where(mask, {1: 220, 2: 30, 3: 220}[label], 90 * head) + rng.normal(0, 4, head.shape) * head
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        masks.append(mask)
        labels.append(label)
    folds = np.arange(count) % 2 + 1
    return SliceSet(np.array(images), np.array(labels), np.array(masks), np.ones(count, bool), folds)


def write_slices(path: Path, slices: SliceSet, **changes) -> Path:
    """A file of slices, changed as the test wants; an array that is None is left out."""
    arrays = {
        "image": slices.images,
        "label": slices.labels.astype(np.uint8),
        "mask_packed": np.packbits(slices.masks, axis=-1),
        "fold": slices.folds.astype(np.uint8),
    }
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


@pytest.fixture(scope="session")
def slices() -> SliceSet:
    return drawn_slices(24)


@pytest.fixture
def file_of(tmp_path, slices):
    """A function that writes the slices with other arrays than they have."""
    return lambda **changes: write_slices(tmp_path / "slices.npz", slices, **changes)
