"""What is drawn while looking along a vessel: contours, the reformatted vessel, its marks, and the diameter plot.

In: arrays in RAS or in the space of the reformatted vessel. Out: hidden nodes of the scene that are not saved, made
once per scene and role and filled again for every place. The reformatted vessel lies along the S axis, from its start
at `REFORMATION_ORIGIN` down; columns of its image run to R, rows to A.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..i18n import tr as _
from .curves import LESION_COLOR
from .review_views import CROSS_SECTION, THREE_D_VIEW, view_node
from .review_views import REFORMATION as REFORMATION_VIEW
from .terminology import label_color
from .volume import LEVEL_HU, WINDOW_HU, image_data, vtk_matrix

ROLE = "StenosisDetection.browse"
"""Attribute that finds our nodes again; its value is the role of the node."""

LUMEN_COLOR, WALL_COLOR, PLACE_COLOR = (0.34, 0.71, 0.91), (0.90, 0.62, 0.0), (1.0, 0.95, 0.2)
OUTSIDE_HU = -1024.0

REFORMATION_ORIGIN = np.array([0.0, 0.0, 10_000.0])
"""Where a reformatted vessel begins, 10 m from the patient: a slice view shows every segmentation, curve and marker
that its plane meets, and in the view of the reformatted vessel none of them would mean anything."""

REFORMATION = "reformation"
"""Role of the volume that holds the reformatted vessel."""

_SERIES = (
    ("lumen", "lumen_diameter_mm"),
    ("reference", "reference_diameter_mm"),
    ("low", "reference_low_mm"),
    ("high", "reference_high_mm"),
    ("lesions", "lesion_diameter_mm"),
)


def find(scene: Any, role: str) -> Any:
    """Return our node of a role; None when there is none."""
    node = scene.GetFirstNodeByName(_name(role))
    return node if node is not None and node.GetAttribute(ROLE) == role else None


def remove_browse_nodes(scene: Any) -> None:
    """Remove all nodes of this file from the scene, with what displays them."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    for node in [node for node in nodes if node.GetAttribute(ROLE)]:
        if node.IsA("vtkMRMLDisplayableNode"):
            for index in reversed(range(node.GetNumberOfDisplayNodes())):
                scene.RemoveNode(node.GetNthDisplayNode(index))
        scene.RemoveNode(node)


def show_lines(
    scene: Any,
    role: str,
    lines: Sequence[np.ndarray],
    color: tuple[float, float, float],
    views: Sequence[str],
    thickness: int = 2,
    in_3d: bool = False,
) -> Any:
    """Draw polylines (N, 3) in some views only; a line that is not finite everywhere is drawn in its finite parts."""
    node = find(scene, role)
    if node is None:
        node = add_hidden(scene, "vtkMRMLModelNode", role)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility2D(True)
        display.SetSliceDisplayModeToProjection()
        display.SetLighting(False)
        display.SetLineWidth(2.0 * thickness)
        display.SetSliceIntersectionThickness(thickness)
    display = node.GetDisplayNode()
    display.SetColor(*color)
    display.SetVisibility3D(in_3d)
    wanted = [view_node(scene, name) for name in views]
    wanted += [scene.GetSingletonNode(THREE_D_VIEW, "vtkMRMLViewNode")] if in_3d else []
    ids = tuple(view.GetID() for view in wanted if view is not None)
    if tuple(display.GetViewNodeIDs() or ()) != ids:
        display.RemoveAllViewNodeIDs()
        for identifier in ids:
            display.AddViewNodeID(identifier)
    node.SetAndObservePolyData(_poly_data(lines))
    display.SetVisibility(bool(ids) and node.GetPolyData().GetNumberOfPoints() > 0)
    return node


