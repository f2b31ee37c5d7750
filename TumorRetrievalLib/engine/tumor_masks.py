"""The two masks that a growth simulation is fitted to, checked before anything is done with them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidTumorMask
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

LARGEST_SHARE_OUTSIDE = 0.5
"""Of a tumor: if more of it lies outside the brain, the mask is of another patient or lies elsewhere."""
_NOTEWORTHY_ML = 0.5
_NOTEWORTHY_SHARE = 0.02


@dataclass(frozen=True, eq=False)
class TumorMasks:
    """One tumor on the scan's grid.

    :param core: what enhances and what it encloses, without oedema; inside `whole`.
    :param whole: everything with oedema; one connected part.
    :param lesion: all that was marked, further foci too: what a registration must not look at.
    :param notes: sentences that a reader must see.
    """

    core: LabelMap
    whole: LabelMap
    lesion: LabelMap
    notes: list[str] = field(default_factory=list)


def read_masks(core: Path, whole: Path, scan: Volume) -> tuple[LabelMap, LabelMap]:
    """Two segmentations of a scan; what is not 0 is marked.

    :raises UnreadableFile: :raises InvalidImage: if a file is no segmentation.
    :raises GeometryMismatch: if one does not lie on the scan's grid.
    """
    masks = []
    for path in (core, whole):
        mask = read_labels(path)
        scan.require_same_grid(mask, f"The segmentation {path}")
        masks.append(LabelMap(mask.data != 0, mask.affine))
    return masks[0], masks[1]


def tumor_in_box(core: LabelMap, whole: LabelMap, box: Box) -> tuple[LabelMap, LabelMap]:
    """What belongs to one of several tumors: the connected parts (26-neighbourhood) that reach into its box.

    :raises InvalidTumorMask: if nothing does.
    :raises BoxOutsideVolume: if the box does not touch the scan.
    """
    from scipy import ndimage

    region = box.voxel_hull(whole.grid)
    parts, _ = ndimage.label((whole.data != 0) | (core.data != 0), structure=np.ones((3, 3, 3)))
    inside = np.unique(parts[region])
    if not inside.any():
        raise InvalidTumorMask("No part of the segmentations lies in the box: mark the tumor that is meant.")
    kept = np.isin(parts, inside[inside > 0])
    return LabelMap((core.data != 0) & kept, core.affine), LabelMap((whole.data != 0) & kept, whole.affine)


def check_masks(core: LabelMap, whole: LabelMap, signal: np.ndarray) -> TumorMasks:
    """What can be fitted of two masks: the largest focus that has a core.

    A simulated tumor has one origin. Where there are several foci the largest is fitted, and a note says so: two
    simulations side by side would know nothing of each other where they meet.

    :param core: :param whole: on the scan's grid.
    :param signal: bool, where the scan shows anything.
    :raises InvalidTumorMask: if they are empty, contradict each other, or lie where the scan shows nothing.
    """
    inner, outer = core.data != 0, whole.data != 0
    for name, mask in (("tumor core", inner), ("whole tumor", outer)):
        if not mask.any():
            raise InvalidTumorMask(f"The mask of the {name} is empty: mark the tumor in it.")
    core_voxels, notes = np.count_nonzero(inner), []
    outside = np.count_nonzero(inner & ~outer) / core_voxels
    if core_voxels > np.count_nonzero(outer) or outside > 0.5:
        raise InvalidTumorMask(
            f"{outside:.0%} of the tumor core lie outside the whole tumor. The whole tumor includes its core and the "
            f"oedema: check that the two masks are of one tumor and not mistaken for each other."
        )
    if outside > _NOTEWORTHY_SHARE:
        notes.append(f"{outside:.0%} of the tumor core lay outside the whole tumor and were added to it.")
    outer = outer | inner
    invisible = 1 - np.count_nonzero(outer & signal) / np.count_nonzero(outer)
    if invisible > LARGEST_SHARE_OUTSIDE:
        raise InvalidTumorMask(
            f"{invisible:.0%} of the tumor lie where the scan shows nothing: the masks seem to be of another patient."
        )
    focus = _largest_focus(outer, inner)
    left_out = np.count_nonzero(outer & ~focus) * whole.grid.voxel_ml
    if left_out > _NOTEWORTHY_ML:
        notes.append(
            f"The tumor has several foci. One simulation has one origin: the largest focus was fitted, "
            f"{left_out:.1f} ml elsewhere were left out."
        )
    if any(np.take(focus, end, axis).any() for axis in range(3) for end in (0, -1)):
        notes.append("The tumor reaches the border of the scan; what lies beyond it is not known and was not fitted.")
    return TumorMasks(*(LabelMap(mask, whole.affine) for mask in (inner & focus, focus, outer)), notes)


def require_brain(masks: TumorMasks, brain: LabelMap) -> None:
    """:raises InvalidTumorMask: if most of the tumor lies outside the brain that a registration has found.

    :param brain: on the scan's grid.
    """
    outside = 1 - np.count_nonzero((masks.whole.data != 0) & (brain.data != 0)) / np.count_nonzero(masks.whole.data)
    if outside > LARGEST_SHARE_OUTSIDE:
        raise InvalidTumorMask(
            f"{outside:.0%} of the tumor lie outside the brain: check that the masks are of this scan, and that they "
            f"are of a tumor inside the brain. Growth is simulated in white and gray matter only."
        )


def _largest_focus(whole: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The largest connected part (26-neighbourhood) of the tumor that holds some of the core."""
    from scipy import ndimage

    parts, count = ndimage.label(whole, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    with_core = np.unique(parts[core])
    return parts == with_core[np.argmax(sizes[with_core])]
