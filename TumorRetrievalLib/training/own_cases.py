"""A hospital's own cases to train on: checked, brought to the atlas, and kept on disk where training finds them fast.

A case that cannot be used is named with its file and the column of the manifest, and left out. What is prepared holds
scans of patients: it stays in the folder of the run and is not part of the model.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.foci import NumberedFoci, masks_of, number_foci
from TumorRetrievalLib.cohort.label_schemes import knows
from TumorRetrievalLib.cohort.labels import ALLOWED, describe_position
from TumorRetrievalLib.errors import InvalidImage, RegistrationFailed, TumorRetrievalError
from TumorRetrievalLib.imaging.box import Box, box_of_region
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.intensity import fit_normalisation, has_signal
from TumorRetrievalLib.imaging.resample import resample, resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan, crop_spacing, cut_crop
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.affine import register_to_atlas
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.training.samples import UNKNOWN
from TumorRetrievalLib.training.whole_scans import name_of_case, upright_grid

FINEST_KEPT_MM = 0.9
"""Scans of finer voxels are kept at this: no cube that the network looks at is finer than 1 mm."""


@dataclass(frozen=True, eq=False)
class OwnTumor:
    """What is known of a tumor besides its voxels.

    :param classes: label -> number of its value in `ALLOWED`, UNKNOWN where nobody has said.
    :param regions: "core", "whole" -> half-open index ranges i0, i1, j0, j1, k0, k1 around it; None where it has none.
    """

    classes: dict[str, int]
    regions: dict[str, list[int] | None]


@dataclass(frozen=True, eq=False)
class OwnScan:
    """A case as training needs it; all of it on one grid, which holds the head.

    :param t1c: :param flair: intensities with the head at median 0 and spread 1; no FLAIR: None.
    :param signals: where each of them shows anything, bool.
    :param brain: bool; None where the scan could not be brought to the atlas.
    :param core: which tumor's core a voxel is of, 0 = none; :param whole: which tumor's core or oedema.
    :param tumors: in the order of their numbers, from 1 on.
    :param whole_known: whether oedema would have been drawn; otherwise `whole` is `core`.
    """

    t1c: Volume
    flair: Volume | None
    signals: tuple[LabelMap, ...]
    brain: LabelMap | None
    core: LabelMap
    whole: LabelMap
    tumors: tuple[OwnTumor, ...]
    whole_known: bool

    @property
    def grid(self) -> Grid:
        """Where the voxels lie in the patient."""
        return self.t1c.grid

    def as_seen(self, *, flair: bool = True, brain: bool = True, turn: np.ndarray | None = None) -> Scan:
        """The images as they are cut.

        :param flair: :param brain: show these too, where there are any.
        :param turn: the patient lies differently: RAS mm -> RAS mm, shape (4, 4).
        """
        affine = self.t1c.affine if turn is None else turn @ self.t1c.affine
        shown = [self.t1c, self.flair] if flair and self.flair is not None else [self.t1c]
        images = [Volume(image.data, affine) for image in shown]
        signals = tuple(Volume(signal.data, affine) for signal, _ in zip(self.signals, shown, strict=False))
        outline = None if self.brain is None or not brain else LabelMap(self.brain.data, affine)
        brain_on = None if outline is None else partial(resample_labels, outline)
        return Scan(images[0], images[1] if len(images) > 1 else None, brain_on, signals)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What is kept on disk."""
        flags = [signal.data for signal in self.signals] + ([] if self.brain is None else [self.brain.data])
        small = np.uint8 if len(self.tumors) < 256 else np.uint16
        facts = {
            "affine": self.t1c.affine.tolist(),
            "brain": self.brain is not None,
            "whole_known": self.whole_known,
            "tumors": [vars(tumor) for tumor in self.tumors],
        }
        return {
            "t1c": self.t1c.data.astype(np.float16),
            **({} if self.flair is None else {"flair": self.flair.data.astype(np.float16)}),
            "numbers": np.stack([self.core.data, self.whole.data]).astype(small),
            "flags": np.packbits(np.stack(flags) != 0, axis=-1),
            "facts": np.array(json.dumps(facts)),
        }

    @classmethod
    def from_arrays(cls, stored: dict[str, np.ndarray]) -> "OwnScan":
        """The scan that `to_arrays` was called on."""
        facts = json.loads(str(stored["facts"]))
        affine, t1c = np.array(facts["affine"]), stored["t1c"]
        flags = [LabelMap(flag, affine) for flag in np.unpackbits(stored["flags"], axis=-1, count=t1c.shape[-1])]
        brain = flags.pop() if facts["brain"] else None
        return cls(
            Volume(t1c, affine),
            Volume(stored["flair"], affine) if "flair" in stored else None,
            tuple(flags),
            brain,
            *(LabelMap(numbers, affine) for numbers in stored["numbers"]),
            tuple(OwnTumor(**tumor) for tumor in facts["tumors"]),
            bool(facts["whole_known"]),
        )


