"""The images of a study: its T1 with contrast, its FLAIR, and its tumors as a mask on the grid of the T1."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import MaskLabels
from TumorRetrievalLib.cohort.importers.dicom_studies import Series
from TumorRetrievalLib.cohort.importers.segment_meaning import meaning_of
from TumorRetrievalLib.cohort.label_schemes import ADULT, ONE_LABEL, settle
from TumorRetrievalLib.errors import GeometryMismatch, InvalidImage
from TumorRetrievalLib.imaging.dicom import read_dicom_slices
from TumorRetrievalLib.imaging.dicom_seg import Segment, read_dicom_seg
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume

_CORE, _REST = 1, 2
_BY_CODES = MaskLabels(core=(_CORE,), whole=(_CORE, _REST), scheme="DICOM SEG, by the meaning of its segments")
_MOST_OUTSIDE = 0.01
_ORIGIN = {"MANUAL": "expert", "SEMIAUTOMATIC": "expert", "AUTOMATIC": "network"}


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask on the grid of a scan.

    :param origin: one of `MASK_ORIGINS`, or None where the file does not say who drew it.
    """

    labels: LabelMap
    meaning: MaskLabels
    origin: str | None


def read_series(series: Series) -> Volume:
    """The scan that a series is.

    :raises InvalidImage: if something is written into its pixels, it shows nothing, or it is no 3D stack.
    :raises UnreadableFile: if a slice is missing or damaged.
    """
    folder = series.header.path.parent
    if series.burned_in:
        raise InvalidImage(
            f"{folder}: the series {series.title} has text in its pixels (BurnedInAnnotation is YES), which may name "
            f"the patient. It is not imported."
        )
    stored = read_dicom_slices(folder, series.files)
    volume = Volume(stored.data, stored.affine)
    if volume.data.min() == volume.data.max():
        raise InvalidImage(f"{folder}: the series {series.title} shows nothing: every voxel is alike.")
    return volume


def read_seg_mask(path: Path, grid: Grid) -> Mask:
    """A segmentation object on the grid of a scan: 1 is the tumor core, 2 what else belongs to the whole tumor.

    :raises InvalidImage: if a segment's meaning is unknown, or no tumor is marked.
    :raises GeometryMismatch: if it lies outside the scan.
    """
    segments = read_dicom_seg(path)
    parts: dict[str, list[Segment]] = {"core": [], "oedema": [], "whole": [], "no tumor": []}
    for segment in segments:
        meaning = meaning_of(segment)
        if meaning is None:
            raise InvalidImage(
                f"{path}: neither code nor name of the segment {segment.label!r} says whether it is tumor core, "
                f"oedema or whole tumor. Name it, or give the mask as NIfTI."
            )
        parts[meaning].append(segment)
    tumor = parts["core"] + parts["oedema"] + parts["whole"]
    if not any(segment.mask.data.any() for segment in tumor):
        raise InvalidImage(f"{path} marks no tumor.")
    data = np.zeros(segments[0].mask.shape, np.uint8)
    for segment in tumor:
        data[segment.mask.data != 0] = _REST
    for segment in parts["core"]:
        data[segment.mask.data != 0] = _CORE
    mask = LabelMap(data, segments[0].mask.affine)
    _require_inside(mask, grid, path)
    return Mask(resample_labels(mask, grid), _BY_CODES, _origin(tumor))


def read_nifti_mask(path: Path, grid: Grid) -> Mask:
    """A NIfTI mask that lies beside a study; its axes may run differently, but its voxels are the scan's.

    :raises GeometryMismatch: if they are not.
    :raises InvalidImage: if it marks nothing, or its labels are of no known scheme.
    """
    mask = read_labels(path)
    if not _same_voxels(mask.grid, grid):
        raise GeometryMismatch(f"{path} does not lie on the voxels of the T1 with contrast. Resample it onto them.")
    labels = tuple(int(label) for label in np.unique(mask.data) if label != 0)
    if not labels:
        raise InvalidImage(f"{path} marks nothing: every voxel is 0.")
    if len(labels) == 1:
        meaning = ONE_LABEL if labels == (1,) else MaskLabels(labels, labels, ONE_LABEL.scheme)
    else:
        possible = settle(ADULT, labels)
        if len(possible) != 1:
            raise InvalidImage(f"{path}: what its labels {', '.join(map(str, labels[:20]))} mean cannot be told.")
        meaning = possible[0]
    return Mask(resample_labels(mask, grid), meaning, None)


def _origin(segments: Sequence[Segment]) -> str | None:
    origins = {_ORIGIN.get(segment.algorithm) for segment in segments}
    return "network" if "network" in origins else origins.pop() if len(origins) == 1 else None


def _require_inside(mask: LabelMap, grid: Grid, path: Path) -> None:
    marked = grid.to_voxel(mask.grid.to_world(np.argwhere(mask.data)))
    outside = np.any((marked < -0.5) | (marked > np.array(grid.shape) - 0.5), axis=1)
    if outside.mean() > _MOST_OUTSIDE:
        raise GeometryMismatch(f"{path}: {outside.mean():.0%} of what it marks lie outside the T1 with contrast.")


def _same_voxels(first: Grid, second: Grid) -> bool:
    """Whether two grids differ at most in the order and direction of their axes."""
    step = np.linalg.inv(second.affine) @ first.affine
    axes = np.rint(step[:3, :3])
    if not (np.abs(axes).sum(axis=0) == 1).all() or not (np.abs(axes).sum(axis=1) == 1).all():
        return False
    if not np.array_equal(np.abs(axes) @ first.shape, second.shape):
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in first.shape])).reshape(3, 8).T
    there = second.to_voxel(first.to_world(corners))
    return bool(np.abs(there - np.rint(there)).max() < 0.05 and there.min() > -0.5)
