"""Looking along a vessel: the layout, the views, the plot and the contours, on real MRML nodes."""

import numpy as np
import pytest
from browse_helpers import browse_node, vessel_of, view_matrix
from panel_fixtures import add_volume, finish, needs_stand_in, picture, process_events_until, start
from studies import small_study

from StenosisDetectionLib.gui.browse import GOALS
from StenosisDetectionLib.scene.browse_nodes import REFORMATION_ORIGIN

pytestmark = needs_stand_in


def test_a_lesion_is_shown_in_every_view(widget, pipeline, layout):
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    before = layout.layout
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    camera = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCameraNode")
    assert layout.layout == views.LAYOUT_ID  # Apply is the one click that shows the worst lesion
    assert widget.panel.findings.chosen == "L1"
    widget.ui.lesionTable.clearSelection()
    widget.ui.lesionTable.selectRow(0)
    lesion = small_study().lesions[0]
    path = vessel_of(lesion.vessel)
    tangent = path.profile.frames[0, 0]
    cross, along = view_matrix(views.CROSS_SECTION), view_matrix(views.LONG_AXIS)
    for matrix in (cross, along):
        assert np.allclose(matrix[:3, 3], lesion.position_ras, atol=1e-6)
        assert np.allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-9)
    assert np.allclose(cross[:3, 2], tangent)
    assert np.allclose(along[:3, 1], -tangent)  # upstream at the top
    for name in ("Red", "Green", "Yellow"):
        assert np.allclose(view_matrix(name)[:3, 3], lesion.position_ras, atol=1e-6)
    assert camera.GetFocalPoint() == pytest.approx(lesion.position_ras)
    assert widget.ui.positionSlider.value == pytest.approx(lesion.throat_mm)
    place = browse_node("place table").GetTable().GetColumnByName("distance_mm")
    assert place.GetValue(0) == pytest.approx(lesion.throat_mm)
    throats = browse_node("throat table").GetTable()
    assert throats.GetNumberOfRows() == 1
    line = browse_node("reformation place").GetPolyData()
    assert REFORMATION_ORIGIN[2] - line.GetPoint(0)[2] == pytest.approx(lesion.throat_mm)
    assert views.plot_view_node(slicer.mrmlScene).GetPlotChartNodeID() == browse_node("chart").GetID()
    widget.ui.restoreLayoutButton.click()
    assert layout.layout == before


def test_without_our_layout_two_standard_views_are_turned(looking, layout):
    looking.ui.restoreLayoutButton.click()
    looking.ui.lesionTable.clearSelection()
    looking.ui.lesionTable.selectRow(0)
    lesion = small_study().lesions[0]
    assert np.allclose(view_matrix("Yellow")[:3, 2], vessel_of(lesion.vessel).profile.frames[0, 0])
    assert np.allclose(view_matrix("Green")[:3, 3], lesion.position_ras, atol=1e-6)
    from StenosisDetectionLib.scene.review_views import LAYOUT_ID

    assert layout.layout != LAYOUT_ID  # going back is respected


def test_the_slider_moves_every_view(looking):
    from StenosisDetectionLib.scene import review_views as views

    looking.ui.positionSlider.value = 5.0
    path = vessel_of()
    assert np.allclose(view_matrix(views.CROSS_SECTION)[:3, 3], path.center_ras(5.0))
    assert "5.00 mm" in looking.ui.readoutLabel.text
    assert f"{path.profile.diameter_mm[20]:.2f} mm" in looking.ui.readoutLabel.text
    contour = browse_node("lumen contour").GetPolyData()
    points = np.array([contour.GetPoint(index) for index in range(contour.GetNumberOfPoints())])
    distance = np.linalg.norm(points - path.center_ras(5.0), axis=1)
    assert np.allclose(distance, path.profile.diameter_mm[20] / 2.0)
    # In the plane of the cross-section, as a contour should be.
    assert np.allclose((points - path.center_ras(5.0)) @ path.profile.frames[20, 0], 0.0, atol=1e-9)
    looking.ui.contoursCheckBox.checked = False
    assert browse_node("lumen contour").GetPolyData().GetNumberOfPoints() == 0


