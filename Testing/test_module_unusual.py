"""The panel when things happen in an unusual order: nodes and results deleted under it, work that ends too late."""

import dataclasses
import threading

import pytest
from panel_fixtures import add_volume, finish, needs_stand_in, process_events_until, start, table_column
from studies import small_study

from StenosisDetectionLib.gui import texts

pytestmark = needs_stand_in


def _choose(widget, lesion_id="L1"):
    widget.panel.findings.choose(lesion_id)
    widget.panel.go_to_lesion(lesion_id)


def _find(role):
    import slicer

    from StenosisDetectionLib.scene.browse_nodes import find

    return find(slicer.mrmlScene, role)


def _results(widget):
    import slicer

    from StenosisDetectionLib.scene.nodes import find_result_nodes

    return find_result_nodes(slicer.mrmlScene, widget.panel.session.volume_node)


def _by_role(widget, role):
    import slicer

    from StenosisDetectionLib.scene.nodes import find_by_role

    return find_by_role(slicer.mrmlScene, widget.panel.session.volume_node, role)


class Course:
    """A measurement of a new course that waits until it is told to go on."""

    def __init__(self, monkeypatch):
        import StenosisDetectionLib.editing as editing

        self.begun, self.go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(editing, "replace_branch", self._replace_branch)

    def _replace_branch(self, study, _name, _points, report):
        self.begun.set()
        self.go_on.wait(20)
        report(0.9, "")
        return dataclasses.replace(study)

    def begin(self, widget):
        widget.ui.vesselComboBox.currentIndex = widget.ui.vesselComboBox.findText("LAD")
        widget.ui.editCurveButton.checked = True
        widget.ui.measureCurveButton.click()
        assert self.begun.wait(20)

    def end(self, widget):
        self.go_on.set()
        process_events_until(lambda: not widget.panel.run.running)


def test_deleting_the_volume_of_a_shown_result_empties_the_panel(looking):
    import slicer

    _choose(looking)
    looking.ui.markersButton.checked = True
    slicer.mrmlScene.RemoveNode(looking.panel.session.volume_node)
    assert looking.panel.session.study is None
    assert looking.ui.lesionTable.rowCount == 0
    assert not looking.ui.signButton.enabled
    assert not looking.ui.applyButton.enabled
    assert _find("lesion markers") is None
    assert _find("reformation") is None


def test_deleting_the_volume_while_a_course_is_measured_drops_the_course(reviewed, monkeypatch):
    import slicer

    course = Course(monkeypatch)
    course.begin(reviewed)
    slicer.mrmlScene.RemoveNode(reviewed.panel.session.volume_node)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    course.end(reviewed)
    assert "removed" in reviewed.ui.statusLabel.text
    assert reviewed.panel.session.study is None
    assert reviewed.ui.lesionTable.rowCount == 0
    assert slicer.mrmlScene.GetNumberOfNodes() <= nodes


def test_another_volume_chosen_by_a_script_while_a_course_is_measured(reviewed, monkeypatch):
    """The widgets are locked, a script is not: the result belongs to the volume it was measured on."""
    course = Course(monkeypatch)
    course.begin(reviewed)
    first, second = reviewed.panel.session.volume_node, add_volume("other", seed=2)
    reviewed.panel.parameters.inputVolume = second
    course.end(reviewed)
    assert reviewed.panel.session.volume_node is second or reviewed.panel.session.study is None
    assert reviewed.ui.lesionTable.rowCount == 0
    reviewed.panel.parameters.inputVolume = first
    assert [event.action for event in reviewed.panel.session.review.events] == ["corrected the course of"]


def test_a_decision_while_a_course_is_measured_stands(reviewed, monkeypatch):
    course = Course(monkeypatch)
    course.begin(reviewed)
    _choose(reviewed, "L2")
    reviewed.ui.rejectButton.click()
    course.end(reviewed)
    assert reviewed.panel.session.review.rejected == {"L2"}
    assert reviewed.panel.findings.chosen == "L2"


def test_closing_the_scene_after_renaming_while_a_course_is_measured(reviewed, monkeypatch):
    import slicer

    reviewed.ui.vesselComboBox.currentIndex = reviewed.ui.vesselComboBox.findText("RCA")
    reviewed.ui.newNameComboBox.setEditText("RV1")
    reviewed.ui.renameButton.click()
    assert "RV1" in [vessel.name for vessel in reviewed.panel.session.study.tree.vessels]
    course = Course(monkeypatch)
    course.begin(reviewed)
    threading.Timer(0.05, course.go_on.set).start()
    slicer.mrmlScene.Clear(0)
    assert not reviewed.panel.run.running
    assert reviewed.panel.session.study is None
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert not reviewed.ui.undoButton.enabled


@pytest.mark.parametrize("button", ["editSegmentationButton", "measureAgainButton"])
def test_a_deleted_segmentation_is_told_with_what_to_do(reviewed, button):
    import slicer

    (segmentation,) = _by_role(reviewed, "segmentation")
    slicer.mrmlScene.RemoveNode(segmentation)
    getattr(reviewed.ui, button).click()
    assert "press Apply" in reviewed.ui.statusLabel.text
    assert reviewed.ui.logButton.visible
    assert not reviewed.panel.run.running


