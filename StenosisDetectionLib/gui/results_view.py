"""The results section of the panel: finding, lesion table, warnings.

In: the widgets of the .ui file (cadRadsLabel, summaryLabel, warningsLabel, lesionTable, resultsCollapsibleButton)
and a `StudyResult`. Out: the position in RAS, mm, of each lesion the user goes to.
"""

from collections.abc import Callable
from typing import Any

from ..study import StudyResult
from .texts import (
    GRADE_COLORS,
    GRADE_COLUMN,
    STENOSIS_COLUMN,
    LesionRow,
    cad_rads_line,
    lesion_rows,
    summary_line,
    warning_lines,
)


class ResultsView:
    """Shows one study and calls `on_lesion` with the position of the lesion that the user chooses."""

    def __init__(self, ui: Any, on_lesion: Callable[[tuple[float, float, float]], None]) -> None:
        self._ui = ui
        self._on_lesion = on_lesion
        self._rows: tuple[LesionRow, ...] = ()
        import qt

        ui.lesionTable.sortByColumn(STENOSIS_COLUMN, qt.Qt.DescendingOrder)  # until the user sorts otherwise
        ui.lesionTable.connect("itemSelectionChanged()", self._chosen)
        # A second click on the chosen row goes there again.
        ui.lesionTable.connect("cellClicked(int,int)", self._chosen)
        self.clear()

    def clear(self) -> None:
        """Show that there is no result."""
        from slicer.i18n import tr as _

        self._ui.cadRadsLabel.text = _("No result yet.")
        self._ui.summaryLabel.visible = False
        self._show_warnings(())
        self._fill(())

    def show(self, study: StudyResult) -> None:
        """Show a study; no lesion is chosen yet."""
        self._ui.cadRadsLabel.text = cad_rads_line(study)
        self._ui.summaryLabel.text = summary_line(study)
        self._ui.summaryLabel.visible = True
        self._show_warnings(warning_lines(study))
        self._fill(lesion_rows(study))
        self._ui.resultsCollapsibleButton.collapsed = False

    def _show_warnings(self, lines: tuple[str, ...]) -> None:
        self._ui.warningsLabel.text = "\n".join(lines)
        self._ui.warningsLabel.visible = bool(lines)

    def _fill(self, rows: tuple[LesionRow, ...]) -> None:
        import qt

        self._rows = rows
        table = self._ui.lesionTable
        table.blockSignals(True)  # filling is not choosing
        table.setSortingEnabled(False)  # or a row would move away while it is being filled
        table.clearSelection()
        table.rowCount = len(rows)
        for index, row in enumerate(rows):
            for column, cell in enumerate(row.cells):
                item = qt.QTableWidgetItem()
                # A number as a number, so that 9 sorts before 10.
                item.setData(qt.Qt.DisplayRole, "" if cell is None else cell)
                # Sorting moves the items: each carries the row it came from.
                item.setData(qt.Qt.UserRole, index)
                item.setToolTip(row.tool_tip)
                if isinstance(cell, float):
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                if column == GRADE_COLUMN:
                    background, text = GRADE_COLORS[row.grade]
                    item.setBackground(qt.QBrush(qt.QColor(*background)))
                    item.setForeground(qt.QBrush(qt.QColor(*text)))
                table.setItem(index, column, item)
        table.setSortingEnabled(True)
        table.resizeColumnsToContents()
        table.blockSignals(False)

    def _chosen(self, _row: int = -1, _column: int = -1) -> None:
        import qt

        table = self._ui.lesionTable
        chosen = table.selectionModel().selectedRows()
        if len(chosen) > 0:
            index = int(table.item(chosen[0].row(), 0).data(qt.Qt.UserRole))
            self._on_lesion(self._rows[index].position_ras)
