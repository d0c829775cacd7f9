"""The straightened and the curved view of a vessel in the panel."""

import numpy as np
import pytest
import vtk
from browse_helpers import browse_node, vessel_of, view_matrix
from panel_fixtures import add_volume, finish, needs_stand_in, process_events_until, start
from studies import small_study

from StenosisDetectionLib.scene.browse_nodes import REFORMATION_ORIGIN

pytestmark = needs_stand_in


def test_the_straightened_view_shows_the_vessel_where_its_edges_are(looking):
    import slicer

    node = browse_node("reformation")
    voxels = slicer.util.arrayFromVolume(node)
    path = vessel_of()
    assert voxels.shape[0] == len(path.vessel.points_ras)
    # Along the axis lies blood, 3 mm beside it does not.
    middle = voxels.shape[1] // 2
    inner = slice(8, -8)
    assert np.median(voxels[inner, middle, middle]) > 300
    assert np.median(voxels[inner, middle, middle + 12]) < 150
    edges = browse_node("reformation edges").GetPolyData()
    points = np.array([edges.GetPoint(index) for index in range(edges.GetNumberOfPoints())]) - REFORMATION_ORIGIN
    radius = np.interp(-points[:, 2], path.vessel.distance_mm, path.profile.diameter_mm / 2.0)
    assert np.allclose(np.abs(points[:, 0]), radius, atol=1e-6)
    assert np.allclose(points[:, 1], 0.0)


def test_the_curved_view_shows_the_vessel_where_its_marks_are(looking):
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    lesion = small_study().lesions[0]
    looking.panel.go_to_lesion(lesion.id)
    looking.ui.curvedCheckBox.checked = True
    assert looking._parameterNode.curved is True
    path = vessel_of()
    for rotation in (0.0, 60.0):
        looking.ui.rotationSlider.value = rotation
        node = browse_node("reformation")
        voxels = slicer.util.arrayFromVolume(node)
        assert voxels.shape[1] == 1
        to_ijk = vtk.vtkMatrix4x4()
        node.GetRASToIJKMatrix(to_ijk)

        def value_at(point, to_ijk=to_ijk, voxels=voxels):
            i, _, k = np.round(to_ijk.MultiplyPoint((*point, 1.0))[:3]).astype(int)
            return voxels[k, 0, i]

        place = browse_node("reformation place").GetPolyData()
        ends = np.array([place.GetPoint(0), place.GetPoint(1)])
        assert value_at(ends.mean(axis=0)) > 300  # blood at the throat
        assert REFORMATION_ORIGIN[2] - ends[0, 2] == pytest.approx(lesion.throat_mm, abs=0.5)  # this vessel is straight
        edges = browse_node("reformation edges").GetPolyData()
        points = np.array([edges.GetPoint(n) for n in range(edges.GetNumberOfPoints())]) - REFORMATION_ORIGIN
        lumen = np.interp(-points[:, 2], path.vessel.distance_mm, path.profile.diameter_mm / 2.0)
        offset = points[:, 0] - ends.mean(axis=0)[0]
        assert np.nanmax(np.abs(np.abs(offset) - lumen)) < 0.1
        matrix = view_matrix(views.REFORMATION)
        assert np.allclose(matrix[:3, 1], [1.0, 0.0, 0.0])
    looking.ui.curvedCheckBox.checked = False
    assert slicer.util.arrayFromVolume(browse_node("reformation")).shape[1] > 1


def test_views_that_are_sent_to_a_place_of_the_patient_do_not_take_the_reformatted_vessel_along(looking):
    """As by Shift and the mouse, within a group of views, and by the Markups module, in all views."""
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    node, other = (views.view_node(slicer.mrmlScene, name) for name in (views.REFORMATION, views.LONG_AXIS))
    before, other_before = views.placed(node), views.placed(other)
    assert node.GetViewGroup() != other.GetViewGroup()
    place = np.array([40.0, -60.0, 5.0])
    for group in (other.GetViewGroup(), -1):
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *(place * (1 if group < 0 else -1)), 0, group)
        process_events_until(lambda: np.allclose(views.placed(node), before))
        middle = [size / 2.0 for size in node.GetDimensions()[:2]]
        assert np.allclose(node.GetXYToRAS().MultiplyPoint((*middle, 0.0, 1.0))[:3], before[:3, 3])  # drawn there too
        assert not np.allclose(views.placed(other), other_before)
    # The wheel still goes through the cross-sections.
    node.SetSliceOffset(node.GetSliceOffset() + 3.0)
    looking.panel.vessels._follow()  # at once: other events may show the vessel anew
    assert not np.allclose(views.placed(node), before)


def test_straightened_vessels_are_ready_before_they_are_asked_for(widget, pipeline, layout, monkeypatch):
    """Then going to a lesion need not wait for them; nobody needs PyTorch to look at a result."""
    from StenosisDetectionLib.gui import reformation_view

    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    view = widget.panel.vessels._reformation
    process_events_until(lambda: not view.preparing)
    assert set(view._stacks) == {"LM", "LAD", "RCA"}
    monkeypatch.setattr(reformation_view, "cross_sections", None)
    for lesion in small_study().lesions:
        widget.panel.go_to_lesion(lesion.id)
        assert browse_node("reformation").GetImageData().GetDimensions()[2] == len(
            vessel_of(lesion.vessel).vessel.points_ras
        )


def test_a_vessel_that_is_not_ready_is_made_at_once(widget, pipeline, layout, monkeypatch):
    from StenosisDetectionLib.gui.reformation_view import ReformationView

    monkeypatch.setattr(ReformationView, "_on_tick", lambda self: None)
    monkeypatch.setattr("StenosisDetectionLib.gui.reformation_view._make_all", lambda *_: None)
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    stacks = widget.panel.vessels._reformation._stacks
    assert set(stacks) == {"LAD"}  # with the worst lesion: made before the result was shown
    widget.panel.go_to_lesion("L2")
    assert set(stacks) == {"LAD", "RCA"}