def show_contours(scene: Any, lumen: np.ndarray | None, wall: np.ndarray | None, node_of: Any) -> None:
    """Draw the closed contours (R, 3) of lumen and outer wall in the cross-section, under the transform of a node."""
    for role, ring, color, thickness in (
        ("lumen contour", lumen, LUMEN_COLOR, 3),
        ("wall contour", wall, WALL_COLOR, 1),
    ):
        lines = [] if ring is None else [np.concatenate([ring, ring[:1]])]
        model = show_lines(scene, role, lines, color, (CROSS_SECTION,), thickness, in_3d=role == "lumen contour")
        model.SetAndObserveTransformNodeID(node_of.GetTransformNodeID())


def whole_hu(values: np.ndarray) -> np.ndarray:
    """Return values in HU as int16; NaN is outside of the volume."""
    whole: np.ndarray = np.nan_to_num(values, nan=OUTSIDE_HU).round().clip(OUTSIDE_HU, 32767).astype(np.int16)
    return whole


def show_reformation(scene: Any, voxels: np.ndarray, spacing_mm: tuple[float, float, float]) -> Any:
    """Show a reformatted vessel as a volume in its own space, and return its node.

    Parameters
    ----------
    voxels : (S, R, C) int16, a plane or a row per sample along the vessel.
    spacing_mm : between columns, rows and samples.
    """
    node = find(scene, REFORMATION)
    if node is None:
        node = add_hidden(scene, "vtkMRMLScalarVolumeNode", REFORMATION)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.AutoWindowLevelOff()
        display.SetWindowLevel(WINDOW_HU, LEVEL_HU)
    _, rows, columns = voxels.shape
    matrix = np.diag([spacing_mm[0], spacing_mm[1], -spacing_mm[2], 1.0])
    corner = -(columns - 1) / 2.0 * spacing_mm[0], -(rows - 1) / 2.0 * spacing_mm[1], 0.0
    matrix[:3, 3] = REFORMATION_ORIGIN + corner
    before = node.StartModify()
    node.SetIJKToRASMatrix(vtk_matrix(matrix))
    node.SetAndObserveImageData(image_data(voxels))
    node.EndModify(before)
    return node


def reformation_matrix(length_mm: float, rotation_deg: float) -> np.ndarray:
    """Return the slice matrix (4, 4) that shows a reformatted vessel from left to right."""
    right, up = np.array([0.0, 0.0, -1.0]), _up(rotation_deg)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = right, up, -np.cross(right, up)
    matrix[:3, 3] = REFORMATION_ORIGIN - [0.0, 0.0, length_mm / 2.0]
    return matrix


def show_reformation_lines(
    scene: Any, edges: Sequence[np.ndarray], lesions: Sequence[np.ndarray], rotation_deg: float
) -> None:
    """Draw the edges of the lumen and the marks of the lesions, lines (N, 2) in mm of the reformatted image."""
    _show_flat(scene, "reformation edges", edges, LUMEN_COLOR, 1, rotation_deg)
    _show_flat(scene, "reformation lesions", lesions, LESION_COLOR, 3, rotation_deg)


def show_reformation_place(scene: Any, line: np.ndarray, rotation_deg: float) -> None:
    """Draw where the vessel is being looked at, a line (2, 2) in mm of the reformatted image."""
    _show_flat(scene, "reformation place", [line], PLACE_COLOR, 1, rotation_deg)


