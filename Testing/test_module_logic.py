"""StenosisDetectionLogic on the nodes of slicer-core."""

import dataclasses
import importlib.util
import sys
import types
import unittest

import numpy as np
import pytest
from studies import oblique_affine, small_study
from test_module_self_test import PANEL_TESTS

from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.gui.dependencies import install_torch
from StenosisDetectionLib.progress import Progress
from StenosisDetectionLib.study import LabelMap

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
vtk = pytest.importorskip("vtk")


@pytest.fixture
def module(repository):
    from slicer_stand_in.install import installed

    with installed(repository / "StenosisDetection" / "StenosisDetection.py") as module:
        yield module


@pytest.fixture
def logic(module):
    return module.StenosisDetectionLogic()


@pytest.fixture
def analyzed(monkeypatch):
    """Replace the pipeline by one that gives the small study; return the calls it got."""
    calls = []

    def analyze(volume, options=None, progress=None, segmentation=None):
        calls.append((volume, options, segmentation))
        if progress is not None:
            progress(Progress("segmentation", 0.5, "half"))
        return dataclasses.replace(small_study(), volume=volume)

    pipeline = types.SimpleNamespace(analyze=analyze)
    monkeypatch.setitem(sys.modules, "StenosisDetectionLib.pipeline", pipeline)
    return calls


def _volume_node():
    volume = small_study().volume
    return slicer.util.addVolumeFromArray(volume.voxels, volume.ijk_to_ras, "CT")


def _segmentation_node(volume_node, labels, names):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    for value, name in names.items():
        identifier = node.GetSegmentation().AddEmptySegment(name, name)
        array = (labels == value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, identifier, volume_node)
    return node


def test_volume_from_node_copies_voxels_and_geometry(logic):
    node = _volume_node()
    volume = logic.volumeFromNode(node)
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, small_study().volume.voxels)
    assert np.allclose(volume.ijk_to_ras, oblique_affine())
    assert volume.modality == "CT"
    volume.voxels[...] = 0
    assert slicer.util.arrayFromVolume(node).any()


def test_modality_comes_from_the_subject_hierarchy(logic):
    node = _volume_node()
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = tree.CreateItem(tree.GetSceneItemID(), node)
    tree.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert logic.volumeFromNode(node).modality == "MR"


@pytest.mark.parametrize("node_class", [None, "vtkMRMLScalarVolumeNode"])
def test_no_volume_or_no_voxels_is_refused(logic, node_class):
    node = slicer.mrmlScene.AddNewNodeByClass(node_class) if node_class else None
    with pytest.raises(InputError, match="empty"):
        logic.process(node)


def test_process_adds_the_nodes_of_the_result(logic, analyzed):
    node = _volume_node()
    seen = []
    results = logic.process(node, progress=seen.append)
    assert [progress.fraction for progress in seen] == [0.5]
    (volume, options, segmentation) = analyzed[0]
    assert np.array_equal(volume.voxels, small_study().volume.voxels)
    assert options is None
    assert segmentation is None
    assert results["volume"] is node
    assert results["segmentation"].GetScene() is slicer.mrmlScene
    assert sorted(results["curves"]) == ["LAD", "LM", "RCA"]
    lesions = small_study().lesions
    assert results["lesions"].GetNumberOfControlPoints() == len(lesions)
    assert np.allclose(results["lesions"].GetNthControlPointPositionWorld(0), lesions[0].position_ras, atol=1e-6)


def test_measure_passes_the_named_segments_on(logic, analyzed):
    node = _volume_node()
    labels = np.zeros(slicer.util.arrayFromVolume(node).shape, dtype=np.uint8)
    labels[5:9, 6:10, 7:20] = 1
    labels[12:16, 20:24, 8:30] = 2
    drawn = _segmentation_node(node, labels, {1: "left", 2: "right"})
    logic.measure(node, drawn)
    label_map = analyzed[0][2]
    assert label_map.names == {1: "left", 2: "right"}
    # The same places in RAS, on whatever grid the label map has.
    for value in (1, 2):
        for array, affine in ((labels, oblique_affine()), (label_map.labels, label_map.ijk_to_ras)):
            index = np.argwhere(array == value)[:, ::-1]
            points = index @ affine[:3, :3].T + affine[:3, 3]
            if array is labels:
                expected = points
        assert np.allclose(np.sort(points, axis=0), np.sort(expected, axis=0), atol=1e-6)


def test_measure_needs_a_segmentation(logic, analyzed):
    with pytest.raises(InputError, match="segmentation"):
        logic.measure(_volume_node(), None)
    assert analyzed == []


def test_different_transforms_are_refused(logic, analyzed):
    node = _volume_node()
    labels = np.ones(slicer.util.arrayFromVolume(node).shape, dtype=np.uint8)
    drawn = _segmentation_node(node, labels, {1: "all"})
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    drawn.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="transform"):
        logic.measure(node, drawn)
    assert analyzed == []


