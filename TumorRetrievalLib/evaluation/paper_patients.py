"""The cohort on which the tables of Pisov et al. 2018 are reproduced: each patient painted once, and kept.

A patient is drawn from their number (`training.paper_samples.plan_patient`). The first four fifths of the numbers may
be trained on; of the last fifth no network has seen anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.labels import ALLOWED, describe_position
from TumorRetrievalLib.cohort.measure import measure_tumor
from TumorRetrievalLib.engine.known_cases import SYNTHESIS_VERSION
from TumorRetrievalLib.engine.stability import distorted_inside
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.training.paper_samples import COHORT, FIRST_SEED, PATIENTS, box_inside, plan_patient

BOXES = ("exact boxes", "distorted boxes")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cohort:
    """Which patients are looked at, and how.

    :param patients: their number: four fifths from the front of the paper's cohort, one fifth from its held-out part.
    :param crop: edge of a patch in voxels.
    :param spacing: edge of a voxel in mm.
    """

    patients: int
    crop: int
    spacing: float

    @property
    def name(self) -> str:
        """Names everything that decides what a patient of some number looks like."""
        return f"{self.crop}-{self.spacing:g}mm-{SYNTHESIS_VERSION}"

    @property
    def held_out(self) -> range:
        """Numbers of the patients that ask."""
        return range(PATIENTS, PATIENTS + max(1, round(self.patients * (COHORT - PATIENTS) / COHORT)))

    @property
    def gallery(self) -> range:
        """Numbers of the patients that answer."""
        return range(self.patients - len(self.held_out))


@dataclass(frozen=True, eq=False)
class PaperPatient:
    """Patches of one patient that hold each tumor once.

    :param images: raw T1c, float32 (patches, n, n, n).
    :param brains: :param cores: bool, of the same shape.
    :param grids: one for each patch.
    :param patch_of: the patch that holds each tumor wholly, int (tumors,).
    :param boxes: name of the boxes -> one for each tumor.
    :param atlas_mm: name of the boxes -> where their middles lie in MNI152, shape (tumors, 3).
    :param labels: label -> its value for each tumor.
    :param sizes: largest diameters in mm, shape (tumors,).
    """

    images: np.ndarray
    brains: np.ndarray
    cores: np.ndarray
    grids: tuple[Grid, ...]
    patch_of: np.ndarray
    boxes: dict[str, list[Box]]
    atlas_mm: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    sizes: np.ndarray


def kept(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """The arrays in a file, which is made if it is not there.

    :raises UnreadableFile: if it is damaged.
    :raises CannotWrite: if it cannot be written.
    """
    if not path.exists():
        arrays = make()
        make_folder(path.parent)
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
    return read_arrays(path, "Delete it; it will be made again.")


def read_patient(folder: Path, number: int, cohort: Cohort) -> PaperPatient:
    """A patient of the cohort, painted now (about a second) or kept in `folder`. Errors as in `kept`."""
    crop, spacing = cohort.crop, cohort.spacing
    stored = kept(folder / f"patches-{cohort.name}" / f"{number}.npz", lambda: _painted(number, crop, spacing))
    return PaperPatient(
        stored["images"].astype(np.float32),
        np.unpackbits(stored["brains"], axis=-1, count=crop).astype(bool),
        np.unpackbits(stored["cores"], axis=-1, count=crop).astype(bool),
        tuple(Grid.around(center, spacing, (crop,) * 3) for center in stored["centers"]),
        stored["patch_of"],
        {kind: [Box.aligned(*row) for row in rows] for kind, rows in zip(BOXES, stored["boxes"], strict=True)},
        dict(zip(BOXES, stored["atlas_mm"], strict=True)),
        {label: np.array(ALLOWED[label])[stored["labels"][:, n]] for n, label in enumerate(ALLOWED)},
        stored["sizes"],
    )


def _painted(number: int, crop: int, spacing: float) -> Arrays:
    """Patches around a patient's tumors, one after the other, until each tumor lies wholly in one of them.

    A tumor that is larger than a patch is left out, as in training.
    """
    from TumorRetrievalLib.synthesis.fields import axes_of, streams
    from TumorRetrievalLib.synthesis.painting import draw_style, paint
    from TumorRetrievalLib.synthesis.raster import rasterise

    plan = plan_patient(number)
    images, brains, cores, centers = [], [], [], []
    tumors: dict[int, dict] = {}
    for index, lesion in enumerate(plan.lesions, start=1):
        if index in tumors:
            continue
        grid = Grid.around(lesion.center, spacing, (crop,) * 3)
        geometry = rasterise(plan, grid)
        core, lesion_of = geometry.core.numpy(), geometry.lesion.numpy()
        masks = {other: core & (lesion_of == other) for other in range(1, len(plan.lesions) + 1) if other not in tumors}
        masks = {other: mask for other, mask in masks.items() if box_inside(mask) is not None}
        if not masks:
            continue
        # The same randomness for each patch: one scanner, one contrast.
        rng, generator = streams(FIRST_SEED + number, "paper patient")
        images.append(paint(geometry, axes_of(grid), draw_style(rng), rng, generator)["t1c"].numpy())
        brains.append(geometry.brain.numpy())
        cores.append(core)
        centers.append(lesion.center)
        for other, mask in masks.items():
            tumors[other] = _measured(plan, LabelMap(mask, grid.affine), len(centers) - 1, rng)
    rows = list(tumors.values())
    shape = (-1, crop, crop, crop)
    return {
        "images": np.array(images, np.float16).reshape(shape),
        "brains": np.packbits(np.array(brains, bool).reshape(shape), axis=-1),
        "cores": np.packbits(np.array(cores, bool).reshape(shape), axis=-1),
        "centers": np.array(centers, float).reshape(-1, 3),
        "patch_of": np.array([row["patch"] for row in rows], np.int64),
        "boxes": np.array([row["boxes"] for row in rows], float).reshape(-1, 2, 2, 3).swapaxes(0, 1),
        "atlas_mm": np.array([row["atlas_mm"] for row in rows], float).reshape(-1, 2, 3).swapaxes(0, 1),
        "labels": np.array([row["labels"] for row in rows], np.int64).reshape(-1, len(ALLOWED)),
        "sizes": np.array([row["size"] for row in rows], float),
    }


def _measured(plan, mask: LabelMap, patch: int, rng: np.random.Generator) -> dict:
    """The truth about a tumor, and where it lies with an exact and with a distorted box (Eq. 2 of the paper)."""
    from TumorRetrievalLib.synthesis.scan import atlas_position

    size = measure_tumor(mask)
    boxes = (size.box, distorted_inside(size.box, mask.grid, rng))
    places = [atlas_position(plan, box.center) for box in boxes]
    known = {"type": plan.tumor_type, **vars(describe_position(places[0]))}
    return {
        "patch": patch,
        "boxes": [(box.center, box.size) for box in boxes],
        "atlas_mm": places,
        "labels": [values.index(known[label]) for label, values in ALLOWED.items()],
        "size": size.linear_size_mm,
    }
