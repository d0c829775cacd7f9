"""What a reader corrected is measured again in the background: the segmentation, or the course of a vessel.

In: the widgets of the .ui file (editSegmentationButton, measureAgainButton, editCurveButton), the session and what runs
the work. Out: steps in the session, taken when the work has ended.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..i18n import tr as _
from ..progress import ProgressCallback
from ..scene.nodes import Prepared, prepare
from ..study import StudyResult
from .dependencies import require_torch
from .navigation import open_in_segment_editor
from .run_view import RunView
from .session import Session

Work = Callable[[ProgressCallback], StudyResult]


class Measuring:
    """Measures corrections of the study of a session.

    Parameters
    ----------
    run : runs the work.
    logic : a `StenosisDetectionLogic`, which reads and keeps the segmentation.
    guard : runs a step and shows its error, if it has one.
    """

    def __init__(
        self, ui: Any, session: Session, run: RunView, logic: Any, guard: Callable[[Callable[[], None]], None]
    ) -> None:
        self._ui = ui
        self._session = session
        self._run = run
        self._logic = logic
        self._guard = guard
        ui.editSegmentationButton.connect("clicked(bool)", self._on_edit)
        ui.measureAgainButton.connect("clicked(bool)", self._on_measure_again)

    def measure_course(self, vessel: str, points_ras: np.ndarray) -> None:
        """Measure a vessel along new points (N, 3) of its course in RAS."""

        def take(found: StudyResult, prepared: Prepared) -> None:
            self._ui.editCurveButton.checked = False
            self._session.take_course(found, vessel, prepared)

        self._guard(lambda: self._start(self._session.course_work(vessel, points_ras), take))

    def _on_edit(self, _checked: bool = False) -> None:
        """Open the segmentation of the result in Segment Editor; it is what "Measure again" measures."""
        self._guard(lambda: open_in_segment_editor(self._segmentation_node(), self._session.volume_node))

    def _on_measure_again(self, _checked: bool = False) -> None:
        self._guard(self._measure_again)

    def _measure_again(self) -> None:
        """Trace the tree again in the corrected segmentation and measure what is not as before."""
        node = self._segmentation_node()

        def take(found: StudyResult, prepared: Prepared) -> None:
            self._logic.keepSegmentation(node)
            self._session.take_segmentation(found, prepared)

        self._start(self._session.segmentation_work(self._logic.labelMapFromSegmentation(node)), take)

    def _segmentation_node(self) -> Any:
        import slicer

        from ..scene.nodes import find_by_role

        nodes = find_by_role(slicer.mrmlScene, self._session.volume_node, "segmentation")
        if not nodes:
            raise InputError(_("the segmentation of this result was removed from the scene: press Apply to make it"))
        return nodes[0]

    def _start(self, work: Work, take: Callable[[StudyResult, Prepared], None]) -> None:
        volume_node = self._session.volume_node
        require_torch()

        def prepared_work(progress: ProgressCallback) -> tuple[StudyResult, Prepared]:
            found = work(progress)
            return found, prepare(found)

        def measured(made: tuple[StudyResult, Prepared]) -> None:
            import slicer

            if not slicer.mrmlScene.IsNodePresent(volume_node):
                self._run.show_status(_("The volume was removed meanwhile, so what was measured was dropped."))
                return
            with slicer.util.RenderBlocker():
                take(*made)
            self._run.show_status(_("Measured again."))

        self._run.start(prepared_work, measured, _("Cancelled: the scene is as it was."))
