"""The files of a scene, read back with other software than that which wrote them where there is any."""

import dataclasses
import json
import os
import subprocess
import sys
import weakref
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scenes import column_of, control_points_of, ijk_to_ras_of, nodes_of, read_bundle, voxels_of
from studies import small_study

from StenosisDetectionLib.errors import Cancelled, StenosisDetectionError
from StenosisDetectionLib.geometry import LPS_TO_RAS, transform_points
from StenosisDetectionLib.reading import read_label_map
from StenosisDetectionLib.scene import write_scene, write_scene_files
from StenosisDetectionLib.scene import writing as scene_writing
from StenosisDetectionLib.scene.nodes import find_result_nodes

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")


@pytest.fixture(scope="module")
def study():
    return small_study()


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("case")
    write_scene_files(study, folder)
    return folder


def ras_of(image: sitk.Image, index_ijk) -> np.ndarray:
    """Position of a voxel in RAS by SimpleITK, which counts in LPS."""
    return np.array(image.TransformIndexToPhysicalPoint([int(n) for n in index_ijk])) * (-1.0, -1.0, 1.0)


def positions(labels: np.ndarray, value: int, ijk_to_ras: np.ndarray) -> np.ndarray:
    return transform_points(ijk_to_ras, np.argwhere(labels == value)[:, ::-1])


def test_only_complete_files_are_left(folder):
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == [
        "centerlines/LAD.mrk.json",
        "centerlines/LM.mrk.json",
        "centerlines/RCA.mrk.json",
        "scene.mrb",
        "segmentation.seg.nrrd",
    ]


def test_writing_again_replaces_the_files(study, tmp_path):
    first = write_scene_files(study, tmp_path)
    assert write_scene_files(study, tmp_path) == first
    assert all(path.is_file() for path in first)


def test_segmentation_file_has_the_labels_at_their_places(study, folder):
    image = sitk.ReadImage(str(folder / "segmentation.seg.nrrd"))
    labels = sitk.GetArrayFromImage(image)
    for value in study.labels.names:
        expected = positions(study.labels.labels, value, study.labels.ijk_to_ras)
        found = np.array([ras_of(image, index[::-1]) for index in np.argwhere(labels == value)])
        assert np.allclose(found, expected, atol=1e-4)


def test_segmentation_file_can_be_given_to_analyze_again(study, folder):
    label_map = read_label_map(folder / "segmentation.seg.nrrd")
    assert set(label_map.names.values()) == set(study.labels.names.values())
    values = {name: value for value, name in label_map.names.items()}
    for value, name in study.labels.names.items():
        found = positions(label_map.labels, values[name], label_map.ijk_to_ras)
        expected = positions(study.labels.labels, value, study.labels.ijk_to_ras)
        assert np.allclose(found, expected, atol=1e-4)


def test_segmentation_file_names_codes_and_colors_every_segment(study, folder):
    image = sitk.ReadImage(str(folder / "segmentation.seg.nrrd"))
    for number, name in enumerate(study.labels.names.values()):
        assert image.GetMetaData(f"Segment{number}_Name") == name
        assert "TerminologyEntry:StenosisDetection~SCT^" in image.GetMetaData(f"Segment{number}_Tags")


def test_curve_files_are_markups_json_with_measurements(study, folder):
    for vessel in study.tree.vessels:
        text = (folder / "centerlines" / f"{vessel.name}.mrk.json").read_text(encoding="utf-8")
        (curve,) = json.loads(text)["markups"]
        assert curve["type"] == "Curve" and curve["coordinateUnits"] == "mm"
        points = np.array([point["position"] for point in curve["controlPoints"]])
        if curve["coordinateSystem"] == "LPS":
            points = transform_points(LPS_TO_RAS, points)
        assert np.allclose(points, vessel.points_ras, atol=1e-6)
        measurements = {each["name"]: each for each in curve["measurements"]}
        for name in ("Radius", "LumenArea", "ReferenceDiameter", "DiameterStenosis", "Measured"):
            values = measurements[name]["controlPointValues"]
            assert len(values) == len(points) and np.isfinite(values).all()


