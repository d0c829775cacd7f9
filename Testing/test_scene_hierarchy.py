"""Where the result stands in the scene: study, replacement of an earlier result, errors, scenes of their own."""

import dataclasses
import gc
import sys

import pytest
from scenes import all_nodes, nodes_of
from studies import small_study

from StenosisDetectionLib.errors import StenosisDetectionError
from StenosisDetectionLib.scene import build_scene, create_scene
from StenosisDetectionLib.scene.nodes import find_result_nodes
from StenosisDetectionLib.scene.volume import add_volume_node

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")


@pytest.fixture
def scene():
    return create_scene()


@pytest.fixture
def study():
    return small_study()


def hierarchy(scene):
    return scene.GetSubjectHierarchyNode()


def study_item_of(scene, node):
    tree = hierarchy(scene)
    return tree.GetItemAncestorAtLevel(tree.GetItemByDataNode(node), "Study")


def test_result_stands_under_the_study_of_the_volume(scene, study):
    nodes = build_scene(study, scene)
    item = study_item_of(scene, nodes.volume)
    assert hierarchy(scene).GetItemName(item) == study.case_id
    assert all(study_item_of(scene, node) == item for node in nodes.result_nodes())


def test_study_item_of_the_volume_is_used_when_it_has_one(scene, study):
    tree = hierarchy(scene)
    volume = add_volume_node(scene, study.volume, "3: CTA")
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "anonymous")
    item = tree.CreateStudyItem(patient, "study of the database")
    tree.CreateItem(item, volume)
    nodes = build_scene(study, scene, volume)
    assert nodes.volume is volume
    assert {study_item_of(scene, node) for node in nodes.result_nodes()} == {item}


def test_second_analysis_replaces_the_result_of_its_volume_only(scene, study):
    first, second = (add_volume_node(scene, study.volume, name) for name in ("A", "B"))
    build_scene(study, scene, first)
    other = build_scene(small_study("case-2", seed=2), scene, second)
    before = len(all_nodes(scene)), hierarchy(scene).GetNumberOfItems()
    study = dataclasses.replace(study, lesions=study.lesions[:1])
    again = build_scene(study, scene, first)
    assert find_result_nodes(scene, second) == find_result_nodes(scene, other.volume)
    assert set(find_result_nodes(scene, first)) == set(again.result_nodes())
    assert set(find_result_nodes(scene, second)) == set(other.result_nodes())
    assert (len(all_nodes(scene)), hierarchy(scene).GetNumberOfItems()) == before
    assert again.lesion_table.GetNumberOfRows() == 1 and other.lesion_table.GetNumberOfRows() == 2


def test_after_an_error_nothing_of_the_result_stays(scene, study, monkeypatch):
    volume = add_volume_node(scene, study.volume, "CT")
    result = build_scene(study, scene, volume)
    before = all_nodes(scene), hierarchy(scene).GetNumberOfItems()

    def fail(*_):
        raise RuntimeError("the last step fails")

    monkeypatch.setattr("StenosisDetectionLib.scene.nodes.place_under_study", fail)
    for node in (volume, None):
        with pytest.raises(RuntimeError, match="the last step fails"):
            build_scene(study, scene, node)
        assert (all_nodes(scene), hierarchy(scene).GetNumberOfItems()) == before
        assert not scene.IsBatchProcessing()
    assert set(find_result_nodes(scene, volume)) == set(result.result_nodes())


def test_result_follows_the_transform_of_its_volume(scene, study):
    volume = add_volume_node(scene, study.volume, "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    nodes = build_scene(study, scene, volume)
    for node in (nodes.segmentation, nodes.lesions, *nodes.curves.values()):
        assert node.GetTransformNodeID() == transform.GetID()


def test_roles_are_those_of_the_nodes(scene, study):
    nodes = build_scene(study, scene)
    roles = nodes.as_dict()
    assert roles["curves"]["RCA"].IsA("vtkMRMLMarkupsCurveNode")
    assert roles["lesion_table"].GetAttribute("StenosisDetection.role") == "lesion_table"
    assert len(nodes.result_nodes()) == len(set(nodes.result_nodes())) == len(find_result_nodes(scene, nodes.volume))


# ----------------------------------------------------------------------------------------- application


def test_scenes_are_independent_and_freed(study):
    freed = []
    one, other = create_scene(), create_scene()
    one.AddObserver("DeleteEvent", lambda *_: freed.append(True))
    build_scene(study, one)
    assert not nodes_of(other, "vtkMRMLScalarVolumeNode")
    assert not hasattr(slicer, "mrmlScene"), "a scene must not become that of an application"
    del one
    gc.collect()
    assert freed


def test_missing_slicer_core_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer", None)
    with pytest.raises(StenosisDetectionError, match=r'pip install "slicer-core>=5\.12,<5\.13"') as error:
        create_scene()
    assert "\n" not in str(error.value)


def test_slicer_core_that_cannot_be_loaded_says_why(monkeypatch, tmp_path):
    (tmp_path / "slicer.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "slicer")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StenosisDetectionError, match=r"libGL\.so\.1.*install the system library"):
        create_scene()
