"""Corrections in the panel: markers, added lesions, names, courses, segmentation, undo; and signing and reporting."""

import dataclasses
import threading

import numpy as np
import pytest
from panel_fixtures import needs_stand_in, picture, process_events_until, table_column
from scenes import read_bundle
from studies import small_study

from StenosisDetectionLib.gui import texts

pytestmark = needs_stand_in


def _choose(widget, lesion_id="L1"):
    """What a click on a row does, wherever sorting has put it."""
    widget.panel.findings.choose(lesion_id)
    widget.panel.go_to_lesion(lesion_id)


def _lesion(widget, lesion_id="L1"):
    return widget.panel.session.lesion(lesion_id)


def _actions(widget):
    return [event.action for event in widget.panel.session.review.events]


def _node(role):
    import slicer

    from StenosisDetectionLib.scene.browse_nodes import find

    return find(slicer.mrmlScene, role)


def test_numbers_move_the_markers_and_the_stenosis(reviewed):
    ui = reviewed.ui
    ui.lesionTable.clearSelection()
    assert not ui.throatSpinBox.enabled
    _choose(reviewed)
    assert ui.throatSpinBox.enabled
    before = _lesion(reviewed)
    ui.throatSpinBox.value = before.throat_mm - 1.0
    after = _lesion(reviewed)
    assert after.throat_mm == pytest.approx(before.throat_mm - 1.0)
    assert after.diameter_stenosis_percent < before.diameter_stenosis_percent - 5.0
    assert "edited" in after.flags
    row = table_column(ui.lesionTable, texts.STENOSIS_COLUMN)
    assert f"{after.diameter_stenosis_percent:.0f}" in [text.removesuffix(".0") for text in row]
    assert "✓ edited" in table_column(ui.lesionTable, texts.REVIEW_COLUMN)
    event = reviewed.panel.session.review.events[-1]
    assert event.action == "measured again"
    assert event.before.startswith(f"{before.diameter_stenosis_percent:.0f} %")
    decisions = reviewed.panel.session.counted.reviews
    assert [(d.lesion_id, d.decision) for d in decisions] == [("L1", "edited")]
    assert decisions[0].before.throat_mm == before.throat_mm


def test_a_marker_out_of_order_is_refused_in_one_line(reviewed):
    _choose(reviewed)
    before = _lesion(reviewed)
    reviewed.ui.proximalSpinBox.value = before.end_mm + 1.0
    assert "start before its throat" in reviewed.ui.statusLabel.text
    assert _lesion(reviewed) == before
    assert _actions(reviewed) == []


def test_reference_markers_need_two(reviewed):
    ui = reviewed.ui
    _choose(reviewed)
    ui.referenceProximalSpinBox.value = 1.0
    assert _actions(reviewed) == []
    ui.referenceDistalSpinBox.value = 14.0
    assert _actions(reviewed) == ["measured again"]


def test_dragged_markers_show_what_they_measure_and_count_when_let_go(reviewed):
    ui = reviewed.ui
    _choose(reviewed)
    ui.markersButton.checked = True
    node = _node("lesion markers")
    assert [node.GetNthControlPointLabel(n) for n in range(3)] == ["proximal", "throat", "distal"]
    before = _lesion(reviewed)
    vessel = small_study().tree.vessel("LAD")
    target = vessel.points_ras[vessel.distance_mm == before.throat_mm - 1.0][0]
    node.SetNthControlPointPosition(1, *(target + np.array([0.0, 0.3, 0.0])))  # beside the vessel, as a hand does it
    assert "→" in ui.chosenLesionLabel.text
    assert _lesion(reviewed) == before  # not yet
    node.InvokeEvent(node.PointEndInteractionEvent)
    after = _lesion(reviewed)
    assert after.throat_mm == pytest.approx(before.throat_mm - 1.0, abs=0.51)
    assert np.allclose(node.GetNthControlPointPosition(1), vessel.points_ras[vessel.distance_mm == after.throat_mm][0])
    assert _actions(reviewed) == ["measured again"]
    ui.markersButton.checked = False
    assert _node("lesion markers") is None


