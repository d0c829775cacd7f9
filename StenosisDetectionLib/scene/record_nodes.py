"""The record of a study and of its review as text nodes, which are saved with the scene.

In: text of `record.StudyRecorder` and of the review. Out: text nodes, found again by role and volume as every node of
a result is. They are always saved to files of their own, since the scene file itself should stay small.
"""

from typing import Any

from .application import slicer_package

RECORD_ROLE, REVIEW_ROLE = "record", "review"
_NAMES = {RECORD_ROLE: "Study record", REVIEW_ROLE: "Review record"}


def add_text_node(scene: Any, role: str, text: str) -> Any:
    """Add the text node of a role to the scene and return it."""
    slicer = slicer_package()
    node = slicer.vtkMRMLTextNode()
    node.SetName(_NAMES[role])
    node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
    node = scene.AddNode(node)
    node.SetText(text)
    return node


def text_of(nodes: list[Any], role: str, role_attribute: str) -> str | None:
    """Return the text of the node of a role among the nodes of a result; None when there is none."""
    for node in nodes:
        if node.GetAttribute(role_attribute) == role and node.IsA("vtkMRMLTextNode"):
            return str(node.GetText() or "")
    return None
