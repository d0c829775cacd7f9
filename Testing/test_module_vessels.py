"""Looking along a vessel: the layout, the views, the plot and the contours, on real MRML nodes."""

import dataclasses

import numpy as np
import pytest
import vtk
from panel_fixtures import add_volume, finish, needs_stand_in, picture, process_events_until, start
from studies import small_study

from StenosisDetectionLib.centerline.frames import rotation_minimizing_frames
from StenosisDetectionLib.gui.browse import GOALS, VesselPath, vessel_path

pytestmark = needs_stand_in


@pytest.fixture
def layout(widget, table):
    import slicer
    from slicer_stand_in.layout import LayoutManager

    slicer.app.layout = LayoutManager(table, slicer.mrmlScene)
    return slicer.app.layout


@pytest.fixture
def looking(widget, pipeline, layout):
    """The panel with a result, looking along the LAD in our layout."""
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    widget.ui.showLayoutButton.click()
    widget.ui.vesselComboBox.currentIndex = widget.ui.vesselComboBox.findText("LAD")
    return widget


def _matrix(name):
    import slicer

    from StenosisDetectionLib.scene.review_views import placed, view_node

    return placed(view_node(slicer.mrmlScene, name))


def _browse_node(role):
    import slicer

    from StenosisDetectionLib.scene.browse_nodes import find

    return find(slicer.mrmlScene, role)


def _path(name="LAD"):
    return vessel_path(small_study(), name)


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
    path = _path(lesion.vessel)
    tangent = path.profile.frames[0, 0]
    cross, along = _matrix(views.CROSS_SECTION), _matrix(views.LONG_AXIS)
    for matrix in (cross, along):
        assert np.allclose(matrix[:3, 3], lesion.position_ras, atol=1e-6)
        assert np.allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-9)
    assert np.allclose(cross[:3, 2], tangent)
    assert np.allclose(along[:3, 1], -tangent)  # upstream at the top
    for name in ("Red", "Green", "Yellow"):
        assert np.allclose(_matrix(name)[:3, 3], lesion.position_ras, atol=1e-6)
    assert camera.GetFocalPoint() == pytest.approx(lesion.position_ras)
    assert widget.ui.positionSlider.value == pytest.approx(lesion.throat_mm)
    place = _browse_node("place table").GetTable().GetColumnByName("distance_mm")
    assert place.GetValue(0) == pytest.approx(lesion.throat_mm)
    throats = _browse_node("throat table").GetTable()
    assert throats.GetNumberOfRows() == 1
    line = _browse_node("reformation place").GetPolyData()
    assert line.GetPoint(0)[2] == pytest.approx(-lesion.throat_mm)
    assert views.plot_view_node(slicer.mrmlScene).GetPlotChartNodeID() == _browse_node("chart").GetID()
    widget.ui.restoreLayoutButton.click()
    assert layout.layout == before


def test_without_our_layout_two_standard_views_are_turned(looking, layout):
    looking.ui.restoreLayoutButton.click()
    looking.ui.lesionTable.clearSelection()
    looking.ui.lesionTable.selectRow(0)
    lesion = small_study().lesions[0]
    assert np.allclose(_matrix("Yellow")[:3, 2], _path(lesion.vessel).profile.frames[0, 0])
    assert np.allclose(_matrix("Green")[:3, 3], lesion.position_ras, atol=1e-6)
    from StenosisDetectionLib.scene.review_views import LAYOUT_ID

    assert layout.layout != LAYOUT_ID  # going back is respected


def test_slice_matrices_are_as_left_handed_as_those_of_slicer():
    import slicer

    from StenosisDetectionLib.scene import create_scene

    scene = create_scene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetOrientation("Axial")
    axial = np.array([[view.GetSliceToRAS().GetElement(i, j) for j in range(3)] for i in range(3)])
    path = _path()
    for matrix in (
        path.cross_section(3.0),
        path.cross_section(3.0, 33.0, flip=True),
        path.long_axis(3.0, 70.0),
    ):
        assert np.sign(np.linalg.det(matrix[:3, :3])) == np.sign(np.linalg.det(axial))


