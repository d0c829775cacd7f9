"""The nodes of a study in a scene of real MRML: geometry, measurements, codes, places, replacement."""

import dataclasses
import json
import math

import numpy as np
import pytest
import vtk
from scenes import column_of, control_points_of, ijk_to_ras_of, voxels_of
from studies import small_study
from vtk.util.numpy_support import vtk_to_numpy

from StenosisDetectionLib.anatomy import CALCIFIED_PLAQUE, CORONARY_ARTERY, STRUCTURES, VESSELS
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.rows import lesion_rows, vessel_rows
from StenosisDetectionLib.scene import build_scene, create_scene, label_map_of_segmentation, volume_of_node
from StenosisDetectionLib.scene.terminology import CONTEXT_NAME, terminology_context, terminology_entry
from StenosisDetectionLib.scene.volume import add_volume_node

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

CURVE_MEASUREMENTS = {"Radius": "mm", "LumenArea": "mm2", "ReferenceDiameter": "mm", "DiameterStenosis": "%"}


@pytest.fixture
def scene():
    return create_scene()


@pytest.fixture
def study():
    return small_study()


def control_point_values(curve, name):
    for index in range(curve.GetNumberOfMeasurements()):
        measurement = curve.GetNthMeasurement(index)
        if measurement.GetName() == name:
            return vtk_to_numpy(measurement.GetControlPointValues()), measurement
    return None, None


# ---------------------------------------------------------------------------------------------- volume


def test_volume_node_has_the_voxels_and_the_oblique_affine(scene, study):
    node = build_scene(study, scene).volume
    assert np.array_equal(voxels_of(node), study.volume.voxels)
    assert voxels_of(node).dtype == np.int16
    assert np.allclose(ijk_to_ras_of(node), study.volume.ijk_to_ras, atol=1e-9)
    assert node.GetName() == study.case_id


@pytest.mark.parametrize("value", [0.25, 40000.0])
def test_voxels_that_are_no_int16_stay_float(scene, study, value):
    study.volume.voxels[3, 2, 1] = value
    node = add_volume_node(scene, study.volume, "CT")
    assert voxels_of(node).dtype == np.float32
    assert np.array_equal(voxels_of(node), study.volume.voxels)


def test_volume_of_node_gives_the_volume_back(scene, study):
    volume = volume_of_node(add_volume_node(scene, study.volume, "CT"))
    assert volume.voxels.dtype == np.float32 and np.array_equal(volume.voxels, study.volume.voxels)
    assert np.allclose(volume.ijk_to_ras, study.volume.ijk_to_ras, atol=1e-9)
    assert volume.source_format == "Slicer"


def test_empty_and_color_volumes_are_refused(scene):
    with pytest.raises(InputError, match="empty"):
        volume_of_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    color = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    color.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="several values"):
        volume_of_node(color)


# ---------------------------------------------------------------------------------------- segmentation


def test_one_coded_segment_per_label(scene, study):
    segmentation = build_scene(study, scene).segmentation.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == list(study.labels.names.values())
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    for name in study.labels.names.values():
        segment = segmentation.GetSegment(name)
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
        assert entry.GetTerminologyContextName() == CONTEXT_NAME
        definition = STRUCTURES.get(name) or VESSELS[name]
        assert entry.GetTypeObject().GetCodeValue() == definition.snomed
        assert entry.GetCategoryObject().GetCodingSchemeDesignator() == "SCT"
        assert np.allclose(segment.GetColor(), np.array(definition.color) / 255.0)
    plaque = slicer.vtkSlicerTerminologyEntry()
    logic.DeserializeTerminologyEntry(segmentation.GetSegment("Calcified plaque").GetTerminology(), plaque)
    assert plaque.GetCategoryObject().GetCodeValue() == "49755003"
    assert plaque.GetRegionObject().GetCodeValue() == "41801008"


def test_segments_lie_where_the_labels_are(scene, study):
    """VTK's own transforms must take every voxel of a segment to the RAS position it has in the study."""
    segmentation = build_scene(study, scene).segmentation
    for value, name in study.labels.names.items():
        image = slicer.vtkOrientedImageData()
        segmentation.GetBinaryLabelmapRepresentation(name, image)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        extent, mask = image.GetExtent(), vtk_to_numpy(image.GetPointData().GetScalars())
        k, j, i = np.nonzero(mask.reshape(image.GetDimensions()[::-1]))
        found = [
            matrix.MultiplyPoint((a + extent[0], b + extent[2], c + extent[4], 1.0))[:3]
            for a, b, c in zip(i, j, k, strict=True)
        ]
        expected = transform_points(study.labels.ijk_to_ras, np.argwhere(study.labels.labels == value)[:, ::-1])
        assert np.allclose(sorted(map(tuple, np.round(found, 6))), sorted(map(tuple, np.round(expected, 6))), atol=2e-6)


