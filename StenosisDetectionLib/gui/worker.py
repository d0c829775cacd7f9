"""Run one piece of work in a background thread that a panel can watch and cancel.

In: a function that takes a progress callback and returns its result. Out: the last report, the result or the error.
The work must touch neither Qt, nor MRML, nor any VTK object that somebody observes: arrays in, arrays out.

While an application sits in its C++ event loop it keeps Python's global lock, so the thread only advances when the
panel gives the lock away: call `poll` from a 10 ms timer, which sleeps 10 ms before it answers. A timer that does
not sleep slows the work by one to two orders of magnitude (measured in Slicer 5.12.3).
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Generic, TypeVar

from ..errors import Cancelled
from ..progress import CancellableProgress, Progress, ProgressCallback

Result = TypeVar("Result")

YIELD_SECONDS = 0.01
"""How long `poll` sleeps, which is what lets the work run, and the interval a watching timer should have."""

_PATIENCE_SECONDS = 0.3
"""How long cancelled work waits for the main thread, for example to have its nodes removed there."""


class Worker(Generic[Result]):
    """One run of `work` in a thread of its own.

    Attributes
    ----------
    progress : the last report, None before the first one.
    result : what the work returned; None until it succeeded.
    error : what the work raised; None unless it failed. Cancelling is no error.
    """

    def __init__(self, work: Callable[[ProgressCallback], Result]) -> None:
        self.progress: Progress | None = None
        self.result: Result | None = None
        self.error: Exception | None = None
        self._work = work
        self._report = CancellableProgress(self._keep)
        self._steps: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._stopped = False
        self._started_at = 0.0
        # A daemon, so that an application that is killed does not hang on it.
        self._thread = threading.Thread(target=self._run, name="StenosisDetection", daemon=True)

    def start(self) -> None:
        """Start the work and return at once."""
        self._started_at = time.monotonic()
        self._thread.start()

    def poll(self) -> bool:
        """Let the work run for a moment, do for it what it cannot do itself; return whether it has ended."""
        time.sleep(YIELD_SECONDS)
        while not self._steps.empty():
            step, future = self._steps.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(step())
                except Exception as error:  # it is the work's to handle
                    future.set_exception(error)
        return not self._thread.is_alive()

    def on_main(self, step: Callable[[], Any]) -> Any:
        """Let the thread that calls `poll` run a short step that touches MRML; called by the work, returns its result.

        Raises
        ------
        Cancelled : `cancel` was called, and nobody polls any more.
        """
        future: Future[Any] = Future()
        self._steps.put((step, future))
        while not wait([future], _PATIENCE_SECONDS).done:
            if self._report.cancelled and future.cancel():
                raise Cancelled("cancelled")
        return future.result()

    def cancel(self) -> None:
        """Ask the work to stop at its next report; `poll` tells when it did."""
        self._report.cancel()

    def cancel_and_wait(self, timeout_s: float | None = None) -> bool:
        """Ask the work to stop and wait for it; return whether it ended within the time allowed."""
        self.cancel()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def cancel_requested(self) -> bool:
        """Whether `cancel` was called."""
        return self._report.cancelled

    @property
    def cancelled(self) -> bool:
        """Whether the work stopped because it was cancelled, and so has neither result nor error."""
        return self._stopped

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_at

    def _keep(self, progress: Progress) -> None:
        self.progress = progress

    def _run(self) -> None:
        try:
            self.result = self._work(self._report)
        except Cancelled:
            self._stopped = True
        except Exception as error:  # the thread must not end silently: the panel shows and logs it
            self.error = error