def show_chart_of(scene: Any, vessel: str, columns: Mapping[str, np.ndarray], throats: np.ndarray) -> Any:
    """Plot the diameters of one vessel and return the chart.

    Parameters
    ----------
    columns : `distance_mm` and the columns of `_SERIES`, one value per point.
    throats : (L, 2) distance and diameter of each throat.
    """
    chart = find(scene, "chart") or add_hidden(scene, "vtkMRMLPlotChartNode", "chart")
    before = chart.StartModify()
    table = _table(scene, "chart table", columns)
    color = label_color(vessel)
    for role, column in _SERIES:
        series = _series(scene, chart, role, table, "distance_mm", column)
        series.SetColor(*(LESION_COLOR if role == "lesions" else color))
        series.SetLineStyle(series.LineStyleSolid if role in ("lumen", "lesions") else series.LineStyleDash)
        series.SetLineWidth({"lumen": 3.0, "lesions": 5.0, "reference": 2.0}.get(role, 1.0))
    marks = _table(scene, "throat table", {"distance_mm": throats[:, 0], "diameter_mm": throats[:, 1]})
    series = _series(scene, chart, "throats", marks, "distance_mm", "diameter_mm")
    series.SetColor(*LESION_COLOR)
    series.SetLineStyle(series.LineStyleNone)
    series.SetMarkerStyle(series.MarkerStyleDiamond)
    series.SetMarkerSize(11.0)
    chart.SetTitle(_("{vessel}: lumen and healthy diameter").format(vessel=vessel))
    chart.SetXAxisTitle(_("Distance along the vessel (mm)"))
    chart.SetYAxisTitle(_("Diameter (mm)"))
    chart.SetLegendVisibility(False)
    chart.EndModify(before)
    return chart


def show_chart_place(scene: Any, distance_mm: float, highest_mm: float) -> None:
    """Draw a vertical line where the vessel is being looked at into the plot."""
    chart = find(scene, "chart")
    if chart is None:
        return
    ends = {"distance_mm": np.array([distance_mm, distance_mm]), "diameter_mm": np.array([0.0, highest_mm])}
    series = _series(scene, chart, "place", _table(scene, "place table", ends), "distance_mm", "diameter_mm")
    series.SetColor(0.5, 0.5, 0.5)
    series.SetLineWidth(1.5)


def _show_flat(
    scene: Any,
    role: str,
    lines: Sequence[np.ndarray],
    color: tuple[float, float, float],
    thickness: int,
    rotation_deg: float,
) -> None:
    up = _up(rotation_deg)
    down = np.array([0.0, 0.0, -1.0])
    placed = [REFORMATION_ORIGIN + line[:, :1] * down + line[:, 1:] * up for line in lines]
    show_lines(scene, role, placed, color, (REFORMATION_VIEW,), thickness)


def _series(scene: Any, chart: Any, role: str, table: Any, x: str, y: str) -> Any:
    node = find(scene, f"series {role}")
    if node is None:
        node = add_hidden(scene, "vtkMRMLPlotSeriesNode", f"series {role}")
        node.SetPlotType(node.PlotTypeScatter)
        node.SetMarkerStyle(node.MarkerStyleNone)
        node.SetXColumnName(x)
        node.SetYColumnName(y)
        node.SetAndObserveTableNodeID(table.GetID())
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    return node


def _table(scene: Any, role: str, columns: Mapping[str, np.ndarray]) -> Any:
    node = find(scene, role) or add_hidden(scene, "vtkMRMLTableNode", role)
    table = vtk.vtkTable()
    for name, values in columns.items():
        array = numpy_to_vtk(np.asarray(values, dtype=np.float64), deep=True)
        array.SetName(name)
        table.AddColumn(array)
    node.SetAndObserveTable(table)
    return node


def add_hidden(scene: Any, class_name: str, role: str) -> Any:
    """Add a node that is neither saved nor offered in selectors, found again by its role, and return it."""
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    node.SetName(_name(role))
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetAttribute(ROLE, role)
    return scene.AddNode(node)


def _name(role: str) -> str:
    return f"Stenosis detection {role}"


def _up(rotation_deg: float) -> np.ndarray:
    angle = np.radians(rotation_deg)
    return np.array([np.cos(angle), np.sin(angle), 0.0])


def _poly_data(lines: Sequence[np.ndarray]) -> vtk.vtkPolyData:
    points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetDataTypeToDouble()
    for line in lines:
        finite = np.isfinite(line).all(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]]).astype(int)))
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            if end - first > 1:
                cells.InsertNextCell(int(end - first))
                for position in line[first:end]:
                    cells.InsertCellPoint(points.InsertNextPoint(*position))
    data = vtk.vtkPolyData()
    data.SetPoints(points)
    data.SetLines(cells)
    return data
