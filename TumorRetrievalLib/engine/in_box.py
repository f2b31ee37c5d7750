"""Reads a drawn box and outlines what it encloses, also where that is several tumors apart from each other."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.cohort.foci import find_foci
from TumorRetrievalLib.engine.outline import Outline, join, outline_tumor
from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.tumor_crop import Scan, voxels_inside
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.retrieval.embedder import Reading, TumorReader

_LIMIT = 0.5
"""Mean probability, told and not told of the box, from which a voxel counts when tumors in a box are told apart.

Told of a box, the network fills it from one tumor to the next; not told, it misses much. Of .45 to .6 and of the mean
and the geometric mean this outlined several tumors best, and never took one for two where the box was around the core,
in 30 synthetic patients of no other use (`evaluate shared-boxes --first 0`).
"""
_LOOKS = 2
"""How often a box is divided: tumors that are close to each other part only when seen closely."""
_ROOM = 1.1
"""Factor between a tumor's extent and the box that is drawn around it."""
_MOST = 12
"""Tumors that are told apart in one box, the largest first."""


@dataclass(frozen=True, eq=False)
class InBox:
    """What a drawn box holds.

    :param reading: what the network says about the box as it was drawn.
    :param outline: of everything that the box was drawn around.
    :param boxes: of the tumors that were told apart and outlined each by itself; empty if none were.
    :param seen: how much of the outlines the network also sees when it is not told of their boxes, 0 to 1; see
        `TumorReader.seen_without_box`.
    """

    reading: Reading
    outline: Outline
    boxes: list[Box]
    seen: float


def read_in_box(scan: Scan, box: Box, around: str, reader: TumorReader, grid: Grid) -> InBox:
    """Read a box, and outline each of the tumors in it as if it had a box of its own.

    :param around: "core" or "whole", what the box was drawn around.
    :param grid: the scan's, on which the outline lies.

    Errors as in `imaging.tumor_crop.cut_crop`.
    """
    as_drawn = _Look.at(scan, box, around, reader)
    looks = _looks(scan, as_drawn, reader, _LOOKS)
    outlines = [outline_tumor(look.reading, look.box, around, reader, grid) for look in looks]
    volumes = [outline.whole_ml for outline in outlines]
    seen = np.average([look.seen for look in looks], weights=volumes) if any(volumes) else as_drawn.seen
    boxes = [look.box for look in looks] if len(looks) > 1 else []
    return InBox(as_drawn.reading, join(outlines, grid), boxes, float(seen))


@dataclass(frozen=True, eq=False)
class _Look:
    """A box, and what the network answers about its cube when it is told of the box and when it is not."""

    box: Box
    around: str
    reading: Reading
    untold: Reading
    seen: float

    @classmethod
    def at(cls, scan: Scan, box: Box, around: str, reader: TumorReader) -> "_Look":
        reading = reader.read(scan, box, around)
        untold = reader.read_untold(scan, box, around, reading)
        return cls(box, around, reading, untold, reader.seen_without_box(box, around, reading, untold))

    def boxes_of_tumors(self) -> list[Box]:
        """Boxes around the tumors that can be told apart."""
        answers = (self.reading, self.untold)
        told, untold = (one.core if self.around == "core" else one.whole for one in answers)
        both = (told.data + untold.data) / 2 > _LIMIT
        mask = LabelMap(both & voxels_inside(self.box, told.grid), told.affine)
        boxes = [focus.size.box for focus in find_foci(mask, mask)]
        return [Box(box.center, box.size * _ROOM, box.axes) for box in boxes[:_MOST]]


def _looks(scan: Scan, look: _Look, reader: TumorReader, left: int) -> list[_Look]:
    """A closer look at each tumor of a box, or the one that was taken where there are not several."""
    boxes = look.boxes_of_tumors() if left else []
    if len(boxes) < 2:
        return [look]
    closer: list[_Look] = []
    for box in boxes:
        # What is seen beside the head has no image to look at.
        with suppress(InvalidBox):
            closer += _looks(scan, _Look.at(scan, box, look.around, reader), reader, left - 1)
    return closer or [look]
