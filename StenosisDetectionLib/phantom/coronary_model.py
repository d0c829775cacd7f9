"""The real coronary tree of `Resources/demo`: its surface, and its vessels by name with their true diameters."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import arc_length
from ..study import CENTERLINE_SPACING_MM
from .curves import first_farther_than, resampled, tangents
from .mesh import TriangleMesh, cut_sections, read_lines, read_mesh
from .truth import VesselTruth

_SMOOTHING_MM = 1.0
_SEPARATE_MM = 1.0  # a branch begins where its line is this far from its parent's: still inside both lumens
_OSTIUM_WITHIN_MM = 60.0  # of the beginning of a line, at the top of the aorta
_END_MM = 1.5  # the closed end of the model, which is no vessel


@dataclass(frozen=True)
class _Path:
    """Where a vessel runs: a line (file, number), from where it leaves one line to where another leaves it."""

    name: str
    parent: str | None
    line: tuple[str, int]
    leaves: tuple[str, int] | None
    until: tuple[str, int] | None = None


# Which line is which vessel follows from where it runs: the lateral wall has two long branches of the circumflex
# artery, of which the larger keeps the name; the right coronary artery runs past the crux, where the model holds only
# a stub of a posterior descending artery, too short to be a vessel here.
_PATHS = (
    _Path("LM", None, ("left", 2), None, until=("left", 3)),
    _Path("LAD", "LM", ("left", 2), ("left", 3)),
    _Path("LCX", "LM", ("left", 3), ("left", 2)),
    _Path("D1", "LAD", ("left", 0), ("left", 2)),
    _Path("D2", "LAD", ("left", 1), ("left", 2)),
    _Path("OM1", "LCX", ("left", 4), ("left", 3)),
    _Path("RCA", None, ("right", 3), None),
    _Path("AM1", "RCA", ("right", 0), ("right", 3)),
    _Path("AM2", "RCA", ("right", 1), ("right", 3)),
)


@dataclass(frozen=True, eq=False)
class CoronaryModel:
    """The healthy model: closed surface of aortic root and coronary lumen, aorta centerline (root last), vessels."""

    mesh: TriangleMesh
    aorta_ras: np.ndarray
    vessels: tuple[VesselTruth, ...]


def load_coronary_model(folder: Path) -> CoronaryModel:
    """Read the model and measure its sections.

    Raises
    ------
    InputError : the folder does not hold the model.
    """
    names = ("coronary_surface.vtp", "left_centerlines.vtp", "right_centerlines.vtp", "aorta_centerline.vtp")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(f"the demo study lacks {missing[0]}: install the extension again, with its Resources folder")
    mesh = read_mesh(folder / names[0])
    lines = {
        (side, number): resampled(line, smoothing_mm=_SMOOTHING_MM)
        for side, name in (("left", names[1]), ("right", names[2]))
        for number, line in enumerate(read_lines(folder / name))
    }
    spans = {path.name: _span(path, lines, mesh) for path in _PATHS}
    points = {path.name: lines[path.line][slice(*spans[path.name])] for path in _PATHS}
    vessels = []
    for path in _PATHS:
        others = [line for name, line in points.items() if name != path.name]
        vessels.append(_measured(path, points, mesh, np.concatenate(others)))
    return CoronaryModel(mesh, resampled(read_lines(folder / names[3])[0], smoothing_mm=_SMOOTHING_MM), tuple(vessels))


def _span(path: _Path, lines: dict[tuple[str, int], np.ndarray], mesh: TriangleMesh) -> tuple[int, int]:
    """Return the first index of a vessel on its line and the index behind its last."""
    line = lines[path.line]
    first = first_farther_than(line, lines[path.leaves], _SEPARATE_MM) if path.leaves else _ostium(line, mesh)
    if path.until:
        # One point shared with the first branch that leaves, so that the branch begins on its parent.
        return first, first_farther_than(line, lines[path.until], _SEPARATE_MM) + 1
    return first, len(line) - int(_END_MM / CENTERLINE_SPACING_MM)


def _ostium(line: np.ndarray, mesh: TriangleMesh) -> int:
    """Return where a line leaves the aorta: the first point from which its sections stay those of a coronary."""
    line = line[: int(_OSTIUM_WITHIN_MM / CENTERLINE_SPACING_MM)]
    diameter = cut_sections(mesh, line, tangents(line)).diameter_mm
    coronary = (diameter > 2) & (diameter < 6)
    stays = np.convolve(coronary, np.ones(8), mode="full")[7:] == 8  # over 2 mm from here on
    return int(np.flatnonzero(stays)[0])


def _measured(path: _Path, points: dict[str, np.ndarray], mesh: TriangleMesh, others: np.ndarray) -> VesselTruth:
    """Return a vessel with the diameters of its sections, NaN where a section also holds another vessel."""
    from scipy.spatial import cKDTree

    line = points[path.name]
    along = tangents(line)
    sections = cut_sections(mesh, line, along)
    apart = others[cKDTree(line).query(others)[0] > 1e-6]
    own = []
    for point, tangent, radius in zip(line, along, sections.largest_radius_mm, strict=True):
        offset = apart - point
        out_of_plane = offset @ tangent
        shared = (np.abs(out_of_plane) < 0.3) & (np.linalg.norm(offset, axis=1) < radius)
        own.append(not shared.any())
    diameter = np.where(own, sections.diameter_mm, np.nan)
    parent_distance = None
    if path.parent:
        nearest = int(cKDTree(points[path.parent]).query(line[0])[1])
        parent_distance = float(arc_length(points[path.parent])[nearest])
    return VesselTruth(path.name, path.parent, parent_distance, line, arc_length(line), diameter, diameter.copy())
