"""Centerline files for other programs: VTK PolyData, VMTK point data and CAT08 text.

In: a `VesselTree` in RAS. Out: files in RAS or LPS, as the caller says. PolyData states it in the field data array
`SPACE`, where Slicer looks for it; the text formats cannot state it. Each file is written beside its place and moved
there when it is complete.

- `.vtp`: a line per vessel; point arrays `MaximumInscribedSphereRadius` (VMTK), `Radius` (SlicerVMTK) and `Abscissas`;
  cell arrays `VesselName`, `ParentName` and `ParentDistance`.
- `.dat`: the point data text of VMTK, a row per point under a header.
- CAT08 (Schaap 2009): a folder with a text file per vessel and a row `x y z radius` per point, without a header.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..centerline.lines import RADIUS_ARRAYS, SPACE_ARRAY
from ..errors import InputError
from ..geometry import signs_of
from ..study import VesselTree


def write_vtp(tree: VesselTree, path: Path | str, space: str = "LPS") -> Path:
    """Write a tree as VTK PolyData (.vtp) and return its path."""
    import vtk

    path = Path(path)
    data = poly_data(tree, space)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".centerlines-") as folder:
        part = Path(folder) / path.name
        writer = vtk.vtkXMLPolyDataWriter()
        writer.SetFileName(str(part))
        writer.SetInputData(data)
        if not writer.Write() or not part.is_file():
            raise InputError(f"could not write {path.name}: check the free space of the disk and its permissions")
        part.replace(path)
    return path


def poly_data(tree: VesselTree, space: str = "LPS") -> Any:
    """Return a tree as vtkPolyData with a line per vessel; arrays are listed at the head of this file."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    signs = signs_of(space)
    data = vtk.vtkPolyData()
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetDataTypeToDouble()
    stacked = np.concatenate([np.zeros((0, 3)), *(v.points_ras for v in tree.vessels)]) * signs
    points.SetData(numpy_to_vtk(np.ascontiguousarray(stacked), deep=True))
    first = 0
    for vessel in tree.vessels:
        count = len(vessel.points_ras)
        lines.InsertNextCell(count)
        for row in range(first, first + count):
            lines.InsertCellPoint(row)
        first += count
    data.SetPoints(points)
    data.SetLines(lines)
    radius = np.concatenate([np.zeros(0), *(v.radius_mm for v in tree.vessels)])
    along = np.concatenate([np.zeros(0), *(v.distance_mm for v in tree.vessels)])
    for name, values in (*((name, radius) for name in RADIUS_ARRAYS), ("Abscissas", along)):
        array = numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float64), deep=True)
        array.SetName(name)
        data.GetPointData().AddArray(array)
    distance = numpy_to_vtk(np.array([v.parent_distance_mm or 0.0 for v in tree.vessels], dtype=np.float64), deep=True)
    distance.SetName("ParentDistance")
    data.GetCellData().AddArray(_strings("VesselName", [v.name for v in tree.vessels]))
    data.GetCellData().AddArray(_strings("ParentName", [v.parent or "" for v in tree.vessels]))
    data.GetCellData().AddArray(distance)
    data.GetFieldData().AddArray(_strings(SPACE_ARRAY, [space]))
    return data


def write_vmtk_text(tree: VesselTree, path: Path | str, space: str = "LPS") -> Path:
    """Write a tree as the point data text of VMTK (`vmtksurfacewriter -f pointdata`, .dat) and return its path."""
    signs = signs_of(space)
    lines = ["X Y Z MaximumInscribedSphereRadius Abscissas CenterlineIds"]
    for number, vessel in enumerate(tree.vessels):
        for point, radius, along in zip(vessel.points_ras * signs, vessel.radius_mm, vessel.distance_mm, strict=True):
            lines.append(f"{point[0]:.6f} {point[1]:.6f} {point[2]:.6f} {radius:.6f} {along:.6f} {number}")
    return _write_text(Path(path), lines)


def write_cat08(tree: VesselTree, folder: Path | str, space: str = "LPS") -> list[Path]:
    """Write a text file `<vessel>.txt` per vessel with rows `x y z radius` into a folder and return the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    signs = signs_of(space)
    return [
        _write_text(
            folder / f"{vessel.name}.txt",
            [
                f"{p[0]:.6f} {p[1]:.6f} {p[2]:.6f} {r:.6f}"
                for p, r in zip(vessel.points_ras * signs, vessel.radius_mm, strict=True)
            ],
        )
        for vessel in tree.vessels
    ]


def _write_text(path: Path, lines: list[str]) -> Path:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".centerlines-") as folder:
        part = Path(folder) / path.name
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.replace(path)
    return path


def _strings(name: str, values: list[str]) -> Any:
    import vtk

    array = vtk.vtkStringArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    return array
