"""Fill the tables of the panel: numbers sort as numbers, grades have their colors, rows keep who they are."""

from collections.abc import Sequence
from typing import Any

from .texts import GRADE_COLORS, Cell

_SWATCH = 12
"""Side in pixels of the colored square before a grade, which stays visible in a selected row."""


Row = tuple[str, tuple[Cell, ...], str, bool, str]
"""Name of the row (see `chosen_name`), cells, tool tip, whether it counts (what does not is struck out), grade."""


class FilledTable:
    """A QTableWidget and the rows it shows; only rows that are others than before are written.

    Parameters
    ----------
    grade_column : the cell of a row that has the color of its grade.
    """

    def __init__(self, table: Any, grade_column: int) -> None:
        self._table = table
        self._grade_column = grade_column
        self._rows: list[Row] = []

    def fill(self, rows: Sequence[Row]) -> None:
        """Show rows without choosing any; where the same ones were shown, a chosen one stays chosen."""
        before, self._rows = self._rows, list(rows)
        if self._rows == before:
            return
        table = self._table
        table.blockSignals(True)  # filling is not choosing
        table.setSortingEnabled(False)  # or a row would move away while it is being filled
        if [row[0] for row in before] == [row[0] for row in rows]:
            places = {str(_name(table, index)): index for index in range(table.rowCount)}
        else:
            table.clearSelection()
            table.rowCount = len(rows)
            before, places = [], {row[0]: index for index, row in enumerate(rows)}
        for row in rows:
            if row not in before:
                self._write(places[row[0]], row)
        table.setSortingEnabled(True)
        table.resizeColumnsToContents()
        table.blockSignals(False)

    def _write(self, index: int, row: Row) -> None:
        name, cells, tool_tip, counts, grade = row
        for column, cell in enumerate(cells):
            item = _item(cell, name, tool_tip, counts)
            if column == self._grade_column and grade in GRADE_COLORS:
                _color(item, grade)
            self._table.setItem(index, column, item)


def chosen_name(table: Any) -> str | None:
    """Return the name of the chosen row, however the table is sorted; None when no row is chosen."""
    chosen = table.selectionModel().selectedRows()
    return str(_name(table, chosen[0].row())) if len(chosen) > 0 else None


def choose_row(table: Any, name: str | None) -> None:
    """Choose the row of that name without telling anybody."""
    table.blockSignals(True)
    table.clearSelection()
    for row in range(table.rowCount):
        if name is not None and _name(table, row) == name:
            table.selectRow(row)
    table.blockSignals(False)


def _name(table: Any, row: int) -> Any:
    import qt

    return table.item(row, 0).data(qt.Qt.UserRole)


def _item(cell: Cell, name: str, tool_tip: str, counts: bool) -> Any:
    import qt

    item = qt.QTableWidgetItem()
    # A number as a number, so that 9 sorts before 10.
    item.setData(qt.Qt.DisplayRole, "" if cell is None else cell)
    # Sorting moves the items: each carries the row it came from.
    item.setData(qt.Qt.UserRole, name)
    item.setToolTip(tool_tip)
    if isinstance(cell, float):
        item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    if not counts:
        font = item.font()
        font.setStrikeOut(True)
        item.setFont(font)
    return item


def _color(item: Any, grade: str) -> None:
    import qt

    background, text = GRADE_COLORS[grade]
    item.setBackground(qt.QBrush(qt.QColor(*background)))
    item.setForeground(qt.QBrush(qt.QColor(*text)))
    swatch = qt.QPixmap(_SWATCH, _SWATCH)
    swatch.fill(qt.QColor(*background))
    icon = qt.QIcon(swatch)
    icon.addPixmap(swatch, qt.QIcon.Selected)  # or Qt would tint it in the chosen row
    item.setIcon(icon)