def test_a_segmentation_edited_to_nothing_is_refused_and_the_result_stays(reviewed):
    import numpy as np
    import slicer

    volume_node = reviewed.panel.session.volume_node
    (segmentation,) = _by_role(reviewed, "segmentation")
    for name in segmentation.GetSegmentation().GetSegmentIDs():
        drawn = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, volume_node)
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros_like(drawn), segmentation, name, volume_node)
    before = _results(reviewed)
    reviewed.ui.measureAgainButton.click()
    process_events_until(lambda: not reviewed.panel.run.running)
    assert "empty" in reviewed.ui.statusLabel.text or "no coronary lumen" in reviewed.ui.statusLabel.text
    assert _results(reviewed) == before
    assert reviewed.ui.lesionTable.rowCount == 2


def test_a_deleted_curve_comes_back_with_the_next_change_of_the_tree(reviewed):
    import slicer

    curves = _by_role(reviewed, "curves")
    slicer.mrmlScene.RemoveNode(curves[0])
    _choose(reviewed)
    reviewed.ui.colorCurvesCheckBox.checked = True
    reviewed.ui.vesselComboBox.currentIndex = reviewed.ui.vesselComboBox.findText("RCA")
    reviewed.ui.newNameComboBox.setEditText("RV1")
    reviewed.ui.renameButton.click()
    assert len(_by_role(reviewed, "curves")) == len(curves)
    reviewed.ui.undoButton.click()
    assert len(_by_role(reviewed, "curves")) == len(curves)
    assert reviewed.ui.vesselComboBox.findText("RCA") >= 0


def test_a_review_after_the_results_were_deleted_is_saved_with_them(reviewed):
    """Whoever deletes the folder of results and goes on reviewing would otherwise save a review of nothing."""
    import slicer

    for node in _results(reviewed):
        slicer.mrmlScene.RemoveNode(node)
    _choose(reviewed, "L2")
    reviewed.ui.rejectButton.click()
    volume_node = reviewed.panel.session.volume_node
    assert {"record", "review", "segmentation", "curves"} <= {
        node.GetAttribute("StenosisDetection.role") for node in _results(reviewed)
    }
    reviewed.panel.session.close()
    reviewed.panel.session.open(volume_node)
    assert reviewed.panel.session.review.rejected == {"L2"}


def test_leaving_between_the_steps_of_showing_a_result_shows_it_on_return(reviewed, pipeline):
    """The second result of a volume must not be mixed with the table of the first."""
    pipeline.study = dataclasses.replace(small_study(), lesions=small_study().lesions[:1])
    pipeline.half.clear()
    pipeline.go_on.clear()
    start(reviewed, pipeline)
    pipeline.go_on.set()
    process_events_until(lambda: reviewed.panel.run._showing is not None)
    next(reviewed.panel.run._showing)  # the nodes are in the scene
    reviewed.exit()
    assert not reviewed.panel.run.running
    reviewed.enter()
    assert len(table_column(reviewed.ui.lesionTable, 0)) == 1
    assert len(reviewed.panel.session.study.lesions) == 1


def test_a_marker_cannot_be_deleted(reviewed):
    """Slicer's menu of a point has Delete: without its throat a lesion could not be measured."""
    _choose(reviewed)
    reviewed.ui.markersButton.checked = True
    node = _find("lesion markers")
    assert node.GetFixedNumberOfControlPoints()
    node.RemoveNthControlPoint(1)
    assert node.GetNumberOfControlPoints() == 3


def test_a_course_of_too_few_points_is_refused_in_one_line(reviewed):
    reviewed.ui.vesselComboBox.currentIndex = reviewed.ui.vesselComboBox.findText("LAD")
    reviewed.ui.editCurveButton.checked = True
    node = _find("course")
    while node.GetNumberOfControlPoints() > 1:
        node.RemoveNthControlPoint(0)
    reviewed.ui.measureCurveButton.click()
    process_events_until(lambda: not reviewed.panel.run.running)
    assert reviewed.ui.statusLabel.text
    assert not reviewed.ui.detailsButton.visible, reviewed.ui.statusLabel.text
    assert reviewed.panel.session.review.events == ()


def test_a_lesion_can_be_looked_at_while_its_volume_is_analyzed_again(reviewed, pipeline):
    pipeline.half.clear()
    pipeline.go_on.clear()
    start(reviewed, pipeline)
    _choose(reviewed, "L2")
    reviewed.ui.markersButton.checked = True
    reviewed.ui.throatSpinBox.value += 0.5
    assert "Wait" in reviewed.ui.statusLabel.text
    finish(reviewed, pipeline)
    assert table_column(reviewed.ui.lesionTable, texts.REVIEW_COLUMN) == ["open", "open"]


def test_undo_is_empty_after_a_scene_was_loaded_again(reviewed, tmp_path):
    import slicer
    from scenes import read_into

    _choose(reviewed)
    reviewed.ui.acceptButton.click()
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear(0)
    read_into(slicer.mrmlScene, path, tmp_path)
    assert reviewed.panel.session.review.opinion("L1").state == "accepted"
    assert not reviewed.ui.undoButton.enabled
    reviewed.panel.session.undo()
    assert reviewed.panel.session.review.opinion("L1").state == "accepted"
    reviewed.panel.findings.choose("L1")
    reviewed.ui.rejectButton.enabled and reviewed.ui.rejectButton.click()
    reviewed.ui.undoButton.click()
    assert reviewed.panel.session.review.opinion("L1").state == "accepted"