def test_a_lesion_can_be_added_where_one_looks(reviewed):
    ui = reviewed.ui
    ui.vesselComboBox.currentIndex = ui.vesselComboBox.findText("RCA")
    ui.positionSlider.value = 3.0
    ui.addLesionButton.click()
    added = _lesion(reviewed, "A1")
    assert added.vessel == "RCA"
    assert added.throat_mm == pytest.approx(3.0)
    assert ui.lesionTable.rowCount == 3
    assert reviewed.panel.findings.chosen == "A1"
    ui.rejectButton.click()
    assert {lesion.id for lesion in reviewed.panel.session.counted.lesions} == {"L1", "L2"}


def test_every_step_can_be_taken_back_and_stays_on_record(reviewed):
    ui = reviewed.ui
    assert not ui.undoButton.enabled
    _choose(reviewed)
    before = _lesion(reviewed)
    ui.throatSpinBox.value = before.throat_mm - 1.0
    ui.rejectButton.click()
    assert "rejected L1" in ui.undoButton.text
    ui.undoButton.click()
    assert "✓ edited" in table_column(ui.lesionTable, texts.REVIEW_COLUMN)
    ui.undoButton.click()
    assert _lesion(reviewed) == before
    assert not ui.undoButton.enabled
    assert _actions(reviewed) == ["measured again", "rejected", "took back", "took back"]


def test_a_renamed_vessel_is_renamed_everywhere(reviewed):
    import slicer

    from StenosisDetectionLib.scene.nodes import find_by_role

    ui = reviewed.ui
    volume_node = ui.inputVolumeSelector.currentNode()
    (segmentation,) = find_by_role(slicer.mrmlScene, volume_node, "segmentation")
    ui.vesselComboBox.currentIndex = ui.vesselComboBox.findText("RCA")
    ui.newNameComboBox.setEditText("LCX")
    ui.renameButton.click()
    session = reviewed.panel.session
    assert [vessel.name for vessel in session.study.tree.vessels] == ["LM", "LAD", "LCX"]
    assert {curve.GetName() for curve in find_by_role(slicer.mrmlScene, volume_node, "curves")} == {"LM", "LAD", "LCX"}
    names = [segmentation.GetSegmentation().GetNthSegment(n).GetName() for n in range(5)]
    assert "LCX" in names
    assert "RCA" not in names
    assert find_by_role(slicer.mrmlScene, volume_node, "segmentation") == [segmentation]  # not made anew
    assert "LCX" in [ui.vesselComboBox.itemText(n) for n in range(ui.vesselComboBox.count)]
    ui.undoButton.click()
    assert [vessel.name for vessel in session.study.tree.vessels] == ["LM", "LAD", "RCA"]
    names = [segmentation.GetSegmentation().GetNthSegment(n).GetName() for n in range(5)]
    assert "RCA" in names


def test_a_name_that_cannot_be_one_is_refused(reviewed):
    reviewed.ui.newNameComboBox.setEditText("not a name!")
    reviewed.ui.renameButton.click()
    assert "cannot name a vessel" in reviewed.ui.statusLabel.text


