"""The findings section of the panel: category, lesion table with decisions, vessel table, warnings.

In: the widgets of the .ui file (cadRadsLabel, summaryLabel, lesionTable, acceptButton, rejectButton, commentEdit,
vesselTable, warningsLabel) and a `Session`. Out: `on_lesion` and `on_vessel` are told what the user chooses; decisions
go into the session.
"""

from collections.abc import Callable
from typing import Any

from ..i18n import tr as _
from .review import ACCEPTED, REJECTED, UNDECIDED
from .session import Session
from .tables import FilledTable, choose_row, chosen_name
from .texts import (
    GRADE_COLUMN,
    STENOSIS_COLUMN,
    VESSEL_GRADE_COLUMN,
    cad_rads_line,
    lesion_rows,
    summary_line,
    vessel_table_rows,
    warning_lines,
)


class FindingsView:
    """Shows the study of a session; `on_lesion` is called with the id of a lesion or None when none is chosen any more,
    `on_vessel` with a vessel's name."""

    def __init__(
        self, ui: Any, session: Session, on_lesion: Callable[[str | None], None], on_vessel: Callable[[str], None]
    ) -> None:
        import qt

        self._ui = ui
        self._session = session
        self._on_lesion = on_lesion
        self._on_vessel = on_vessel
        self._lesions = FilledTable(ui.lesionTable, GRADE_COLUMN)
        self._vessels = FilledTable(ui.vesselTable, VESSEL_GRADE_COLUMN)
        ui.lesionTable.sortByColumn(STENOSIS_COLUMN, qt.Qt.DescendingOrder)  # until the user sorts otherwise
        ui.vesselTable.sortByColumn(-1, qt.Qt.AscendingOrder)  # the order of the tree
        ui.lesionTable.connect("itemSelectionChanged()", self._lesion_chosen)
        # A second click on the chosen row goes there again.
        ui.lesionTable.connect("cellClicked(int,int)", self._lesion_chosen)
        ui.vesselTable.connect("itemSelectionChanged()", self._vessel_chosen)
        ui.acceptButton.connect("clicked(bool)", self._on_accept)
        ui.rejectButton.connect("clicked(bool)", self._on_reject)
        ui.commentEdit.connect("editingFinished()", self._on_comment)
        self.refresh()

    @property
    def chosen(self) -> str | None:
        """The id of the chosen lesion; None when none is chosen."""
        return chosen_name(self._ui.lesionTable)

    def refresh(self) -> None:
        """Show the study and the review of the session; the chosen lesion stays chosen."""

        study, counted = self._session.study, self._session.counted
        chosen = self.chosen
        self._ui.summaryLabel.visible = study is not None
        self._ui.vesselTable.visible = study is not None
        lines = warning_lines(study) if study is not None else ()
        self._ui.warningsLabel.text = "\n".join(f"• {line}" for line in lines)
        self._ui.warningsLabel.visible = bool(lines)
        if study is None or counted is None:
            self._ui.cadRadsLabel.text = _("No result yet: choose a volume and press Apply.")
            self._lesions.fill(())
            self._vessels.fill(())
        else:
            self._ui.cadRadsLabel.text = cad_rads_line(counted)
            self._ui.summaryLabel.text = summary_line(study)
            lesions = lesion_rows(study, self._session.review)
            self._lesions.fill([(row.lesion_id, row.cells, row.tool_tip, row.counts, row.grade) for row in lesions])
            vessels = vessel_table_rows(counted)
            self._vessels.fill([(row.vessel, row.cells, row.tool_tip, True, row.grade) for row in vessels])
        choose_row(self._ui.lesionTable, chosen)
        self._show_decision()

    def choose(self, lesion_id: str | None) -> None:
        """Choose a lesion without telling anybody."""
        choose_row(self._ui.lesionTable, lesion_id)
        self._show_decision()

    def choose_vessel(self, name: str) -> None:
        """Choose a vessel without telling anybody."""
        choose_row(self._ui.vesselTable, name)

    def open(self) -> None:
        """Open the section."""
        self._ui.findingsCollapsibleButton.collapsed = False

    def _show_decision(self) -> None:
        chosen = self.chosen
        opinion = self._session.review.opinion(chosen) if chosen is not None else None
        for widget in (self._ui.acceptButton, self._ui.rejectButton, self._ui.commentEdit):
            widget.enabled = opinion is not None
        self._ui.acceptButton.checked = opinion is not None and opinion.state == ACCEPTED
        self._ui.rejectButton.checked = opinion is not None and opinion.state == REJECTED
        self._ui.commentEdit.text = opinion.comment if opinion is not None else ""

    def _lesion_chosen(self, _row: int = -1, _column: int = -1) -> None:
        self._show_decision()
        self._on_lesion(self.chosen)

    def _vessel_chosen(self) -> None:
        chosen = chosen_name(self._ui.vesselTable)
        if chosen is not None:
            self._on_vessel(chosen)

    def _on_accept(self, checked: bool) -> None:
        self._decide(ACCEPTED if checked else UNDECIDED)

    def _on_reject(self, checked: bool) -> None:
        self._decide(REJECTED if checked else UNDECIDED)

    def _decide(self, state: str) -> None:
        if self.chosen is not None:
            self._session.decide(self.chosen, state)

    def _on_comment(self) -> None:
        chosen = self.chosen
        if chosen is not None and self._session.review.opinion(chosen).comment != self._ui.commentEdit.text:
            self._session.comment(chosen, self._ui.commentEdit.text)