def test_the_wheel_in_the_cross_section_moves_along_the_vessel(looking):
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    looking.ui.positionSlider.value = 5.0
    view = views.view_node(slicer.mrmlScene, views.CROSS_SECTION)
    step = view.GetPrescribedSliceSpacing()[2]
    for flip, sign in ((False, 1.0), (True, -1.0)):
        looking.ui.flipCheckBox.checked = flip
        looking.ui.positionSlider.value = 5.0
        view.SetSliceOffset(view.GetSliceOffset() + step)  # what the wheel does
        process_events_until(lambda: looking.ui.positionSlider.value != 5.0)
        moved = looking.ui.positionSlider.value - 5.0
        assert abs(moved) == pytest.approx(step)
        assert np.allclose(views.placed(view)[:3, 3], vessel_of().center_ras(5.0 + moved))
        forward = views.placed(view)[:3, 2] @ vessel_of().profile.frames[0, 0]
        assert np.sign(forward) == sign
    # Beyond the end it comes back, and so does what is drawn: a view that is placed while it tells of its move would go
    # on drawing the plane it was moved to.
    looking.ui.flipCheckBox.checked = False
    end = vessel_of().length_mm
    looking.ui.positionSlider.value = end
    view.SetSliceOffset(view.GetSliceOffset() + step)
    process_events_until(lambda: np.allclose(views.placed(view)[:3, 3], vessel_of().center_ras(end)))
    middle = [size / 2.0 for size in view.GetDimensions()[:2]]
    assert np.allclose(view.GetXYToRAS().MultiplyPoint((*middle, 0.0, 1.0))[:3], vessel_of().center_ras(end), atol=1e-6)


def test_a_volume_that_is_loaded_later_leaves_our_views_alone(looking):
    """Slicer shows it in all views that allow it, and fits them to it."""
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Other")
    logic = slicer.modules.applicationLogic
    logic.GetSelectionNode().SetActiveVolumeID(other.GetID())
    before = views.placed(views.view_node(slicer.mrmlScene, views.CROSS_SECTION))
    logic.PropagateVolumeSelection(1)
    shown = {layers.GetLayoutName(): layers.GetBackgroundVolumeID() for layers in views._layers_of(slicer.mrmlScene)}
    assert shown["Red"] == other.GetID()
    assert all(shown[name] != other.GetID() for name in views.OWN_SLICE_VIEWS)
    assert np.allclose(views.placed(views.view_node(slicer.mrmlScene, views.CROSS_SECTION)), before)


def test_jumping_goes_where_it_says(looking):
    path = vessel_of()
    for index, goal in enumerate(GOALS):
        looking.ui.jumpComboBox.currentIndex = index
        looking.ui.jumpButton.click()
        assert looking.ui.positionSlider.value == pytest.approx(path.goal(goal))
    diameters = path.profile.diameter_mm
    assert path.goal("diameter") == path.vessel.distance_mm[np.nanargmin(diameters)]


def test_spin_rotation_and_flip_turn_the_views(looking):
    from StenosisDetectionLib.scene import review_views as views

    before = {name: view_matrix(name) for name in views.OWN_SLICE_VIEWS}
    looking.ui.spinSlider.value = 90.0
    turned = view_matrix(views.CROSS_SECTION)
    assert abs(turned[:3, 0] @ before[views.CROSS_SECTION][:3, 0]) < 1e-9
    assert np.allclose(turned[:3, 2], before[views.CROSS_SECTION][:3, 2])
    looking.ui.rotationSlider.value = 90.0
    for name in (views.LONG_AXIS, views.REFORMATION):
        first, second = (m[:3, 0] if name == views.LONG_AXIS else m[:3, 1] for m in (before[name], view_matrix(name)))
        assert abs(first @ second) < 1e-9
    looking.ui.flipCheckBox.checked = True
    assert np.allclose(view_matrix(views.CROSS_SECTION)[:3, 2], -turned[:3, 2])
    assert looking._parameterNode.flip is True


def test_the_plot_has_the_band_and_the_lesions(looking):
    table = browse_node("chart table").GetTable()
    column = {table.GetColumnName(n): table.GetColumn(n) for n in range(table.GetNumberOfColumns())}
    low, high = column["reference_low_mm"].GetValue(5), column["reference_high_mm"].GetValue(5)
    assert high - low == pytest.approx(2 * 1.6449 * 0.1)
    lesion = small_study().lesions[0]
    inside = [
        column["distance_mm"].GetValue(n)
        for n in range(table.GetNumberOfRows())
        if np.isfinite(column["lesion_diameter_mm"].GetValue(n))
    ]
    assert min(inside) == pytest.approx(lesion.start_mm, abs=0.26)
    assert max(inside) == pytest.approx(lesion.end_mm, abs=0.26)


