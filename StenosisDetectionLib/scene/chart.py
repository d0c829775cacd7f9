"""The diameter chart: lumen and healthy diameter along the main vessels, lesions marked at their throats."""

from typing import Any

from ..i18n import tr as _
from ..study import StudyResult
from .application import slicer_package
from .curves import LESION_COLOR
from .terminology import label_color

_MAIN_VESSELS = ("LM", "LAD", "LCX", "RCA")


def charted_vessels(study: StudyResult) -> list[str]:
    """Return the vessels the chart shows, in the order of the tree: the main ones and those with a lesion."""
    shown = {*_MAIN_VESSELS, *(lesion.vessel for lesion in study.lesions)}
    names = [vessel.name for vessel in study.tree.vessels]
    return [name for name in names if name in shown] or names


def add_chart_nodes(
    scene: Any, study: StudyResult, profile_tables: dict[str, Any], lesion_table: Any, name: str
) -> tuple[Any, tuple[Any, ...]]:
    """Add the chart and its series to the scene; returns the chart node and the series nodes."""
    style = slicer_package().vtkMRMLPlotSeriesNode
    series = []
    for vessel in charted_vessels(study):
        table, color = profile_tables[vessel], label_color(vessel)
        lumen = _add_series(
            scene, _("{vessel} lumen").format(vessel=vessel), table, "distance_mm", "lumen_diameter_mm", color
        )
        lumen.SetLineWidth(3.0)
        healthy = _add_series(
            scene, _("{vessel} reference").format(vessel=vessel), table, "distance_mm", "reference_diameter_mm", color
        )
        healthy.SetLineStyle(style.LineStyleDash)
        series += [lumen, healthy]
    if study.lesions:
        marks = _add_series(
            scene, _("Lesion throats"), lesion_table, "throat_mm", "minimal_lumen_diameter_mm", LESION_COLOR
        )
        marks.SetLabelColumnName("id")
        marks.SetLineStyle(style.LineStyleNone)
        marks.SetMarkerStyle(style.MarkerStyleDiamond)
        marks.SetMarkerSize(12.0)
        series.append(marks)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    chart.SetTitle(_("Lumen and reference diameter"))
    chart.SetXAxisTitle(_("Distance along the vessel (mm)"))
    chart.SetYAxisTitle(_("Diameter (mm)"))
    chart.SetLegendVisibility(True)
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    return chart, tuple(series)


def _add_series(scene: Any, name: str, table: Any, x: str, y: str, color: tuple[float, float, float]) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetPlotType(node.PlotTypeScatter)
    node.SetXColumnName(x)
    node.SetYColumnName(y)
    node.SetMarkerStyle(node.MarkerStyleNone)
    node.SetColor(*color)
    return node
