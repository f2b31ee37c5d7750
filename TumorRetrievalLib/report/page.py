"""The page itself: one HTML file that needs nothing else, neither network nor scripts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.report.figures import PIXELS, Picture, draw_slice
from TumorRetrievalLib.report.model import BLOCKS, Report, ReportHit, ReportTumor
from TumorRetrievalLib.report.slices import ORIENTATIONS, SlicePlane, gray_window

FIELD_OF_VIEW_MM = 170.0
"""Edge of every picture: most of a head around the lesion. A box that does not fit gets more, and its hits too."""

SEQUENCES = {"t1c": "T1 with contrast", "flair": "FLAIR"}


@dataclass(frozen=True)
class PictureRow:
    """The same slice of the patient and of every hit.

    :param title: sequence and orientation.
    :param sequence: "t1c" or "flair".
    :param pictures: one per column; None where that case has no such scan.
    """

    title: str
    sequence: str
    pictures: list[Picture | None]


@dataclass(frozen=True)
class _Subject:
    """What one column of pictures shows."""

    name: str
    scans: dict[str, Volume | None]
    core: LabelMap | None
    whole: LabelMap | None
    center_ras: np.ndarray
    box: Box | None = None


@dataclass(frozen=True)
class Bar:
    """One block's part of a similarity bar, in percent of the width of the chart.

    :param block: name of the embedding block.
    :param share: what it adds to the score.
    :param start: left end.
    :param width: length.
    """

    block: str
    share: float
    start: float
    width: float


def write_report(path: str | Path, report: Report, progress: Callable[[float, str], None] | None = None) -> None:
    """Write the report as one HTML file, whole or not at all.

    :param path: the file to write, usually `report.html`.
    :param progress: told the fraction done and what is being drawn; may raise Cancelled.
    :raises CannotWrite: if the disk is full or the folder cannot be written.
    """
    html = render_report(report, progress=progress)
    with atomic_file(Path(path)) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render_report(report: Report, progress: Callable[[float, str], None] | None = None) -> str:
    """The report as HTML text, every picture inside."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    columns = sum(1 + len(tumor.hits) for tumor in report.tumors)
    done = 0

    def drawn(name: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done / columns, f"Report: {name}")

    pages = Environment(
        loader=PackageLoader("TumorRetrievalLib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["ml"] = format_ml
    tumors = [
        {
            "tumor": tumor,
            "types": sorted(tumor.types.items(), key=lambda item: -item[1]),
            "rows": _picture_rows(report, tumor, drawn),
            "bars": _similarity_bars(tumor.hits),
        }
        for tumor in report.tumors
    ]
    return pages.get_template("report.html.j2").render(
        report=report, tumors=tumors, blocks=BLOCKS, synthetic=_how_many_are_synthetic(report)
    )


def format_ml(volume_ml: float | None) -> str:
    """A volume as a reader says it: `0.42 ml`, `4.2 ml`, `42 ml`, or nothing when it is unknown."""
    if volume_ml is None:
        return ""
    decimals = 2 if volume_ml < 1 else 1 if volume_ml < 10 else 0
    return f"{volume_ml:.{decimals}f} ml"


def _how_many_are_synthetic(report: Report) -> str:
    """ "all", "some" or "none" of the shown cases."""
    made = [hit.synthetic for tumor in report.tumors for hit in tumor.hits]
    return "none" if not any(made) else "all" if all(made) else "some"


def _picture_rows(report: Report, tumor: ReportTumor, drawn: Callable[[str], None]) -> list[PictureRow]:
    """Rows of pictures: sequence by sequence, axial, coronal, sagittal; the patient first, then the hits."""
    # The diagonal of the largest face fits, whichever way the box is turned.
    edge_mm = max(FIELD_OF_VIEW_MM, 1.2 * float(np.linalg.norm(np.sort(tumor.box.size)[1:])))
    columns = []
    for subject in _subjects(report, tumor):
        columns.append(_column(subject, edge_mm))
        drawn(subject.name)
    rows = []
    for key, sequence in SEQUENCES.items():
        for index, orientation in enumerate(ORIENTATIONS):
            pictures = [column[key][index] if column[key] else None for column in columns]
            if any(pictures):
                rows.append(PictureRow(f"{sequence}, {orientation.name}", key, pictures))
    return rows


def _subjects(report: Report, tumor: ReportTumor) -> list[_Subject]:
    scans = {"t1c": report.t1c, "flair": report.flair}
    patient = _Subject("patient", scans, report.core, report.whole, tumor.box.center, tumor.box)
    return [patient] + [
        _Subject(f"case {hit.case}", {"t1c": hit.t1c, "flair": hit.flair}, hit.core, hit.whole, hit.center_ras)
        for hit in tumor.hits
    ]


def _column(subject: _Subject, edge_mm: float) -> dict[str, list[Picture]]:
    """The pictures of one case: sequence -> one per orientation, empty where there is no such scan."""
    pictures: dict[str, list[Picture]] = {}
    for key, volume in subject.scans.items():
        if volume is None:
            pictures[key] = []
            continue
        window = gray_window(volume)
        pictures[key] = [
            draw_slice(
                volume,
                SlicePlane(orientation, np.asarray(subject.center_ras, float), edge_mm, PIXELS),
                label=f"{subject.name}, {SEQUENCES[key]}",
                core=subject.core,
                whole=subject.whole,
                box=subject.box,
                window=window,
            )
            for orientation in ORIENTATIONS
        ]
    return pictures


def _similarity_bars(hits: list[ReportHit]) -> dict:
    """Stacked bars on one scale: shares above zero to the right of it, shares below zero to the left.

    :returns: `zero`, the position of zero, and `rows`, one list of `Bar` per hit.
    """
    above = max([1.0] + [sum(max(s, 0.0) for s in hit.blocks.values()) for hit in hits])
    below = max([0.0] + [sum(max(-s, 0.0) for s in hit.blocks.values()) for hit in hits])
    scale = 100.0 / (above + below)
    rows = []
    for hit in hits:
        right = left = below * scale
        bars = []
        for block in BLOCKS:
            share = hit.blocks.get(block, 0.0)
            width = abs(share) * scale
            if share < 0:
                left -= width
            bars.append(Bar(block, share, left if share < 0 else right, width))
            if share >= 0:
                right += width
        rows.append(bars)
    return {"zero": below * scale, "rows": rows}
