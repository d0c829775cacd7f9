"""The findings section: lesion and vessel tables, going to a lesion, decisions, and the result that a scene keeps."""

import dataclasses

import pytest
from panel_fixtures import add_volume, finish, needs_stand_in, picture, start, table_column
from scenes import read_into
from studies import small_study

from StenosisDetectionLib.gui import texts

pytestmark = needs_stand_in


def _jumps(widget, monkeypatch):
    jumps = []
    monkeypatch.setattr(widget.logic, "jumpTo", jumps.append)
    return jumps


def test_choosing_a_lesion_jumps_whatever_the_table_is_sorted_by(reviewed, monkeypatch):
    from PySide6.QtCore import Qt

    jumps = _jumps(reviewed, monkeypatch)
    positions = {lesion.diameter_stenosis_percent: lesion.position_ras for lesion in small_study().lesions}
    table = reviewed.ui.lesionTable
    for order in (Qt.AscendingOrder, Qt.DescendingOrder):
        table.sortByColumn(texts.STENOSIS_COLUMN, order)
        numbers = [float(text) for text in table_column(table, texts.STENOSIS_COLUMN)]
        assert numbers == sorted(numbers, reverse=order == Qt.DescendingOrder)
        for row, number in enumerate(numbers):
            table.clearSelection()
            jumps.clear()
            table.selectRow(row)
            nearest = min(positions, key=lambda percent: abs(percent - number))
            assert jumps[-1] == pytest.approx(positions[nearest])


def test_jump_follows_a_transform_of_the_volume(reviewed, monkeypatch):
    import slicer
    import vtk

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    reviewed.ui.inputVolumeSelector.currentNode().SetAndObserveTransformNodeID(transform.GetID())
    jumps = _jumps(reviewed, monkeypatch)
    reviewed.ui.lesionTable.clearSelection()
    reviewed.ui.lesionTable.selectRow(0)
    x, y, z = small_study().lesions[0].position_ras
    assert jumps[0] == pytest.approx((x + 100.0, y, z))


def test_sorting_by_number_is_not_sorting_by_text(widget, pipeline):
    from PySide6.QtCore import Qt

    study = small_study()
    lesions = tuple(
        dataclasses.replace(study.lesions[0], id=f"L{n}", length_mm=float(n)) for n in (9.0, 10.0, 2.5, 100.0)
    )
    pipeline.study = dataclasses.replace(study, lesions=lesions)
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    widget.ui.lesionTable.sortByColumn(7, Qt.AscendingOrder)
    assert [float(text) for text in table_column(widget.ui.lesionTable, 7)] == [2.5, 9.0, 10.0, 100.0]


def test_the_vessel_table_sums_up(reviewed):
    table = reviewed.ui.vesselTable
    assert sorted(table_column(table, 0)) == ["LAD", "LM", "RCA"]
    row = table_column(table, 0).index("LAD")
    assert table.item(row, 2).text() == "1"
    assert float(table.item(row, 3).text()) == pytest.approx(small_study().lesions[0].diameter_stenosis_percent, abs=1)


def test_decisions_count_and_stand_in_the_table(reviewed):
    ui = reviewed.ui
    ui.lesionTable.clearSelection()
    assert not ui.acceptButton.enabled
    ui.lesionTable.selectRow(0)
    assert ui.acceptButton.enabled
    ui.rejectButton.click()
    assert table_column(ui.lesionTable, texts.REVIEW_COLUMN) == ["✗", "open"]
    assert ui.rejectButton.checked
    assert not ui.acceptButton.checked
    # Without the moderate lesion the mild one makes the category.
    assert "CAD-RADS 3" not in ui.cadRadsLabel.text
    assert "unreviewed" in ui.cadRadsLabel.text
    ui.acceptButton.click()
    assert table_column(ui.lesionTable, texts.REVIEW_COLUMN) == ["✓", "open"]
    assert not ui.rejectButton.checked
    ui.acceptButton.click()
    assert table_column(ui.lesionTable, texts.REVIEW_COLUMN) == ["open", "open"]
    ui.commentEdit.text = "looks like an artefact"
    ui.commentEdit._target.editingFinished.emit()
    assert table_column(ui.lesionTable, 10) == ["looks like an artefact", ""]
    events = reviewed.panel.session.review.events
    assert [event.action for event in events] == ["rejected", "accepted", "left open", "commented on"]
    ui.rejectButton.click()
    picture(reviewed, "findings")


