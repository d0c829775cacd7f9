"""The self test of the module: what a running Slicer makes of the toy study, a small heart of known narrowings.

`StenosisDetection.py` gives its class to Slicer. Only Slicer and its stand-in can import this file. Tests of the panel
need a module widget and are skipped where there is none, as under ctest without a main window.
"""

import functools
import importlib
import importlib.util
import math
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from ..errors import Cancelled, InputError
from ..options import AnalysisOptions
from ..progress import Progress
from ..scene.review_views import LAYOUT_ID
from .dependencies import missing_packages

if TYPE_CHECKING:
    from ..phantom import Phantom

LONGEST_ANALYSIS_S, LONGEST_CANCEL_S = 600.0, 30.0
"""After this a test gives up; a slow computer is no fault. How long cancelling takes is printed."""


def memory_mb() -> float:
    """Return the memory this process holds in MB; NaN where the system does not tell it in a file."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024.0 for line in lines if line.startswith("VmRSS:")), math.nan)


class StenosisDetectionTest(ScriptedLoadableModuleTest):
    """Runs in Slicer, by "Reload and Test" and by ctest; each test begins with an empty scene."""

    def runTest(self) -> None:
        """Run all tests for "Reload and Test", whose own loop would end at the first one that is skipped."""
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(type(self))
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
        failed = [str(test) for test, _report in (*result.failures, *result.errors)]
        self.assertEqual(failed, [])

    def setUp(self) -> None:
        """Empty the scene."""
        self._device_before: tuple[Any, int] | None = None
        slicer.mrmlScene.Clear(0)

    def tearDown(self) -> None:
        """Give the user back the device that was chosen before."""
        if self._device_before is not None:
            combo, index = self._device_before
            combo.currentIndex = index

    def test_process(self) -> None:
        """The study becomes nodes, and its narrowings of 50 % and more are found where they are."""
        self._needs_packages()
        phantom = self._phantom()
        volume_node = self._volume_node(phantom)
        results = self._logic().process(volume_node, options=AnalysisOptions(device="cpu"))
        self.assertLessEqual({"LM", "LAD", "LCX", "RCA"}, set(results["curves"]))
        self._assert_found(phantom, results["lesions"])

    def test_demo(self) -> None:
        """The demo study, a real artery tree with five narrowings, is analyzed end to end and those are found."""
        self._needs_packages()
        phantom = self._demo()
        results = self._logic().process(self._volume_node(phantom), options=AnalysisOptions(device="cpu"))
        self.assertLessEqual({"LM", "LAD", "LCX", "RCA"}, set(results["curves"]))
        self._assert_found(phantom, results["lesions"])

    def test_measure(self) -> None:
        """With a given lumen instead of a searched one, the same narrowings are found, and the lumen stays."""
        self._needs_packages()
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
        self._needs_packages()

        def cancel(_progress: Progress) -> None:
            raise Cancelled("cancelled")

        volume_node = self._volume_node(self._phantom())
        with self.assertRaises(Cancelled):
            self._logic().process(volume_node, options=AnalysisOptions(device="cpu"), progress=cancel)
        self._assert_no_result()

    def test_refusal(self) -> None:
        """A volume without voxels is refused in one line."""
        volume_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        with self.assertRaisesRegex(InputError, "empty"):
            self._logic().process(volume_node)

    def test_opening(self) -> None:
        """The panel opens, says what this computer lacks, waits for a volume, shows its layout and takes it back."""
        widget = self._widget()
        self.assertIn("PyTorch", widget.ui.environmentLabel.text)
        self.assertFalse(widget.ui.applyButton.enabled)
        self._choose(widget, self._volume_node(self._phantom()))
        manager = slicer.app.layoutManager()
        if manager is not None:
            before = manager.layout
            widget.ui.showLayoutButton.click()
            self.assertEqual(manager.layout, LAYOUT_ID)
            self._picture("layout")
            widget.ui.restoreLayoutButton.click()
            self.assertEqual(manager.layout, before)

    def test_panel(self) -> None:
        """Apply, go to a lesion, decide on it, save, close, load: the review is as it was."""
        self._needs_packages()
        widget = self._widget()
        self._choose(widget, self._volume_node(self._phantom()))
        widget.ui.applyButton.click()
        blocked = self._wait(lambda: not widget.panel.run.running, LONGEST_ANALYSIS_S)
        print(f"the window was blocked for {1000.0 * blocked:.0f} ms at most while it was analyzed and shown")
        lesions = widget.panel.session.study.lesions
        self.assertGreater(len(lesions), 0, widget.ui.statusLabel.text)
        self._delay("Going to a lesion")
        self._measure_lesion(widget, lesions[0].id)
        self._picture_sections(widget)
        widget.ui.rejectButton.click()
        self.assertEqual(widget.panel.session.review.rejected, {lesions[0].id})
        self._picture("lesion")
        path = Path(slicer.app.temporaryPath) / "StenosisDetectionTest.mrb"
        self.assertTrue(slicer.util.saveScene(str(path)))
        before = memory_mb()
        slicer.mrmlScene.Clear(0)
        self.assertEqual(widget.ui.lesionTable.rowCount, 0)
        print(f"memory: {before:.0f} MB with the result, {memory_mb():.0f} MB after closing the scene")
        slicer.util.loadScene(str(path))
        self._wait(lambda: widget.ui.lesionTable.rowCount > 0, LONGEST_CANCEL_S)
        self.assertEqual(widget.ui.lesionTable.rowCount, len(lesions))
        self.assertEqual(widget.panel.session.review.rejected, {lesions[0].id})
        self._picture("loaded")
        path.unlink()

    def test_panel_cancel(self) -> None:
        """Cancelling, and closing the scene during the work, leave no result and let the panel go on."""
        self._needs_packages()
        widget = self._widget()
        self._choose(widget, self._volume_node(self._phantom()))
        for stop in (widget.ui.cancelButton.click, lambda: slicer.mrmlScene.Clear(0)):
            widget.ui.applyButton.click()
            self._wait(lambda: widget.panel.run.running and widget.ui.progressBar.value > 0, LONGEST_CANCEL_S)
            began = time.monotonic()
            stop()
            self._wait(lambda: not widget.panel.run.running, LONGEST_CANCEL_S)
            print(f"stopped {time.monotonic() - began:.1f} s after it was asked to")
            self._assert_no_result()

    def test_two_volumes(self) -> None:
        """Two volumes in one scene keep their results apart."""
        self._needs_packages()
        widget = self._widget()
        first, second = (self._volume_node(self._phantom()) for _ in range(2))
        self._choose(widget, first)
        widget.ui.applyButton.click()
        self._wait(lambda: not widget.panel.run.running, LONGEST_ANALYSIS_S)
        found = widget.ui.lesionTable.rowCount
        self._choose(widget, second)
        self.assertEqual(widget.ui.lesionTable.rowCount, 0)
        self._choose(widget, first)
        self.assertEqual(widget.ui.lesionTable.rowCount, found)

    def _needs_packages(self) -> None:
        """Skip a test where what an analysis needs is not installed; the panel tells the user."""
        folder = Path(slicer.util.modulePath("StenosisDetection")).parent
        missing = missing_packages(folder / "Resources" / "requirements.txt")
        if importlib.util.find_spec("torch") is None:
            missing = ("PyTorch", *missing)
        if missing:
            self.skipTest(f"not installed: {', '.join(missing)}")

    @staticmethod
    def _logic() -> Any:
        module = importlib.import_module("StenosisDetection")  # not at file scope: it imports this file
        return module.StenosisDetectionLogic()

    def _widget(self) -> Any:
        """Return the panel of the module, opened; skips the test where Slicer shows none."""
        if slicer.util.mainWindow() is None:
            self.skipTest("there is no main window")
        slicer.util.selectModule("StenosisDetection")
        return slicer.util.getModuleWidget("StenosisDetection")

    def _choose(self, widget: Any, volume_node: Any) -> None:
        widget.ui.inputVolumeSelector.setCurrentNode(volume_node)
        widget.ui.inputSegmentationSelector.setCurrentNode(None)
        if self._device_before is None:
            self._device_before = widget.ui.deviceComboBox, widget.ui.deviceComboBox.currentIndex
        widget.ui.deviceComboBox.currentIndex = widget.ui.deviceComboBox.findData("cpu")
        self.assertTrue(widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip)

    def _wait(self, condition: Callable[[], bool], longest_s: float) -> float:
        """Let Slicer handle its events until something has happened; return the longest time the window was blocked."""
        began = time.monotonic()
        longest = 0.0
        while not condition():
            before = time.monotonic()
            self.assertLess(before - began, longest_s, "it took too long")
            slicer.app.processEvents()
            longest = max(longest, time.monotonic() - before)
        return longest

    def _measure_lesion(self, widget: Any, lesion_id: str) -> None:
        """Go to a lesion and move its end, and print how long each took without the drawing of the views."""
        panel = widget.panel
        for turn in ("first", "second"):
            began = time.monotonic()
            panel.findings.choose(lesion_id)
            panel.go_to_lesion(lesion_id)
            print(f"{turn} click on a lesion: {1000.0 * (time.monotonic() - began):.0f} ms")
            slicer.app.processEvents()
        before = panel.session.lesion(lesion_id)
        began = time.monotonic()
        panel.session.move_lesion(lesion_id, before.start_mm, before.throat_mm, before.end_mm + 0.5)
        print(f"a marker moved and kept: {1000.0 * (time.monotonic() - began):.0f} ms")
        self.assertGreater(panel.session.lesion(lesion_id).length_mm, before.length_mm)
        widget.ui.undoButton.click()
        self.assertEqual(panel.session.lesion(lesion_id), before)

    def _picture_sections(self, widget: Any) -> None:
        """Save a picture of the panel with each section open alone, and leave it as it was."""
        if not self._pictures():
            return
        names = ("inputs", "model", "findings", "vessels", "correct", "review", "advanced")
        sections = {name: getattr(widget.ui, f"{name}CollapsibleButton") for name in names}
        before = {name: section.collapsed for name, section in sections.items()}
        for name in names:
            for other, section in sections.items():
                section.collapsed = other != name
            slicer.app.processEvents()
            widget.parent.grab().save(str(Path(self._pictures()) / f"panel-{name}.png"))
        for name, section in sections.items():
            section.collapsed = before[name]

    def _delay(self, message: str) -> None:
        if hasattr(self, "delayDisplay"):
            self.delayDisplay(message, 100)

    @staticmethod
    def _pictures() -> str:
        """Return the folder where `Testing/run_in_slicer.py` wants pictures; empty when nobody wants any."""
        folder = slicer.app.property("StenosisDetectionPictures") if hasattr(slicer.app, "property") else None
        return str(folder or "")

    def _picture(self, name: str) -> None:
        """Save a picture of the main window, where pictures are wanted."""
        if self._pictures():
            import ctk

            slicer.util.forceRenderAllViews()
            slicer.app.processEvents()
            # As the window shows it, with what is drawn by VTK.
            image = ctk.ctkWidgetsUtils.grabWidget(slicer.util.mainWindow())
            image.save(str(Path(self._pictures()) / f"{name}.png"))

    @staticmethod
    @functools.cache
    def _phantom() -> "Phantom":
        from ..phantom import toy_study

        return toy_study()

    @staticmethod
    def _demo() -> "Phantom":
        from ..phantom import demo_study

        return demo_study()

    @staticmethod
    def _volume_node(phantom: "Phantom") -> Any:
        return slicer.util.addVolumeFromArray(phantom.volume.voxels, phantom.volume.ijk_to_ras, "Phantom")

    def _assert_no_result(self) -> None:
        for node_class in ("vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode"):
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass(node_class), 0, node_class)

    def _assert_found(self, phantom: "Phantom", lesions_node: Any) -> None:
        """Every narrowing of 50 % or more has a control point within 3 mm of its throat."""
        found = slicer.util.arrayFromMarkupsControlPoints(lesions_node)
        for lesion in phantom.truth.lesions:
            if lesion.diameter_stenosis_percent >= 50.0:
                distance = np.linalg.norm(found - np.array(lesion.position_ras), axis=1).min()
                self.assertLess(distance, 3.0, lesion.vessel)
