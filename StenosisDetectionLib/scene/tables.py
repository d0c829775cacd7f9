"""Tables of a study as table nodes: `Lesions`, `Vessels` and the profile along each vessel.

Column names are stable English, as in the CSV files; titles and descriptions are in the language of Slicer. Columns are
typed; an unknown number is NaN, which Slicer's tables and plots show as a gap.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import vtk

from ..i18n import tr as _
from ..rows import LESION_COLUMNS, VESSEL_COLUMNS, Column, lesion_rows, vessel_rows
from ..study import LumenProfile, ReferenceProfile, StudyResult, Vessel

PROFILE_COLUMNS: tuple[Column, ...] = (
    Column("distance_mm", float, _("Distance"), "mm", _("Distance along the vessel from its start")),
    Column("lumen_diameter_mm", float, _("Lumen diameter"), "mm", _("Diameter of the circle of the same area")),
    Column("reference_diameter_mm", float, _("Reference diameter"), "mm", _("Healthy diameter")),
    Column("diameter_stenosis_percent", float, _("Diameter stenosis"), "%", _("1 - lumen / reference diameter")),
    Column("lumen_area_mm2", float, _("Lumen area"), "mm2", _("Area of the lumen across the vessel")),
    Column("minimum_diameter_mm", float, _("Minimum diameter"), "mm", _("Smallest caliper diameter")),
    Column("maximum_diameter_mm", float, _("Maximum diameter"), "mm", _("Largest caliper diameter")),
    Column("quality", str, _("Quality"), "", _("ok, or what limits the measurement here")),
)


def add_lesion_table(scene: Any, study: StudyResult, name: str) -> Any:
    """Add the table of lesions, one row per lesion in the order of the study, and return its node."""
    return _add_table(scene, name, LESION_COLUMNS, lesion_rows(study))


def add_vessel_table(scene: Any, study: StudyResult, name: str) -> Any:
    """Add the table of vessels, one row per vessel in the order of the tree, and return its node."""
    return _add_table(scene, name, VESSEL_COLUMNS, vessel_rows(study))


def add_profile_table(scene: Any, vessel: Vessel, profile: LumenProfile, reference: ReferenceProfile, name: str) -> Any:
    """Add the measurements along a vessel, one row per centerline point, and return the table node."""
    with np.errstate(divide="ignore", invalid="ignore"):
        stenosis = 100.0 * (1.0 - profile.diameter_mm / reference.diameter_mm)
    arrays: dict[str, Sequence[Any]] = {
        "distance_mm": vessel.distance_mm.tolist(),
        "lumen_diameter_mm": profile.diameter_mm.tolist(),
        "reference_diameter_mm": reference.diameter_mm.tolist(),
        "diameter_stenosis_percent": stenosis.tolist(),
        "lumen_area_mm2": profile.area_mm2.tolist(),
        "minimum_diameter_mm": profile.minimum_diameter_mm.tolist(),
        "maximum_diameter_mm": profile.maximum_diameter_mm.tolist(),
        "quality": profile.quality,
    }
    names = [column.name for column in PROFILE_COLUMNS]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*(arrays[n] for n in names), strict=True)]
    return _add_table(scene, name, PROFILE_COLUMNS, rows)


def _add_table(scene: Any, name: str, columns: tuple[Column, ...], rows: Sequence[Mapping[str, Any]]) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    fill_table(node, columns, rows)
    return node


def fill_lesion_table(node: Any, study: StudyResult) -> None:
    """Give the table of lesions the rows of a study."""
    fill_table(node, LESION_COLUMNS, lesion_rows(study))


def fill_vessel_table(node: Any, study: StudyResult) -> None:
    """Give the table of vessels the rows of a study."""
    fill_table(node, VESSEL_COLUMNS, vessel_rows(study))


def fill_table(node: Any, columns: tuple[Column, ...], rows: Sequence[Mapping[str, Any]]) -> None:
    """Give a table node these columns and rows, by the names of the columns, in place of what it had."""
    node.RemoveAllColumns()
    for column in columns:
        node.AddColumn(_array(column, [row[column.name] for row in rows]))
        node.SetColumnTitle(column.name, column.title)
        node.SetColumnUnitLabel(column.name, column.unit)
        node.SetColumnDescription(column.name, column.description)
        node.SetColumnProperty(column.name, "type", _TYPE_NAMES[column.type])
    node.SetUseColumnTitleAsColumnHeader(True)
    # The table shows what was measured; a correction goes into the segmentation or the curves.
    node.SetLocked(True)


_TYPE_NAMES = {str: "string", int: "int", float: "double"}


def _array(column: Column, values: Sequence[Any]) -> vtk.vtkAbstractArray:
    array = {str: vtk.vtkStringArray, int: vtk.vtkIntArray, float: vtk.vtkDoubleArray}[column.type]()
    array.SetName(column.name)
    array.SetNumberOfValues(len(values))
    unknown: str | float = "" if column.type is str else math.nan
    for row, value in enumerate(values):
        array.SetValue(row, unknown if value is None else value)
    return array
