"""The list of similar cases: a picture, the facts, and bars that say why."""

from collections.abc import Mapping
from pathlib import Path

import qt

from TumorRetrievalGui.panel import Quiet
from TumorRetrievalGui.pictures import BARS_SIZE, shareBars
from TumorRetrievalGui.results_logic import Hit
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.translation import _
from TumorRetrievalGui.words import blockNames, isSynthetic, milliliters, percent, place

THUMBNAIL = 64
_PICTURE, _FACTS, _BARS = range(3)
_CHECKBOX_WIDTH = 28
_MARKS = {"more": "+", "less": "−", "": ""}


class HitTable:
    """Fills a QTableWidget.

    :param table: the widget.
    """

    def __init__(self, table):
        self._table = table
        self._quiet = Quiet()
        self._hits: list[Hit] = []
        self._checked: list[list[str]] = []
        self._pictures: dict[tuple, Path] = {}
        self._provenances: dict[tuple, str] = {}
        self._opinions: Mapping[tuple, str] = {}
        #: A `Hit` was double-clicked.
        self.opened = Signal()
        #: Another row was chosen, or a box was checked.
        self.changed = Signal()
        table.setColumnCount(3)
        table.horizontalHeader().setVisible(False)
        table.verticalHeader().setVisible(False)
        table.setShowGrid(False)
        table.setAlternatingRowColors(True)
        table.setWordWrap(True)
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.setVerticalScrollMode(qt.QAbstractItemView.ScrollPerPixel)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.setColumnWidth(_PICTURE, THUMBNAIL + _CHECKBOX_WIDTH)
        table.setColumnWidth(_BARS, BARS_SIZE[0] + 8)
        table.horizontalHeader().setSectionResizeMode(_FACTS, qt.QHeaderView.Stretch)
        table.connect("itemChanged(QTableWidgetItem*)", self._noteChecks)
        table.connect("itemSelectionChanged()", self._tellChanged)
        table.connect("cellDoubleClicked(int,int)", lambda row, column: self.opened.emit(self._hits[row]))

    def show(self, hits: list[Hit], opinions: Mapping[tuple, str], weights: Mapping[str, float]) -> None:
        """Show a list; what was chosen and checked stays so, wherever it is now.

        :param opinions: key of a hit -> "more", "less" or "".
        :param weights: block -> the most that it can add to the similarity.
        """
        chosen, table = self.chosen, self._table
        with self._quiet:
            self._hits, self._opinions = list(hits), opinions
            table.setRowCount(len(hits))
            for row, hit in enumerate(hits):
                self._fill(row, hit, weights)
            row = next((row for row, hit in enumerate(hits) if chosen and hit.key == chosen.key), -1)
            if row >= 0:
                table.selectRow(row)
            else:
                table.clearSelection()
        self.changed.emit()

    def check(self, hits: list[Hit]) -> None:
        """Check these and no others."""
        self._checked = [hit.key for hit in hits]
        with self._quiet:
            for row, hit in enumerate(self._hits):
                self._table.item(row, _PICTURE).setCheckState(self._state(hit))
        self.changed.emit()

    @property
    def checked(self) -> list[Hit]:
        """The checked cases, in the order of the list."""
        return [hit for hit in self._hits if hit.key in self._checked]

    @property
    def chosen(self) -> Hit | None:
        """The case of the selected row."""
        rows = self._table.selectionModel().selectedRows()
        row = rows[0].row() if rows else -1
        return self._hits[row] if 0 <= row < len(self._hits) else None

    def choose(self, hit: Hit) -> None:
        """Select the row of a case, if it is listed."""
        row = next((row for row, listed in enumerate(self._hits) if listed.key == hit.key), -1)
        if row >= 0:
            self._table.selectRow(row)

    def setPicture(self, key, path: Path, provenance: str) -> None:
        """Show a picture of a tumor from now on, and say where its case is from."""
        self._pictures[tuple(key)] = path
        self._provenances[tuple(key)] = provenance
        with self._quiet:
            for row, hit in enumerate(self._hits):
                if hit.key == list(key):
                    self._table.item(row, _PICTURE).setData(qt.Qt.DecorationRole, self._picture(hit))
                    self._tellFacts(self._table.item(row, _FACTS), hit)

    def hasPicture(self, hit: Hit) -> bool:
        """Whether a picture of this tumor is known."""
        return tuple(hit.key) in self._pictures

    def _fill(self, row: int, hit: Hit, weights: Mapping[str, float]) -> None:
        table = self._table
        picture = qt.QTableWidgetItem()
        picture.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
        picture.setCheckState(self._state(hit))
        picture.setData(qt.Qt.DecorationRole, self._picture(hit))
        picture.setToolTip(_("Checked cases are shown beside the patient."))
        facts = qt.QTableWidgetItem()
        self._tellFacts(facts, hit)
        bars = qt.QTableWidgetItem()
        textColor = table.palette.color(qt.QPalette.Text)
        bars.setData(qt.Qt.DecorationRole, shareBars(hit.blocks, weights, blockNames(), textColor))
        bars.setToolTip(why(hit, weights))
        for column, item in ((_PICTURE, picture), (_FACTS, facts), (_BARS, bars)):
            table.setItem(row, column, item)
        # Long names of areas are wrapped, and then take a line more than the picture has room for.
        table.resizeRowToContents(row)
        table.setRowHeight(row, max(table.rowHeight(row), THUMBNAIL + 6))

    def _tellFacts(self, item, hit: Hit) -> None:
        provenance = self._provenances.get(tuple(hit.key), "")
        item.setText(factsOf(hit, self._opinions.get(tuple(hit.key), ""), provenance))
        words = [_("Case {case}. Double click to see it beside the patient.").format(case=hit.case), provenance]
        words.append(stabilityInWords(hit))
        item.setToolTip("\n".join(filter(None, words)))

    def _picture(self, hit: Hit):
        path = self._pictures.get(tuple(hit.key))
        pixmap = qt.QPixmap(str(path)) if path else qt.QPixmap()
        if pixmap.isNull():
            pixmap = qt.QPixmap(THUMBNAIL, THUMBNAIL)
            pixmap.fill(qt.QColor(128, 128, 128, 60))
            return pixmap
        return pixmap.scaled(THUMBNAIL, THUMBNAIL, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)

    def _state(self, hit: Hit):
        return qt.Qt.Checked if hit.key in self._checked else qt.Qt.Unchecked

    def _noteChecks(self, item) -> None:
        if self._quiet or item.column() != _PICTURE:
            return
        hit = self._hits[item.row()]
        self._checked = [key for key in self._checked if key != hit.key]
        if item.checkState() == qt.Qt.Checked:
            self._checked.append(hit.key)
        self.changed.emit()

    def _tellChanged(self) -> None:
        if not self._quiet:
            self.changed.emit()


