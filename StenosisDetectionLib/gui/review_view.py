"""The review and report section of the panel: reader, signature, report, export, and what was done.

In: the widgets of the .ui file (readerEdit, signButton, reviewLabel, openReportButton, exportButton, historyText) and a
`Session`. Out: a signature in the session, a report in a temporary folder, a case in the folder the user chooses. The
name of the reader is kept in the application settings.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..i18n import tr as _
from ..progress import ProgressCallback, stage_report
from .review import review_line
from .run_view import RunView
from .session import Session

READER_SETTING = "StenosisDetection/Reader"


class ReviewView:
    """Signs and reports the study of a session.

    Parameters
    ----------
    guard : runs a step and shows its error, if it has one.
    run : runs what takes seconds.
    """

    def __init__(
        self,
        ui: Any,
        session: Session,
        guard: Callable[[Callable[[], None]], None],
        run: RunView,
    ) -> None:
        import slicer

        self._ui = ui
        self._session = session
        self._guard = guard
        self._run = run
        ui.readerEdit.text = slicer.util.settingsValue(READER_SETTING, "")
        ui.readerEdit.connect("editingFinished()", self._on_reader)
        ui.signButton.connect("clicked(bool)", self._on_sign)
        ui.openReportButton.connect("clicked(bool)", self._on_open_report)
        ui.exportButton.connect("clicked(bool)", self._on_export)
        self.refresh()

    def refresh(self) -> None:
        """Show how far the review of the session is."""
        study, review = self._session.study, self._session.review
        for name in ("signButton", "openReportButton", "exportButton"):
            getattr(self._ui, name).enabled = study is not None
        self._ui.reviewLabel.text = (
            review_line(review, tuple(lesion.id for lesion in study.lesions)) if study is not None else ""
        )
        self._ui.historyText.setPlainText("\n".join(event.line for event in reversed(review.events)))

    def _on_reader(self) -> None:
        import qt

        qt.QSettings().setValue(READER_SETTING, self._ui.readerEdit.text.strip())

    def _on_sign(self, _checked: bool = False) -> None:
        self._guard(self._session.sign)

    def _on_open_report(self, _checked: bool = False) -> None:
        self._guard(self._open_report)

    def _open_report(self) -> None:
        import slicer

        from ..writing.page import report_page

        study = self._session.counted
        if study is None:
            return
        folder = Path(slicer.app.temporaryPath) / "StenosisDetection"

        def work(progress: ProgressCallback) -> Path:
            stage_report(progress, "report", 0.0, 1.0)(0.1, "")
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{study.case_id}.html"
            partial = path.with_suffix(".partial")
            partial.write_bytes(report_page(study).encode("utf-8"))
            return partial.replace(path)

        self._run.start(work, self._report_made, _("Cancelled: no report was made."))

    def _report_made(self, path: Path) -> None:
        import qt

        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
        self._run.show_status(_("The report was opened in the browser."))

    def _on_export(self, _checked: bool = False) -> None:
        import qt
        import slicer

        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder for the results"))
        if folder:
            self._guard(lambda: self._export(str(folder)))

    def _export(self, folder: str) -> None:
        from ..writing import write_case

        study = self._session.counted
        if study is None:
            return

        def work(progress: ProgressCallback) -> Path:
            return write_case(study, folder, False, stage_report(progress, "export", 0.0, 1.0), self._run.on_main)

        def written(path: Path) -> None:
            name = path.parent.name
            self._run.show_status(_("Results were written to the folder {name}.").format(name=name))

        self._run.start(work, written, _("Cancelled: nothing was written."))
