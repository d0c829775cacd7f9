"""The Slicer module: a panel and a logic that take nodes, run StenosisDetectionLib, and give nodes."""

import contextlib
import importlib
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import slicer
import vtk
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
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
from StenosisDetectionLib.gui.dependencies import install_packages, install_torch, require_torch
from StenosisDetectionLib.gui.self_test import StenosisDetectionTest  # noqa: F401 - Slicer looks for it here
from StenosisDetectionLib.gui.startup import register_in_slicer
from StenosisDetectionLib.options import PRECISIONS, AnalysisOptions
from StenosisDetectionLib.progress import ProgressCallback
from StenosisDetectionLib.study import CTVolume, LabelMap, StudyResult

if TYPE_CHECKING:
    from StenosisDetectionLib.scene import Prepared

HELP = "https://github.com/StenosisDetection/SlicerStenosisDetection/blob/main/Resources/help"
"""Where the help pages are read; the files are in Resources/help."""


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
            "an interval, and grade. Choose the volume, press Apply, click a lesion. Then correct, decide and sign."
            '<p>Help: <a href="{help}/input.md">Input</a>, <a href="{help}/model-and-device.md">Model and device</a>, '
            '<a href="{help}/findings.md">Findings</a>, <a href="{help}/vessels.md">Vessels</a>, '
            '<a href="{help}/correct.md">Correct</a>, <a href="{help}/review-and-report.md">Review and report</a>, '
            '<a href="{help}/advanced.md">Advanced</a></p>'
            "<p><b>Research use only. Not a medical device. Not for diagnosis or treatment decisions.</b></p>"
        ).format(help=HELP)
        self.parent.acknowledgementText = _(
            "Developed by the StenosisDetection developers with 3D Slicer, VTK, SimpleITK, SciPy and PyTorch."
        )
        slicer.app.connect("startupCompleted()", register_in_slicer)