def name_of_own_case(case: Case) -> str:
    """What a case is called in the store: other or newer files, or other labels, make another name."""
    said = repr((case.id, name_of_case(case, FINEST_KEPT_MM), case.tumors))
    return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def prepare_own_case(case: Case) -> OwnScan:
    """Reads a case, finds its tumors in its mask and its place in the atlas, and tries to cut each tumor.

    :raises TumorRetrievalError: naming the case, the column and the file, with what is wrong.
    """
    with _about(case, "t1c"):
        if case.t1c is None:
            raise InvalidImage("there is no file. Training needs the contrast-enhanced T1.")
        t1c = read_volume(case.t1c)
    with _about(case, "flair"):
        flair = None if case.flair is None else read_volume(case.flair)
        if flair is not None:
            t1c.require_overlap(flair, str(case.flair), str(case.t1c))
    with _about(case, "mask"):
        core, whole = _masks(case, t1c)
    try:
        alignment = register_to_atlas(t1c)
    except RegistrationFailed:
        alignment = None  # its places stay unknown, as they would in use
    with _about(case, "mask"):
        scan = _on_one_grid(case, t1c, flair, core, whole, alignment)
        _try_each_tumor(scan)
    return scan


@contextmanager
def _about(case: Case, column: str) -> Iterator[None]:
    """What goes wrong inside is told with the case, the column and the file."""
    place = f"Case {case.id!r}, column {column!r} ({getattr(case, column) or 'empty'})"
    try:
        yield
    except TumorRetrievalError as error:
        raise type(error)(f"{place}: {error}") from None
    except (ValueError, ArithmeticError, IndexError, KeyError, RuntimeError) as error:
        raise InvalidImage(f"{place}: it could not be used ({type(error).__name__}: {error}).") from error


def _masks(case: Case, t1c: Volume) -> tuple[LabelMap, LabelMap]:
    if case.mask is None:
        raise InvalidImage("there is no mask. Training needs one: draw the tumor, or leave the case out.")
    labels = read_labels(case.mask)
    t1c.require_same_grid(labels, f"The mask {case.mask}")
    found = np.unique(labels.data).tolist()
    if found == [0]:
        raise InvalidImage("the mask is empty. Draw its tumor, or leave the case out.")
    if case.mask_labels is not None and not knows(case.mask_labels, found):
        raise InvalidImage(
            f"the labels {', '.join(map(str, found[:10]))} are not those of {case.mask_labels.scheme}. Correct the "
            f"column 'mask_scheme'."
        )
    core, whole = masks_of(labels, case.mask_labels)
    if not whole.data.any():
        raise InvalidImage("none of its labels is one of a tumor. Draw the tumor, or leave the case out.")
    return core, whole


