"""The panel under a stand-in for PythonQt that offers only the names a real Slicer 5.12.3 was seen to offer."""

import ast
import dataclasses
import importlib.util
import os
import re
import threading
import xml.etree.ElementTree as ElementTree

import conftest
import pytest
from studies import small_study

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.gui import sample_data, texts
from StenosisDetectionLib.gui.sample_data import add_demo_volume
from StenosisDetectionLib.progress import Progress

MODULE = conftest.REPOSITORY / "StenosisDetection" / "StenosisDetection.py"
UI = conftest.REPOSITORY / "StenosisDetection" / "Resources" / "UI" / "StenosisDetection.ui"
NAMES = conftest.test_data_folder().parent / "qtapi.json"

pytestmark = [
    pytest.mark.skipif(not NAMES.is_file(), reason="the table of Slicer's names is absent: set STENOSIS_TEST_DATA"),
    pytest.mark.skipif(importlib.util.find_spec("PySide6") is None, reason="PySide6-Essentials is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]


@pytest.fixture(scope="module")
def table():
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from slicer_stand_in.pythonqt import Table

    return Table(NAMES)


@pytest.fixture
def module(table, tmp_path):
    from slicer_stand_in.install import installed

    with installed(MODULE, table, tmp_path) as module:
        yield module


class Pipeline:
    """An analysis that waits at half time until it is told to go on."""

    def __init__(self):
        self.half, self.go_on = threading.Event(), threading.Event()
        self.error = None
        self.calls = []

    def analyze(self, _logic, volume, label_map=None, options=None, progress=None):
        self.calls.append((volume, label_map, options))
        progress(Progress("segmentation", 0.5, "filtering"))
        self.half.set()
        self.go_on.wait(20)
        progress(Progress("lumen", 0.75))
        if self.error is not None:
            raise self.error
        return dataclasses.replace(small_study(), volume=volume)


@pytest.fixture
def pipeline(module, monkeypatch):
    pipeline = Pipeline()
    monkeypatch.setattr(
        module.StenosisDetectionLogic, "analyze", lambda self, *arguments: pipeline.analyze(self, *arguments)
    )
    return pipeline


@pytest.fixture
def panel(module, pipeline, table):
    from slicer_stand_in.pythonqt import Wrapped
    from slicer_stand_in.widgets import make_parent

    target = make_parent()
    panel = module.StenosisDetectionWidget(Wrapped(table, target))
    panel.setup()
    target.resize(500, 760)
    target.show()
    yield panel
    pipeline.go_on.set()
    panel.cleanup()
    target.deleteLater()


def _add_volume():
    import slicer

    volume = small_study().volume
    return slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, "CTA")


def _process_events_until(condition):
    import time

    from PySide6.QtWidgets import QApplication

    for _ in range(2000):
        QApplication.processEvents()
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("it did not happen")


def _start(panel, pipeline):
    panel.ui.applyButton.click()
    assert pipeline.half.wait(20), panel.ui.statusLabel.text
    _process_events_until(lambda: panel.ui.progressBar.value == 50)


def _finish(panel, pipeline):
    pipeline.go_on.set()
    _process_events_until(lambda: not panel._run.running)


def _table_column(panel, column):
    lesions = panel.ui.lesionTable
    return [lesions.item(row, column).text() for row in range(lesions.rowCount)]


def test_apply_waits_for_a_volume(panel):
    assert not panel.ui.applyButton.enabled
    assert "Choose the volume" in panel.ui.applyButton.toolTip
    volume_node = _add_volume()
    panel.ui.inputVolumeSelector.setCurrentNode(volume_node)
    assert panel._parameterNode.inputVolume is volume_node
    assert panel.ui.applyButton.enabled
    assert not panel.ui.cancelButton.enabled


def test_a_loaded_volume_is_chosen_on_entering(panel):
    volume_node = _add_volume()
    panel.exit()
    panel.enter()
    assert panel._parameterNode.inputVolume is volume_node
    assert panel.ui.inputVolumeSelector.currentNode() is volume_node


def test_a_label_map_is_not_chosen_as_volume(panel):
    import slicer

    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    volume_node = _add_volume()
    panel.exit()
    panel.enter()
    assert panel._parameterNode.inputVolume is volume_node


def test_apply_analyzes_in_the_background_and_shows_the_result(panel, pipeline, tmp_path):
    import slicer

    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    _start(panel, pipeline)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    assert not panel.ui.applyButton.enabled
    assert panel.ui.cancelButton.enabled
    assert not panel.ui.inputVolumeSelector.enabled
    assert panel.ui.progressFrame.visible
    assert panel.ui.stageLabel.text == "segmentation: filtering"
    assert re.fullmatch(r"\d+:\d\d", panel.ui.elapsedLabel.text)
    _picture(panel, "running")
    _finish(panel, pipeline)
    assert slicer.mrmlScene.GetNumberOfNodes() > nodes
    assert not panel.ui.progressFrame.visible
    assert panel.ui.applyButton.enabled
    assert panel.ui.statusLabel.text.startswith("Done")
    assert "software-suggested, unreviewed" in panel.ui.cadRadsLabel.text
    assert panel.ui.warningsLabel.visible
    assert panel.ui.lesionTable.rowCount == 2
    assert _table_column(panel, 0) == ["LAD", "RCA"]  # the worst first
    assert panel.ui.detailsText.plainText.splitlines()[-1].endswith("lumen")
    _picture(panel, "done")


def _picture(panel, name):
    """Save a picture of the panel where STENOSIS_PICTURES says; for people to look at."""
    from pathlib import Path

    folder = os.environ.get("STENOSIS_PICTURES")
    if folder:
        panel.parent._target.grab().save(str(Path(folder) / f"panel-{name}.png"))


def test_the_options_come_from_the_panel(panel, pipeline):
    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    panel.ui.deviceComboBox.setCurrentIndex(panel.ui.deviceComboBox.findData("cpu"))
    _start(panel, pipeline)
    _finish(panel, pipeline)
    (_, label_map, options) = pipeline.calls[0]
    assert label_map is None
    assert options.device == "cpu"
    assert options.model == panel.ui.modelComboBox.currentData
    # The device is remembered by the application, the model by the scene.
    panel._choices.fill_devices()
    assert panel.ui.deviceComboBox.currentData == "cpu"
    assert panel._parameterNode.parameterNode.GetParameter("device") == ""


def test_choosing_a_lesion_jumps_whatever_the_table_is_sorted_by(panel, pipeline, monkeypatch):
    from PySide6.QtCore import Qt

    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    _start(panel, pipeline)
    _finish(panel, pipeline)
    jumps = []
    monkeypatch.setattr(panel.logic, "jumpTo", jumps.append)
    positions = {lesion.vessel: lesion.position_ras for lesion in small_study().lesions}
    lesions = panel.ui.lesionTable
    for order in (Qt.AscendingOrder, Qt.DescendingOrder):
        lesions.sortByColumn(texts.STENOSIS_COLUMN, order)
        numbers = [float(text) for text in _table_column(panel, texts.STENOSIS_COLUMN)]
        assert numbers == sorted(numbers, reverse=order == Qt.DescendingOrder)
        for row in range(2):
            lesions.clearSelection()
            jumps.clear()
            lesions.selectRow(row)
            assert jumps
            assert jumps[-1] == pytest.approx(positions[lesions.item(row, 0).text()])


def test_jump_follows_a_transform_of_the_volume(panel, pipeline, monkeypatch):
    import slicer
    import vtk

    volume_node = _add_volume()
    panel.ui.inputVolumeSelector.setCurrentNode(volume_node)
    _start(panel, pipeline)
    _finish(panel, pipeline)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    volume_node.SetAndObserveTransformNodeID(transform.GetID())
    jumps = []
    monkeypatch.setattr(panel.logic, "jumpTo", jumps.append)
    panel.ui.lesionTable.selectRow(0)
    x, y, z = small_study().lesions[0].position_ras
    assert jumps[0] == pytest.approx((x + 100.0, y, z))


def test_sorting_by_number_is_not_sorting_by_text(panel, pipeline, monkeypatch):
    from PySide6.QtCore import Qt

    study = small_study()
    lesions = tuple(
        dataclasses.replace(study.lesions[0], id=f"L{n}", length_mm=float(n)) for n in (9.0, 10.0, 2.5, 100.0)
    )
    panel._results.show(dataclasses.replace(study, lesions=lesions))
    panel.ui.lesionTable.sortByColumn(7, Qt.AscendingOrder)
    assert [float(text) for text in _table_column(panel, 7)] == [2.5, 9.0, 10.0, 100.0]


def test_cancel_leaves_the_scene_as_it_was(panel, pipeline):
    import slicer

    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    _start(panel, pipeline)
    panel.ui.cancelButton.click()
    assert not panel.ui.cancelButton.enabled
    assert panel._run.running  # until the work has stopped
    _finish(panel, pipeline)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert panel.ui.statusLabel.text.startswith("Cancelled")
    assert panel.ui.applyButton.enabled
    assert panel.ui.lesionTable.rowCount == 0


@pytest.mark.parametrize("leave", ["exit", "cleanup", "close scene", "quit"])
def test_leaving_stops_the_work_first(panel, pipeline, leave):
    import slicer

    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    _start(panel, pipeline)
    thread = panel._run._worker._thread
    threading.Timer(0.05, pipeline.go_on.set).start()
    if leave == "close scene":
        slicer.mrmlScene.Clear(0)
        assert panel._parameterNode is not None  # the panel is shown, so it has a new one
        assert panel._parameterNode.inputVolume is None
    elif leave == "quit":
        slicer.app.emit("aboutToQuit()")
    else:
        getattr(panel, leave)()
        if leave == "cleanup":
            assert slicer.app.connections == []
            panel.cleanup = lambda: None
    assert not thread.is_alive()
    assert not panel._run.running
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsCurveNode") == 0


def test_a_removed_volume_drops_the_result(panel, pipeline):
    import slicer

    volume_node = _add_volume()
    panel.ui.inputVolumeSelector.setCurrentNode(volume_node)
    _start(panel, pipeline)
    slicer.mrmlScene.RemoveNode(volume_node)
    _finish(panel, pipeline)
    assert "removed" in panel.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsCurveNode") == 0
    assert not panel.ui.applyButton.enabled


def test_an_expected_error_is_one_line(panel, pipeline, caplog):
    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    pipeline.error = InputError("the volume has no contrast: choose a CT angiography")
    _start(panel, pipeline)
    _finish(panel, pipeline)
    assert panel.ui.statusLabel.text == "the volume has no contrast: choose a CT angiography"
    assert "Traceback" not in panel.ui.detailsText.plainText
    assert not caplog.records
    assert panel.ui.applyButton.enabled


def test_an_unexpected_error_is_one_line_and_a_log(panel, pipeline, caplog):
    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    pipeline.error = ZeroDivisionError("division by zero")
    _start(panel, pipeline)
    _finish(panel, pipeline)
    assert panel.ui.statusLabel.text == "Unexpected error (ZeroDivisionError: division by zero)"
    assert "Traceback" in panel.ui.detailsText.plainText
    assert caplog.records[0].exc_info[1] is pipeline.error
    panel.ui.detailsButton.click()
    assert panel.ui.detailsText.visible
    _picture(panel, "error")


def test_an_empty_volume_is_refused_before_anything_starts(panel, pipeline):
    import slicer

    panel.ui.inputVolumeSelector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"))
    panel.ui.applyButton.click()
    assert not panel._run.running
    assert "empty" in panel.ui.statusLabel.text
    assert pipeline.calls == []


def test_the_chosen_segmentation_is_measured(panel, pipeline):
    import slicer

    panel.ui.inputVolumeSelector.setCurrentNode(_add_volume())
    panel.ui.inputSegmentationSelector.setCurrentNode(
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing drawn")
    )
    panel.ui.applyButton.click()
    assert "segment" in panel.ui.statusLabel.text
    assert pipeline.calls == []


@pytest.fixture
def demo(module, monkeypatch):
    """Replace the demo study, which takes a minute, by the small one; return when to go on after half of it."""
    import types

    import slicer
    from PySide6.QtWidgets import QApplication

    import StenosisDetectionLib.phantom as phantom

    def demo_study(report):
        report(0.5, "half")
        for _ in range(100):
            report(0.6, "more")
        return types.SimpleNamespace(volume=small_study().volume)

    monkeypatch.setattr(phantom, "demo_study", demo_study)
    monkeypatch.setattr(slicer.util, "mainWindow", lambda verbose=True: None)
    monkeypatch.setattr(slicer.app, "processEvents", QApplication.processEvents)
    return demo_study


def test_the_demo_study_is_computed_and_shown(module, demo):
    import slicer

    layers = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    node = add_demo_volume()
    assert slicer.util.arrayFromVolume(node).shape == small_study().volume.voxels.shape
    assert layers.GetBackgroundVolumeID() == node.GetID()


def test_the_demo_study_can_be_cancelled(module, demo, monkeypatch):
    import slicer

    create = slicer.util.createProgressDialog

    def cancelled_dialog(**options):
        dialog = create(**options)
        dialog.cancel()
        return dialog

    monkeypatch.setattr(slicer.util, "createProgressDialog", cancelled_dialog)
    import StenosisDetectionLib.phantom as phantom

    reached = []

    def endless(report):
        while True:
            report(0.5, "on")
            reached.append(1)

    monkeypatch.setattr(phantom, "demo_study", endless)
    assert add_demo_volume() is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_the_demo_study_is_offered_as_sample_data(module, monkeypatch):
    import sys
    import types

    offered = {}
    logic = types.SimpleNamespace(
        registerCustomSampleDataCategory=lambda category, title: offered.update(category=category),
        registerCustomSampleDataSource=lambda **source: offered.update(source),
    )
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    monkeypatch.setattr(sample_data, "add_demo_volume", lambda: "added")
    sample_data.register_sample_data()
    assert offered["category"] == "StenosisDetection"
    # The data source checks that its lists have one length; nothing is downloaded.
    assert offered["uris"] == offered["fileNames"] == offered["nodeNames"] == []
    assert offered["customDownloader"](None) == "added"


def test_every_widget_explains_itself():
    root = ElementTree.parse(UI).getroot()
    silent = {"StenosisDetection", "progressFrame"}
    for widget in root.iter("widget"):
        kind, name = widget.get("class"), widget.get("name")
        shown = {item.get("name") for item in widget.findall("property")}
        if name in silent or kind == "ctkCollapsibleButton" or (kind == "QLabel" and f"{name}"[:-5] in LABELED):
            continue
        assert "toolTip" in shown, name


LABELED = {"inputVolume", "inputSegmentation", "model", "device"}
"""Labels that only name the choice beside them, which has the tool tip."""


def test_the_ui_file_names_only_what_slicer_has(table):
    from slicer_stand_in.widgets import unknown_names

    assert list(unknown_names(ElementTree.parse(UI).getroot(), table)) == []


def test_parameters_of_the_ui_file_exist(module):
    root = ElementTree.parse(UI).getroot()
    bound = {item.findtext("string") for item in root.iter("property") if item.get("name") == "SlicerParameterName"}
    assert bound == {"inputVolume", "inputSegmentation"}
    assert bound <= set(module.StenosisDetectionParameterNode.__annotations__)


def test_the_application_has_every_name_the_module_uses(table):
    used = {
        node.attr
        for path in (MODULE, *(conftest.REPOSITORY / "StenosisDetectionLib" / "gui").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and ast.unparse(node.value) == "slicer.app"
    }
    assert used
    assert {name for name in used if not table.offers("qSlicerApplication", name)} == set()
    assert table.offers("qSlicerLayoutManager", "resetThreeDViews")


def test_the_stand_in_is_as_strict_as_pythonqt(table, module):
    """The harness itself: what is tried here must fail in it as it fails in Slicer."""
    import qt

    button = qt.QPushButton("text")
    assert button.text == "text"
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(AttributeError):
        button.setTitle("x")
    with pytest.raises(AttributeError):
        button.answer = 42
    assert button.connect("nosuch()", print) is False
    assert button.connect("clicked(bool)", print) is True
    with pytest.raises(AttributeError):
        qt.QNonsense
    item = qt.QTableWidgetItem()
    item.setData(qt.Qt.DisplayRole, 12.5)
    assert item.text() == "12.5"