def test_a_rejected_lesion_disappears_from_the_views_and_tables(reviewed):
    import slicer

    from StenosisDetectionLib.scene.nodes import find_by_role

    volume_node = reviewed.ui.inputVolumeSelector.currentNode()
    (markers,) = find_by_role(slicer.mrmlScene, volume_node, "lesions")
    (table,) = find_by_role(slicer.mrmlScene, volume_node, "lesion_table")
    reviewed.ui.lesionTable.selectRow(0)
    reviewed.ui.rejectButton.click()
    assert [bool(markers.GetNthControlPointVisibility(index)) for index in range(2)] == [False, True]
    assert table.GetNumberOfRows() == 1


def test_two_volumes_keep_their_results_apart(reviewed, pipeline):
    ui = reviewed.ui
    first = ui.inputVolumeSelector.currentNode()
    ui.lesionTable.selectRow(0)
    ui.rejectButton.click()
    second = add_volume("Second", seed=2)
    ui.inputVolumeSelector.setCurrentNode(second)
    assert ui.lesionTable.rowCount == 0
    assert "No result" in ui.cadRadsLabel.text
    study = small_study()
    pipeline.study = dataclasses.replace(study, lesions=study.lesions[1:])
    ui.applyButton.click()
    finish(reviewed, pipeline)
    assert ui.lesionTable.rowCount == 1
    ui.inputVolumeSelector.setCurrentNode(first)
    assert table_column(ui.lesionTable, texts.REVIEW_COLUMN) == ["✗", "open"]
    ui.inputVolumeSelector.setCurrentNode(second)
    assert table_column(ui.lesionTable, texts.REVIEW_COLUMN) == ["open"]


def test_a_saved_scene_restores_the_review(reviewed, tmp_path):
    import slicer

    ui = reviewed.ui
    ui.lesionTable.selectRow(1)
    ui.acceptButton.click()
    before = [table_column(ui.lesionTable, column) for column in range(11)]
    category = ui.cadRadsLabel.text
    path = tmp_path / "review.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear(0)
    assert ui.lesionTable.rowCount == 0
    read_into(slicer.mrmlScene, path, tmp_path)
    assert [table_column(ui.lesionTable, column) for column in range(11)] == before
    assert ui.cadRadsLabel.text == category
    assert [event.action for event in reviewed.panel.session.review.events] == ["accepted"]


def test_the_panel_forgets_the_study_when_the_scene_is_closed(reviewed, pipeline):
    import gc
    import weakref

    import slicer

    voxels = weakref.ref(reviewed.panel.session.found.volume.voxels)
    pipeline.calls.clear()
    slicer.mrmlScene.Clear(0)
    gc.collect()
    assert voxels() is None
    assert reviewed.ui.lesionTable.rowCount == 0


def test_the_best_volume_is_suggested(widget):
    import numpy as np
    import slicer
    from PySide6.QtWidgets import QApplication

    shape = (120, 40, 40)
    plain = slicer.util.addVolumeFromArray(np.zeros(shape, np.int16), nodeClassName="vtkMRMLScalarVolumeNode")
    plain.SetName("3: Calcium score")
    QApplication.processEvents()
    assert widget._parameterNode.inputVolume is None  # a plain scan is no angiography, even where it is alone
    widget.ui.inputVolumeSelector.setCurrentNode(plain)
    cta = slicer.util.addVolumeFromArray(np.zeros(shape, np.int16))
    cta.SetName("5: Coronary CTA 75 %")
    QApplication.processEvents()
    assert widget._parameterNode.inputVolume is plain  # what is chosen stays chosen
    assert widget.ui.suggestionFrame.visible
    assert "Coronary CTA" in widget.ui.suggestionLabel.text
    widget.ui.useSuggestionButton.click()
    assert widget._parameterNode.inputVolume is cta
    assert not widget.ui.suggestionFrame.visible