def test_what_is_looked_at_is_remembered_by_the_scene(looking):
    looking.ui.positionSlider.value = 7.0
    looking.exit()
    looking.enter()
    assert looking.ui.vesselComboBox.currentText == "LAD"
    assert looking.ui.positionSlider.value == pytest.approx(7.0)


def test_drawn_nodes_are_neither_saved_nor_left(looking):
    import slicer

    from StenosisDetectionLib.scene.browse_nodes import ROLE

    nodes = [slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes())]
    drawn = [node for node in nodes if node.GetAttribute(ROLE)]
    assert len(drawn) > 10
    assert not any(node.GetSaveWithScene() for node in drawn)
    assert not any(node.GetDisplayNode().GetSaveWithScene() for node in drawn if node.IsA("vtkMRMLDisplayableNode"))
    looking.panel.vessels.close()
    nodes = [slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes())]
    assert not any(node.GetAttribute(ROLE) for node in nodes)


def test_another_volume_does_not_show_what_was_drawn_of_the_first(looking):
    import slicer

    from StenosisDetectionLib.scene.browse_nodes import ROLE

    looking.ui.inputVolumeSelector.setCurrentNode(add_volume("Second", seed=2))
    nodes = [slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes())]
    assert not any(node.GetAttribute(ROLE) for node in nodes)
    assert looking.ui.readoutLabel.text == ""


def test_choosing_a_vessel_in_the_table_looks_along_it(looking):
    table = looking.ui.vesselTable
    row = next(n for n in range(table.rowCount) if table.item(n, 0).text() == "RCA")
    table.selectRow(row)
    assert looking.ui.vesselComboBox.currentText == "RCA"
    assert looking.ui.readoutLabel.text.startswith("RCA 0.00 mm")
    looking.ui.vesselsCollapsibleButton.collapsed = False
    picture(looking, "vessels")


def test_a_transform_of_the_volume_moves_the_views(looking):
    import slicer
    import vtk

    from StenosisDetectionLib.scene import review_views as views

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    turn = vtk.vtkTransform()
    turn.RotateZ(90.0)
    turn.Translate(10.0, 0.0, 0.0)
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    looking.ui.inputVolumeSelector.currentNode().SetAndObserveTransformNodeID(transform.GetID())
    looking.ui.positionSlider.value = 5.0
    expected = np.array(turn.TransformPoint(vessel_of().center_ras(5.0)))
    assert np.allclose(view_matrix(views.CROSS_SECTION)[:3, 3], expected)
    assert np.allclose(view_matrix(views.CROSS_SECTION)[:3, 2], turn.TransformVector(vessel_of().profile.frames[20, 0]))


def test_a_second_result_leaves_the_reformatted_vessel_in_its_view(looking, pipeline):
    """The volume is shown in the other views again, not in the one that shows no place of the patient."""
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    pipeline.half.clear()
    pipeline.go_on.clear()
    start(looking, pipeline)
    finish(looking, pipeline)
    shown = {
        name: slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode").GetBackgroundVolumeID()
        for name in (views.REFORMATION, views.CROSS_SECTION, "Red")
    }
    volume = looking.ui.inputVolumeSelector.currentNode().GetID()
    assert shown == {
        views.REFORMATION: browse_node("reformation").GetID(), views.CROSS_SECTION: volume, "Red": volume,
    }  # fmt: skip


def test_nothing_of_the_patient_lies_where_the_reformatted_vessel_is_shown(looking):
    """Slicer draws segmentations and markups into every slice view whose plane meets them."""
    import slicer

    from StenosisDetectionLib.scene import review_views as views

    bounds = [0.0] * 6
    browse_node("reformation").GetRASBounds(bounds)
    assert bounds[4] > 5000.0
    plane = _plane_of(views.view_node(slicer.mrmlScene, views.REFORMATION))
    assert np.linalg.norm(plane) > 5000.0
    assert np.linalg.norm(_plane_of(views.view_node(slicer.mrmlScene, views.CROSS_SECTION))) < 5000.0


def _plane_of(view):
    return np.array([view.GetSliceToRAS().GetElement(row, 3) for row in range(3)])
