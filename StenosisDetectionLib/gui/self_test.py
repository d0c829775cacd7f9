"""The self test of the module: what a running Slicer makes of the toy study, a small heart of known narrowings.

`StenosisDetection.py` gives its class to Slicer. Only Slicer and its stand-in can import this file.
"""

import functools
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from ..errors import Cancelled, InputError
from ..options import AnalysisOptions
from ..progress import Progress

if TYPE_CHECKING:
    from ..phantom import Phantom


class StenosisDetectionTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, by "Reload and Test" and by ctest; each test begins with an empty scene."""

    def setUp(self) -> None:
        """Empty the scene."""
        slicer.mrmlScene.Clear(0)

    def test_process(self) -> None:
        """The study becomes nodes, and its narrowings of 50 % and more are found where they are."""
        phantom = self._phantom()
        volume_node = self._volume_node(phantom)
        results = self._logic().process(volume_node, options=AnalysisOptions(device="cpu"))
        self.assertLessEqual({"LM", "LAD", "LCX", "RCA"}, set(results["curves"]))
        self._assert_found(phantom, results["lesions"])

    def test_measure(self) -> None:
        """With a given lumen instead of a searched one, the same narrowings are found, and the lumen stays."""
        phantom = self._phantom()
        volume_node = self._volume_node(phantom)
        segmentation_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Given lumen")
        segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        for value, name in phantom.lumen.names.items():
            segment_id = segmentation_node.GetSegmentation().AddEmptySegment(name, name)
            segment = (phantom.lumen.labels == value).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(segment, segmentation_node, segment_id, volume_node)
        results = self._logic().measure(volume_node, segmentation_node, AnalysisOptions(device="cpu"))
        self._assert_found(phantom, results["lesions"])
        self.assertTrue(slicer.mrmlScene.IsNodePresent(segmentation_node))

    def test_cancel(self) -> None:
        """Cancelled work leaves no node of a result."""

        def cancel(_progress: Progress) -> None:
            raise Cancelled("cancelled")

        volume_node = self._volume_node(self._phantom())
        with self.assertRaises(Cancelled):
            self._logic().process(volume_node, options=AnalysisOptions(device="cpu"), progress=cancel)
        for node_class in ("vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode"):
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass(node_class), 0, node_class)

    def test_refusal(self) -> None:
        """A volume without voxels is refused in one line."""
        volume_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        with self.assertRaisesRegex(InputError, "empty"):
            self._logic().process(volume_node)

    @staticmethod
    def _logic() -> Any:
        module = importlib.import_module("StenosisDetection")  # not at file scope: it imports this file
        return module.StenosisDetectionLogic()

    @staticmethod
    @functools.cache
    def _phantom() -> "Phantom":
        from ..phantom import toy_study

        return toy_study()

    @staticmethod
    def _volume_node(phantom: "Phantom") -> Any:
        return slicer.util.addVolumeFromArray(phantom.volume.voxels, phantom.volume.ijk_to_ras, "Phantom")

    def _assert_found(self, phantom: "Phantom", lesions_node: Any) -> None:
        """Every narrowing of 50 % or more has a control point within 3 mm of its throat."""
        found = slicer.util.arrayFromMarkupsControlPoints(lesions_node)
        for lesion in phantom.truth.lesions:
            if lesion.diameter_stenosis_percent >= 50.0:
                distance = np.linalg.norm(found - np.array(lesion.position_ras), axis=1).min()
                self.assertLess(distance, 3.0, lesion.vessel)