def test_a_corrected_course_is_measured(reviewed, monkeypatch):
    import slicer

    import StenosisDetectionLib.editing as editing
    from StenosisDetectionLib.scene.nodes import find_by_role

    given = []

    def replace_branch(study, name, points, _report):
        """The engine has its own tests; here the course must reach it and its result the scene."""
        given.append((name, points))
        return dataclasses.replace(study, lesions=tuple(one for one in study.lesions if one.vessel != name))

    monkeypatch.setattr(editing, "replace_branch", replace_branch)
    ui = reviewed.ui
    _choose(reviewed)
    ui.vesselComboBox.currentIndex = ui.vesselComboBox.findText("LAD")
    assert not ui.measureCurveButton.enabled
    ui.editCurveButton.checked = True
    curve = _node("course")
    vessel = small_study().tree.vessel("LAD")
    assert curve.GetNumberOfControlPoints() == round(vessel.length_mm / 5.0) + 1
    curve.SetNthControlPointPosition(1, 1.0, 2.0, 3.0)
    ui.measureCurveButton.click()
    process_events_until(lambda: not reviewed.panel.run.running)
    name, points = given[0]
    assert name == "LAD"
    assert points[1] == pytest.approx((1.0, 2.0, 3.0))
    assert points[0] == pytest.approx(vessel.points_ras[0])
    assert _node("course") is None
    assert table_column(ui.lesionTable, 0) == ["pRCA (1)"]
    volume_node = ui.inputVolumeSelector.currentNode()
    assert find_by_role(slicer.mrmlScene, volume_node, "lesions")[0].GetNumberOfControlPoints() == 1
    assert _actions(reviewed) == ["corrected the course of"]


def test_the_segmentation_is_edited_and_measured_again(reviewed, pipeline, monkeypatch):
    import slicer

    import StenosisDetectionLib.editing as editing
    from StenosisDetectionLib.gui import measuring
    from StenosisDetectionLib.scene.nodes import find_by_role

    opened, given = [], []

    def replace_segmentation(study, segmentation, report):
        """The engine has its own tests; here what was drawn must reach it, and its result the scene."""
        report(0.5, "")
        given.append((study, segmentation))
        labels = dataclasses.replace(study.labels, labels=study.labels.labels.copy())
        kept = tuple(lesion for lesion in study.lesions if lesion.id == "L2")
        return dataclasses.replace(study, segmentation=segmentation, labels=labels, lesions=kept)

    monkeypatch.setattr(measuring, "open_in_segment_editor", lambda *nodes: opened.append(nodes))
    monkeypatch.setattr(editing, "replace_segmentation", replace_segmentation)
    ui, session = reviewed.ui, reviewed.panel.session
    _choose(reviewed, "L2")
    ui.acceptButton.click()
    volume_node = ui.inputVolumeSelector.currentNode()
    (segmentation,) = find_by_role(slicer.mrmlScene, volume_node, "segmentation")
    ui.editSegmentationButton.click()
    assert opened == [(segmentation, volume_node)]
    assert ui.inputSegmentationSelector.currentNode() is None  # Apply still searches the arteries
    (name,) = (n for n in segmentation.GetSegmentation().GetSegmentIDs() if n == "RCA")
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, volume_node)
    erased = drawn.copy()
    erased[erased.nonzero()[0].min() :][:3] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(erased, segmentation, name, volume_node)
    ui.measureAgainButton.click()
    process_events_until(lambda: not reviewed.panel.run.running)
    assert ui.statusLabel.text == "Measured again."
    assert len(pipeline.calls) == 1  # the whole analysis was not run again
    before, corrected = given[0]
    assert corrected.lumen.sum() == before.segmentation.lumen.sum() - (drawn.sum() - erased.sum())
    assert slicer.mrmlScene.IsNodePresent(segmentation)
    assert segmentation.GetName() == "Corrected segmentation"
    (now,) = find_by_role(slicer.mrmlScene, volume_node, "segmentation")
    assert now is not segmentation
    assert _actions(reviewed) == ["accepted", "measured again"]
    assert [lesion.id for lesion in session.study.lesions] == ["L2"]
    assert table_column(ui.lesionTable, texts.REVIEW_COLUMN) == ["✓"]  # its vessel is as before
    ui.undoButton.click()
    assert [lesion.id for lesion in session.study.lesions] == ["L1", "L2"]
    assert session.found.segmentation is before.segmentation


