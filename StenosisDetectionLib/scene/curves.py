"""Centerlines and lesions as markups nodes, in RAS and mm.

A curve has one control point per centerline point and static measurements with one value per control point, the form
that SlicerVMTK's modules write and read: `Radius`, `LumenArea`, `ReferenceDiameter`, `DiameterStenosis`, and
`Measured`, which is 1 where the lumen was measured. Markups files cannot hold unknown numbers, so a value between
measured points is interpolated along the vessel (at its ends the nearest one is carried on) and `Measured` is 0 there;
a quantity that is known nowhere on a vessel is left out. The report and the profile tables keep unknown ones unknown.
"""

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..i18n import tr as _
from ..i18n import translate
from ..stenosis.hidden import INTERVAL_ONLY
from ..study import Lesion, LumenProfile, ReferenceProfile, StudyResult, Vessel
from .application import slicer_package
from .terminology import label_color

STENOSIS_COLOR_NODE = "vtkMRMLColorTableNodeFilePlasma.txt"
"""One of Slicer's own color tables, which every Slicer has in its scene."""

WORDS_CONTEXT = "gui.vocabulary"
"""Where grades and kinds of plaque are translated."""

LESION_COLOR = (220 / 255, 38 / 255, 127 / 255)


def add_curve_node(scene: Any, vessel: Vessel, profile: LumenProfile, reference: ReferenceProfile) -> Any:
    """Add the centerline of a vessel with its measurements to the scene and return its node, named as the vessel."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", vessel.name)
    node.SetCurveTypeToLinear()
    node.SetNumberOfPointsPerInterpolatingSegment(1)
    node.SetControlPointLabelFormat("")
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(vessel.points_ras, dtype=np.float64), deep=True))
    node.SetControlPointPositionsWorld(points)
    for name, unit, values in _measurements(vessel, profile, reference):
        _add_measurement(node, name, unit, values)
    # A control point moved or removed by hand would no longer belong to its measurements.
    node.SetLocked(True)
    node.SetFixedNumberOfControlPoints(True)
    _show_curve(node, label_color(vessel.name))
    return node


def add_lesion_node(scene: Any, study: StudyResult, name: str) -> Any:
    """Add one control point per lesion at its throat, in the order of the study, and return the node."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    fill_lesion_node(node, study.lesions)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*LESION_COLOR)
    display.SetColor(*LESION_COLOR)
    display.SetTextScale(3.0)
    display.UseGlyphScaleOff()
    display.SetGlyphSize(2.0)
    # A lesion is hidden inside its vessel: show it through the surface.
    display.SetOccludedVisibility(True)
    return node


def fill_lesion_node(node: Any, lesions: tuple[Lesion, ...], rejected: frozenset[str] = frozenset()) -> None:
    """Give the node of lesions one locked control point each; rejected ones are there but not shown."""
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveAllControlPoints()
    for lesion in lesions:
        index = node.AddControlPoint(vtk.vtkVector3d(*lesion.position_ras))
        node.SetNthControlPointLabel(index, f"{lesion.id} {lesion.vessel} {_stenosis(lesion)}")
        node.SetNthControlPointDescription(index, _describe(lesion))
        node.SetNthControlPointVisibility(index, lesion.id not in rejected)
        node.SetNthControlPointLocked(index, True)
    node.SetLocked(True)
    node.SetFixedNumberOfControlPoints(True)


def _measurements(
    vessel: Vessel, profile: LumenProfile, reference: ReferenceProfile
) -> list[tuple[str, str, np.ndarray]]:
    """Name, unit and values without gaps of what is known of a vessel; see the head of this file."""
    diameter, healthy = profile.diameter_mm, reference.diameter_mm
    measured = np.isfinite(diameter)
    with np.errstate(divide="ignore", invalid="ignore"):
        stenosis = 100.0 * (1.0 - diameter / healthy)
    # A vessel that could not be measured at all keeps the radius of the segmentation: curves are drawn from it.
    radius = diameter / 2.0 if measured.any() else vessel.radius_mm
    candidates = (
        ("Radius", "mm", radius),
        ("LumenArea", "mm2", profile.area_mm2),
        ("ReferenceDiameter", "mm", healthy),
        ("DiameterStenosis", "%", stenosis),
    )
    known = [(name, unit, _without_gaps(values)) for name, unit, values in candidates if np.isfinite(values).any()]
    return [*known, ("Measured", "", measured.astype(np.float64))]


def _without_gaps(values: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, np.asarray(values, dtype=np.float64)[known])


def _add_measurement(node: Any, name: str, unit: str, values: np.ndarray) -> None:
    array = numpy_to_vtk(values, deep=True)
    array.SetName(name)
    measurement = slicer_package().vtkMRMLStaticMeasurement()
    measurement.SetName(name)
    measurement.SetUnits(unit)
    # Without a format the measurement stays out of the label that is drawn beside the curve.
    measurement.SetPrintFormat("")
    measurement.SetControlPointValues(array)
    node.AddMeasurement(measurement)


def _show_curve(node: Any, color: tuple[float, float, float]) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*color)
    display.SetColor(*color)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(0.6)
    display.UseGlyphScaleOff()
    # Hundreds of control points: glyphs no thicker than the line, so that it reads as one.
    display.SetGlyphSize(0.6)
    # One click on scalar visibility colors the curves by their stenosis, on the same scale for all vessels.
    display.SetActiveScalar("DiameterStenosis", vtk.vtkAssignAttribute.POINT_DATA)
    display.SetAndObserveColorNodeID(STENOSIS_COLOR_NODE)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(0.0, 100.0)
    display.SetScalarVisibility(False)


def _stenosis(lesion: Lesion) -> str:
    """Return the diameter stenosis in words, as a range where calcium hides the lumen."""
    low, high = (f"{end:.0f}" for end in lesion.diameter_stenosis_interval_90)
    if INTERVAL_ONLY in lesion.flags:
        return _("{low} to {high} %").format(low=low, high=high)
    return f"{lesion.diameter_stenosis_percent:.0f} %"


def _describe(lesion: Lesion) -> str:
    """Return a lesion in the language of the application, as the Markups module lists it."""
    if INTERVAL_ONLY in lesion.flags:
        text = _(
            "{grade}, diameter stenosis {stenosis}, calcium hides the lumen, reference {reference} mm, "
            "length {length} mm, plaque {plaque}"
        )
    else:
        text = _(
            "{grade}, diameter stenosis {stenosis} ({low} to {high} %), minimal lumen diameter {diameter} mm, "
            "area {area} mm2, reference {reference} mm, length {length} mm, plaque {plaque}"
        )
    low, high = lesion.diameter_stenosis_interval_90
    return text.format(
        grade=translate(WORDS_CONTEXT, lesion.grade),
        stenosis=_stenosis(lesion),
        low=f"{low:.0f}",
        high=f"{high:.0f}",
        diameter=f"{lesion.minimal_lumen_diameter_mm:.2f}",
        area=f"{lesion.minimal_lumen_area_mm2:.2f}",
        reference=f"{lesion.reference_diameter_mm:.2f}",
        length=f"{lesion.length_mm:.1f}",
        plaque=translate(WORDS_CONTEXT, lesion.plaque.type),
    )
