"""Fill the tables of the panel: numbers sort as numbers, grades have their colors, rows keep who they are."""

from collections.abc import Sequence
from typing import Any

from .texts import GRADE_COLORS, Cell

_SWATCH = 12
"""Side in pixels of the colored square before a grade, which stays visible in a selected row."""


def fill_table(
    table: Any,
    rows: Sequence[tuple[str, tuple[Cell, ...], str, bool]],
    grade_column: int,
    grades: Sequence[str],
) -> None:
    """Show rows in a QTableWidget without choosing any.

    Parameters
    ----------
    rows : name of the row (see `chosen_name`), cells, tool tip, and whether it counts; one that does not is struck out.
    grades : grade of each row, which colors the cell of `grade_column`.
    """
    table.blockSignals(True)  # filling is not choosing
    table.setSortingEnabled(False)  # or a row would move away while it is being filled
    table.clearSelection()
    table.rowCount = len(rows)
    for index, ((name, cells, tool_tip, counts), grade) in enumerate(zip(rows, grades, strict=True)):
        for column, cell in enumerate(cells):
            item = _item(cell, name, tool_tip, counts)
            if column == grade_column and grade in GRADE_COLORS:
                _color(item, grade)
            table.setItem(index, column, item)
    table.setSortingEnabled(True)
    table.resizeColumnsToContents()
    table.blockSignals(False)


def chosen_name(table: Any) -> str | None:
    """Return the name of the chosen row, however the table is sorted; None when no row is chosen."""
    import qt

    chosen = table.selectionModel().selectedRows()
    if len(chosen) == 0:
        return None
    return str(table.item(chosen[0].row(), 0).data(qt.Qt.UserRole))


def choose_row(table: Any, name: str | None) -> None:
    """Choose the row of that name without telling anybody."""
    import qt

    table.blockSignals(True)
    table.clearSelection()
    for row in range(table.rowCount):
        if name is not None and table.item(row, 0).data(qt.Qt.UserRole) == name:
            table.selectRow(row)
    table.blockSignals(False)


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