def test_surface_surrounds_the_centerline(scene, study):
    segmentation = build_scene(study, scene).segmentation
    for vessel in study.tree.vessels:
        surface = vtk.vtkPolyData()
        assert segmentation.GetClosedSurfaceRepresentation(vessel.name, surface)
        inside = vtk.vtkSelectEnclosedPoints()
        points = vtk.vtkPoints()
        for point in vessel.points_ras[4:-4]:
            points.InsertNextPoint(point)
        cloud = vtk.vtkPolyData()
        cloud.SetPoints(points)
        inside.SetInputData(cloud)
        inside.SetSurfaceData(surface)
        inside.Update()
        assert vtk_to_numpy(inside.GetOutput().GetPointData().GetArray("SelectedPoints")).mean() > 0.9


def test_label_without_voxels_gets_no_segment(scene, study):
    labels = study.labels.labels.copy()
    labels[labels == 4] = 0
    study = dataclasses.replace(study, labels=dataclasses.replace(study.labels, labels=labels))
    ids = build_scene(study, scene).segmentation.GetSegmentation().GetSegmentIDs()
    assert CALCIFIED_PLAQUE.name not in ids and "LAD" in ids


def test_label_map_of_segmentation_gives_the_labels_back(scene, study):
    segmentation = build_scene(study, scene).segmentation
    label_map = label_map_of_segmentation(segmentation)
    assert label_map.names == study.labels.names
    for value in study.labels.names:
        found = transform_points(label_map.ijk_to_ras, np.argwhere(label_map.labels == value)[:, ::-1])
        expected = transform_points(study.labels.ijk_to_ras, np.argwhere(study.labels.labels == value)[:, ::-1])
        assert np.allclose(found, expected, atol=1e-6)


def test_empty_segmentations_are_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    with pytest.raises(InputError, match="no segment"):
        label_map_of_segmentation(node)
    node.GetSegmentation().AddEmptySegment("lumen")
    with pytest.raises(InputError, match="empty"):
        label_map_of_segmentation(node)


# -------------------------------------------------------------------------------------------- terminology


def test_terminology_file_is_that_of_the_anatomy_table(repository):
    path = repository / "Resources" / "terminology" / "StenosisDetection.term.json"
    assert json.loads(path.read_text(encoding="utf-8")) == terminology_context(), "run write_terminology_context"


def test_slicer_finds_every_entry_in_the_terminology_file(repository):
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    path = repository / "Resources" / "terminology" / "StenosisDetection.term.json"
    assert logic.LoadTerminologyFromFile(str(path)) == CONTEXT_NAME
    for name in (*VESSELS, *STRUCTURES):
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(terminology_entry(name), entry)
        code = entry.GetTypeObject().GetCodeValue()
        entry.GetTypeObject().SetRecommendedDisplayRGBValue(1, 2, 3)
        assert logic.UpdateEntryFromLoadedTerminologies(entry, [CONTEXT_NAME], [])
        assert entry.GetTypeObject().GetCodeValue() == code
        color = (STRUCTURES.get(name) or VESSELS[name]).color
        if code != CORONARY_ARTERY[0]:  # several small branches share this code, so it has the color of one of them
            assert tuple(entry.GetTypeObject().GetRecommendedDisplayRGBValue()) == color


# ------------------------------------------------------------------------------------------------ curves


def test_curves_carry_one_value_per_control_point(scene, study):
    curves = build_scene(study, scene).curves
    assert list(curves) == ["LM", "LAD", "RCA"]
    for vessel, profile, reference in zip(study.tree.vessels, study.profiles, study.references, strict=True):
        curve = curves[vessel.name]
        assert curve.GetName() == vessel.name
        assert np.allclose(control_points_of(curve), vessel.points_ras, atol=1e-9)
        # MRML's own length of the curve: one straight piece between neighboring control points.
        assert curve.GetCurveLengthWorld() == pytest.approx(vessel.length_mm, abs=1e-3)
        known = np.isfinite(profile.diameter_mm)
        expected = {
            "Radius": profile.diameter_mm / 2.0,
            "LumenArea": profile.area_mm2,
            "ReferenceDiameter": reference.diameter_mm,
            "DiameterStenosis": 100.0 * (1.0 - profile.diameter_mm / reference.diameter_mm),
            "Measured": known.astype(float),
        }
        for name, values in expected.items():
            found, measurement = control_point_values(curve, name)
            assert measurement.GetUnits() == CURVE_MEASUREMENTS.get(name, "")
            assert np.allclose(found[known], values[known])
            assert np.isfinite(found).all() and len(found) == len(vessel.points_ras)


def test_the_radius_of_every_point_of_a_curve_is_found_as_other_modules_find_it(scene, study):
    """SlicerVMTK's CrossSectionAnalysis takes the radius of a point of a curve from the control points around it."""
    for name, curve in build_scene(study, scene).curves.items():
        between = curve.GetCurveWorld().GetPointData().GetArray("PedigreeIDs")
        radius, _ = control_point_values(curve, "Radius")
        count = curve.GetCurvePointsWorld().GetNumberOfPoints()
        places = np.array([between.GetValue(point) for point in range(count - 1)])
        assert count == len(radius), name
        assert (places >= 0.0).all() and (places.astype(int) + 1 < len(radius)).all(), name


