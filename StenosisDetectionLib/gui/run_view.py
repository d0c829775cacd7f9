"""The running section of the panel: progress, elapsed time, cancel, status line, details.

In: the widgets of the .ui file (progressFrame, progressBar, stageLabel, elapsedLabel, statusLabel, detailsButton,
logButton, detailsText) and a piece of work. Out: `on_result` is called on the main thread with what the work returned;
an error or a cancel is shown as one line instead, and the result of work that `stop` ended is dropped.
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import Cancelled, StenosisDetectionError, error_line
from ..i18n import tr as _
from ..progress import ProgressCallback
from .texts import elapsed_text, time_text
from .vocabulary import error_sentence, sentence, word
from .worker import YIELD_SECONDS, Worker

LONGEST_WAIT_S = 60.0
"""How long `stop` waits for the work, which is to end within two seconds of being cancelled."""


class RunView:
    """Runs one piece of work at a time and shows how far it is; `on_change` is called when it begins and ends.

    Attributes
    ----------
    cancelled_line : what is said when the work under way, or the last one, was cancelled.
    """

    def __init__(self, ui: Any, on_change: Callable[[], None]) -> None:
        import qt

        self._ui = ui
        self._on_change = on_change
        self._on_result: Callable[[Any], Iterator[None] | None] = _ignore
        self._showing: Iterator[None] | None = None
        self.cancelled_line = ""
        self._worker: Worker[Any] | None = None
        self._stage = ""
        self._timer = qt.QTimer()
        self._timer.setInterval(int(1000 * YIELD_SECONDS))
        self._timer.connect("timeout()", self._on_tick)
        ui.detailsButton.connect("toggled(bool)", ui.detailsText.setVisible)
        ui.logButton.connect("clicked(bool)", open_log)
        ui.detailsButton.visible = False
        ui.logButton.visible = False
        ui.detailsText.visible = False
        ui.statusLabel.visible = False
        ui.progressFrame.visible = False

    @property
    def running(self) -> bool:
        """Whether work is under way, cancelled or not, or its result is being shown."""
        return self._worker is not None or self._showing is not None

    @property
    def showing(self) -> bool:
        """Whether work has ended and its result is being shown."""
        return self._showing is not None

    @property
    def cancelling(self) -> bool:
        """Whether the work under way has been asked to stop, or is done and cannot be stopped any more."""
        return self._showing is not None or (self._worker is not None and self._worker.cancel_requested)

    def start(
        self,
        work: Callable[[ProgressCallback], Any],
        on_result: Callable[[Any], Iterator[None] | None],
        cancelled_line: str,
    ) -> None:
        """Run `work` in the background; it must touch neither Qt nor MRML but in steps given to `on_main`.

        Parameters
        ----------
        on_result : told the result, on the main thread; as a generator it gives the window a turn at each yield.
        cancelled_line : what to say when the user cancelled.
        """

        self._on_result, self.cancelled_line = on_result, cancelled_line
        self._stage = ""
        self._ui.progressBar.value = 0
        self._ui.stageLabel.text = _("Starting")
        self._ui.elapsedLabel.text = elapsed_text(0.0)
        self._ui.progressFrame.visible = True
        self._worker = Worker(work)
        self._worker.start()
        self._timer.start()
        self._on_change()

    def on_main(self, step: Callable[[], Any]) -> Any:
        """Run a step of the work under way on the main thread; called by the work."""
        worker = self._worker
        if worker is None:
            raise Cancelled("cancelled")
        return worker.on_main(step)

    def cancel(self) -> None:
        """Ask the work to stop and return at once; a line tells when it has."""

        if self._worker is not None:
            self._worker.cancel()
            self._ui.stageLabel.text = _("Cancelling")
            self._on_change()

    def stop(self) -> bool:
        """Cancel the work, wait for it and drop it; return whether there was any. Touches no widget."""
        self._timer.stop()
        self._forget()
        worker, self._worker = self._worker, None
        if worker is None:
            return False
        if not worker.cancel_and_wait(LONGEST_WAIT_S):
            logging.warning("StenosisDetection: the cancelled analysis has not stopped yet; its result is dropped")
        return True

    def clear(self) -> None:
        """Empty the status line and the details."""
        self.show_status("")
        self._ui.detailsText.clear()
        self._ui.detailsButton.visible = False
        self._ui.detailsButton.checked = False
        self._ui.logButton.visible = False

    def hide_progress(self) -> None:
        """Hide the progress bar."""
        self._ui.progressFrame.visible = False

    def show_status(self, text: str) -> None:
        """Show one line; an empty one takes no space."""
        self._ui.statusLabel.text = text
        self._ui.statusLabel.visible = bool(text)

    def show_error(self, error: Exception) -> None:
        """Show one line; when the error was unexpected, its traceback goes to the details and to the log."""
        self.show_status(error_sentence(error_line(error)))
        self._ui.logButton.visible = True
        if not isinstance(error, StenosisDetectionError):
            remedy = _("{error}: try again; if it returns, report it with the text under Details")
            self.show_status(remedy.format(error=error_line(error)))
            logging.error("StenosisDetection: the analysis failed", exc_info=error)
            self._add_detail("".join(traceback.format_exception(error)))

    def _on_tick(self) -> None:
        worker = self._worker
        if self._showing is not None:
            self._show_on()
        if worker is None:
            return
        ended = worker.poll()
        self._show_progress(worker)
        if ended:
            self._worker = None
            self._end(worker)
            if self._showing is None:
                self._rest()

    def _end(self, worker: Worker[Any]) -> None:
        if worker.error is not None:
            self.show_error(worker.error)
        elif worker.cancelled or worker.cancel_requested:
            self.show_status(self.cancelled_line)
        else:
            self._ui.stageLabel.text = _("Showing the result")
            try:
                self._showing = self._on_result(worker.result)
            except Exception as error:
                self.show_error(error)

    def _show_on(self) -> None:
        """Do the next step of showing a result."""
        assert self._showing is not None
        try:
            next(self._showing)
        except StopIteration:
            self._rest()
        except Exception as error:
            self._rest()
            self.show_error(error)

    def _rest(self) -> None:
        self._timer.stop()
        self._forget()
        self.hide_progress()
        self._on_change()

    def _forget(self) -> None:
        """Let go of what is to be done with a result: it knows the nodes, which would outlive their scene."""
        self._showing = None
        self._on_result = _ignore

    def _show_progress(self, worker: Worker[Any]) -> None:
        elapsed = elapsed_text(worker.elapsed_s)
        progress = worker.progress
        self._ui.elapsedLabel.text = time_text(worker.elapsed_s, progress.fraction if progress is not None else 0.0)
        if progress is None or worker.cancel_requested:
            return
        self._ui.progressBar.value = round(100 * progress.fraction)
        stage = word(progress.stage)
        self._ui.stageLabel.text = f"{stage}: {sentence(progress.message)}" if progress.message else stage
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._add_detail(f"{elapsed}  {stage}")

    def _add_detail(self, text: str) -> None:
        self._ui.detailsText.appendPlainText(text)
        self._ui.detailsButton.visible = True


def open_log(_checked: bool = False) -> None:
    """Open the log of this Slicer session in the program the system has for text files."""
    import qt
    import slicer

    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(slicer.app.currentLogFile()))


def _ignore(_result: Any) -> None:
    """Stand for `on_result` before any work was started."""
