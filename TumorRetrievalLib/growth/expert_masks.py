"""Masks of BraTS patients, in the format of the project's evaluations, brought into the atlas.

BraTS scans come registered to SRI24. One affine transform between that atlas and ours therefore serves all of them; it
was found by registering SRI24's T1 as if it were a patient's (brain masks overlap with a Dice of .97).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap

_BRATS_SHAPE = (240, 240, 155)  # of 1 mm
# Voxels of a BraTS image run to the left, to the back and upwards.
_BRATS_AFFINE = np.array(((-1.0, 0, 0, 0), (0, -1, 0, 239), (0, 0, 1, 0), (0, 0, 0, 1)))
_OEDEMA = 2
SRI24_TO_MNI152 = np.array(
    (
        (1.08408, 0.00948, 0.00422, 127.58712),
        (0.01342, 1.01932, 0.23076, -143.13405),
        (0.00514, -0.23237, 1.13674, -51.95886),
        (0.0, 0.0, 0.0, 1.0),
    )
)


@dataclass(frozen=True, eq=False)
class ExpertMasks:
    """What an expert drew of one patient.

    :param name: the patient's.
    :param whole: every label, bool on the grid that was asked for.
    :param core: all but oedema.
    """

    name: str
    whole: np.ndarray
    core: np.ndarray


def read_expert_masks(path, grid: Grid, limit: int | None = None) -> list[ExpertMasks]:
    """Reads a `.npz` with `seg` (n, i, j, k), BraTS labels of the whole image at any resolution, and `id` (n,).

    :param grid: where the masks are wanted, in the atlas.
    :param limit: only so many of them.
    :raises UnreadableFile: if it is not such a file.
    """
    path = Path(path)
    stored = read_arrays(path, "A file of masks is an .npz with seg and id.")
    if not {"seg", "id"} <= stored.keys():
        raise UnreadableFile(f"{path} is not a file of masks: it is an .npz with seg and id.")
    segmentations, names = stored["seg"], stored["id"]
    if segmentations.ndim != 4 or segmentations.dtype.kind not in "iu" or len(segmentations) != len(names):
        raise UnreadableFile(f"{path}: seg must hold one mask of whole numbers (i, j, k) for each id.")
    if min(segmentations.shape[1:]) < 2:
        raise UnreadableFile(
            f"{path}: seg holds images of {segmentations.shape[1:]} voxels; each needs 2 along each axis."
        )
    # Squeezed from end to end: the first and the last voxel of a row are those of the BraTS image.
    squeeze = np.divide(np.subtract(_BRATS_SHAPE, 1), np.subtract(segmentations.shape[1:], 1))
    affine = SRI24_TO_MNI152 @ _BRATS_AFFINE @ np.diag((*squeeze, 1.0))
    masks = []
    for name, labels in list(zip(names, segmentations, strict=True))[:limit]:
        in_atlas = resample_labels(LabelMap(labels, affine), grid).data
        masks.append(ExpertMasks(str(name), in_atlas > 0, (in_atlas > 0) & (in_atlas != _OEDEMA)))
    return masks
