"""A study as nodes of a scene: made in one batch, placed under the study of the volume, replacing an earlier result.

In: a `StudyResult`, a scene and, inside Slicer, the volume node that was analyzed. Out: `ResultNodes`. Every result
node refers to its volume (node reference `StenosisDetection.volume`, which MRML keeps right when a scene is imported)
and has its role as attribute `StenosisDetection.role`, so that the result of one volume is found again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..study import StudyResult
from .application import slicer_package
from .chart import add_chart_nodes
from .curves import add_curve_node, add_lesion_node
from .hierarchy import place_beside, place_under_study, remove_items
from .record import StudyRecorder
from .record_nodes import RECORD_ROLE, REVIEW_ROLE, add_text_node, text_of
from .segmentation import add_segmentation_node, make_segmentation
from .tables import add_lesion_table, add_profile_table, add_vessel_table
from .volume import add_volume_node

VOLUME_REFERENCE = "StenosisDetection.volume"
ROLE_ATTRIBUTE = "StenosisDetection.role"


@dataclass(frozen=True, eq=False)
class ResultNodes:
    """The nodes of a result by role; `curves` and `profiles` are dicts by vessel name, in the order of the tree."""

    volume: Any
    segmentation: Any
    curves: dict[str, Any]
    lesions: Any
    lesion_table: Any
    vessel_table: Any
    profiles: dict[str, Any]
    chart: Any
    series: tuple[Any, ...]
    record: Any

    def as_dict(self) -> dict[str, Any]:
        """Return the nodes by role."""
        return dict(vars(self))

    def result_nodes(self) -> list[Any]:
        """Return all nodes but the volume, in the order in which the subject hierarchy shows them."""
        tables = (self.lesion_table, self.vessel_table, *self.profiles.values())
        return [self.segmentation, *self.curves.values(), self.lesions, *tables, self.chart, *self.series, self.record]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What of a result takes long and needs no scene: its record as text, and its segmentation with surfaces."""

    record: str
    segmentation: Any


def prepare(study: StudyResult) -> Prepared:
    """Make what `build_scene` can be given ready-made; touches no scene, so a thread may do it."""
    return Prepared(StudyRecorder().text_of(study), make_segmentation(study.labels, study.volume))


def build_scene(
    study: StudyResult,
    scene: Any,
    volume_node: Any = None,
    segmentation_node: Any = None,
    prepared: Prepared | None = None,
) -> ResultNodes:
    """Add the result of a study to a scene and return its nodes.

    Without `volume_node` the CT itself is added, named by the case. An earlier result of the same volume node is
    replaced; results of other volumes stay. Nodes arrive in one batch, and after an error none of them stays.

    Parameters
    ----------
    study : what `analyze` returned.
    scene : `slicer.mrmlScene`, or a scene of `create_scene`.
    volume_node : the `vtkMRMLScalarVolumeNode` in `scene` that was analyzed.
    segmentation_node : segmentation of the earlier result that still holds and is kept instead of being made anew.
    prepared : what `prepare` made of the study, where it was made already.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed.
    """
    slicer = slicer_package()
    earlier = set(_nodes(scene))
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        if volume_node is None:
            volume_node = add_volume_node(scene, study.volume, study.case_id)
        replaced = [node for node in find_result_nodes(scene, volume_node) if node is not segmentation_node]
        nodes = _add_nodes(study, scene, volume_node, segmentation_node, prepared)
        if segmentation_node is not None:
            remove_items(scene, [segmentation_node])
        place_under_study(scene, volume_node, nodes.result_nodes(), study.case_id)
        _remove(scene, replaced)
    except BaseException:
        _remove(scene, [node for node in _nodes(scene) if node not in earlier])
        raise
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    return nodes


def find_result_nodes(scene: Any, volume_node: Any) -> list[Any]:
    """Return the nodes of the result of a volume node in a scene, in the order they were added; empty without one."""
    return [
        node
        for node in _nodes(scene)
        if node.GetAttribute(ROLE_ATTRIBUTE) and node.GetNodeReferenceID(VOLUME_REFERENCE) == volume_node.GetID()
    ]


def find_by_role(scene: Any, volume_node: Any, role: str) -> list[Any]:
    """Return the nodes of one role in the result of a volume node; empty without a result."""
    return [node for node in find_result_nodes(scene, volume_node) if node.GetAttribute(ROLE_ATTRIBUTE) == role]


def record_texts(scene: Any, volume_node: Any) -> tuple[str, str] | None:
    """Return the records of the study and of its review that a scene has of a volume node; None without a result."""
    nodes = find_result_nodes(scene, volume_node)
    study = text_of(nodes, RECORD_ROLE, ROLE_ATTRIBUTE)
    return None if study is None else (study, text_of(nodes, REVIEW_ROLE, ROLE_ATTRIBUTE) or "")


def write_record(scene: Any, volume_node: Any, role: str, text: str) -> None:
    """Keep a record of the result of a volume node in the scene, in place of the one before it."""
    known = find_by_role(scene, volume_node, role)
    if known:
        known[0].SetText(text)
        return
    node = add_text_node(scene, role, text)
    _mark(role, node, volume_node)
    place_beside(scene, find_by_role(scene, volume_node, RECORD_ROLE), node)


def _add_nodes(
    study: StudyResult, scene: Any, volume_node: Any, segmentation: Any, prepared: Prepared | None
) -> ResultNodes:
    measured = list(zip(study.tree.vessels, study.profiles, study.references, strict=True))
    if segmentation is None:
        made = prepared.segmentation if prepared is not None else make_segmentation(study.labels, study.volume)
        segmentation = add_segmentation_node(scene, made, volume_node, "Coronary arteries")
    curves = {vessel.name: add_curve_node(scene, vessel, profile, reference) for vessel, profile, reference in measured}
    lesions = add_lesion_node(scene, study, "Stenoses")
    lesion_table = add_lesion_table(scene, study, "Lesions")
    vessel_table = add_vessel_table(scene, study, "Vessels")
    profiles = {
        vessel.name: add_profile_table(scene, vessel, profile, reference, f"{vessel.name} profile")
        for vessel, profile, reference in measured
    }
    chart, series = add_chart_nodes(scene, study, profiles, lesion_table, "Diameters")
    text = prepared.record if prepared is not None else StudyRecorder().text_of(study)
    record = add_text_node(scene, RECORD_ROLE, text)
    tables = (lesion_table, vessel_table, profiles)
    nodes = ResultNodes(volume_node, segmentation, curves, lesions, *tables, chart, series, record)
    for role, value in nodes.as_dict().items():
        if role != "volume":
            _mark(role, value, volume_node)
    # Measurements are in the coordinates of the volume itself, so a transform of the volume moves its result too.
    for node in (segmentation, *curves.values(), lesions):
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    return nodes


def _mark(role: str, value: Any, volume_node: Any) -> None:
    nodes: Iterable[Any] = (
        value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
    )
    for node in nodes:
        node.SetAttribute(ROLE_ATTRIBUTE, role)
        node.SetNodeReferenceID(VOLUME_REFERENCE, volume_node.GetID())


def _nodes(scene: Any) -> list[Any]:
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]


def _remove(scene: Any, nodes: list[Any]) -> None:
    """Remove nodes with their display and storage nodes and their places in the subject hierarchy."""
    remove_items(scene, nodes)
    for node in nodes:
        owned = []
        if node.IsA("vtkMRMLDisplayableNode"):
            owned += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
        if node.IsA("vtkMRMLStorableNode"):
            owned += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
        for each in (*owned, node):
            if each is not None and scene.IsNodePresent(each):
                scene.RemoveNode(each)