def _on_one_grid(
    case: Case, t1c: Volume, flair: Volume | None, core: LabelMap, whole: LabelMap, alignment: AtlasAlignment | None
) -> OwnScan:
    signal = Volume(has_signal(t1c.data), t1c.affine)
    grid = _kept_grid(t1c.grid, (signal.data > 0) | whole.data)
    seen = [(t1c, signal)]
    if flair is not None:
        seen.append((flair, Volume(has_signal(flair.data), flair.affine)))
    images = [_standardised(image, where, grid) for image, where in seen]
    signals = [LabelMap(resample(where, grid).data > 0.5, grid.affine) for _, where in seen]
    found = number_foci(core, whole)
    whole_known = case.mask_labels is not None and case.mask_labels.whole != case.mask_labels.core
    numbers = {"whole": resample_labels(found.whole, grid)}
    nothing = LabelMap(np.zeros(grid.shape, found.whole.data.dtype), grid.affine)
    numbers["core"] = resample_labels(found.parts, grid) if found.around == "core" else nothing
    return OwnScan(
        images[0],
        images[1] if flair is not None else None,
        tuple(signals),
        None if alignment is None else alignment.brain_on(grid),
        numbers["core"],
        numbers["whole"],
        _tumors(case, found, numbers, alignment),
        whole_known,
    )


def _kept_grid(grid: Grid, head: np.ndarray) -> Grid:
    """The part of the scan's own grid that holds the head; or, where its voxels are finer than needed, upright ones."""
    from scipy import ndimage

    (region,) = ndimage.find_objects(head.astype(np.uint8))
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world([part.start for part in region])
    own = Grid(tuple(part.stop - part.start for part in region), affine)
    return own if grid.spacing.min() >= FINEST_KEPT_MM else upright_grid(own, FINEST_KEPT_MM)


def _standardised(image: Volume, seen: Volume, grid: Grid) -> Volume:
    """On the grid, in numbers that half precision keeps; cutting normalises anew, which undoes this scale."""
    scale = fit_normalisation(image.data, seen.data > 0)
    data = (image.data - scale.median) / scale.spread
    moved = resample(Volume(data, image.affine), grid, fill=float(data.min()))
    return Volume(np.clip(moved.data, -60_000, 60_000), grid.affine)


def _tumors(
    case: Case, found: NumberedFoci, numbers: dict[str, LabelMap], alignment: AtlasAlignment | None
) -> tuple[OwnTumor, ...]:
    regions = {mask: _regions(labels, found.count) for mask, labels in numbers.items()}
    tumors = []
    for index in range(found.count):
        own = {mask: some[index] for mask, some in regions.items()}
        around = own["core"] or own["whole"]
        if around is None:
            raise InvalidImage(f"a tumor in it is smaller than a voxel of {FINEST_KEPT_MM} mm. Leave the case out.")
        middle = box_of_region(numbers["whole"].grid, as_slices(around)).center
        said = vars(_said_of(case, middle))
        if alignment is not None:
            place = vars(describe_position(alignment.to_atlas(middle)))
            said = said | {label: value for label, value in place.items() if said[label] is None}
        classes = {
            label: UNKNOWN if said[label] is None else values.index(said[label]) for label, values in ALLOWED.items()
        }
        tumors.append(OwnTumor(classes, own))
    return tuple(tumors)


def _regions(numbers: LabelMap, count: int) -> list[list[int] | None]:
    from scipy import ndimage

    found = ndimage.find_objects(numbers.data, max_label=count)
    return [None if region is None else [end for part in region for end in (part.start, part.stop)] for region in found]


def as_slices(region: list[int]) -> tuple[slice, slice, slice]:
    """Half-open index ranges i0, i1, j0, j1, k0, k1 as slices."""
    return tuple(slice(low, high) for low, high in zip(region[::2], region[1::2], strict=True))


def _said_of(case: Case, middle: np.ndarray) -> Tumor:
    """What the manifest says of the tumor in the middle of whose box a point lies; or what it says of all tumors."""
    for tumor in case.tumors:
        if tumor.box is not None and tumor.box.contains(middle[None])[0]:
            return tumor
    if len(case.tumors) == 1:
        return case.tumors[0]
    types = {tumor.type for tumor in case.tumors}
    return Tumor(type=types.pop()) if len(types) == 1 else Tumor()


def _try_each_tumor(scan: OwnScan) -> None:
    """:raises TumorRetrievalError: if a tumor cannot be cut as it is in use: a mask of another patient, for example."""
    seen = scan.as_seen()
    for tumor in scan.tumors:
        for around, region in tumor.regions.items():
            if region is not None:
                box: Box = box_of_region(scan.grid, as_slices(region))
                cut_crop(seen, box, around, crop_spacing(box, around))