def test_the_slider_moves_every_view(looking):
    from StenosisDetectionLib.scene import review_views as views

    looking.ui.positionSlider.value = 5.0
    path = _path()
    assert np.allclose(_matrix(views.CROSS_SECTION)[:3, 3], path.center_ras(5.0))
    assert "5.00 mm" in looking.ui.readoutLabel.text
    assert f"{path.profile.diameter_mm[20]:.2f} mm" in looking.ui.readoutLabel.text
    contour = _browse_node("lumen contour").GetPolyData()
    points = np.array([contour.GetPoint(index) for index in range(contour.GetNumberOfPoints())])
    distance = np.linalg.norm(points - path.center_ras(5.0), axis=1)
    assert np.allclose(distance, path.profile.diameter_mm[20] / 2.0)
    # In the plane of the cross-section, as a contour should be.
    assert np.allclose((points - path.center_ras(5.0)) @ path.profile.frames[20, 0], 0.0, atol=1e-9)
    looking.ui.contoursCheckBox.checked = False
    assert _browse_node("lumen contour").GetPolyData().GetNumberOfPoints() == 0


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
        moved = looking.ui.positionSlider.value - 5.0
        assert abs(moved) == pytest.approx(step)
        assert np.allclose(views.placed(view)[:3, 3], _path().center_ras(5.0 + moved))
        forward = views.placed(view)[:3, 2] @ _path().profile.frames[0, 0]
        assert np.sign(forward) == sign


def test_jumping_goes_where_it_says(looking):
    path = _path()
    for index, goal in enumerate(GOALS):
        looking.ui.jumpComboBox.currentIndex = index
        looking.ui.jumpButton.click()
        assert looking.ui.positionSlider.value == pytest.approx(path.goal(goal))
    diameters = path.profile.diameter_mm
    assert path.goal("diameter") == path.vessel.distance_mm[np.nanargmin(diameters)]


def test_spin_rotation_and_flip_turn_the_views(looking):
    from StenosisDetectionLib.scene import review_views as views

    before = {name: _matrix(name) for name in views.OWN_SLICE_VIEWS}
    looking.ui.spinSlider.value = 90.0
    turned = _matrix(views.CROSS_SECTION)
    assert abs(turned[:3, 0] @ before[views.CROSS_SECTION][:3, 0]) < 1e-9
    assert np.allclose(turned[:3, 2], before[views.CROSS_SECTION][:3, 2])
    looking.ui.rotationSlider.value = 90.0
    for name in (views.LONG_AXIS, views.REFORMATION):
        first, second = (m[:3, 0] if name == views.LONG_AXIS else m[:3, 1] for m in (before[name], _matrix(name)))
        assert abs(first @ second) < 1e-9
    looking.ui.flipCheckBox.checked = True
    assert np.allclose(_matrix(views.CROSS_SECTION)[:3, 2], -turned[:3, 2])
    assert looking._parameterNode.flip is True


def test_the_straightened_view_shows_the_vessel_where_its_edges_are(looking):
    import slicer

    node = _browse_node("reformation")
    voxels = slicer.util.arrayFromVolume(node)
    path = _path()
    assert voxels.shape[0] == len(path.vessel.points_ras)
    # Along the axis lies blood, 3 mm beside it does not.
    middle = voxels.shape[1] // 2
    inner = slice(8, -8)
    assert np.median(voxels[inner, middle, middle]) > 300
    assert np.median(voxels[inner, middle, middle + 12]) < 150
    edges = _browse_node("reformation edges").GetPolyData()
    points = np.array([edges.GetPoint(index) for index in range(edges.GetNumberOfPoints())])
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
    path = _path()
    for rotation in (0.0, 60.0):
        looking.ui.rotationSlider.value = rotation
        node = _browse_node("reformation")
        voxels = slicer.util.arrayFromVolume(node)
        assert voxels.shape[1] == 1
        to_ijk = vtk.vtkMatrix4x4()
        node.GetRASToIJKMatrix(to_ijk)

        def value_at(point, to_ijk=to_ijk, voxels=voxels):
            i, _, k = np.round(to_ijk.MultiplyPoint((*point, 1.0))[:3]).astype(int)
            return voxels[k, 0, i]

        place = _browse_node("reformation place").GetPolyData()
        ends = np.array([place.GetPoint(0), place.GetPoint(1)])
        assert value_at(ends.mean(axis=0)) > 300  # blood at the throat
        assert -ends[0, 2] == pytest.approx(lesion.throat_mm, abs=0.5)  # this vessel is straight
        edges = _browse_node("reformation edges").GetPolyData()
        points = np.array([edges.GetPoint(n) for n in range(edges.GetNumberOfPoints())])
        lumen = np.interp(-points[:, 2], path.vessel.distance_mm, path.profile.diameter_mm / 2.0)
        offset = points[:, 0] - ends.mean(axis=0)[0]
        assert np.nanmax(np.abs(np.abs(offset) - lumen)) < 0.1
        matrix = _matrix(views.REFORMATION)
        assert np.allclose(matrix[:3, 1], [1.0, 0.0, 0.0])
    looking.ui.curvedCheckBox.checked = False
    assert slicer.util.arrayFromVolume(_browse_node("reformation")).shape[1] > 1


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
        assert _browse_node("reformation").GetImageData().GetDimensions()[2] == len(
            _path(lesion.vessel).vessel.points_ras
        )