def test_a_corrected_result_is_measured_and_kept(logic, analyzed):
    node = _volume_node()
    first = logic.process(node)["segmentation"]
    second = logic.measure(node, first)["segmentation"]
    assert slicer.mrmlScene.IsNodePresent(first)
    assert second is not first
    assert first.GetName() != second.GetName()
    assert not first.GetDisplayVisibility()
    assert second.GetDisplayVisibility()
    third = logic.process(node)["segmentation"]
    assert slicer.mrmlScene.IsNodePresent(first)  # no longer part of any result
    assert not slicer.mrmlScene.IsNodePresent(second)
    assert slicer.mrmlScene.IsNodePresent(third)


def test_cancelling_leaves_the_scene_as_it_was(logic, analyzed):
    node = _volume_node()
    before = slicer.mrmlScene.GetNumberOfNodes()

    def cancel(_progress):
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        logic.process(node, progress=cancel)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_jump_centers_slices_and_cameras(logic):
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        view = slicer.vtkMRMLSliceNode()
        view.SetSingletonTag(name)
        view.SetLayoutName(name)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
        slicer.mrmlScene.AddNode(view).SetOrientation(orientation)
    camera = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(0, 300, 0)
    logic.jumpTo((11.0, -22.0, 33.0))
    for name in ("Red", "Green", "Yellow"):
        view = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        matrix = view.GetSliceToRAS()
        assert np.allclose([matrix.GetElement(i, 3) for i in range(3)], (11.0, -22.0, 33.0))
    assert camera.GetFocalPoint() == (11.0, -22.0, 33.0)
    assert camera.GetPosition() == (11.0, 278.0, 33.0)


def test_batch_goes_on_after_a_bad_input(logic, monkeypatch, tmp_path):
    import StenosisDetectionLib.reading as reading
    import StenosisDetectionLib.writing as writing

    def read_volume(path, report):
        report(0.5, "reading")
        if path.stem == "bad":
            raise InputError("bad.nrrd is no CT volume: choose another file")
        if path.stem == "broken":
            raise ZeroDivisionError("oops")
        return small_study().volume

    def write_case(study, folder, overwrite, report):
        path = folder / study.case_id / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        return path

    monkeypatch.setattr(reading, "read_volume", read_volume)
    monkeypatch.setattr(writing, "write_case", write_case)
    count = iter(range(10))
    pipeline = types.SimpleNamespace(analyze=lambda *_: dataclasses.replace(small_study(), case_id=f"c{next(count)}"))
    monkeypatch.setitem(sys.modules, "StenosisDetectionLib.pipeline", pipeline)
    seen = []
    names = ["a.nrrd", "bad.nrrd", "broken.nrrd", "b.nrrd"]
    outcomes = logic.runBatch([tmp_path / name for name in names], tmp_path / "out", progress=seen.append)
    assert [outcome["input"] for outcome in outcomes] == names
    assert [outcome["error"] for outcome in outcomes] == [
        None,
        "bad.nrrd is no CT volume: choose another file",
        "Unexpected error (ZeroDivisionError: oops)",
        None,
    ]
    assert [outcome["report"] for outcome in outcomes] == [
        str(tmp_path / "out" / "c0" / "report.json"),
        None,
        None,
        str(tmp_path / "out" / "c1" / "report.json"),
    ]
    assert [progress.fraction for progress in seen] == pytest.approx([0.0, 0.25, 0.5, 0.75])
    assert all(name in progress.message for name, progress in zip(names, seen, strict=True))


def test_batch_stops_when_cancelled(logic, monkeypatch, tmp_path):
    import StenosisDetectionLib.reading as reading

    read = []

    def read_volume(path, report):
        read.append(path)
        report(0.0, "")

    def cancel(_progress):
        raise Cancelled("cancelled")

    monkeypatch.setattr(reading, "read_volume", read_volume)
    with pytest.raises(Cancelled):
        logic.runBatch([tmp_path / "a.nrrd", tmp_path / "b.nrrd"], tmp_path, progress=cancel)
    assert len(read) == 1


def test_parameter_node_has_the_defaults_of_the_options(module, logic):
    parameters = logic.getParameterNode()
    assert parameters.inputVolume is None
    assert parameters.inputSegmentation is None
    assert parameters.inputRegion is None
    options = module.AnalysisOptions()
    assert parameters.model == options.model
    assert parameters.precision == options.precision
    assert parameters.minimumReferenceDiameter == options.minimum_reference_diameter_mm


def test_missing_torch_is_one_line(logic, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="PyTorch"):
        logic.analyze(small_study().volume)
    with pytest.raises(InputError, match="PyTorch"):
        logic.runBatch([tmp_path / "a.nrrd"], tmp_path)
    with pytest.raises(InputError, match="PyTorch"):
        install_torch()


