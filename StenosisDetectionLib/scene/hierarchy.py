"""The place of the result in the subject hierarchy: a folder under the study of the volume."""

from typing import Any

from .application import slicer_package

FOLDER_NAME = "Stenosis detection"
_FOLDER_ATTRIBUTE = "StenosisDetection.folder"


def place_under_study(scene: Any, volume_node: Any, nodes: list[Any], case_id: str) -> None:
    """Put nodes into a new folder under the study of the volume.

    A volume without a study gets one, named by the pseudonymous case, in the place where the volume was.
    """
    slicer = slicer_package()
    tree = slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    volume_item = tree.GetItemByDataNode(volume_node) or tree.CreateItem(tree.GetSceneItemID(), volume_node)
    study_item = tree.GetItemAncestorAtLevel(volume_item, "Study")
    if not study_item:
        study_item = tree.CreateStudyItem(tree.GetItemParent(volume_item), case_id)
        tree.SetItemParent(volume_item, study_item)
    folder = tree.CreateFolderItem(study_item, FOLDER_NAME)
    tree.SetItemAttribute(folder, _FOLDER_ATTRIBUTE, "1")
    for node in nodes:
        tree.CreateItem(folder, node)


def place_beside(scene: Any, others: list[Any], node: Any) -> None:
    """Put a node into the folder of the first of other nodes that has a place in the subject hierarchy."""
    tree = slicer_package().vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    items = [item for item in map(tree.GetItemByDataNode, others) if item]
    if items:
        tree.CreateItem(tree.GetItemParent(items[0]), node)


def remove_items(scene: Any, nodes: list[Any]) -> None:
    """Remove the items of nodes, but not the nodes, and the result folders that are empty afterwards."""
    tree = slicer_package().vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    parents = []
    for node in nodes:
        item = tree.GetItemByDataNode(node)
        if item:
            parents.append(tree.GetItemParent(item))
            tree.RemoveItem(item, False, False)
    for parent in dict.fromkeys(parents):
        if tree.HasItemAttribute(parent, _FOLDER_ATTRIBUTE) and not tree.GetNumberOfItemChildren(parent):
            tree.RemoveItem(parent, False, False)