def test_a_vessel_that_is_not_ready_is_made_at_once(widget, pipeline, layout, monkeypatch):
    from StenosisDetectionLib.gui.reformation_view import ReformationView

    monkeypatch.setattr(ReformationView, "_on_tick", lambda self: None)
    monkeypatch.setattr("StenosisDetectionLib.gui.reformation_view._make_all", lambda *_: None)
    widget.ui.inputVolumeSelector.setCurrentNode(add_volume())
    start(widget, pipeline)
    finish(widget, pipeline)
    widget.panel.go_to_lesion("L1")
    assert set(widget.panel.vessels._reformation._stacks) == {"LAD"}


def test_the_edges_of_a_bent_vessel_lie_on_its_lumen():
    """A pixel of an edge, taken back to the patient by the image, lies one radius from the centerline."""
    from StenosisDetectionLib.gui.drawing import curved_drawing
    from StenosisDetectionLib.reformation import curved
    from StenosisDetectionLib.study import CTVolume, LumenProfile, Vessel

    count, bend_mm, radius_mm = 240, 25.0, 2.0
    angle = 0.25 * np.arange(count) / bend_mm
    points = np.stack([bend_mm * np.cos(angle), bend_mm * np.sin(angle), 6.0 * np.sin(2.0 * angle)], axis=1)
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    vessel = Vessel("RCA", None, None, points, distance, np.full(count, radius_mm))
    known = {field.name: np.full(count, np.nan) for field in dataclasses.fields(LumenProfile)}
    known |= {
        "vessel": "RCA",
        "frames": rotation_minimizing_frames(points),
        "contour_center_ras": points,
        "contour_radius_mm": np.full((count, 32), radius_mm),
    }
    path = VesselPath(vessel, LumenProfile(**known), None)
    volume = CTVolume(np.zeros((8, 8, 8), np.float32), np.eye(4))
    for rotation in (0.0, 50.0, 140.0):
        image = curved(volume, vessel, rotation, 10.0, 0.25)
        drawing = curved_drawing(path, image)
        for edge in drawing.edges:
            for x, y in edge[20:-20:5]:
                if np.isfinite(x):
                    place = image.to_ras(x / image.pixel_mm, (y + drawing.height_mm / 2.0) / image.pixel_mm)
                    nearest = np.linalg.norm(points - place, axis=1).min()
                    assert nearest == pytest.approx(radius_mm, abs=0.2)
        lengths = np.linalg.norm(np.diff(drawing.path, axis=0), axis=1)
        assert np.median(lengths) == pytest.approx(0.25, abs=0.05)


def test_the_edges_follow_the_contour_in_any_direction():
    """An ellipse whose long axis lies along the first vector of the frame."""
    import dataclasses

    path = _path("RCA")
    count = path.profile.contour_radius_mm.shape[1]
    angle = 2 * np.pi * np.arange(count) / count
    ellipse = 2.0 * 1.0 / np.hypot(1.0 * np.cos(angle), 2.0 * np.sin(angle))
    profile = dataclasses.replace(path.profile, contour_radius_mm=np.tile(ellipse, (len(path.profile.frames), 1)))
    path = dataclasses.replace(path, profile=profile)
    for axis, expected in ((1, 2.0), (2, 1.0)):
        low, high = path.edges_mm(profile.frames[:, axis])
        assert np.allclose(low, expected)
        assert np.allclose(high, -expected)


def test_the_frames_of_the_lumen_are_those_of_the_straightened_image():
    """Only then do long axis and straightened view turn together; the measuring stage uses the same frames."""
    from StenosisDetectionLib.lumen import sections

    assert sections.rotation_minimizing_frames is rotation_minimizing_frames


def test_the_plot_has_the_band_and_the_lesions(looking):
    table = _browse_node("chart table").GetTable()
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
    expected = np.array(turn.TransformPoint(_path().center_ras(5.0)))
    assert np.allclose(_matrix(views.CROSS_SECTION)[:3, 3], expected)
    assert np.allclose(_matrix(views.CROSS_SECTION)[:3, 2], turn.TransformVector(_path().profile.frames[20, 0]))
