"""What a report shows: the patient, the tumors that were asked about, and the similar cases of each."""

from dataclasses import dataclass, field

import numpy as np

from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

BLOCKS = ("appearance", "type", "position", "extent")
"""The parts of an embedding, in the order in which their shares are drawn."""


@dataclass(frozen=True, eq=False)
class ReportHit:
    """One similar case.

    :param case: id of the case in the index.
    :param tumor: id of the tumor within the index.
    :param score: similarity, the sum of `blocks`.
    :param blocks: name of an embedding block -> its share of the score.
    :param type: tumor type, or "" when unknown.
    :param area: anatomical area, or "" when unknown.
    :param volume_ml: volume of the tumor in millilitres, or None when unknown.
    :param t1c: the case's contrast-enhanced T1 scan; None where it is not at hand, and `provenance` says why.
    :param flair: its FLAIR scan, if there is one.
    :param core: its tumor core, if it is known.
    :param whole: its whole tumor with oedema, if it is known.
    :param center_ras: middle of its tumor in the case's own RAS mm, shape (3,).
    :param provenance: where the case is from; begins with "synthetic" when it was made and not scanned.
    :param stability: what became of it when the box was drawn again, in words; "" if that was not tried.
    """

    case: str
    tumor: str
    score: float
    blocks: dict[str, float]
    type: str
    area: str
    volume_ml: float | None
    t1c: Volume | None
    flair: Volume | None
    core: LabelMap | None
    whole: LabelMap | None
    center_ras: np.ndarray
    provenance: str
    stability: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether the scan was made by a program."""
        return self.provenance.lower().startswith("synthetic")


@dataclass(frozen=True, eq=False)
class ReportTumor:
    """One tumor of the patient, with its similar cases.

    :param box: what was drawn, RAS mm.
    :param types: tumor type -> probability by the network.
    :param area: anatomical area, or "" when the scan could not be brought to the atlas.
    :param atlas_mm: middle of the box in MNI152 RAS mm, shape (3,), or None when that is unknown.
    :param core_ml: volume of the tumor core inside the box, ml.
    :param whole_ml: volume of the whole tumor around it, ml.
    :param hits: the similar cases, the most similar first.
    :param growth: path, from the report, of the page about its simulated growth; "" where there is none.
    :param slices: what single slices say of its type (see `engine.slice_evidence`), or None.
    """

    box: Box
    types: dict[str, float]
    area: str
    atlas_mm: np.ndarray | None
    core_ml: float
    whole_ml: float
    hits: list[ReportHit]
    growth: str = ""
    slices: dict | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """One page.

    :param scan_name: what the reader calls the scan.
    :param t1c: the patient's contrast-enhanced T1 scan.
    :param flair: the patient's FLAIR scan, on any grid, if there is one.
    :param core: the segmented tumor core.
    :param whole: the segmented whole tumor, with oedema.
    :param tumors: one entry per box.
    :param facts: how the result was made, label -> text, shown at the foot.
    :param notes: sentences a reader must see before anything else, such as a registration that failed.
    """

    scan_name: str
    t1c: Volume
    flair: Volume | None
    core: LabelMap
    whole: LabelMap
    tumors: list[ReportTumor]
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