def test_a_region_limits_the_search(widget, pipeline):
    import slicer

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    region.SetXYZ(0, 10, 20)
    region.SetRadiusXYZ(5, 6, 7)
    widget.ui.inputRegionSelector.setCurrentNode(region)
    start(widget, pipeline)
    finish(widget, pipeline)
    assert pipeline.calls[0][2].roi == pytest.approx((-5, 5, 4, 16, 13, 27))


def test_a_new_region_begins_in_the_middle_of_the_volume(widget):
    import slicer

    volume_node = add_volume()
    widget.ui.inputVolumeSelector.setCurrentNode(volume_node)
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    widget.ui.inputRegionSelector.setCurrentNode(region)
    box, whole = [0.0] * 6, [0.0] * 6
    region.GetRASBounds(box)
    volume_node.GetRASBounds(whole)
    for axis in range(3):
        middle = (whole[2 * axis] + whole[2 * axis + 1]) / 2
        assert whole[2 * axis] < box[2 * axis] < middle < box[2 * axis + 1] < whole[2 * axis + 1]


def test_the_choices_reach_the_options_and_the_scene(widget, pipeline):
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    widget.ui.precisionComboBox.currentIndex = widget.ui.precisionComboBox.findText("bf16")
    widget.ui.minimumDiameterSpinBox.value = 2.0
    start(widget, pipeline)
    finish(widget, pipeline)
    options = pipeline.calls[0][2]
    assert (options.precision, options.minimum_reference_diameter_mm) == ("bf16", 2.0)
    assert widget._parameterNode.parameterNode.GetParameter("precision") == "bf16"


def test_curves_are_colored_by_stenosis_on_request(reviewed):
    import slicer

    curve = slicer.util.getNode("LAD")
    assert not curve.GetDisplayNode().GetScalarVisibility()
    reviewed.ui.colorCurvesCheckBox.checked = True
    assert curve.GetDisplayNode().GetScalarVisibility()


def test_a_step_writes_only_the_rows_it_changed_however_they_are_sorted(reviewed, monkeypatch):
    import qt

    from StenosisDetectionLib.gui.tables import FilledTable
    from StenosisDetectionLib.gui.texts import lesion_rows

    panel, table = reviewed.panel, reviewed.ui.lesionTable
    written = []
    write = FilledTable._write
    monkeypatch.setattr(
        FilledTable, "_write", lambda self, index, row: (written.append(row[0]), write(self, index, row))
    )
    table.sortByColumn(0, qt.Qt.DescendingOrder)
    for number, lesion in enumerate(panel.session.study.lesions):
        panel.findings.choose(lesion.id)
        reviewed.ui.acceptButton.click()
        assert written.count(lesion.id) == 1
        assert set(written) <= {lesion.id, *(vessel.name for vessel in panel.session.study.tree.vessels)}
        written.clear()
        assert panel.findings.chosen == lesion.id
        rows = {row.lesion_id: row for row in lesion_rows(panel.session.study, panel.session.review)}
        names = [table.item(row, 0).data(qt.Qt.UserRole) for row in range(table.rowCount)]
        assert sorted(names) == sorted(rows)
        for index, name in enumerate(names):
            shown = [table.item(index, column).data(qt.Qt.DisplayRole) for column in range(len(rows[name].cells))]
            assert shown == ["" if cell is None else cell for cell in rows[name].cells]
        segments = [table.item(row, 0).text() for row in range(table.rowCount)]
        assert segments == sorted(segments, reverse=True), number
    panel.findings.refresh()
    assert written == []
