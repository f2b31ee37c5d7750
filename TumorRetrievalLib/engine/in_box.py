"""Reads a drawn box and outlines what it encloses, also where that is several tumors apart from each other."""

from dataclasses import dataclass

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
and the geometric mean this outlined several tumors best, and never took one for two, in 30 synthetic patients of no
other use.
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
    :param untold: what it says about the same cube when it is not told of the box.
    :param outline: of everything that the box was drawn around.
    :param boxes: of the tumors that were told apart and outlined each by itself; empty if none were.
    """

    reading: Reading
    untold: Reading
    outline: Outline
    boxes: list[Box]


def read_in_box(scan: Scan, box: Box, around: str, reader: TumorReader, grid: Grid) -> InBox:
    """Read a box, and outline each of the tumors in it as if it had a box of its own.

    :param around: "core" or "whole", what the box was drawn around.
    :param grid: the scan's, on which the outline lies.

    Errors as in `imaging.tumor_crop.cut_crop`.
    """
    reading = reader.read(scan, box, around)
    untold = reader.read_untold(scan, box, around, reading)
    outlined = _outlined(scan, _Asked(box, around, reading, untold), reader, grid, _LOOKS)
    boxes = [one for one, _ in outlined] if len(outlined) > 1 else []
    return InBox(reading, untold, join([outline for _, outline in outlined], grid), boxes)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A box and the two answers about it."""

    box: Box
    around: str
    reading: Reading
    untold: Reading

    def boxes_of_tumors(self) -> list[Box]:
        """Boxes around the tumors that can be told apart."""
        told, untold = (
            answer.core if self.around == "core" else answer.whole for answer in (self.reading, self.untold)
        )
        seen = (told.data + untold.data) / 2 > _LIMIT
        mask = LabelMap(seen & voxels_inside(self.box, told.grid), told.affine)
        boxes = [focus.size.box for focus in find_foci(mask, mask)]
        return [Box(box.center, box.size * _ROOM, box.axes) for box in boxes[:_MOST]]


def _outlined(scan: Scan, asked: _Asked, reader: TumorReader, grid: Grid, looks: int) -> list[tuple[Box, Outline]]:
    """The tumors of a box, each with the box in which it was outlined."""
    boxes = asked.boxes_of_tumors() if looks else []
    if len(boxes) > 1:
        closer = [one for box in boxes for one in _closer(scan, box, asked.around, reader, grid, looks - 1)]
        if closer:
            return closer
    return [(asked.box, outline_tumor(asked.reading, asked.box, asked.around, reader, grid))]


def _closer(
    scan: Scan, box: Box, around: str, reader: TumorReader, grid: Grid, looks: int
) -> list[tuple[Box, Outline]]:
    try:
        reading = reader.read(scan, box, around)
    except InvalidBox:  # something seen beside the head
        return []
    untold = reader.read_untold(scan, box, around, reading) if looks else reading
    return _outlined(scan, _Asked(box, around, reading, untold), reader, grid, looks)
