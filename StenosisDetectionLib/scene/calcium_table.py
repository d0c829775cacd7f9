"""The calcium score of a volume as a table node beside it in the subject hierarchy, a row per region and one for all.

The score belongs to a CT without contrast agent, not to the result of an angiogram, and so it is none of the nodes of a
result: it has a role of its own and stays when results come and go.
"""

from typing import Any

from ..i18n import tr as _
from ..rows import Column
from ..stenosis.calcium_score import CalciumPart, CalciumScore
from .hierarchy import place_beside
from .nodes import VOLUME_REFERENCE
from .tables import fill_table

CALCIUM_ATTRIBUTE = "StenosisDetection.calcium"

CALCIUM_COLUMNS: tuple[Column, ...] = (
    Column("region", str, _("Region"), "", _("Segment that the calcium lies in; all: the whole score")),
    Column("agatston", float, _("Agatston"), "", _("Agatston score")),
    Column("volume_mm3", float, _("Volume"), "mm3", _("Volume of calcium of 130 HU and more")),
    Column("mass_mg", float, _("Mass"), "mg", _("Mass of calcium; unknown without the calibration of the scanner")),
    Column("lesions", int, _("Lesions"), "", _("Number of separate deposits")),
)


def show_calcium_table(scene: Any, volume_node: Any, score: CalciumScore) -> Any:
    """Write the score of a volume node into its table node, which is made once, and return it."""
    node = find_calcium_table(scene, volume_node)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", "Calcium score")
        node.SetAttribute(CALCIUM_ATTRIBUTE, "1")
        node.SetNodeReferenceID(VOLUME_REFERENCE, volume_node.GetID())
        place_beside(scene, [volume_node], node)
    total = CalciumPart("all", score.agatston, score.volume_mm3, score.mass_mg, score.lesions)
    fill_table(node, CALCIUM_COLUMNS, [vars(part) | {"region": part.name} for part in (*score.parts, total)])
    return node


def find_calcium_table(scene: Any, volume_node: Any) -> Any:
    """Return the table node with the calcium score of a volume node; None when it has none."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLTableNode")
        if node.GetAttribute(CALCIUM_ATTRIBUTE) and node.GetNodeReferenceID(VOLUME_REFERENCE) == volume_node.GetID():
            return node
    return None
