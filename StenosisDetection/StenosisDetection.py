"""The Slicer module: a panel and a logic that take nodes, run StenosisDetectionLib, and give nodes."""

import contextlib
import functools
import importlib.util
import logging
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Installed, the library lies beside this file; in a source checkout Slicer only knows this file's own folder.
if importlib.util.find_spec("StenosisDetectionLib") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from StenosisDetectionLib.errors import Cancelled, InputError, StenosisDetectionError
from StenosisDetectionLib.gui.devices import device_choices
from StenosisDetectionLib.gui.results_view import ResultsView
from StenosisDetectionLib.gui.run_view import RunView
from StenosisDetectionLib.gui.texts import error_line
from StenosisDetectionLib.gui.worker import Worker
from StenosisDetectionLib.options import AnalysisOptions
from StenosisDetectionLib.progress import Progress, ProgressCallback, stage_report
from StenosisDetectionLib.study import CTVolume, LabelMap, StudyResult

DEVICE_SETTING = "StenosisDetection/Device"
"""Application setting, since a device belongs to the machine and not to the scene."""

TORCH_MISSING = (
    "PyTorch is missing: install the PyTorch extension in the Extensions Manager, restart Slicer and try again"
)


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
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the demo study in the Sample Data module; it is computed, not downloaded."""
    import SampleData

    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):
        SampleData.SampleDataLogic.registerCustomSampleDataCategory("StenosisDetection", title=_("Stenosis Detection"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="StenosisDetection",
        sampleName="StenosisDetectionDemo",
        uris=[],
        fileNames=[],
        nodeNames=[],
        customDownloader=lambda source: addDemoVolume(),
    )


def addDemoVolume() -> vtkMRMLScalarVolumeNode | None:
    """Compute the demo study, a synthetic CT angiography with known narrowings; return None when cancelled."""
    from StenosisDetectionLib.gui.demo import demo_volume

    dialog = slicer.util.createProgressDialog(
        labelText=_("Computing a synthetic CT angiography"),
        windowTitle=_("Stenosis Detection"),
        windowModality=qt.Qt.WindowModal,
    )
    volume = demo_volume(dialog, slicer.app.processEvents)
    if volume is None:
        return None
    volumeNode = slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, "StenosisDetectionDemo")
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    return volumeNode


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

        self.logic = StenosisDetectionLogic()
        self._run = RunView(self.ui, _, self._onWorkEnded)
        self._results = ResultsView(self.ui, _("No result yet."), self._goToLesion)
        self._fillModels()
        self._fillDevices()
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self._onModelChanged)
        self.ui.deviceComboBox.connect("currentIndexChanged(int)", self._onDeviceChanged)
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

    def enter(self) -> None:
        """Called each time the user opens this module."""
        self._fillDevices()
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
            volumeNode = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if volumeNode is not None:
                self._parameterNode.inputVolume = volumeNode

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

    def _fillModels(self) -> None:
        from StenosisDetectionLib.segmentation.models import list_models

        for index, model in enumerate(list_models()):
            self.ui.modelComboBox.addItem(model.name, model.name)
            self.ui.modelComboBox.setItemData(index, model.description, qt.Qt.ToolTipRole)

    def _fillDevices(self) -> None:
        combo = self.ui.deviceComboBox
        combo.blockSignals(True)
        combo.clear()
        for device in device_choices():
            combo.addItem(device, device)
        chosen = slicer.util.settingsValue(DEVICE_SETTING, AnalysisOptions.device)
        combo.currentIndex = max(combo.findData(chosen), 0)
        combo.blockSignals(False)

    def _onModelChanged(self, index: int) -> None:
        if self._parameterNode is not None:
            self._parameterNode.model = self.ui.modelComboBox.itemData(index)

    def _onDeviceChanged(self, index: int) -> None:
        qt.QSettings().setValue(DEVICE_SETTING, self.ui.deviceComboBox.itemData(index))

    def _onParametersChanged(self, caller=None, event=None) -> None:
        if self._parameterNode is not None:
            index = self.ui.modelComboBox.findData(self._parameterNode.model)
            if index >= 0:
                self.ui.modelComboBox.currentIndex = index
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
            ensureTorch()
            options = AnalysisOptions(
                model=self.ui.modelComboBox.currentData, device=self.ui.deviceComboBox.currentData
            )
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
        self._fillDevices()  # PyTorch is loaded now and knows the devices

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

        Returns one dict per input: `input` (its name), `report` (path of its report.json) and `error` (one line);
        one of the last two is None. An input that fails does not stop the rest; cancelling does.
        """
        from StenosisDetectionLib.reading import read_volume
        from StenosisDetectionLib.writing import write_case

        ensurePackages()
        paths = [Path(path) for path in inputs]
        outcomes: list[dict[str, str | None]] = []
        for index, path in enumerate(paths):
            watch = _partOfBatch(progress, index, len(paths), path.name) if progress else None
            outcome: dict[str, str | None] = {"input": path.name, "report": None, "error": None}
            try:
                volume = read_volume(path, stage_report(watch, "reading", 0.0, 0.0))
                study = self.analyze(volume, None, options, watch)
                report = write_case(study, outputFolder, overwrite, stage_report(watch, "writing", 1.0, 1.0))
                outcome["report"] = str(report)
            except Cancelled:
                raise
            except Exception as error:
                if not isinstance(error, StenosisDetectionError):
                    logging.error(f"StenosisDetection: input {index + 1} failed", exc_info=error)
                outcome["error"] = error_line(error)
            outcomes.append(outcome)
        return outcomes

    def analyze(
        self,
        volume: CTVolume,
        labelMap: LabelMap | None = None,
        options: AnalysisOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> StudyResult:
        """Analyze arrays; touches no node, so it may run in a thread."""
        if importlib.util.find_spec("torch") is None:
            raise InputError(TORCH_MISSING)
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
        from StenosisDetectionLib.scene import volume_of_node

        volume = volume_of_node(volumeNode)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
        item = hierarchy.GetItemByDataNode(volumeNode)
        modality = hierarchy.GetItemAttribute(item, attribute) if item else ""
        return replace(volume, modality=modality) if modality else volume

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
        slicer.modules.markups.logic().JumpSlicesToLocation(*positionRas, True)
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
            camera = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLCameraNode")
            toCamera = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
            camera.SetFocalPoint(*positionRas)
            camera.SetPosition(*(np.asarray(positionRas) + toCamera))
            camera.ResetClippingRange()


def ensureTorch() -> None:
    """Make PyTorch available through the PyTorch extension, which asks the user before it installs anything."""
    if importlib.util.find_spec("torch") is not None:
        return
    if importlib.util.find_spec("PyTorchUtils") is None or slicer.app.testingEnabled():
        raise InputError(TORCH_MISSING)
    from PyTorchUtils import PyTorchUtilsLogic

    if PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.4") is None:
        raise InputError("PyTorch was not installed: press Apply again and accept, or install it in PyTorch Utils")


def ensurePackages() -> None:
    """Install the Python packages that reports need and Slicer lacks, after the user agreed."""
    import slicer.packaging

    requirements = slicer.packaging.load_requirements(Path(__file__).with_name("Resources") / "requirements.txt")
    slicer.packaging.pip_ensure(requirements, requester="StenosisDetection")


def _partOfBatch(progress: ProgressCallback, index: int, count: int, name: str) -> ProgressCallback:
    """Return a watcher of one case that reports to the watcher of the whole batch."""

    def watch(report: Progress) -> None:
        message = f"{name}: {report.message}" if report.message else name
        progress(Progress(report.stage, (index + report.fraction) / count, message))

    return watch


class StenosisDetectionTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, by "Reload and Test" and by ctest; each test begins with an empty scene."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def test_process(self) -> None:
        """The demo study becomes nodes, and its narrowings of 50 % and more are found where they are."""
        phantom = self._demoPhantom()
        volumeNode = self._volumeNode(phantom)
        results = StenosisDetectionLogic().process(volumeNode, options=AnalysisOptions(device="cpu"))
        self.assertLessEqual({"LM", "LAD", "LCX", "RCA"}, set(results["curves"]))
        self._assertFound(phantom, results["lesions"])

    def test_measure(self) -> None:
        """With a given lumen instead of a searched one, the same narrowings are found, and the lumen stays."""
        phantom = self._demoPhantom()
        volumeNode = self._volumeNode(phantom)
        segmentationNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Given lumen")
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        for value, name in phantom.lumen.names.items():
            segmentId = segmentationNode.GetSegmentation().AddEmptySegment(name, name)
            segment = (phantom.lumen.labels == value).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(segment, segmentationNode, segmentId, volumeNode)
        options = AnalysisOptions(device="cpu")
        results = StenosisDetectionLogic().measure(volumeNode, segmentationNode, options)
        self._assertFound(phantom, results["lesions"])
        self.assertTrue(slicer.mrmlScene.IsNodePresent(segmentationNode))

    def test_cancel(self) -> None:
        """Cancelled work leaves no node of a result."""
        from StenosisDetectionLib.phantom import toy_study

        def cancel(report: Progress) -> None:
            raise Cancelled("cancelled")

        volumeNode = self._volumeNode(toy_study())
        with self.assertRaises(Cancelled):
            StenosisDetectionLogic().process(volumeNode, options=AnalysisOptions(device="cpu"), progress=cancel)
        for nodeClass in ("vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode"):
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass(nodeClass), 0, nodeClass)

    def test_refusal(self) -> None:
        """A volume without voxels is refused in one line."""
        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        with self.assertRaisesRegex(InputError, "empty"):
            StenosisDetectionLogic().process(volumeNode)

    @staticmethod
    @functools.cache
    def _demoPhantom():
        from StenosisDetectionLib.phantom import demo_study

        return demo_study(spacing_mm=(0.6, 0.6, 0.7))  # coarser than the demo study itself, which takes a minute

    @staticmethod
    def _volumeNode(phantom) -> vtkMRMLScalarVolumeNode:
        return slicer.util.addVolumeFromArray(phantom.volume.voxels, phantom.volume.ijk_to_ras, "Phantom")

    def _assertFound(self, phantom, lesionsNode) -> None:
        """Every narrowing of 50 % or more has a control point within 3 mm of its throat."""
        found = slicer.util.arrayFromMarkupsControlPoints(lesionsNode)
        for lesion in phantom.truth.lesions:
            if lesion.diameter_stenosis_percent >= 50.0:
                distance = np.linalg.norm(found - np.array(lesion.position_ras), axis=1).min()
                self.assertLess(distance, 3.0, lesion.vessel)
