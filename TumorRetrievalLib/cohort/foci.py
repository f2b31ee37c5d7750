"""A segmentation: what its labels mean, and the tumors that it consists of."""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.cohort.case import MaskLabels
from TumorRetrievalLib.cohort.measure import TumorSize, measure_tumor
from TumorRetrievalLib.imaging.volume import LabelMap

GAP_MM = 6.0
"""Parts of a tumor core that are closer than this are one tumor: enhancement is patchy, and masks are ragged."""
SMALLEST_ML = 0.05
"""Smaller parts are left out unless nothing else is there: most are slips of the pen."""


@dataclass(frozen=True, eq=False)
class Focus:
    """One tumor of a segmentation.

    :param around: "core", or "whole" where only oedema is drawn: what `size` has measured.
    :param size: its box, volume and diameter.
    :param whole_ml: volume of core and oedema.
    """

    around: str
    size: TumorSize
    whole_ml: float

    @property
    def core_ml(self) -> float:
        """Volume of the tumor core."""
        return self.size.volume_ml if self.around == "core" else 0.0

    @property
    def linear_size_mm(self) -> float | None:
        """Largest diameter of the tumor core; None where there is none."""
        return self.size.linear_size_mm if self.around == "core" else None


def masks_of(labels: LabelMap, meaning: MaskLabels | None) -> tuple[LabelMap, LabelMap]:
    """The core and the whole tumor of a segmentation; where nobody has said what its labels mean, all is core."""
    if meaning is None:
        inside = LabelMap(labels.data != 0, labels.affine)
        return inside, inside
    core, whole = (LabelMap(np.isin(labels.data, which), labels.affine) for which in (meaning.core, meaning.whole))
    return core, whole


@dataclass(frozen=True, eq=False)
class NumberedFoci:
    """The tumors of a segmentation as numbers from 1 on, the largest first.

    :param around: "core", or "whole" where only oedema is drawn.
    :param parts: which tumor's core (or, then, whole tumor) a voxel is of, 0 = none; on the segmentation's grid.
    :param whole: which tumor's core or oedema it is of.
    :param count: how many there are.
    """

    around: str
    parts: LabelMap
    whole: LabelMap
    count: int


def number_foci(core: LabelMap, whole: LabelMap, smallest_ml: float = SMALLEST_ML) -> NumberedFoci:
    """The tumors of a segmentation, told apart.

    The oedema of tumors that share it is divided: each voxel goes to the nearest core. Oedema that reaches no core
    counts for none, unless no core is drawn at all: then its parts are the tumors.

    :param core: :param whole: on one grid; empty masks give no tumor.
    :param smallest_ml: smaller parts are left out, unless nothing else is there.
    """
    around, drawn = ("core", core) if core.data.any() else ("whole", whole)
    parts, count = _parts(drawn)
    if count == 0:
        return NumberedFoci(around, *(LabelMap(parts, drawn.affine),) * 2, 0)
    volumes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * drawn.grid.voxel_ml
    order = np.argsort(-volumes, kind="stable")
    kept = [number for number in order if volumes[number] >= smallest_ml] or [order[0]]
    new_number = np.zeros(count + 1, parts.dtype)
    new_number[np.array(kept) + 1] = np.arange(1, len(kept) + 1)
    parts = new_number[parts]
    divided = _divided(parts, whole) if around == "core" else parts
    return NumberedFoci(around, LabelMap(parts, drawn.affine), LabelMap(divided, drawn.affine), len(kept))


def find_foci(core: LabelMap, whole: LabelMap, smallest_ml: float = SMALLEST_ML) -> list[Focus]:
    """The tumors of a segmentation, measured, the largest first; arguments as in `number_foci`."""
    found = number_foci(core, whole, smallest_ml)
    return [
        Focus(
            found.around,
            measure_tumor(LabelMap(found.parts.data == number, core.affine)),
            float(np.count_nonzero(found.whole.data == number)) * core.grid.voxel_ml,
        )
        for number in range(1, found.count + 1)
    ]


def _parts(mask: LabelMap) -> tuple[np.ndarray, int]:
    """The parts of a mask as numbers from 1 on, and how many there are."""
    from scipy import ndimage

    inside = mask.data != 0
    if not inside.any():
        return np.zeros(mask.shape, np.int32), 0
    region = _roomy_region(inside, np.ceil(GAP_MM / mask.grid.spacing).astype(int))
    near = ndimage.distance_transform_edt(~inside[region], sampling=mask.grid.spacing) <= GAP_MM / 2
    numbers, count = ndimage.label(near, structure=np.ones((3, 3, 3)))
    parts = np.zeros(mask.shape, np.int32)
    parts[region] = numbers * inside[region]
    return parts, count


def _divided(parts: np.ndarray, whole: LabelMap) -> np.ndarray:
    """For each voxel of the whole tumor the part whose oedema it is; 0 where it is of none."""
    from scipy import ndimage

    inside = (whole.data != 0) | (parts != 0)
    region = _roomy_region(inside, (0, 0, 0))
    cores = parts[region]
    connected, _ = ndimage.label(inside[region], structure=np.ones((3, 3, 3)))
    reached = np.isin(connected, np.unique(connected[cores != 0]))
    if len(np.unique(cores)) == 2:
        nearest = np.full(cores.shape, cores.max())
    else:
        sampling = whole.grid.spacing
        places = ndimage.distance_transform_edt(cores == 0, sampling, return_distances=False, return_indices=True)
        nearest = cores[tuple(places)]
    divided = np.zeros(parts.shape, parts.dtype)
    divided[region] = nearest * reached
    return divided


def _roomy_region(inside: np.ndarray, margin) -> tuple[slice, ...]:
    """The index range around everything inside, with a margin in voxels where the array goes that far."""
    from scipy import ndimage

    (region,) = ndimage.find_objects(inside.astype(np.uint8))
    return tuple(slice(max(0, part.start - room), part.stop + room) for part, room in zip(region, margin, strict=True))
