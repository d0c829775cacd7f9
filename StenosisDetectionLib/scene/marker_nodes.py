"""Markers that a reader drags: proximal, throat and distal of a lesion, and some points of a centerline.

In: positions in the coordinates of the volume. Out: hidden markups nodes that are not saved, under the transform of the
volume, and the positions a reader gave them.
"""

from typing import Any

import numpy as np
import vtk

from ..i18n import tr as _
from .browse_nodes import add_hidden, find
from .curves import LESION_COLOR
from .terminology import label_color

LESION_MARKERS, COURSE = "lesion markers", "course"
COURSE_SPACING_MM = 5.0
"""Distance between the points of a centerline that a reader is given to drag."""


def show_lesion_markers(scene: Any, positions: np.ndarray, transform_id: str | None) -> Any:
    """Show the proximal, throat and distal marker (3, 3) and return their node."""
    node = find(scene, LESION_MARKERS)
    if node is None:
        node = add_hidden(scene, "vtkMRMLMarkupsFiducialNode", LESION_MARKERS)
        _prepare_display(node, LESION_COLOR, 3.0)
    _set_points(node, positions, (_("proximal"), _("throat"), _("distal")))
    node.SetFixedNumberOfControlPoints(True)  # Slicer offers to delete points, and a lesion needs all three
    node.SetAndObserveTransformNodeID(transform_id)
    return node


def show_course(scene: Any, points: np.ndarray, distance_mm: np.ndarray, vessel: str, transform_id: str | None) -> Any:
    """Show points of the centerline (N, 3) of a vessel, about `COURSE_SPACING_MM` apart, and return their curve."""
    node = find(scene, COURSE)
    if node is None:
        node = add_hidden(scene, "vtkMRMLMarkupsCurveNode", COURSE)
        _prepare_display(node, label_color(vessel), 2.0)
    count = max(round(float(distance_mm[-1]) / COURSE_SPACING_MM), 1) + 1
    chosen = np.unique(np.round(np.linspace(0, len(points) - 1, count)).astype(int))
    _set_points(node, points[chosen], [""] * len(chosen))
    node.SetAndObserveTransformNodeID(transform_id)
    return node


def marker_positions(node: Any) -> np.ndarray:
    """Return the positions (N, 3) of the markers in the coordinates of the volume."""
    return np.array([node.GetNthControlPointPosition(index) for index in range(node.GetNumberOfControlPoints())])


def remove_markers(scene: Any, role: str) -> None:
    """Remove the markers of a role, with what displays them."""
    node = find(scene, role)
    if node is not None:
        for index in reversed(range(node.GetNumberOfDisplayNodes())):
            scene.RemoveNode(node.GetNthDisplayNode(index))
        scene.RemoveNode(node)


def _set_points(node: Any, positions: np.ndarray, labels: Any) -> None:
    before = node.StartModify()
    if node.GetNumberOfControlPoints() != len(positions):
        node.RemoveAllControlPoints()
        for position in positions:
            node.AddControlPoint(vtk.vtkVector3d(*position))
    for index, (position, label) in enumerate(zip(positions, labels, strict=True)):
        node.SetNthControlPointPosition(index, *position)
        node.SetNthControlPointLabel(index, label)
    node.EndModify(before)


def _prepare_display(node: Any, color: tuple[float, float, float], size_mm: float) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetSelectedColor(*color)
    display.SetColor(*color)
    display.UseGlyphScaleOff()
    display.SetGlyphSize(size_mm)
    display.SetTextScale(2.5)
    display.SetPropertiesLabelVisibility(False)
    display.SetOccludedVisibility(True)
