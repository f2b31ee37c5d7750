"""Archives for tests: folders of small scans in any naming."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

SHAPE = (7, 6, 5)
AFFINE = np.array([[-1.0, 0, 0, 10], [0, -1, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1]])


def noise(seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).integers(0, 100, SHAPE).astype(np.float32), AFFINE)


def marked(labels) -> LabelMap:
    """A mask in which each label has one voxel."""
    data = np.zeros(SHAPE, np.uint8)
    data.ravel()[10 : 10 + len(labels)] = labels
    return LabelMap(data, AFFINE)


@dataclass
class ArchiveFolder:
    """A folder to which cases are added."""

    path: Path

    def case(self, name, t1c="t1c.nii.gz", flair="flair.nii.gz", mask="seg.nii.gz", labels=(1, 2)) -> Path:
        """A folder with one case; None leaves a file out."""
        folder = self.path / name
        folder.mkdir(parents=True)
        for seed, scan in enumerate((t1c, flair)):
            if scan is not None:
                write_volume(folder / scan, noise(seed))
        if mask is not None:
            write_labels(folder / mask, marked(labels))
        return folder


@pytest.fixture
def archive_folder(tmp_path) -> ArchiveFolder:
    folder = tmp_path / "archive"
    folder.mkdir()
    return ArchiveFolder(folder)