def test_unknown_values_are_carried_along_the_vessel(scene, study):
    """A gap in the middle becomes a straight line between its ends, a gap at the end the nearest value."""
    profile = study.profiles[1]
    diameter = np.linspace(2.0, 4.0, len(profile.diameter_mm))
    expected = diameter.copy()
    diameter[10:14] = diameter[:3] = np.nan
    expected[:3] = expected[3]
    profile = dataclasses.replace(profile, diameter_mm=diameter)
    study = dataclasses.replace(study, profiles=(study.profiles[0], profile, study.profiles[2]))
    curve = build_scene(study, scene).curves["LAD"]
    assert np.allclose(control_point_values(curve, "Radius")[0], expected / 2.0)
    assert control_point_values(curve, "Measured")[0].sum() == len(diameter) - 7


def test_vessel_that_could_not_be_measured_keeps_its_path(scene, study):
    unknown = np.full_like(study.profiles[0].diameter_mm, np.nan)
    profile = dataclasses.replace(study.profiles[0], diameter_mm=unknown, area_mm2=unknown)
    reference = dataclasses.replace(study.references[0], diameter_mm=unknown)
    study = dataclasses.replace(
        study, profiles=(profile, *study.profiles[1:]), references=(reference, *study.references[1:])
    )
    curve = build_scene(study, scene).curves["LM"]
    assert np.allclose(control_point_values(curve, "Radius")[0], study.tree.vessels[0].radius_mm)
    assert control_point_values(curve, "LumenArea")[0] is None
    assert not control_point_values(curve, "Measured")[0].any()


def test_markups_cannot_lose_points_by_hand(scene, study):
    nodes = build_scene(study, scene)
    for node in (*nodes.curves.values(), nodes.lesions):
        before = node.GetNumberOfControlPoints()
        node.RemoveNthControlPoint(0)
        assert node.GetLocked() and node.GetNumberOfControlPoints() == before


def test_lesions_are_control_points_at_their_throats(scene, study):
    lesions = build_scene(study, scene).lesions
    assert np.allclose(control_points_of(lesions), [lesion.position_ras for lesion in study.lesions])
    assert lesions.GetNthControlPointLabel(0) == "L1 LAD 60 %"
    assert "52 to 67 %" in lesions.GetNthControlPointDescription(0)


# -------------------------------------------------------------------------------------- tables and chart


def test_tables_hold_the_rows(scene, study):
    nodes = build_scene(study, scene)
    for table, rows in ((nodes.lesion_table, lesion_rows(study)), (nodes.vessel_table, vessel_rows(study))):
        assert table.GetNumberOfRows() == len(rows)
        for name, first in rows[0].items():
            found = column_of(table, name)
            expected = [row[name] for row in rows]
            if isinstance(first, float) or None in expected:
                assert np.array_equal(found, np.array(expected, dtype=float), equal_nan=True)
            else:
                assert found == expected
            assert table.GetColumnTitle(name) and table.GetColumnDescription(name)
    assert nodes.lesion_table.GetName() == "Lesions" and nodes.vessel_table.GetName() == "Vessels"
    assert nodes.lesion_table.GetColumnUnitLabel("length_mm") == "mm"
    assert nodes.vessel_table.GetTable().GetColumnByName("lesions").IsA("vtkIntArray")


def test_profile_tables_keep_unknown_numbers_unknown(scene, study):
    table = build_scene(study, scene).profiles["LAD"]
    assert np.array_equal(column_of(table, "lumen_diameter_mm"), study.profiles[1].diameter_mm, equal_nan=True)
    assert math.isnan(column_of(table, "lumen_diameter_mm")[0])
    assert column_of(table, "quality") == list(study.profiles[1].quality)


def test_chart_shows_lumen_reference_and_lesions(scene, study):
    nodes = build_scene(study, scene)
    assert nodes.chart.GetNumberOfPlotSeriesNodes() == len(nodes.series) == 2 * 3 + 1
    for index, series in enumerate(nodes.series):
        assert nodes.chart.GetNthPlotSeriesNode(index) is series
        table = series.GetTableNode().GetTable()
        assert table.GetColumnByName(series.GetXColumnName()) is not None
        assert table.GetColumnByName(series.GetYColumnName()) is not None
    assert nodes.series[-1].GetTableNode() is nodes.lesion_table


def test_study_without_lesions_has_no_marks(scene, study):
    nodes = build_scene(dataclasses.replace(study, lesions=()), scene)
    assert nodes.lesions.GetNumberOfControlPoints() == 0 and nodes.lesion_table.GetNumberOfRows() == 0
    assert len(nodes.series) == 6


def test_the_scene_gets_the_segmentation_with_its_segments(study, scene):
    """Slicer lists in the subject hierarchy what a segmentation holds when it is added."""
    import vtk

    held = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(_scene, _event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            held.extend(node.GetSegmentation().GetSegmentIDs())

    tag = scene.AddObserver(scene.NodeAddedEvent, added)
    build_scene(study, scene)
    scene.RemoveObserver(tag)
    assert {"LM", "LAD", "RCA"} <= set(held)
