"""The calcium score in the section Advanced: a CT without contrast agent and regions drawn on it give a table.

In: the widgets of the .ui file (calciumRegionsSelector, calibrationSpinBox, calciumButton), the volume chosen under
Input, and the segmentation that holds the regions, a segment per artery. Out: a table node beside the volume and a line
that says the score, or why there is none: an angiogram is refused.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..i18n import tr as _
from .run_view import RunView
from .vocabulary import sentence

if TYPE_CHECKING:
    from ..progress import ProgressCallback
    from ..stenosis.calcium_score import CalciumScore


class CalciumView:
    """Scores the calcium of a volume when its button is pressed.

    Parameters
    ----------
    run : runs what takes seconds.
    logic : a `StenosisDetectionLogic`, which reads the nodes.
    volume_node : returns the volume chosen under Input, None when there is none.
    """

    def __init__(self, ui: Any, run: RunView, logic: Any, volume_node: Callable[[], Any]) -> None:
        self._ui = ui
        self._run = run
        self._logic = logic
        self._volume_node = volume_node
        ui.calciumButton.connect("clicked(bool)", self._on_score)

    def _on_score(self, _checked: bool = False) -> None:
        self._run.clear()
        try:
            nodes = self._chosen_nodes()
            volume, regions = self._logic.readNodes(*nodes)
        except Exception as error:
            self._run.show_error(error)
            return
        calibration = float(self._ui.calibrationSpinBox.value) or None

        def work(progress: "ProgressCallback") -> "CalciumScore":
            from ..calcium import score_calcium
            from ..progress import stage_report

            return score_calcium(volume, regions, calibration, stage_report(progress, "scoring", 0.0, 1.0))

        self._run.start(work, lambda score: self._show(score, nodes[0]), _("Cancelled: the scene is as it was."))

    def _chosen_nodes(self) -> tuple[Any, Any]:
        volume_node, regions_node = self._volume_node(), self._ui.calciumRegionsSelector.currentNode()
        if volume_node is None:
            raise InputError(_("no volume is chosen: choose the CT without contrast agent under Input"))
        if regions_node is None:
            raise InputError(
                _("no regions are chosen: draw a segment around each artery in Segment Editor and choose it")
            )
        return volume_node, regions_node

    def _show(self, score: "CalciumScore", volume_node: Any) -> None:
        import slicer

        from ..scene.calcium_table import show_calcium_table

        if not slicer.mrmlScene.IsNodePresent(volume_node):
            self._run.show_status(_("The volume was removed, so its calcium score was dropped."))
            return
        show_calcium_table(slicer.mrmlScene, volume_node, score)
        self._run.show_status(" ".join([calcium_line(score), *map(sentence, score.warnings)]))


def calcium_line(score: "CalciumScore") -> str:
    """Return a calcium score as one line."""
    if score.mass_mg is None:
        text = _("Agatston score {agatston}, volume {volume} mm3, mass unknown without a calibration.")
    else:
        text = _("Agatston score {agatston}, volume {volume} mm3, mass {mass} mg.")
    return text.format(
        agatston=f"{score.agatston:.0f}",
        volume=f"{score.volume_mm3:.0f}",
        mass=f"{score.mass_mg or 0.0:.1f}",
    )