def factsOf(hit: Hit, opinion: str, provenance: str) -> str:
    """What the list says about a case."""
    first = "  ".join(part for part in (_MARKS[opinion], percent(hit.score), hit.kind or _("type unknown")) if part)
    size = [milliliters(hit.volume_ml), *([_("synthetic")] if isSynthetic(provenance) else [])]
    stays = [_("in {kept} of {boxes} boxes").format(kept=hit.stays[0], boxes=hit.stays[1])] if hit.stays else []
    return "\n".join((first, place(hit.area, hit.side), ", ".join(size), *stays))


def stabilityInWords(hit: Hit) -> str:
    """What drawing the box again has shown; "" before that."""
    if hit.stays is None:
        return ""
    return _(
        "With {boxes} boxes drawn a little differently it is in this list {kept} times; its similarity varies by "
        "about {spread}."
    ).format(boxes=hit.stays[1], kept=hit.stays[0], spread=percent(hit.spread))


def why(hit: Hit, weights: Mapping[str, float]) -> str:
    """The bars in words."""
    lines = [
        _("{name}: {share} of at most {most}").format(
            name=name, share=percent(hit.blocks.get(block, 0.0)), most=percent(weights.get(block, 0.0))
        )
        for block, name in blockNames().items()
    ]
    return "\n".join([_("What each adds to the similarity of {score}:").format(score=percent(hit.score)), *lines])
