"""Compute the demo study while the user sees a progress dialog and can cancel it."""

from collections.abc import Callable
from typing import Any

from ..progress import stage_report
from ..study import CTVolume
from .worker import Worker


def demo_volume(dialog: Any, process_events: Callable[[], object]) -> CTVolume | None:
    """Return the CT of the demo study, or None when the user cancelled.

    Parameters
    ----------
    dialog : a QProgressDialog with the range 0 to 100; it is closed at the end.
    process_events : lets the application handle its events, so that its window stays alive.
    """
    from ..phantom import demo_study

    worker = Worker(lambda progress: demo_study(report=stage_report(progress, "demo", 0.0, 1.0)).volume)
    worker.start()
    while not worker.poll():
        if dialog.wasCanceled:
            worker.cancel()
        elif worker.progress is not None:
            dialog.value = round(100 * worker.progress.fraction)
        process_events()
    dialog.close()
    if worker.error is not None:
        raise worker.error
    return None if worker.cancel_requested else worker.result
