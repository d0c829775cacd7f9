"""`read_centerlines`: centerlines of other programs to lines in RAS mm with radii.

VTK PolyData (.vtp, .vtk), the point data text of VMTK (.dat), CAT08 text (a file, or a folder of them) and Slicer
curves (.mrk.json, or a folder of them). What a file says of its space (LPS or RAS) counts; where it says nothing, the
caller must.
"""

import json
from pathlib import Path

import numpy as np

from ..centerline.lines import RADIUS_ARRAYS, SPACE_ARRAY, CenterlineLine
from ..errors import InputError
from ..geometry import SPACES, signs_of
from .files import shown_name

FORMATS = (".vtp", ".vtk", ".dat", ".txt", ".mrk.json")

_JUMP = 3.0
"""A step this many times the median one begins a new line, where a text file does not number its lines."""


def read_centerlines(path: Path | str, space: str | None = None) -> tuple[CenterlineLine, ...]:
    """Return the lines of a file, or of all files of a folder; `centerline.lines.tree_from_lines` makes a tree of them.

    Parameters
    ----------
    path : a file of one of `FORMATS`, or a folder of CAT08 text files or Slicer curves (subfolders count).
    space : `LPS` or `RAS` where the file does not tell; VMTK and CAT08 usually mean LPS.

    Raises
    ------
    InputError : the file is none of these, holds no line, or does not tell its space and `space` is None.
    """
    path = Path(path).expanduser()
    if space is not None:
        signs_of(space)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and (p.suffix == ".txt" or _is_curve(p)))
        if not files:
            raise InputError(f"{shown_name(path)} holds no centerlines: choose a folder with .txt or .mrk.json files")
        return tuple(line for file in files for line in read_centerlines(file, space))
    if not path.is_file():
        raise InputError(f"{shown_name(path)} does not exist: check the path of the centerlines")
    if path.suffix in (".vtp", ".vtk"):
        lines = _read_poly_data(path, space)
    elif _is_curve(path):
        lines = _read_curve(path)
    elif path.suffix in (".dat", ".txt"):
        lines = _read_text(path, space)
    else:
        raise InputError(f"{shown_name(path)} is no centerline file: give one of {', '.join(FORMATS)}")
    if not lines:
        raise InputError(f"{shown_name(path)} holds no line: choose a file with centerlines in it")
    return lines


def _is_curve(path: Path) -> bool:
    return path.name.lower().endswith((".mrk.json", ".json"))


def _signs(path: Path, told: str | None, space: str | None) -> np.ndarray:
    """Return the factors to RAS by what the file or else the caller says."""
    known = told if told in SPACES else space
    if known is None:
        raise InputError(f"{shown_name(path)} does not tell its space: say whether it is LPS or RAS")
    return signs_of(known)


def _read_poly_data(path: Path, space: str | None) -> tuple[CenterlineLine, ...]:
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkXMLPolyDataReader() if path.suffix == ".vtp" else vtk.vtkPolyDataReader()
    # Without an observer VTK prints what is wrong with a file, with its path.
    reader.AddObserver("ErrorEvent", lambda _caller, _event: None)
    reader.SetFileName(str(path))
    reader.Update()
    data = reader.GetOutput()
    if data is None or data.GetNumberOfPoints() == 0:
        return ()
    told = data.GetFieldData().GetAbstractArray(SPACE_ARRAY)
    signs = _signs(path, None if told is None else str(told.GetValue(0)).removeprefix("SPACE="), space)
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64) * signs
    radius = np.full(len(points), np.nan)
    for name in RADIUS_ARRAYS:
        array = data.GetPointData().GetArray(name)
        if array is not None:
            radius = vtk_to_numpy(array).astype(np.float64)
            break
    names, parents = (data.GetCellData().GetAbstractArray(n) for n in ("VesselName", "ParentName"))
    lines = []
    for cell in range(data.GetNumberOfCells()):
        ids = data.GetCell(cell).GetPointIds()
        rows = np.array([ids.GetId(n) for n in range(ids.GetNumberOfIds())], dtype=np.int64)
        if len(rows) < 2:
            continue
        told_name = None if names is None else str(names.GetValue(cell)) or None
        told_parent = None if parents is None else str(parents.GetValue(cell)) or None
        lines.append(CenterlineLine(points[rows], radius[rows], told_name, told_parent))
    return tuple(lines)


def _read_text(path: Path, space: str | None) -> tuple[CenterlineLine, ...]:
    try:
        rows = [row.replace(",", " ").split() for row in path.read_text(encoding="utf-8").splitlines() if row.strip()]
        header = rows.pop(0) if rows and rows[0][0].upper() == "X" else None
        table = np.array([[float(value) for value in row] for row in rows], dtype=np.float64)
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{shown_name(path)} is no table of numbers: give rows of x y z and radius") from None
    if table.ndim != 2 or table.shape[1] < 3 or len(table) < 2 or not np.isfinite(table[:, :3]).all():
        raise InputError(f"{shown_name(path)} is no centerline: it needs two or more rows of x y z and radius")
    points = table[:, :3] * _signs(path, None, space)
    if header is None:
        radius = table[:, 3] if table.shape[1] > 3 else np.full(len(table), np.nan)
        name = path.parent.name if path.stem in ("reference", "result") else path.stem
        return (CenterlineLine(points, radius, name),)
    columns = {name: table[:, n] for n, name in enumerate(header[: table.shape[1]])}
    radius = next((columns[name] for name in RADIUS_ARRAYS if name in columns), np.full(len(table), np.nan))
    if "CenterlineIds" in columns:
        new = np.diff(columns["CenterlineIds"]) != 0
    else:
        step = np.linalg.norm(np.diff(points, axis=0), axis=1)
        new = step > _JUMP * np.median(step)
    parts = np.split(np.arange(len(points)), np.flatnonzero(new) + 1)
    return tuple(CenterlineLine(points[rows], radius[rows]) for rows in parts if len(rows) > 1)


def _read_curve(path: Path) -> tuple[CenterlineLine, ...]:
    try:
        markups = json.loads(path.read_text(encoding="utf-8"))["markups"]
        lines = []
        for markup in markups:
            if markup.get("type") not in ("Curve", "ClosedCurve", "Line"):
                continue
            signs = _signs(path, str(markup.get("coordinateSystem", "LPS")), None)
            placed = [p for p in markup["controlPoints"] if p.get("positionStatus", "defined") == "defined"]
            points = np.array([p["position"] for p in placed], dtype=np.float64).reshape(-1, 3) * signs
            radius = np.full(len(points), np.nan)
            for measurement in markup.get("measurements", ()):
                values = measurement.get("controlPointValues")
                if measurement.get("name") == "Radius" and values is not None:
                    radius[: len(values)] = np.asarray(values, dtype=np.float64)[: len(radius)]
            if len(points) > 1:
                lines.append(CenterlineLine(points, radius, path.name.split(".")[0]))
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise InputError(f"{shown_name(path)} is no markups file of Slicer: save the curve as .mrk.json") from None
    return tuple(lines)