@parameterNodeWrapper
class StenosisDetectionParameterNode:
    """The choices that are saved with the scene.

    inputVolume - the CT angiography.
    inputRegion - where to search the arteries.
    inputSegmentation - the coronary lumen, when it is not to be found automatically.
    model - name of the segmentation model.
    precision, minimumReferenceDiameter - as in AnalysisOptions; the diameter in mm.
    colorCurves - whether the centerlines are colored by stenosis.
    calciumRegions - where calcium is scored.
    calibration - of the scanner for the mass of calcium, in mg for each HU and mm3; 0 for unknown.
    vessel, position - what is looked at, and where along it in mm.
    rotation, spin, flip, contours, curved - how it is looked at; angles in degrees.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputRegion: vtkMRMLMarkupsROINode
    inputSegmentation: vtkMRMLSegmentationNode
    model: str = AnalysisOptions.model
    precision: Annotated[str, Choice(list(PRECISIONS))] = AnalysisOptions.precision
    minimumReferenceDiameter: Annotated[float, WithinRange(0.5, 5.0)] = AnalysisOptions.minimum_reference_diameter_mm
    colorCurves: bool = False
    calciumRegions: vtkMRMLSegmentationNode
    calibration: Annotated[float, WithinRange(0.0, 0.01)] = 0.0
    vessel: str = ""
    position: float = 0.0
    rotation: Annotated[float, WithinRange(-180.0, 180.0)] = 0.0
    spin: Annotated[float, WithinRange(-180.0, 180.0)] = 0.0
    flip: bool = False
    contours: bool = True
    curved: bool = False


class StenosisDetectionWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The life of the panel in Slicer; what it does is in StenosisDetectionLib.gui.panel."""

    def __init__(self, parent=None) -> None:
        # Without a parent the base class calls setup() at once, so everything it needs comes first.
        VTKObservationMixin.__init__(self)
        self.logic: StenosisDetectionLogic | None = None
        self.panel = None
        self._waiting = []
        self._parameterNode: StenosisDetectionParameterNode | None = None
        self._parameterNodeGuiTag: int | None = None
        self._parameterNodeTag: int | None = None
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/StenosisDetection.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        # Imported when the panel is opened, since it would slow the start of Slicer.
        from StenosisDetectionLib.gui.panel import Panel

        self.logic = StenosisDetectionLogic()
        self.panel = Panel(self.ui, self.logic, Path(self.resourcePath("requirements.txt")))
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneRenewed)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneRenewed)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodesChanged)
        slicer.app.connect("aboutToQuit()", self.panel.stop)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the module is reloaded and when Slicer closes."""
        self.removeObservers()
        # When Slicer closes, widgets (ValueError) and scene (None, AttributeError) may be gone already; and there is no
        # panel where it could not be made.
        with contextlib.suppress(ValueError, AttributeError):
            slicer.app.disconnect("aboutToQuit()", self.panel.stop)
            self.panel.stop()
            self.panel.close()
        with contextlib.suppress(ValueError):
            self._releaseParameterNode()

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self.panel.choices.refresh()
        self.initializeParameterNode()

    def exit(self) -> None:
        """Called each time the user leaves this module."""
        self.panel.stop()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller=None, event=None) -> None:
        self.panel.stop()
        self.setParameterNode(None)
        self.panel.close()

    def onSceneStartImport(self, caller=None, event=None) -> None:
        """Let go of the parameter node: while a scene is loaded, selectors would write what they do not know yet."""
        self.panel.stop()
        self.setParameterNode(None)

    def onSceneRenewed(self, caller=None, event=None) -> None:
        """Called when a scene was closed or loaded."""
        if self.parent.isEntered:
            self.initializeParameterNode()
            self._later(self.initializeParameterNode)

    def onNodesChanged(self, caller=None, event=None) -> None:
        """Called for every node that is added; a batch of them is dealt with at its end."""
        if self.parent.isEntered and self._parameterNode is not None and not slicer.mrmlScene.IsBatchProcessing():
            self._later(self.panel.choose_volume)

    def _later(self, step) -> None:
        """Run a step once the selectors, which hear of nodes and scenes when we do, know them too."""
        import qt

        if step not in self._waiting:
            self._waiting.append(step)
            qt.QTimer.singleShot(0, self._runWaiting)

    def _runWaiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._parameterNode is not None and self.parent.isEntered:
            for step in waiting:
                step()

    def onReload(self) -> None:
        """Forget the library too, so that the reloaded module imports it anew."""
        self.panel.stop()
        for name in [name for name in sys.modules if name.partition(".")[0] == "StenosisDetectionLib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    def initializeParameterNode(self) -> None:
        """Make sure that a parameter node exists and is observed, with a volume chosen where there is one."""
        self.setParameterNode(self.logic.getParameterNode())
        self.panel.choose_volume()

    def setParameterNode(self, parameterNode: StenosisDetectionParameterNode | None) -> None:
        """Observe this parameter node and show its values; None stops observing."""
        self._releaseParameterNode()
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            # Not with addObserver of the mixin, which holds on to whatever it has ever observed.
            event = vtk.vtkCommand.ModifiedEvent
            # At a low priority, after the wrapper has refreshed the values it keeps: of observers of one priority, VTK
            # calls the first one last.
            self._parameterNodeTag = parameterNode.AddObserver(event, self._onParametersChanged, -1.0)
        self.panel.set_parameters(parameterNode)

    def _releaseParameterNode(self) -> None:
        parameterNode, self._parameterNode = self._parameterNode, None
        if parameterNode is not None:
            parameterNode.RemoveObserver(self._parameterNodeTag)
            parameterNode.disconnectGui(self._parameterNodeGuiTag)

    def _onParametersChanged(self, caller=None, event=None) -> None:
        self.panel.parameters_changed()


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
            raise InputError(_("no segmentation was given: choose the segmentation of the coronary lumen"))
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

        install_torch()
        install_packages(Path(__file__).with_name("Resources") / "requirements.txt")
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
            raise InputError(_("volume and segmentation are under different transforms: put both under the same one"))
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
        prepared: "Prepared | None" = None,
    ) -> dict[str, object]:
        """Add the nodes of a result to the scene, all or none, in place of an earlier one; return them by role.

        The segmentation that was measured stays, hidden, even when it was part of that earlier result: the user may
        have drawn in it. `prepared` is what `StenosisDetectionLib.scene.prepare` made of
        the study, where it was made already.
        """
        from StenosisDetectionLib.scene import build_scene

        if segmentationNode is not None:
            self.keepSegmentation(segmentationNode)
        return build_scene(study, slicer.mrmlScene, volumeNode, prepared=prepared).as_dict()

    def keepSegmentation(self, segmentationNode: vtkMRMLSegmentationNode) -> None:
        """Keep a segmentation that was measured, hidden, beside the result that is made of it."""
        from StenosisDetectionLib.scene.nodes import ROLE_ATTRIBUTE

        if segmentationNode.GetAttribute(ROLE_ATTRIBUTE):
            segmentationNode.RemoveAttribute(ROLE_ATTRIBUTE)
            segmentationNode.SetName(slicer.mrmlScene.GenerateUniqueName(_("Corrected segmentation")))
        segmentationNode.SetDisplayVisibility(False)

    def jumpTo(self, positionRas: tuple[float, float, float]) -> None:
        """Center all slice and 3-D views on a position in mm; the 3-D cameras keep their direction and distance."""
        from StenosisDetectionLib.gui.navigation import jump_to

        jump_to(positionRas)
