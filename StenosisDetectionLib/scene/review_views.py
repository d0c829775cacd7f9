"""The views for looking along a vessel: the layout, and where each slice view lies.

In: slice matrices in RAS. Out: view nodes of the scene set accordingly. The layout holds a 3D view, the long axis, the
cross-section, the reformatted vessel and the diameter plot; Slicer makes the view nodes when it first shows it. All
functions do nothing to views that do not exist, as in a Slicer without a main window.
"""

from typing import Any

import numpy as np

LAYOUT_ID = 50120
"""Number of our layout; those of Slicer itself are below 500."""

LONG_AXIS, CROSS_SECTION, REFORMATION = "StenosisLongAxis", "StenosisCrossSection", "StenosisReformation"
OWN_SLICE_VIEWS = (LONG_AXIS, CROSS_SECTION, REFORMATION)
PLOT_VIEW, THREE_D_VIEW = "StenosisPlot", "1"

STANDARD_CROSS_SECTION, STANDARD_LONG_AXIS = "Yellow", "Green"
"""Slicer's own views that are turned when our layout is not shown; the third stays axial."""

CROSS_SECTION_MM, LONG_AXIS_MM = 16.0, 50.0
"""Height of the views in mm."""

REFORMATION_MARGIN_MM = 4.0
SCROLL_STEP_MM = 0.25
"""Step along the vessel of the mouse wheel in the cross-section."""

_REFORMATION_GROUP = 50120
"""View group of the reformatted vessel alone: it shows no place of the patient, so no other view may take it to one."""

_SLICE_VIEW = """<view class="vtkMRMLSliceNode" singletontag="{name}">
  <property name="orientation" action="default">Axial</property>
  <property name="viewgroup" action="default">{group}</property>
  <property name="viewlabel" action="default">{label}</property>
  <property name="viewcolor" action="default">{color}</property></view>"""

LAYOUT = f"""<layout type="vertical" split="true">
 <item splitSize="600"><layout type="horizontal" split="true">
  <item><view class="vtkMRMLViewNode" singletontag="{THREE_D_VIEW}">
   <property name="viewlabel" action="default">{THREE_D_VIEW}</property></view></item>
  <item>{_SLICE_VIEW.format(name=LONG_AXIS, group=0, label="L", color="#E69F00")}</item>
  <item>{_SLICE_VIEW.format(name=CROSS_SECTION, group=0, label="X", color="#56B4E9")}</item>
 </layout></item>
 <item splitSize="180">{
    _SLICE_VIEW.format(name=REFORMATION, group=_REFORMATION_GROUP, label="V", color="#009E73")
}</item>
 <item splitSize="220"><view class="vtkMRMLPlotViewNode" singletontag="{PLOT_VIEW}">
  <property name="viewlabel" action="default">P</property></view></item>
</layout>"""


def register_layout(layout_node: Any) -> None:
    """Make our layout known to Slicer's layout node, once."""
    if not layout_node.IsLayoutDescription(LAYOUT_ID):
        layout_node.AddLayoutDescription(LAYOUT_ID, LAYOUT)


def view_node(scene: Any, name: str) -> Any:
    """Return the slice view node of a name; None while Slicer has not shown it."""
    return scene.GetSingletonNode(name, "vtkMRMLSliceNode")


def plot_view_node(scene: Any) -> Any:
    """Return our plot view node; None while Slicer has not shown it."""
    return scene.GetSingletonNode(PLOT_VIEW, "vtkMRMLPlotViewNode")


def place(scene: Any, name: str, matrix: np.ndarray) -> None:
    """Put a slice view where a slice matrix (4, 4; columns right, up, away from the viewer, center) says."""
    node = view_node(scene, name)
    if node is None:
        return
    slice_to_ras = node.GetSliceToRAS()
    before = node.StartModify()
    slice_to_ras.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel().tolist())
    node.UpdateMatrices()
    node.EndModify(before)


def placed(node: Any) -> np.ndarray:
    """Return the slice matrix (4, 4) of a slice view node."""
    matrix = node.GetSliceToRAS()
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def prepare_slice_view(scene: Any, name: str, volume_node: Any, width_mm: float, height_mm: float) -> None:
    """Show a volume in a slice view, so that at least this many mm fit in both directions."""
    node = view_node(scene, name)
    if node is None:
        return
    for layers in _layers_of(scene):
        if layers.GetLayoutName() == name:
            layers.SetBackgroundVolumeID(volume_node.GetID() if volume_node is not None else None)
            layers.SetLinkedControl(False)
            # Or a volume that is loaded later would be shown here, and the view turned and fitted to it.
            layers.SetDoPropagateVolumeSelection(False)
    columns, rows = (max(size, 1) for size in node.GetDimensions()[:2])
    scale = max(width_mm / columns, height_mm / rows)
    node.SetFieldOfView(scale * columns, scale * rows, node.GetFieldOfView()[2])
    if name == CROSS_SECTION:
        node.SetSliceSpacingModeToPrescribed()
        node.SetPrescribedSliceSpacing(SCROLL_STEP_MM, SCROLL_STEP_MM, SCROLL_STEP_MM)


def show_in_other_views(scene: Any, volume_node: Any) -> None:
    """Show a volume in all slice views but ours."""
    for layers in _layers_of(scene):
        if layers.GetLayoutName() not in OWN_SLICE_VIEWS:
            layers.SetBackgroundVolumeID(volume_node.GetID())


def show_chart(scene: Any, chart_node: Any) -> None:
    """Show a chart in our plot view."""
    node = plot_view_node(scene)
    if node is not None:
        node.SetDoPropagatePlotChartSelection(False)  # a chart that is shown elsewhere does not take its place
        node.SetPlotChartNodeID(chart_node.GetID() if chart_node is not None else None)


def _layers_of(scene: Any) -> list[Any]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    return [scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode") for index in range(count)]
