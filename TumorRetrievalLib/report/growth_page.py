"""The page about one growth simulation: the masks and the simulated density over the scan, and both as surfaces."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.report.figures import PIXELS, data_uri, outline_path
from TumorRetrievalLib.report.page import format_ml
from TumorRetrievalLib.report.slices import ORIENTATIONS, Orientation, SlicePlane, gray_window, read_slice
from TumorRetrievalLib.report.surfaces import Surface, View, render

EDGE_MM = 210.0
"""Edge of every slice: a whole head."""
LEVELS = (0.2, 0.6)
"""Densities that are outlined: where FLAIR and contrast-enhanced T1 are taken to show the tumor."""
FAINT = 0.02
"""The lowest density that the three-dimensional view shows."""

_CORE, _WHOLE = (1.0, 0.42, 0.12), (0.2, 0.6, 1.0)
_FAINT_COLOR, _BRAIN = (0.72, 0.5, 0.95), (0.86, 0.86, 0.9)
_SPACING_3D_MM = 1.5
_PIXELS_3D = 280


@dataclass(frozen=True, eq=False)
class GrowthReport:
    """What the page shows.

    :param scan_name: what the reader calls the scan.
    :param t1c: :param flair: the patient's scans; FLAIR may be None.
    :param core: :param whole: the masks that were fitted.
    :param density: simulated tumor cell density, 0..1, in the patient.
    :param spread: its standard deviation over the best matches.
    :param brain: the atlas brain as it lies in the patient, on any grid.
    :param result: the content of result.json.
    """

    scan_name: str
    t1c: Volume
    flair: Volume | None
    core: LabelMap
    whole: LabelMap
    density: Volume
    spread: Volume
    brain: LabelMap
    result: dict


@dataclass(frozen=True)
class Layer:
    """An outline in a picture: the name of its style, and its SVG path in mm."""

    style: str
    path: str


@dataclass(frozen=True)
class GrowthPicture:
    """One slice, or one view of the surfaces.

    :param image: what is seen, as a data URI.
    :param heat: colours over it, as a data URI, or "".
    :param layers: outlines over both.
    :param edge_mm: edge of the picture.
    :param letters: where its left, right, upper and lower edges lie in the patient.
    :param label: what it shows, for readers who do not see it.
    """

    image: str
    heat: str
    layers: list[Layer]
    edge_mm: float
    letters: tuple[str, str, str, str]
    label: str


def write_growth_report(
    path: str | Path, report: GrowthReport, progress: Callable[[float, str], None] | None = None
) -> None:
    """Write the page as one HTML file that needs nothing else, whole or not at all.

    :param progress: told the fraction done; may raise Cancelled.
    :raises CannotWrite: if the disk is full or the folder cannot be written.
    """
    html = render_growth_report(report, progress)
    with atomic_file(Path(path)) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render_growth_report(report: GrowthReport, progress: Callable[[float, str], None] | None = None) -> str:
    """The page as HTML text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    told = progress or (lambda fraction, message: None)
    told(0.0, "Drawing the slices")
    rows = [_slices(report, orientation) for orientation in ORIENTATIONS]
    told(0.4, "Drawing the surfaces")
    views = _surfaces(report)
    pages = Environment(
        loader=PackageLoader("TumorRetrievalLib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["ml"] = format_ml
    told(1.0, "Drawn")
    return pages.get_template("growth.html.j2").render(
        report=report,
        result=report.result,
        titles=_titles(report),
        rows=rows,
        views=views,
        heat_scale=_heat_scale(),
        largest_spread=_largest_spread(report),
    )


def _titles(report: GrowthReport) -> list[str]:
    titles = ["T1 with contrast", "The masks, and the simulation's outlines"]
    if report.flair is not None:
        titles.append("The same over FLAIR")
    return titles + ["Simulated cell density", "Spread over the best matches"]


def _slices(report: GrowthReport, orientation: Orientation) -> list[GrowthPicture]:
    """One row: the same slice, plain, with the masks, with the density, and with its spread."""
    plane = SlicePlane(orientation, _center(report, orientation), EDGE_MM, PIXELS)
    filled = {"whole-fill": report.whole, "core-fill": report.core}
    masks = [Layer(style, outline_path(mask, plane)) for style, mask in filled.items()]
    density = read_slice(report.density, plane)
    lines = [
        Layer(f"level-{number}", outline_path(density, plane, level)) for number, level in enumerate(LEVELS, start=1)
    ]
    spread = read_slice(report.spread, plane) / _largest_spread(report)
    gray = _gray(report.t1c, plane)
    kinds = [("T1 with contrast", gray, "", []), ("masks on T1 with contrast", gray, "", masks + lines)]
    if report.flair is not None:
        kinds.append(("masks on FLAIR", _gray(report.flair, plane), "", masks + lines))
    kinds.append(("simulated cell density", gray, data_uri(_heat(density)), lines))
    kinds.append(("spread over the best matches", gray, data_uri(_heat(spread, "viridis", 0.5)), []))
    return [
        GrowthPicture(image, heat, layers, EDGE_MM, orientation.letters, f"{name}, {orientation.name}")
        for name, image, heat, layers in kinds
    ]


def _center(report: GrowthReport, orientation: Orientation) -> np.ndarray:
    """The middle of the brain, moved to the slice on which the whole tumor is largest."""
    brain = _world(report.brain)
    center = (brain.min(axis=0) + brain.max(axis=0)) / 2
    normal = np.cross(orientation.right, orientation.down)
    heights = _world(report.whole) @ normal
    counts, edges = np.histogram(heights, bins=np.arange(heights.min() - 1, heights.max() + 3, 2.0))
    best = int(counts.argmax())
    return center + normal * ((edges[best] + edges[best + 1]) / 2 - center @ normal)


def _world(mask: LabelMap) -> np.ndarray:
    return mask.grid.to_world(np.argwhere(mask.data))


def _gray(volume: Volume, plane: SlicePlane) -> str:
    black, white = gray_window(volume)
    gray = np.clip((read_slice(volume, plane, outside=black) - black) / (white - black), 0, 1)
    return data_uri(np.round(gray * 255).astype(np.uint8))


def _heat(values: np.ndarray, colors: str = "inferno", opaque_from: float = 0.08) -> np.ndarray:
    """Values 0..1 as colours that are transparent at 0; uint8 (h, w, 4)."""
    from matplotlib import colormaps

    values = np.clip(values, 0, 1)
    # The dark end of the map would be invisible on a scan: begin a little above it.
    rgba = colormaps[colors](0.2 + 0.75 * values)
    rgba[..., 3] = 0.85 * np.clip(values / opaque_from, 0, 1)
    return np.round(rgba * 255).astype(np.uint8)


def _heat_scale() -> str:
    return data_uri(_heat(np.linspace(0.1, 1, 128)[None].repeat(4, axis=0)))


def _largest_spread(report: GrowthReport) -> float:
    return max(float(report.spread.data.max()), 0.05)


def _surfaces(report: GrowthReport) -> list[tuple[str, list[GrowthPicture]]]:
    """Two rows of views: the masks in the brain, and the simulated tumor in it."""
    grid = _grid_3d(report.brain)
    brain = Surface(_smooth(_as_volume(report.brain), grid, 2.0), 0.5, _BRAIN, 0.2)
    core, whole = (_smooth(_as_volume(mask), grid, 1.0) for mask in (report.core, report.whole))
    density = resample(report.density, grid)
    contents = {
        "The masks": [Surface(whole, 0.5, _WHOLE, 0.4), Surface(core, 0.5, _CORE, 1.0)],
        "The simulation": [
            Surface(density, FAINT, _FAINT_COLOR, 0.18),
            Surface(density, LEVELS[0], _WHOLE, 0.4),
            Surface(density, LEVELS[1], _CORE, 1.0),
        ],
    }
    side = 1.0 if _world(report.whole)[:, 0].mean() > grid.centre()[0] else -1.0
    name = "right" if side > 0 else "left"
    views = {
        f"from the front and the patient's {name}": View((-0.75 * side, -0.6, -0.3)),
        f"from the patient's {name}": View((-side, 0.0, 0.0)),
        "from above": View((0.0, 0.0, -1.0), up=(0.0, 1.0, 0.0)),
    }
    edge_mm = 1.08 * float(max(np.array(grid.shape) * _SPACING_3D_MM))
    return [
        (
            title,
            [
                GrowthPicture(
                    data_uri(render([brain, *surfaces], view, grid.centre(), edge_mm, _PIXELS_3D)),
                    "",
                    [],
                    edge_mm,
                    view.letters(),
                    f"{title}, seen {where}",
                )
                for where, view in views.items()
            ],
        )
        for title, surfaces in contents.items()
    ]


def _grid_3d(brain: LabelMap) -> Grid:
    points = _world(brain)
    low, high = points.min(axis=0) - 6, points.max(axis=0) + 6
    return Grid.around((low + high) / 2, _SPACING_3D_MM, tuple(int(n) for n in np.ceil((high - low) / _SPACING_3D_MM)))


def _as_volume(mask: LabelMap) -> Volume:
    return Volume(mask.data != 0, mask.affine)


def _smooth(volume: Volume, grid: Grid, sigma: float) -> Volume:
    from scipy import ndimage

    return Volume(ndimage.gaussian_filter(resample(volume, grid).data, sigma), grid.affine)
