"""A DICOM segmentation object (SEG): what each of its segments is called, and where it lies."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.stored import MOST_VOXELS, open_image
from TumorRetrievalLib.imaging.volume import LabelMap

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HALF = 0.5


@dataclass(frozen=True, eq=False)
class Segment:
    """One structure that was marked.

    :param label: its name, free text.
    :param codes: what it is, as pairs of (coding scheme, code value): its type and category.
    :param algorithm: "MANUAL", "SEMIAUTOMATIC", "AUTOMATIC", or "" where that is not said.
    :param mask: 1 inside, on a grid of its own.
    """

    label: str
    codes: frozenset[tuple[str, str]]
    algorithm: str
    mask: LabelMap


def read_dicom_seg(path: Path) -> tuple[Segment, ...]:
    """The segments of a SEG object, binary, fractional (from one half on) or as a label map.

    Slices in which nothing is marked may be left out of the file; they are empty in the masks.

    :raises UnreadableFile: if it is no such object, or damaged.
    :raises InvalidImage: if its frames do not make up a 3D image with a place in the patient.
    """
    import highdicom

    with open_image(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd values in attributes that are of no concern here
        try:
            stored = highdicom.seg.segread(file)
            _require_plausible_size(path, stored)
            volume = stored.get_volume(combine_segments=False, rescale_fractional=True, skip_overlap_checks=True)
            descriptions = [stored.get_segment_description(number) for number in stored.segment_numbers]
        except TumorRetrievalError:
            raise
        except Exception as error:
            # A damaged file makes pydicom and highdicom raise whatever their parts raise.
            raise UnreadableFile(f"{path} is damaged, or no DICOM segmentation ({error}). Export it again.") from error
    affine = _LPS_TO_RAS @ volume.affine
    masks = (volume.array >= _HALF).astype(np.uint8)
    return tuple(
        Segment(
            label=str(description.segment_label),
            codes=frozenset(
                (str(code.scheme_designator), str(code.value))
                for code in (description.segmented_property_type, description.segmented_property_category)
            ),
            algorithm=str(description.get("SegmentAlgorithmType", "")),
            mask=LabelMap(np.ascontiguousarray(masks[..., place]), affine),
        )
        for place, description in enumerate(descriptions)
    )


def _require_plausible_size(path: Path, stored) -> None:
    """The frames say where they lie, and two of them far apart would ask for all the slices between."""
    geometry = stored.get_volume_geometry()
    if geometry is None:
        raise InvalidImage(f"{path} is not one stack of regular slices. Export it on the grid of the scan.")
    voxels = math.prod(geometry.spatial_shape) * len(stored.segment_numbers)
    if voxels > 2 * MOST_VOXELS:
        raise UnreadableFile(f"{path} says it has {voxels / 1e6:.0f} million voxels, which no segmentation has.")