def test_segment_editor_is_opened_with_both_nodes(panel_module, monkeypatch):
    import types

    import slicer

    from StenosisDetectionLib.gui.navigation import open_in_segment_editor

    seen = {}
    editor = types.SimpleNamespace(
        setSegmentationNode=lambda node: seen.update(segmentation=node),
        setSourceVolumeNode=lambda node: seen.update(volume=node),
    )
    module = types.SimpleNamespace(self=lambda: types.SimpleNamespace(editor=editor))
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: seen.update(module=name))
    slicer.modules.segmenteditor = types.SimpleNamespace(widgetRepresentation=lambda: module)
    open_in_segment_editor("S", "V")
    assert seen == {"module": "SegmentEditor", "segmentation": "S", "volume": "V"}


def test_signing_needs_a_name_and_ends_with_the_next_change(reviewed):
    ui = reviewed.ui
    ui.signButton.click()
    assert "name" in ui.statusLabel.text
    assert "unreviewed" in ui.cadRadsLabel.text
    ui.readerEdit.text = "A. Reader"
    ui.readerEdit._target.editingFinished.emit()
    ui.signButton.click()
    assert "reviewed by A. Reader" in ui.cadRadsLabel.text
    assert ui.reviewLabel.text.startswith("Signed by A. Reader")
    _choose(reviewed)
    ui.rejectButton.click()
    assert "unreviewed" in ui.cadRadsLabel.text
    assert "A. Reader" in ui.historyText.plainText.splitlines()[0]
    for section in ("correctCollapsibleButton", "reviewCollapsibleButton", "vesselsCollapsibleButton"):
        getattr(ui, section).collapsed = False
    picture(reviewed, "review")


def test_the_report_opens_as_it_is_now(reviewed, monkeypatch, tmp_path):
    import qt
    import slicer

    opened = []
    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path), raising=False)
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()), raising=False)
    _choose(reviewed)
    reviewed.ui.rejectButton.click()
    reviewed.ui.openReportButton.click()
    process_events_until(lambda: not reviewed.panel.run.running)
    assert "opened" in reviewed.ui.statusLabel.text, reviewed.ui.statusLabel.text
    text = (tmp_path / "StenosisDetection" / "case-1.html").read_text(encoding="utf-8")
    assert "<html" in text
    assert not list(tmp_path.rglob("*.partial"))


def test_results_are_exported_to_a_folder(reviewed, monkeypatch, tmp_path):
    import qt
    import slicer

    from StenosisDetectionLib.scene import writing

    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path), raising=False)
    main, touched = threading.main_thread(), []
    build = writing.build_scene
    monkeypatch.setattr(
        writing,
        "build_scene",
        lambda *given, **record: (touched.append(threading.current_thread() is main), build(*given, **record))[1],
    )
    reviewed.ui.exportButton.click()
    assert reviewed.panel.run.running
    assert not reviewed.ui.exportButton.enabled
    assert reviewed.ui.cancelButton.enabled
    process_events_until(lambda: not reviewed.panel.run.running)
    assert "written" in reviewed.ui.statusLabel.text, reviewed.ui.statusLabel.text
    assert touched == [True]  # MRML belongs to the main thread
    assert (tmp_path / "case-1" / "report.json").is_file()
    assert read_bundle(tmp_path / "case-1" / "scene.mrb", tmp_path).GetNumberOfNodesByClass("vtkMRMLMarkupsCurveNode")
    reviewed.ui.exportButton.click()
    process_events_until(lambda: not reviewed.panel.run.running)
    assert "exists" in reviewed.ui.statusLabel.text
    assert reviewed.ui.logButton.visible


@pytest.mark.parametrize("stop", ["cancel", "close scene", "leave"])
def test_a_stopped_export_leaves_nothing(reviewed, monkeypatch, tmp_path, stop):
    import qt
    import slicer

    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path), raising=False)
    reviewed.ui.exportButton.click()
    if stop == "cancel":
        reviewed.ui.cancelButton.click()
        process_events_until(lambda: not reviewed.panel.run.running)
    elif stop == "leave":
        reviewed.exit()
    else:
        slicer.mrmlScene.Clear(0)
    assert not reviewed.panel.run.running
    assert reviewed.ui.statusLabel.text == "Cancelled: nothing was written."
    assert list(tmp_path.iterdir()) == []
