"""A case of the cohort: one patient's scan, its tumors, and what is known about them."""

import math
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.cohort.labels import ALLOWED, require_known
from TumorRetrievalLib.imaging.box import Box

_SIZES = ("linear_size_mm", "core_ml", "whole_ml")


@dataclass(frozen=True)
class Tumor:
    """One tumor. Whatever is not known is None.

    :param id: names the tumor within its case.
    :param box: around the tumor core, in the scan's RAS mm; None where the case's mask still has to give it.
    :param type: one of `labels.TYPES`.
    :param area: one of `labels.AREAS`.
    :param left_right: "left" or "right".
    :param front_rear: "front" or "rear".
    :param upper_lower: "upper" or "lower".
    :param linear_size_mm: largest distance between two points of the core, see `measure.measure_tumor`.
    :param core_ml: volume of the core: what enhances, and what it encloses.
    :param whole_ml: volume of core and oedema.
    :param atlas_mm: centre of the box in MNI152 RAS mm, three numbers.
    :param marker: a genetic marker, in the words of whoever keeps the cohort ("IDH mutant", "BRAF V600E").
    :raises UnknownLabel: if a label is not one of the allowed values.
    :raises ValueError: if the id is empty, a size is negative or a number is not finite.
    """

    id: str = "1"
    box: Box | None = None
    type: str | None = None
    area: str | None = None
    left_right: str | None = None
    front_rear: str | None = None
    upper_lower: str | None = None
    linear_size_mm: float | None = None
    core_ml: float | None = None
    whole_ml: float | None = None
    atlas_mm: tuple[float, float, float] | None = None
    marker: str | None = None

    def __post_init__(self):
        if not self.id.strip():
            raise ValueError("A tumor needs an id.")
        for label in ALLOWED:
            require_known(label, getattr(self, label))
        for name in _SIZES:
            value = getattr(self, name)
            if value is not None:
                if not math.isfinite(value) or value < 0:
                    raise ValueError(f"{name} must be a number of at least 0, not {value!r}.")
                object.__setattr__(self, name, float(value))
        if self.atlas_mm is not None:
            position = tuple(float(number) for number in self.atlas_mm)
            if len(position) != 3 or not all(map(math.isfinite, position)):
                raise ValueError(f"atlas_mm needs three finite numbers, not {self.atlas_mm!r}.")
            object.__setattr__(self, "atlas_mm", position)


@dataclass(frozen=True)
class MaskLabels:
    """What the numbers in a mask stand for.

    :param core: the labels of the tumor core: what enhances, and what it encloses.
    :param whole: those of the whole tumor: the core's and the oedema's. Other labels are no tumor (a cavity after
        surgery, for example).
    :param scheme: the convention, in words for a reader ("BraTS 2013").
    :raises ValueError: if there is no label, one is below 1, or one of the core is not one of the whole tumor.
    """

    core: tuple[int, ...]
    whole: tuple[int, ...]
    scheme: str

    def __post_init__(self):
        for name in ("core", "whole"):
            object.__setattr__(self, name, tuple(sorted({int(label) for label in getattr(self, name)})))
        if not self.whole or self.whole[0] < 1:
            raise ValueError(f"Labels of a tumor are whole numbers from 1 on, not {self.whole}.")
        if not set(self.core) <= set(self.whole):
            raise ValueError(f"The labels of the core {self.core} must be among those of the whole tumor {self.whole}.")


MASK_ORIGINS = ("expert", "network")
"""Who drew a mask: a person (also: corrected it), or a program alone."""


@dataclass(frozen=True)
class SyntheticRecipe:
    """All that is needed to make a synthetic scan again (see `synthesis.scan.synthesize`)."""

    seed: int
    tumor_type: str
    lesion_count: int


@dataclass(frozen=True)
class Case:
    """One scan with its tumors. A patient may have several cases; they must never be parted between training and test.

    :param id: names the case, unique in its cohort.
    :param patient: names the patient.
    :param t1c: contrast-enhanced T1: a file, or a folder with one DICOM series; None where only labels are kept, or
        where the scan can be made again.
    :param flair: the FLAIR scan, or None.
    :param mask: a segmentation of the tumors; 0 is background. None where there is none.
    :param tumors: may be empty.
    :param mask_labels: what the labels in the mask stand for; None where nothing is said: then every label is the core.
    :param mask_origin: one of `MASK_ORIGINS`; None where nobody has said.
    :param provenance: where the case comes from, in words for a reader; begins with "synthetic" if it was not scanned.
    :param recipe: of a synthetic case, which has no files.
    :param voxels_sha256: of the T1c's voxels, so that a scan that is given twice is noticed; None where not known.
    :raises ValueError: if id or patient is empty, the mask's origin is another word, or two tumors have one id.
    """

    id: str
    patient: str
    t1c: Path | None = None
    flair: Path | None = None
    mask: Path | None = None
    tumors: tuple[Tumor, ...] = ()
    provenance: str = ""
    recipe: SyntheticRecipe | None = None
    mask_labels: MaskLabels | None = None
    mask_origin: str | None = None
    voxels_sha256: str | None = None

    def __post_init__(self):
        for name in ("id", "patient"):
            if not getattr(self, name).strip():
                raise ValueError(f"A case needs a {name}.")
        if self.mask_origin not in (None, *MASK_ORIGINS):
            raise ValueError(f"A mask is drawn by one of {', '.join(MASK_ORIGINS)}, not {self.mask_origin!r}.")
        object.__setattr__(self, "tumors", tuple(self.tumors))
        ids = [tumor.id for tumor in self.tumors]
        if len(set(ids)) < len(ids):
            raise ValueError(f"Case {self.id!r}: each tumor needs an id of its own, not {', '.join(ids)}.")
