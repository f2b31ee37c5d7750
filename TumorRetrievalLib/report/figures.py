"""The pictures of a report: gray slices, with outlines that stay sharp at any size."""

import base64
import io
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.report.slices import SlicePlane, box_outline, gray_window, read_slice

PIXELS = 288
"""Pixels along the edge of a picture: about 0.6 mm each, finer than the scans and twice what a screen column shows."""


@dataclass(frozen=True)
class Picture:
    """One slice, ready for the page; lengths in mm from its upper left corner.

    :param image: the gray values as a data URI.
    :param core: SVG path of the tumor core's outline, "" where there is none.
    :param whole: SVG path of the whole tumor's outline.
    :param box: SVG path of the drawn box.
    :param edge_mm: edge of the picture.
    :param letters: where its left, right, upper and lower edges lie in the patient.
    :param label: what it shows, for readers who do not see it.
    """

    image: str
    core: str
    whole: str
    box: str
    edge_mm: float
    letters: tuple[str, str, str, str]
    label: str


def draw_slice(
    volume: Volume,
    plane: SlicePlane,
    *,
    label: str,
    core: LabelMap | None = None,
    whole: LabelMap | None = None,
    box: Box | None = None,
    window: tuple[float, float] | None = None,
) -> Picture:
    """One slice of a scan with what is outlined on it.

    :param label: what it shows, in words.
    :param window: values shown as black and as white; by default those of `gray_window`.
    """
    black, white = window or gray_window(volume)
    gray = np.clip((read_slice(volume, plane, outside=black) - black) / (white - black), 0, 1)
    return Picture(
        image=data_uri(np.round(gray * 255).astype(np.uint8)),
        core=outline_path(core, plane) if core else "",
        whole=outline_path(whole, plane) if whole else "",
        box=_path([np.vstack([p, p[:1]]) for p in [box_outline(box, plane)] if len(p)]) if box else "",
        edge_mm=plane.edge_mm,
        letters=plane.orientation.letters,
        label=f"{label}, {plane.orientation.name}",
    )


def data_uri(pixels: np.ndarray) -> str:
    """8-bit gray values, shape (h, w), or colours, (h, w, 3 or 4), as a WebP picture inside a string."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=82, method=3)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def outline_path(image: LabelMap | np.ndarray, plane: SlicePlane, level: float = 0.5) -> str:
    """Where a plane crosses the border of a segmentation, as an SVG path in picture mm.

    :param image: the segmentation, or the values of another image on the plane, shape (pixels, pixels).
    :param level: of the values, which is outlined.
    """
    from contourpy import contour_generator

    values = read_slice(image, plane) if isinstance(image, LabelMap) else image
    if values.max() <= level:
        return ""
    lines = contour_generator(z=values, name="serial").lines(level)
    return _path([(line + 0.5) * plane.pixel_mm for line in lines])


def _path(lines: list[np.ndarray]) -> str:
    """Polylines, each of shape (n, 2) in picture mm, as an SVG path to a tenth of a millimetre."""
    return " ".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in line) for line in lines)