def test_volume_in_the_bundle_is_the_ct(study, folder, tmp_path):
    with zipfile.ZipFile(folder / "scene.mrb") as bundle:
        bundle.extract("scene/Data/case-1.nrrd", tmp_path)
    image = sitk.ReadImage(str(tmp_path / "scene" / "Data" / "case-1.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(image), study.volume.voxels)
    for index in ((0, 0, 0), (47, 0, 0), (0, 43, 0), (0, 0, 39)):
        assert np.allclose(ras_of(image, index), transform_points(study.volume.ijk_to_ras, index), atol=1e-4)


def test_the_first_scene_of_a_process_has_surfaces(tmp_path):
    """As on the command line: MRML learns how to make surfaces with its first scene, and 3D views show nothing else."""
    path = tmp_path / "scene.mrb"
    code = (
        "import sys; from pathlib import Path; from studies import small_study;"
        "from StenosisDetectionLib.scene import write_scene; write_scene(small_study(), Path(sys.argv[1]))"
    )
    search = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env={**os.environ, "PYTHONPATH": search})
    (segmentation,) = nodes_of(read_bundle(path, tmp_path), "vtkMRMLSegmentationNode")
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_bundle_opens_as_the_scene_that_was_written(study, folder, tmp_path):
    scene = read_bundle(folder / "scene.mrb", tmp_path)
    (volume,) = nodes_of(scene, "vtkMRMLScalarVolumeNode")
    assert np.array_equal(voxels_of(volume), study.volume.voxels)
    assert np.allclose(ijk_to_ras_of(volume), study.volume.ijk_to_ras, atol=1e-4)
    result = find_result_nodes(scene, volume)
    tree = scene.GetSubjectHierarchyNode()
    study_item = tree.GetItemAncestorAtLevel(tree.GetItemByDataNode(volume), "Study")
    assert tree.GetItemName(study_item) == study.case_id
    for node in result:
        assert tree.GetItemAncestorAtLevel(tree.GetItemByDataNode(node), "Study") == study_item
    (segmentation,) = nodes_of(scene, "vtkMRMLSegmentationNode")
    segments = segmentation.GetSegmentation()
    assert list(segments.GetSegmentIDs()) == list(study.labels.names.values())
    assert all(segments.GetSegment(name).HasTerminology() for name in segments.GetSegmentIDs())
    assert segments.ContainsRepresentation("Closed surface")
    for curve, vessel in zip(nodes_of(scene, "vtkMRMLMarkupsCurveNode"), study.tree.vessels, strict=True):
        assert np.allclose(control_points_of(curve), vessel.points_ras, atol=1e-6)
        assert "Radius" in [
            curve.GetNthMeasurement(index).GetName() for index in range(curve.GetNumberOfMeasurements())
        ]
    tables = {table.GetName(): table for table in nodes_of(scene, "vtkMRMLTableNode")}
    assert column_of(tables["Lesions"], "id") == ["L1", "L2"]
    assert column_of(tables["Lesions"], "segment") == ["pLAD", "pRCA"]
    assert column_of(tables["Vessels"], "lesions") == [0, 1, 1]
    assert np.isnan(column_of(tables["Lesions"], "plaque_volume_mm3")[1])
    assert np.allclose(
        column_of(tables["RCA profile"], "lumen_diameter_mm"),
        study.profiles[2].diameter_mm,
        rtol=1e-5,
        equal_nan=True,
    )
    (chart,) = nodes_of(scene, "vtkMRMLPlotChartNode")
    assert chart.GetNthPlotSeriesNode(0).GetTableNode() is tables["LM profile"]
    layers = scene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
    assert layers.GetBackgroundVolumeID() == volume.GetID()


def test_slice_views_meet_at_the_worst_lesion(study, folder, tmp_path):
    scene = read_bundle(folder / "scene.mrb", tmp_path)
    for name in ("Red", "Green", "Yellow"):
        matrix = scene.GetNodeByID(f"vtkMRMLSliceNode{name}").GetSliceToRAS()
        assert np.allclose([matrix.GetElement(row, 3) for row in range(3)], study.lesions[0].position_ras, atol=1e-3)


def test_scene_can_be_written_alone_with_a_relative_path(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scene(study, "alone.mrb")
    assert [path.name for path in tmp_path.iterdir()] == ["alone.mrb"]
    assert zipfile.ZipFile("alone.mrb").testzip() is None


def test_failed_write_leaves_nothing_behind(study, tmp_path):
    (tmp_path / "scene.mrb").mkdir()  # where the file should go
    with pytest.raises(OSError, match=r"scene\.mrb"):
        write_scene_files(study, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_bundle_that_mrml_cannot_write_is_an_error(study, tmp_path, monkeypatch):
    class FullDisk:
        def SaveSceneToSlicerDataBundleDirectory(self, _folder):
            return False

    build = scene_writing._StudyScene.build

    def build_on_a_full_disk(self):
        names = build(self)
        self._scene = FullDisk()
        return names

    monkeypatch.setattr(scene_writing._StudyScene, "build", build_on_a_full_disk)
    with pytest.raises(StenosisDetectionError, match=r"could not write scene\.mrb"):
        write_scene_files(study, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_labels_on_a_grid_of_their_own_come_back_voxel_by_voxel(study, tmp_path):
    """Only then is what nobody corrected measured as before after a scene was saved and loaded."""
    from StenosisDetectionLib.geometry import affine, spacing_of
    from StenosisDetectionLib.scene.reading import label_map_of_segmentation

    spacing = np.array(spacing_of(study.labels.ijk_to_ras))
    directions = study.labels.ijk_to_ras[:3, :3] / spacing
    own = affine(0.77 * spacing, directions, study.labels.ijk_to_ras[:3, 3] + 0.31 * spacing)
    other = dataclasses.replace(study, labels=dataclasses.replace(study.labels, ijk_to_ras=own))
    write_scene_files(other, tmp_path)
    scene = read_bundle(tmp_path / "scene.mrb", tmp_path)
    node = nodes_of(scene, "vtkMRMLSegmentationNode")[0]
    back = label_map_of_segmentation(node)
    ijk = np.argwhere(back.labels)[:, ::-1]
    known = transform_points(np.linalg.inv(own), transform_points(back.ijk_to_ras, ijk))
    np.testing.assert_allclose(known, known.round(), atol=1e-3)
    names = {name: value for value, name in study.labels.names.items()}
    i, j, k = known.round().astype(int).T
    expected = study.labels.labels[k, j, i]
    found = np.array([names[back.names[int(value)]] for value in back.labels[back.labels > 0]])
    np.testing.assert_array_equal(found, expected)
    assert len(found) == np.count_nonzero(study.labels.labels)
    # A reader can draw wherever there is an image.
    image = slicer.vtkOrientedImageData()
    geometry = node.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, False)
    corner = np.array(study.volume.size_ijk) - 1.0
    last = transform_points(np.linalg.inv(own), transform_points(study.volume.ijk_to_ras, corner))
    assert (last <= np.array(image.GetExtent()[1::2]) + 1.0).all()
    assert (np.array(image.GetExtent()[0::2]) <= 0).all()


def test_mrml_is_touched_where_the_caller_says_only(study, tmp_path):
    """In Slicer that is the main thread; compressing, which takes longest, is left to the thread that writes."""
    nodes_alive = weakref.WeakSet()
    steps, compressed_in_step = [], []

    def main(step):
        steps.append(step)
        inside.append(True)
        result = step()
        inside.pop()
        return result

    inside: list[bool] = []

    def report(_fraction, message):
        if message == "compressing the scene":
            compressed_in_step.append(bool(inside))

    build = scene_writing.build_scene

    def building(*arguments, **options):
        assert inside
        nodes = build(*arguments, **options)
        nodes_alive.add(nodes)
        return nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_writing, "build_scene", building)
        write_scene_files(study, tmp_path, report, main)
    assert len(steps) == 3 + len(study.tree.vessels) + 1
    assert compressed_in_step and not any(compressed_in_step)
    assert not nodes_alive  # the last step let go of the nodes


def test_writing_reports_progress_and_can_be_cancelled(study, tmp_path):
    fractions = []

    def watch(fraction, _message):
        fractions.append(fraction)
        if fraction > 0.5:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        write_scene_files(study, tmp_path, watch)
    assert fractions == sorted(fractions) and len(fractions) > 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
