"""Bring the nodes of a result up to date after a step of the review, without making them anew.

In: the study as reviewed, its volume node, and which lesions are rejected. A change of lesions touches the lesion
markers, the two tables and the records; a change of the tree makes curves, profiles and plot anew (`build_scene` with
the segmentation that still holds).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..study import StudyResult
from .curves import fill_lesion_node
from .nodes import find_by_role
from .tables import fill_lesion_table, fill_vessel_table
from .terminology import label_color, terminology_entry


def update_lesion_nodes(
    scene: Any, volume_node: Any, study: StudyResult, counted: StudyResult, rejected: frozenset[str]
) -> None:
    """Show the lesions of a study in the nodes its result already has.

    Parameters
    ----------
    study : with all lesions, rejected ones too.
    counted : the same without what was rejected, which the tables hold.
    """
    for node in find_by_role(scene, volume_node, "lesions"):
        with _one_change(node):
            fill_lesion_node(node, study.lesions, rejected)
    for node in find_by_role(scene, volume_node, "lesion_table"):
        with _one_change(node):
            fill_lesion_table(node, counted)
    for node in find_by_role(scene, volume_node, "vessel_table"):
        with _one_change(node):
            fill_vessel_table(node, counted)


@contextmanager
def _one_change(node: Any) -> Iterator[None]:
    """Let who observes a node see many changes as one."""
    before = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(before)


def color_curves(scene: Any, volume_node: Any, by_stenosis: bool) -> None:
    """Color the centerlines of a result by their stenosis, or each in the color of its vessel."""
    for node in find_by_role(scene, volume_node, "curves"):
        display = node.GetDisplayNode()
        if display is not None:
            display.SetScalarVisibility(by_stenosis)


def rename_segments(segmentation_node: Any, names: Mapping[str, str]) -> None:
    """Give the segments of vessels other names, with the code and the color of that name; their ids stay."""
    segmentation = segmentation_node.GetSegmentation()
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        new = names.get(segment.GetName(), segment.GetName())
        if new != segment.GetName():
            segment.SetName(new)
            segment.SetColor(*label_color(new))
            segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(new))
