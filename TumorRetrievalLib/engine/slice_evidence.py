"""A second opinion on a tumor's type, from single slices, by the one network that was trained on patients.

Its slices (Cheng, Figshare 1512427) are contrast-enhanced T1 of 512 x 512 pixels of 0.49 mm and 6 mm thickness, here
at 128 x 128, with the skull, shown as radiologists do. It knows three types of tumor and no other, and was not trained
on what else a scan may show: its answer stands beside the main model's and is not mixed into it.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.resources import is_bundled, resource

EDGE = 128
PIXEL_MM = 512 * 0.49 / EDGE
THICKNESS_MM = 6.0
MOST_SLICES = 9
_INNER = 0.75
"""The middle share of the box's height that is looked at: near its ends a slice shows little of the tumor."""
_ROOM = 1.5
"""Slices are first cut this much wider, until it is known where in them the head lies."""

MODEL = ("Models", "slices-best")
LABEL = "trained on patients (Figshare, three types only)"


@dataclass(frozen=True, eq=False)
class BoxSlices:
    """Axial slices through a box, as the training data show them: the patient's right on the left, the face up.

    :param images: float32 (n, 128, 128), rows from front to rear, columns from the patient's right to left.
    :param boxes: int (n, 4), half-open ranges of the rows and columns that the box takes.
    :param heights: of the slices' middles, S in mm, (n,).
    """

    images: np.ndarray
    boxes: np.ndarray
    heights: np.ndarray


def slice_evidence(t1c: Volume, box: Box, device: str | None = None) -> dict | None:
    """How the slices through a box are read.

    :returns: `types` (type -> mean probability over the slices), `slices` (how many), `agree` (the share of them whose
        likeliest type is that of the mean) and `label`; None where no such network is bundled.
    """
    from TumorRetrievalLib.networks.slice_reader import ask

    if not is_bundled(*MODEL):
        return None
    model = _loaded(resource(*MODEL), device)
    cut = slices_through(t1c, box)
    types = ask(model.network, cut.images, cut.boxes).types
    seen = [place for place, name in enumerate(model.contract["labels"]["type"]) if model.contract["types_seen"][name]]
    types = types[:, seen] / types[:, seen].sum(axis=1, keepdims=True)
    mean = types.mean(axis=0)
    return {
        "types": {
            model.contract["labels"]["type"][place]: round(float(p), 4) for place, p in zip(seen, mean, strict=True)
        },
        "slices": len(types),
        "agree": round(float(np.mean(types.argmax(axis=1) == mean.argmax())), 3),
        "label": LABEL,
    }


@lru_cache(maxsize=2)
def _loaded(folder: Path, device: str | None):
    from TumorRetrievalLib.networks.slice_reader import load_slice_model

    return load_slice_model(folder, device)


def slices_through(t1c: Volume, box: Box) -> BoxSlices:
    """Cut the axial slices through the middle of a box, on a grid like that of the training data.

    They lie along R, A and S whatever the array's axes are, 6 mm apart (wider where the box is taller than
    `MOST_SLICES` of them), and the head is in their middle.
    """
    half = np.abs(box.axes) @ box.size / 2
    inner = 2 * half[2] * _INNER
    count = int(np.clip(inner // THICKNESS_MM + 1, 1, MOST_SLICES))
    step = max(THICKNESS_MM, inner / count)
    heights = box.center[2] + step * (np.arange(count) - (count - 1) / 2)
    wide = int(EDGE * _ROOM)
    middle = t1c.grid.centre()[:2]
    images = np.stack([_axial(t1c, middle, height, wide) for height in heights])
    shift = _middle_of_head(images) - (wide - 1) / 2
    # Rows run to the rear and columns to the left, against A and R; whole pixels, so that nothing is resampled twice.
    rows, columns = np.clip(np.round(shift + (wide - EDGE) / 2).astype(int), 0, wide - EDGE)
    middle = middle - PIXEL_MM * (np.array([columns, rows]) - (wide - EDGE) / 2)
    images = images[:, rows : rows + EDGE, columns : columns + EDGE]
    centre = (EDGE - 1) / 2 - (box.center[:2] - middle)[::-1] / PIXEL_MM
    low = np.clip(np.floor(centre - half[1::-1] / PIXEL_MM + 0.5), 0, EDGE - 1).astype(int)
    high = np.clip(np.ceil(centre + half[1::-1] / PIXEL_MM + 0.5), low + 1, EDGE).astype(int)
    place = np.array([low[0], high[0], low[1], high[1]])
    return BoxSlices(np.ascontiguousarray(images), np.tile(place, (count, 1)), heights)


def _axial(t1c: Volume, middle: np.ndarray, height: float, pixels: int) -> np.ndarray:
    """One slice, (pixels, pixels): rows from front to rear, columns from right to left."""
    affine = np.diag([-PIXEL_MM, -PIXEL_MM, THICKNESS_MM, 1.0])
    affine[:3, 3] = *(middle + PIXEL_MM * (pixels - 1) / 2), height
    background = float(t1c.data.min())
    image = resample(t1c, Grid((pixels, pixels, 1), affine), fill=background).data[:, :, 0].T
    return image - background


def _middle_of_head(images: np.ndarray) -> np.ndarray:
    """Row and column about which the head lies in a stack of slices; the middle where they are empty."""
    seen = (images > 0.1 * np.percentile(images, 99)).any(axis=0) & (images.max() > 0)
    if not seen.any():
        return (np.array(seen.shape) - 1) / 2
    # Percentiles, because noise in the air is not the head.
    return np.array([np.percentile(places, (1, 99)).mean() for places in np.nonzero(seen)])
