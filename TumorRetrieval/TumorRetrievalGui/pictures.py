"""Small pictures that are painted here: the bars that say why a case is similar, and the marks of an empty list."""

from collections.abc import Mapping

import qt

BLOCK_COLORS = {"appearance": "#4c9fd6", "type": "#e0903c", "position": "#62ad62", "extent": "#a883c4"}
BARS_SIZE = (132, 60)
_TRACK = "#80808060"
_LABEL_WIDTH = 62


def shareBars(shares: Mapping[str, float], weights: Mapping[str, float], names: Mapping[str, str], textColor):
    """Why a case is similar, as one bar per block.

    :param shares: block -> its part of the similarity.
    :param weights: block -> the most that its part can be; the length of the bar's grey track.
    :param names: block -> what the user calls it, in the order from top to bottom.
    :param textColor: a QColor.
    :returns: a QPixmap of `BARS_SIZE`.
    """
    width, height = BARS_SIZE
    pixmap = qt.QPixmap(width, height)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    font = qt.QFont(painter.font())
    font.setPixelSize(10)
    painter.setFont(font)
    painter.setPen(textColor)
    row = height // max(len(names), 1)
    longest = max([*weights.values(), 1e-6])
    for number, (block, name) in enumerate(names.items()):
        top = number * row
        painter.drawText(0, top + row - 4, name)
        space = width - _LABEL_WIDTH
        track = round(space * weights.get(block, 0.0) / longest)
        filled = round(space * min(max(shares.get(block, 0.0), 0.0), longest) / longest)
        painter.fillRect(_LABEL_WIDTH, top + 4, track, row - 7, _color(_TRACK))
        painter.fillRect(_LABEL_WIDTH, top + 4, filled, row - 7, _color(BLOCK_COLORS[block]))
    painter.end()
    return pixmap


def _color(text: str):
    """A QColor from #rrggbb or #rrggbbaa."""
    parts = [int(text[i : i + 2], 16) for i in range(1, len(text), 2)]
    return qt.QColor(*parts)
