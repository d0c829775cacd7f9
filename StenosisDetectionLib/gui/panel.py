"""The panel without its life cycle: the sections, the session they share, and the work that Apply starts.

In: the widgets of the .ui file, the logic of the module, and the parameter node that the module's widget gives it. Out:
nodes in the scene. The Slicer side of the life of a panel (parameter node, scene events, reload) is in
`StenosisDetection/StenosisDetection.py`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..i18n import tr as _
from ..options import AnalysisOptions
from ..scene.review_views import show_in_other_views
from .arrival import Arrival, arrival_of
from .calcium_view import CalciumView
from .choices_view import ChoicesView
from .correct_view import CorrectView
from .dependencies import require_packages
from .findings_view import FindingsView
from .input_view import InputView, start_region
from .measuring import Measuring
from .review_view import ReviewView
from .run_view import RunView, open_log
from .session import Session
from .vessels_view import VesselsView

_CHOICES = (
    "inputVolumeSelector",
    "inputRegionSelector",
    "inputSegmentationSelector",
    "modelComboBox",
    "deviceComboBox",
    "precisionComboBox",
    "minimumDiameterSpinBox",
    "useSuggestionButton",
    "downloadModelButton",
    "calciumRegionsSelector",
    "calibrationSpinBox",
    "calciumButton",
)
"""What must not change while the analysis runs."""


class Panel:
    """Connects the sections of the panel.

    Parameters
    ----------
    ui : the widgets by name.
    logic : a `StenosisDetectionLogic`.
    requirements : the file of the packages the module needs.
    """

    def __init__(self, ui: Any, logic: Any, requirements: Path) -> None:
        import slicer

        self.ui = ui
        self._logic = logic
        self._requirements = requirements
        self.parameters: Any = None
        self._shown: tuple[Any, ...] | None = None
        self.run = RunView(ui, self._work_changed)
        self.session = Session(lambda: slicer.mrmlScene, lambda: str(ui.readerEdit.text), self._session_changed)
        self.choices = ChoicesView(ui, self._model_chosen, self.run.show_error, self._download_model, requirements)
        self.input = InputView(ui, self._use_volume)
        self.findings = FindingsView(ui, self.session, self._lesion_chosen, self.go_to_vessel)
        self.vessels = VesselsView(ui, self.session, self._vessel_shown)
        self.measuring = Measuring(ui, self.session, self.run, logic, self.guard)
        self.correct = CorrectView(
            ui,
            self.session,
            lambda: self.findings.chosen,
            self.vessels.where,
            self._choose_lesion,
            self.guard,
            self.measuring.measure_course,
        )
        self.review = ReviewView(ui, self.session, self.guard, self.run)
        self.calcium = CalciumView(ui, self.run, logic, lambda: self.parameters and self.parameters.inputVolume)
        ui.applyButton.connect("clicked(bool)", self.apply)
        ui.cancelButton.connect("clicked(bool)", self.cancel)
        ui.openLogButton.connect("clicked(bool)", open_log)

    # Parameters

    def set_parameters(self, parameters: Any) -> None:
        """Take another parameter node; None when there is none for now."""
        self.parameters = parameters
        self.vessels.set_parameters(parameters)
        self._shown = None
        self.parameters_changed()

    def parameters_changed(self) -> None:
        """Show what the parameter node says: the choices, and the result of the chosen volume."""
        parameters = self.parameters
        if parameters is None:
            self.update_buttons()
            return
        if parameters.inputRegion is not None and parameters.inputVolume is not None:
            start_region(parameters.inputRegion, parameters.inputVolume)
        now = (parameters.inputVolume, parameters.model, parameters.colorCurves)
        if now == self._shown:
            return  # what changes while the user looks along a vessel shows itself
        self._shown = now
        self.choices.show_model(parameters.model)
        if not self.run.running:
            self._open(parameters.inputVolume)
        self._color_curves()
        self.input.refresh(parameters.inputVolume)
        self.update_buttons()

    def choose_volume(self) -> None:
        """Choose the volume that looks most like a coronary CT angiography, where none is chosen yet."""
        if self.parameters is not None and self.parameters.inputVolume is None:
            node = self.input.suggested_node()
            if node is not None:
                self.parameters.inputVolume = node
        if self.parameters is not None:
            self.input.refresh(self.parameters.inputVolume)

    def options(self) -> AnalysisOptions:
        """Return what the user chose.

        Raises
        ------
        InputError : the region cannot be used.
        """
        from ..scene.reading import region_of_node

        parameters = self.parameters
        region = parameters.inputRegion
        return AnalysisOptions(
            model=self.choices.model,
            device=self.choices.device,
            precision=parameters.precision,
            roi=None if region is None else region_of_node(region, parameters.inputVolume),
            minimum_reference_diameter_mm=parameters.minimumReferenceDiameter,
        )

    def update_buttons(self) -> None:
        """Enable what can be used now, and say why not what cannot."""

        running = self.run.running
        ready = self.parameters is not None and self.parameters.inputVolume is not None
        self.ui.applyButton.enabled = ready and not running
        if running:
            self.ui.applyButton.toolTip = _(
                "The analysis is running: wait for it or cancel it; leaving the module cancels it too"
            )
        elif not ready:
            self.ui.applyButton.toolTip = _("Choose the volume of the CT angiography first")
        else:
            self.ui.applyButton.toolTip = _("Find and measure the narrowings of the coronary arteries")
        self.ui.cancelButton.enabled = running and not self.run.cancelling
        reviewing = self.session.study is not None and not running and self.parameters is not None
        for name in ("editSegmentationButton", "measureAgainButton", "openReportButton", "exportButton", "signButton"):
            getattr(self.ui, name).enabled = reviewing
        for name in _CHOICES:
            getattr(self.ui, name).enabled = not running

    # Work

    def apply(self, _checked: bool = False) -> None:
        """Read the nodes and start the analysis in the background."""

        self.run.clear()
        try:
            require_packages(self._requirements)
            options = self.options()
            nodes = (self.parameters.inputVolume, self.parameters.inputSegmentation)
            volume, label_map = self._logic.readNodes(*nodes)
        except Exception as error:
            self.run.show_error(error)
            self.choices.refresh()
            return
        analyze = self._logic.analyze

        def work(progress: Any) -> Arrival:
            return arrival_of(analyze(volume, label_map, options, progress))

        self.run.start(work, lambda made: self._analyzed(made, *nodes), _("Cancelled: the scene is as it was."))

    def cancel(self, _checked: bool = False) -> None:
        """Ask the work to stop; a line tells when it has."""
        self.run.cancel()

    def stop(self) -> None:
        """Cancel running work and wait until it has stopped; a result that was being shown is there at once."""

        running, showing = self.run.running, self.run.showing
        if self.run.stop():
            self.run.show_status(self.run.cancelled_line)
        if running:
            self.run.hide_progress()
            self.update_buttons()
        if showing:
            self.refresh()

    def close(self) -> None:
        """Show nothing, as when the scene is closed."""
        self.correct.close()
        self.vessels.close()
        self.session.close()
        self.refresh()

    def refresh(self) -> None:
        """Show the study and the review of the session."""
        self.findings.refresh()
        self.vessels.refresh()
        self.correct.refresh()
        self.review.refresh()
        self.update_buttons()

    def _analyzed(self, made: Arrival, volume_node: Any, segmentation_node: Any) -> Iterator[None]:
        """Write the nodes of the result, all or none, then show it and the worst lesion; the window has its turn at
        each yield."""
        import slicer

        nodes = [node for node in (volume_node, segmentation_node) if node is not None]
        if not all(slicer.mrmlScene.IsNodePresent(node) for node in nodes):
            self.run.show_status(_("The input was removed during the analysis, so its result was dropped."))
            return
        with slicer.util.RenderBlocker():
            self._logic.showStudy(made.study, volume_node, segmentation_node, made.prepared)
            # At once, so that panel and scene never hold different results, whatever happens before the next step.
            self.session.start(made.study, volume_node, again=segmentation_node is not None)
        yield
        with slicer.util.RenderBlocker():
            worst = made.worst
            if worst is not None and self.parameters is not None:
                self.parameters.vessel, self.parameters.position = worst.vessel, worst.throat_mm
            self.vessels.take_views(made.study, made.views)
            self.refresh()
            self.findings.open()
        yield
        with slicer.util.RenderBlocker():
            self._color_curves()
            show_in_other_views(slicer.mrmlScene, volume_node)
            layout_manager = slicer.app.layoutManager()
            if layout_manager is not None:  # there is none without a main window
                layout_manager.resetThreeDViews()
        yield
        if worst is not None:
            self._choose_lesion(worst.id)
        self.run.show_status(
            _("Done, no narrowing was found.") if worst is None else _("Done. Click another lesion to go there.")
        )
        yield
        self.choices.refresh()  # PyTorch is loaded now and knows the devices

    def _download_model(self, name: str) -> None:
        from ..models.download import download_model
        from ..models.registry import find_entry
        from ..progress import stage_report

        entry = find_entry(name)
        if entry is None or self.run.running:
            return

        def downloaded(_result: Any) -> None:
            self.choices.refresh()
            self.run.show_status(_("The model is on this computer now."))

        self.run.clear()
        self.run.start(
            lambda progress: download_model(entry, stage_report(progress, "download", 0.0, 1.0)),
            downloaded,
            _("Cancelled: nothing was downloaded."),
        )

    # Corrections

    def guard(self, step: Callable[[], None]) -> None:
        """Run a step of the review and show its error, if it has one."""

        if self.run.running:
            self.run.show_status(_("Wait until the analysis has ended, or cancel it."))
            return
        self.run.clear()
        try:
            step()
        except Exception as error:
            self.run.show_error(error)

    def _choose_lesion(self, lesion_id: str) -> None:
        self.findings.choose(lesion_id)
        self.go_to_lesion(lesion_id)

    def _lesion_chosen(self, lesion_id: str | None) -> None:
        if lesion_id is None:
            self.correct.refresh()
        else:
            self.go_to_lesion(lesion_id)

    def _vessel_shown(self, name: str) -> None:
        self.findings.choose_vessel(name)

    # Going places

    def go_to_lesion(self, lesion_id: str) -> None:
        """Take the views to a lesion, wherever a transform has moved its volume since."""
        world = [0.0, 0.0, 0.0]
        lesion = self.session.lesion(lesion_id)
        self.vessels.go(lesion.vessel, lesion.throat_mm)
        self.vessels.offer_layout()
        self.session.volume_node.TransformPointToWorld(lesion.position_ras, world)
        self._logic.jumpTo(tuple(world))
        self.correct.refresh()
        self.vessels.turn_standard_views()

    def go_to_vessel(self, name: str) -> None:
        """Look along a vessel, from its start."""
        self.vessels.go(name, 0.0)

    # Inside

    def _open(self, volume_node: Any) -> None:
        try:
            before = self.session.found
            self.session.open(volume_node)
            if self.session.found is not before:
                self.refresh()
        except Exception as error:
            self.run.show_error(error)
            self.refresh()

    def _color_curves(self) -> None:
        import slicer

        from ..scene.updating import color_curves

        if self.session.volume_node is not None and self.parameters is not None:
            color_curves(slicer.mrmlScene, self.session.volume_node, self.parameters.colorCurves)

    def _use_volume(self, node: Any) -> None:
        if self.parameters is not None:
            self.parameters.inputVolume = node

    def _model_chosen(self, name: str) -> None:
        if self.parameters is not None:
            self.parameters.model = name

    def _work_changed(self) -> None:
        """Called when work begins and ends; the volume may have been removed or changed by a script meanwhile."""
        chosen = self.parameters.inputVolume if self.parameters is not None else None
        if not self.run.running and self.parameters is not None and chosen is not self.session.volume_node:
            self._open(chosen)
        self.update_buttons()

    def _session_changed(self, tree_changed: bool) -> None:
        self.refresh()