def test_the_module_describes_itself(module, repository):
    parent = types.SimpleNamespace(path=str(repository))
    module.StenosisDetection(parent)
    assert parent.categories == ["Cardiac"]
    assert "not a medical device" in parent.helpText.lower()
    assert "/Resources/help/correct.md" in parent.helpText
    assert ("startupCompleted()", module.register_in_slicer) in slicer.app.connections


SELF_TESTS = ["test_cancel", "test_measure", "test_process", "test_refusal"]
"""The tests of the logic; those of the panel are tried in test_module_self_test.py."""

REPLACED_ONLY = ["test_demo"]
"""Tried here with a replaced engine only; `make demo` and benchmark_demo.py take the engine through that study."""


def _self_test(module, name):
    result = module.StenosisDetectionTest(name).run()
    assert result.testsRun == 1
    return [text for _, text in (*result.errors, *result.failures)]


@pytest.mark.parametrize("name", SELF_TESTS)
def test_the_self_test_of_the_module_passes(module, name):
    """The test class that a real Slicer runs, with the real engine."""
    assert _self_test(module, name) == []


@pytest.mark.parametrize("name", ["test_process", "test_measure", *REPLACED_ONLY])
def test_the_self_test_of_the_module_passes_on_a_right_result_only(module, analyzed, monkeypatch, name):
    """Here the engine is replaced: it finds a small study, and then the same with a moved lesion."""
    study = _four_vessels(small_study())
    assert study.lesions[0].diameter_stenosis_percent >= 50.0
    found = [study]
    monkeypatch.setattr(sys.modules["StenosisDetectionLib.pipeline"], "analyze", lambda *_, **__: found[0])
    labels = np.zeros(study.volume.voxels.shape, dtype=np.uint8)
    labels[10:20, 10:20, 10:20] = 1
    lumen = LabelMap(labels, study.volume.ijk_to_ras, {1: "Coronary lumen"})
    phantom = types.SimpleNamespace(volume=study.volume, truth=study, lumen=lumen)
    for made in ("_phantom", "_demo"):
        monkeypatch.setattr(module.StenosisDetectionTest, made, staticmethod(lambda: phantom))
    assert _self_test(module, name) == []
    right, anterior, superior = study.lesions[0].position_ras
    moved = dataclasses.replace(study.lesions[0], position_ras=(right, anterior, superior + 3.5))
    found[0] = dataclasses.replace(study, lesions=(moved, *study.lesions[1:]))
    (problem,) = _self_test(module, name)
    assert "LAD" in problem


def _four_vessels(study):
    names = ("LM", "LAD", "LCX", "RCA")
    vessels = tuple(dataclasses.replace(study.tree.vessels[0], name=name) for name in names)
    return dataclasses.replace(
        study,
        tree=dataclasses.replace(study.tree, vessels=vessels),
        profiles=tuple(dataclasses.replace(study.profiles[0], vessel=name) for name in names),
        references=tuple(dataclasses.replace(study.references[0], vessel=name) for name in names),
    )


def test_every_self_test_is_tried_here(module):
    names = [name for name in dir(module.StenosisDetectionTest) if name.startswith("test")]
    assert sorted(names) == sorted([*SELF_TESTS, *REPLACED_ONLY, *PANEL_TESTS])


def test_slicer_finds_the_self_test_by_the_name_of_the_module(module):
    """As ctest does, by unittest, and as "Reload and Test" does, by the name of the class."""
    suite = unittest.TestLoader().loadTestsFromName("StenosisDetection")
    found = [test.id().rpartition(".")[2] for tests in suite for test in tests]
    assert sorted(found) == sorted([*SELF_TESTS, *REPLACED_ONLY, *PANEL_TESTS])
    assert isinstance(module.StenosisDetectionTest(), unittest.TestCase)


@pytest.fixture
def forgotten_library():
    """Forget the library as `onReload` does; afterwards the other tests have theirs again."""

    def forget():
        names = [name for name in sys.modules if name.partition(".")[0] == "StenosisDetectionLib"]
        return {name: sys.modules.pop(name) for name in names}

    before = forget()
    yield
    forget()
    sys.modules.update(before)


def test_a_reloaded_module_imports_a_new_library(module, forgotten_library, monkeypatch):
    path = list(sys.path)
    specification = importlib.util.spec_from_file_location("StenosisDetection", module.__file__)
    reloaded = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "StenosisDetection", reloaded)
    specification.loader.exec_module(reloaded)
    assert reloaded.InputError is not module.InputError
    assert reloaded.StenosisDetectionTest is not module.StenosisDetectionTest
    with pytest.raises(reloaded.InputError, match="empty"):
        reloaded.StenosisDetectionLogic().process(None)
    assert sys.path == path
