"""The Slicer module: a panel and a logic that take nodes, run StenosisDetectionLib, and give nodes."""

import contextlib
import importlib
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# The library lies beside this file when installed, and beside its folder in a source checkout, where Slicer only knows
# the folder. It comes first, so that another copy, for example one in site-packages, does not take its place.
if (
    _home := next(str(f) for f in Path(__file__).resolve().parents if (f / "StenosisDetectionLib").is_dir())
) != sys.path[0]:
    sys.path.insert(0, _home)

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.gui.dependencies import ensure_packages, ensure_torch, require_torch
from StenosisDetectionLib.gui.sample_data import register_sample_data
from StenosisDetectionLib.gui.self_test import StenosisDetectionTest  # noqa: F401 - Slicer looks for it here
from StenosisDetectionLib.gui.worker import Worker
from StenosisDetectionLib.options import AnalysisOptions
from StenosisDetectionLib.progress import ProgressCallback
from StenosisDetectionLib.study import CTVolume, LabelMap, StudyResult


class StenosisDetection(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Stenosis Detection")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        self.parent.dependencies = ["Markups", "Plots", "Segmentations", "SubjectHierarchy", "Tables"]
        self.parent.contributors = ["StenosisDetection developers"]
        self.parent.helpText = _(
            "Finds and measures narrowings of the coronary arteries in a CT angiography: the artery tree with its "
            "names, and of every narrowing its place, length, remaining and healthy diameter, percent stenosis with "
            "an interval, and grade. Choose the volume and press Apply. To correct the result, edit the segmentation, "
            "choose it as lumen segmentation and press Apply again."
            "<p><b>Research use only. Not a medical device. Not for diagnosis or treatment decisions.</b></p>"
        )
        self.parent.acknowledgementText = _(
            "Developed by the StenosisDetection developers with 3D Slicer, VTK, SimpleITK, SciPy and PyTorch."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)


@parameterNodeWrapper
class StenosisDetectionParameterNode:
    """The choices that are saved with the scene.

    inputVolume - the CT angiography.
    inputSegmentation - the coronary lumen, when it is not to be found automatically.
    model - name of the segmentation model.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputSegmentation: vtkMRMLSegmentationNode
    model: str = AnalysisOptions.model


class StenosisDetectionWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: choose, apply, watch or cancel, go to a lesion."""

    def __init__(self, parent=None) -> None:
        # Without a parent the base class calls setup() at once, so everything it needs comes first.
        VTKObservationMixin.__init__(self)
        self.logic: StenosisDetectionLogic | None = None
        self._parameterNode: StenosisDetectionParameterNode | None = None
        self._parameterNodeGuiTag: int | None = None
        self._workNodes: tuple[vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode | None] | None = None
        self._shownVolumeNode: vtkMRMLScalarVolumeNode | None = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    # Life of the panel

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/StenosisDetection.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        # Imported when the panel is opened, since they would slow the start of Slicer.
        from StenosisDetectionLib.gui.choices_view import ChoicesView
        from StenosisDetectionLib.gui.results_view import ResultsView
        from StenosisDetectionLib.gui.run_view import RunView

        self.logic = StenosisDetectionLogic()
        self._run = RunView(self.ui, self._onWorkEnded)
        self._results = ResultsView(self.ui, self._goToLesion)
        self._choices = ChoicesView(self.ui, self._onModelChanged)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancelButton)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        slicer.app.connect("aboutToQuit()", self._run.stop)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the module is reloaded and when Slicer closes."""
        self._run.stop()
        slicer.app.disconnect("aboutToQuit()", self._run.stop)
        if self._parameterNode is not None:
            # When Slicer closes, the widgets may be gone already, which PythonQt answers with a ValueError.
            with contextlib.suppress(ValueError):
                self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
        self.removeObservers()
        self._parameterNode = None

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self._choices.fill_devices()
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user leaves this module."""
        self._stopWork()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        self._stopWork()
        self.setParameterNode(None)
        self._results.clear()
        self._shownVolumeNode = None

    def onSceneEndClose(self, caller=None, event=None) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onReload(self) -> None:
        """Forget the library too, so that the reloaded module imports it anew."""
        self._stopWork()
        for name in [name for name in sys.modules if name.partition(".")[0] == "StenosisDetectionLib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    # Choices

    def initializeParameterNode(self) -> None:
        """Make sure that a parameter node exists and is observed, with a volume chosen where there is one."""
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.inputVolume is None:
            for volumeNode in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
                # Label maps and color images are of this class too; the selector does not offer them.
                if volumeNode.GetClassName() == "vtkMRMLScalarVolumeNode" and not volumeNode.GetHideFromEditors():
                    self._parameterNode.inputVolume = volumeNode
                    break

    def setParameterNode(self, parameterNode: StenosisDetectionParameterNode | None) -> None:
        """Observe this parameter node and show its values; None stops observing."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._parameterNode = parameterNode
        self._parameterNodeGuiTag = None
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._onParametersChanged()

    def _onModelChanged(self, name: str) -> None:
        if self._parameterNode is not None:
            self._parameterNode.model = name

    def _onParametersChanged(self, caller=None, event=None) -> None:
        if self._parameterNode is not None:
            self._choices.show_model(self._parameterNode.model)
        self._updateButtons()

    def _updateButtons(self) -> None:
        running = self._run.running
        ready = self._parameterNode is not None and self._parameterNode.inputVolume is not None
        self.ui.applyButton.enabled = ready and not running
        if running:
            self.ui.applyButton.toolTip = _(
                "The analysis is running: wait for it or cancel it; leaving the module cancels it too"
            )
        elif not ready:
            self.ui.applyButton.toolTip = _("Choose the volume of the CT angiography first")
        else:
            self.ui.applyButton.toolTip = _("Find and measure the narrowings of the coronary arteries")
        self.ui.cancelButton.enabled = running and not self._run.cancelling
        for choice in ("inputVolumeSelector", "inputSegmentationSelector", "modelComboBox", "deviceComboBox"):
            getattr(self.ui, choice).enabled = not running

    # Work

    def onApplyButton(self, checked: bool = False) -> None:
        """Read the nodes and start the analysis in the background."""
        self._run.clear()
        try:
            ensure_torch()
            options = self._choices.options
            nodes = (self._parameterNode.inputVolume, self._parameterNode.inputSegmentation)
            volume, labelMap = self.logic.readNodes(*nodes)
        except Exception as error:
            self._run.show_error(error)
            return
        self._workNodes = nodes
        analyze = self.logic.analyze
        self._run.start(lambda progress: analyze(volume, labelMap, options, progress))
        self._updateButtons()

    def onCancelButton(self, checked: bool = False) -> None:
        """Ask the work to stop; `_onWorkEnded` follows when it has."""
        self._run.cancel()
        self._updateButtons()

    def _onWorkEnded(self, worker: Worker) -> None:
        """Write the nodes of the result, all or none."""
        if worker.error is not None:
            self._run.show_error(worker.error)
        elif worker.cancelled or worker.cancel_requested:
            self._run.show_status(_("Cancelled: the scene is as it was."))
        elif any(node is not None and not slicer.mrmlScene.IsNodePresent(node) for node in self._workNodes):
            self._run.show_status(_("The input was removed during the analysis, so its result was dropped."))
        else:
            self._showStudy(worker.result, *self._workNodes)
        self._workNodes = None
        self._updateButtons()

    def _showStudy(
        self,
        study: StudyResult,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode | None,
    ) -> None:
        try:
            with slicer.util.RenderBlocker():
                self.logic.showStudy(study, volumeNode, segmentationNode)
                self._shownVolumeNode = volumeNode
                self._results.show(study)
                slicer.util.setSliceViewerLayers(background=volumeNode)
                layoutManager = slicer.app.layoutManager()
                if layoutManager is not None:  # there is none without a main window
                    layoutManager.resetThreeDViews()
        except Exception as error:
            self._run.show_error(error)
            return
        self._run.show_status(_("Done. Click a lesion to go there."))
        self._choices.fill_devices()  # PyTorch is loaded now and knows the devices

    def _goToLesion(self, positionRas: tuple[float, float, float]) -> None:
        """Show a lesion of the shown study, wherever a transform has moved its volume since."""
        world = [0.0, 0.0, 0.0]
        self._shownVolumeNode.TransformPointToWorld(positionRas, world)
        self.logic.jumpTo(tuple(world))

    def _stopWork(self) -> None:
        """Cancel running work and wait until it has stopped."""
        if self._run.stop():
            self._workNodes = None
            self._run.hide_progress()
            self._run.show_status(_("Cancelled: the scene is as it was."))
            self._updateButtons()


class StenosisDetectionLogic(ScriptedLoadableModuleLogic):
    """Nodes in, nodes out; usable from scripts without the panel.

    results = slicer.util.getModuleLogic("StenosisDetection").process(volumeNode)
    """

    def getParameterNode(self) -> StenosisDetectionParameterNode:
        return StenosisDetectionParameterNode(super().getParameterNode())

    def process(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode | None = None,
        options: AnalysisOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, object]:
        """Analyze a volume and add the result to the scene; return its nodes by role.

        With a segmentation of the coronary lumen the network is not run: tree and measurements come from it.
        The call returns when the work is done. `progress` is called on the way and may raise `Cancelled`.
        Raises InputError, with one line that says what to do, when an input cannot be used.
        """
        volume, labelMap = self.readNodes(volumeNode, segmentationNode)
        study = self.analyze(volume, labelMap, options, progress)
        return self.showStudy(study, volumeNode, segmentationNode)

    def measure(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode,
        options: AnalysisOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, object]:
        """Measure a volume with a given segmentation, for example after correcting it; return the nodes by role."""
        if segmentationNode is None:
            raise InputError("no segmentation was given: choose the segmentation of the coronary lumen")
        return self.process(volumeNode, segmentationNode, options, progress)

    def runBatch(
        self,
        inputs: Iterable[str | Path],
        outputFolder: str | Path,
        options: AnalysisOptions | None = None,
        progress: ProgressCallback | None = None,
        overwrite: bool = False,
    ) -> list[dict[str, str | None]]:
        """Analyze files and DICOM folders one after another and write a folder of results for each.

        See `StenosisDetectionLib.batch.run_batch` for what it returns. An input that fails does not stop the rest;
        cancelling does. Offers to install what is missing before it starts.
        """
        from StenosisDetectionLib.batch import run_batch

        ensure_torch()
        ensure_packages(Path(__file__).with_name("Resources") / "requirements.txt")
        return run_batch(inputs, outputFolder, options, progress, overwrite)

    def analyze(
        self,
        volume: CTVolume,
        labelMap: LabelMap | None = None,
        options: AnalysisOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> StudyResult:
        """Analyze arrays; touches no node, so it may run in a thread."""
        require_torch()
        from StenosisDetectionLib.pipeline import analyze

        return analyze(volume, options, progress, labelMap)

    def readNodes(
        self, volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode | None = None
    ) -> tuple[CTVolume, LabelMap | None]:
        """Copy what `analyze` needs of the nodes, in the coordinates of the nodes themselves."""
        volume = self.volumeFromNode(volumeNode)
        if segmentationNode is None:
            return volume, None
        if segmentationNode.GetTransformNodeID() != volumeNode.GetTransformNodeID():
            raise InputError("volume and segmentation are under different transforms: put both under the same one")
        return volume, self.labelMapFromSegmentation(segmentationNode)

    def volumeFromNode(self, volumeNode: vtkMRMLScalarVolumeNode) -> CTVolume:
        """Copy the voxels and the geometry of a volume node, and its modality where DICOM said it."""
        from StenosisDetectionLib.scene.reading import modality_of_node, volume_of_node

        volume = volume_of_node(volumeNode)
        return replace(volume, modality=modality_of_node(volumeNode) or volume.modality)

    def labelMapFromSegmentation(self, segmentationNode: vtkMRMLSegmentationNode) -> LabelMap:
        """Copy the segments of a node as named labels."""
        from StenosisDetectionLib.scene import label_map_of_segmentation

        return label_map_of_segmentation(segmentationNode)

    def showStudy(
        self,
        study: StudyResult,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode | None = None,
    ) -> dict[str, object]:
        """Add the nodes of a result to the scene, all or none, in place of an earlier one; return them by role.

        The segmentation that was measured stays, hidden, even when it was part of that earlier result: the user may
        have drawn in it.
        """
        from StenosisDetectionLib.scene import build_scene
        from StenosisDetectionLib.scene.nodes import ROLE_ATTRIBUTE

        if segmentationNode is not None and segmentationNode.GetAttribute(ROLE_ATTRIBUTE):
            segmentationNode.RemoveAttribute(ROLE_ATTRIBUTE)
            segmentationNode.SetName(slicer.mrmlScene.GenerateUniqueName(_("Corrected segmentation")))
        nodes = build_scene(study, slicer.mrmlScene, volumeNode).as_dict()
        if segmentationNode is not None:
            segmentationNode.SetDisplayVisibility(False)
        return nodes

    def jumpTo(self, positionRas: tuple[float, float, float]) -> None:
        """Center all slice and 3-D views on a position in mm; the 3-D cameras keep their direction and distance."""
        from StenosisDetectionLib.gui.navigation import jump_to

        jump_to(positionRas)
