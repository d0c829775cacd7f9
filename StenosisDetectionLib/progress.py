"""Progress and cancel: the one small protocol between the work and whoever watches it.

A watcher is any callable that takes a `Progress`; `print` is one. To cancel, the watcher raises
`Cancelled`: the stages call it often enough that work stops within two seconds. The command line, the
Slicer panel and the batch wrap their own display in a `CancellableProgress`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One report of progress: the stage, the fraction of the whole work done (0 to 1) and what is being done."""

    stage: str
    fraction: float
    message: str = ""

    def __str__(self) -> str:
        """One line for people, for example ` 42 % segmentation: filtering tubes`."""
        text = f"{100 * self.fraction:3.0f} % {self.stage}"
        return f"{text}: {self.message}" if self.message else text


ProgressCallback = Callable[[Progress], object]
"""What a caller of `analyze` passes; it may raise `Cancelled`."""

StageReport = Callable[[float, str], None]
"""What a stage is given: call it with the fraction of the stage done (0 to 1) and a short message."""


class CancellableProgress:
    """A progress callback with a cancel button: `cancel()` may be called from any thread.

    The next report after `cancel()` raises `Cancelled` inside the work.
    """

    def __init__(self, callback: ProgressCallback | None = None) -> None:
        self._callback = callback
        self._cancel = threading.Event()

    def __call__(self, progress: Progress) -> None:
        """Pass a report on, or raise `Cancelled` when asked to stop."""
        if self._cancel.is_set():
            raise Cancelled("cancelled")
        if self._callback is not None:
            self._callback(progress)

    def cancel(self) -> None:
        """Ask the work to stop at its next report."""
        self._cancel.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()


MainThread = Callable[[Callable[[], Any]], Any]
"""Runs a step where MRML may be touched, and returns what the step returns."""


def here(step: Callable[[], Any]) -> Any:
    """Run a step in this thread: the `MainThread` of work that is in the right one."""
    return step()


def no_report(_fraction: float, _message: str) -> None:
    """A stage report that nobody reads: the default of stages that are called on their own."""


def stage_report(callback: ProgressCallback | None, stage: str, start: float, end: float) -> StageReport:
    """Return the report of one stage, which maps its own 0 to 1 to the part `start` to `end` of the whole work."""

    def report(fraction: float, message: str) -> None:
        if callback is not None:
            callback(Progress(stage, start + (end - start) * min(max(fraction, 0.0), 1.0), message))

    return report


def part_of(report: StageReport, start: float, end: float) -> StageReport:
    """Return a report of work that is the part `start` to `end` of what `report` tells of."""
    return lambda fraction, message: report(start + (end - start) * fraction, message)
