"""The small picture of a case: an axial slice through its lesion, with the outline of the tumor core."""

from pathlib import Path

import numpy as np

from TumorRetrievalGui.case_nodes import CaseImages
from TumorRetrievalLib.imaging.resample import resample, resample_labels
from TumorRetrievalLib.imaging.volume import Grid

PIXELS = 96
_FIELD_MM = 110.0
_OUTLINE = (242, 140, 60)


def writeThumbnail(path: Path, images: CaseImages) -> None:
    """Draw a picture of `PIXELS` x `PIXELS` as a PPM file, which Qt reads without any plugin.

    As in a slice view, the patient's right is on the left, and the front is at the top.
    """
    grid = Grid.around(images.center, _FIELD_MM / PIXELS, (PIXELS, PIXELS, 1))
    gray = _upright(resample(images.t1c, grid).data[:, :, 0])
    low, high = np.percentile(gray, (1, 99.5))
    gray = np.clip((gray - low) / max(high - low, 1e-6), 0, 1) * 255
    pixels = np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if images.core is not None:
        pixels[_edge(_upright(resample_labels(images.core, grid).data[:, :, 0]) > 0)] = _OUTLINE
    path.write_bytes(b"P6 %d %d 255\n" % (PIXELS, PIXELS) + pixels.tobytes())


def _upright(plane: np.ndarray) -> np.ndarray:
    """From (R, A) to rows from the front and columns from the patient's right."""
    return plane[::-1, ::-1].T


def _edge(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that have a neighbour outside it."""
    inner = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(mask, step, axis)
    return mask & ~inner
