"""Centerlines from elsewhere: lines in RAS come in, in any order and with or without names; a named tree goes out.

Lines may be branches that begin on one another, as this product and Slicer write them, or whole ways from the ostium to
each tip that run together at first, as VMTK and CAT08 have them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..anatomy import VESSELS
from ..errors import InputError
from ..geometry import arc_length
from ..study import CENTERLINE_SPACING_MM, Vessel, VesselTree
from .courses import SectionTree, joined_nodes
from .naming import name_courses
from .paths import Section, cut_at_forks
from .segments import dominance_of, with_segments
from .smoothing import resample

RADIUS_ARRAYS = ("MaximumInscribedSphereRadius", "Radius")
"""Names of the radius in files of VMTK and of SlicerVMTK."""

SPACE_ARRAY = "SPACE"
"""Name of the field data array in which Slicer's model files tell RAS or LPS."""

TOGETHER_MM = 0.75
"""Lines without radii run together as long as they are nearer than this; with radii, half of the radius counts too."""

JOINT_MARGIN_MM = 1.0
"""A line begins on another when it starts at most this far outside of its radius."""

BEYOND_START = round(1.0 / CENTERLINE_SPACING_MM)
"""Points at the start of a line on which no other begins: sisters share their start."""

UNKNOWN_RADIUS_MM = 1.0
IMPORTED_FLAG = "imported"

_SHORTEST_MM = 2.0


@dataclass(frozen=True, eq=False)
class CenterlineLine:
    """A line (N, 3) in RAS mm with its radius (N,), NaN where unknown; `name` and `parent` None where not told."""

    points_ras: np.ndarray
    radius_mm: np.ndarray
    name: str | None = None
    parent: str | None = None


def tree_from_lines(lines: tuple[CenterlineLine, ...]) -> VesselTree:
    """Return the tree of imported lines, resampled every 0.25 mm; every vessel has the flag `imported`.

    Lines that all have different names, some of them of coronary arteries, keep them; others are named by their course,
    and a common stem becomes the left main. Radii that are not told are 1 mm, from which the measurement begins.

    Raises
    ------
    InputError : no line is as long as 2 mm.
    """
    usable = [_sampled(line) for line in lines if len(line.points_ras) >= 2 and _length(line) >= _SHORTEST_MM]
    if not usable:
        raise InputError("there is no centerline of at least 2 mm in it: choose another file")
    names = [line.name for line in usable]
    branches = _branches(usable)
    told = all(names) and len(set(names)) == len(names) and any(name in VESSELS for name in names)
    if told and not _overlapping(usable, branches):
        return _named_as_told(usable)
    return _named_by_course(usable, branches)


def _length(line: CenterlineLine) -> float:
    return float(arc_length(line.points_ras)[-1])


def _sampled(line: CenterlineLine) -> CenterlineLine:
    """Return a line with a point every 0.25 mm and a radius everywhere."""
    points = np.asarray(line.points_ras, dtype=np.float64)
    along = arc_length(points)
    new = resample(points, CENTERLINE_SPACING_MM)
    radius = np.asarray(line.radius_mm, dtype=np.float64)
    known = np.isfinite(radius) & (radius > 0)
    if known.any():
        radius = np.interp(np.arange(len(new)) * CENTERLINE_SPACING_MM, along[known], radius[known])
    else:
        radius = np.full(len(new), UNKNOWN_RADIUS_MM)
    return replace(line, points_ras=new, radius_mm=radius)


def _branches(lines: list[CenterlineLine]) -> list[np.ndarray]:
    """Return the lines as rows of all their points, longest first, each from the place where it leaves the others.

    The first row of a branch is one of the line it leaves.
    """
    from scipy.spatial import cKDTree

    first_row = np.concatenate([[0], np.cumsum([len(line.points_ras) for line in lines])])
    points = np.concatenate([line.points_ras for line in lines])
    radius = np.concatenate([line.radius_mm for line in lines])
    pending = sorted(range(len(lines)), key=lambda n: -len(lines[n].points_ras))
    first = _next_root(lines, pending)
    pending.remove(first)
    branches = [np.arange(first_row[first], first_row[first + 1])]
    while pending:
        present = np.concatenate(branches)
        tree = cKDTree(points[present])
        # A line that begins on what is there comes before one that begins elsewhere; else another tree begins.
        branch = None
        for number in pending:
            rows = np.arange(first_row[number], first_row[number + 1])
            distance, nearest = tree.query(points[rows])
            if distance[0] <= radius[present[nearest[0]]] + JOINT_MARGIN_MM:
                apart = np.flatnonzero(distance > np.maximum(TOGETHER_MM, 0.5 * radius[rows]))
                leaves = int(apart[0]) if len(apart) else len(rows)
                branch = np.concatenate([present[nearest[max(leaves - 1, 0)]][None], rows[leaves:]])
                break
        else:
            number = _next_root(lines, pending)
            branch = np.arange(first_row[number], first_row[number + 1])
        pending.remove(number)
        if len(branch) * CENTERLINE_SPACING_MM >= _SHORTEST_MM:
            branches.append(branch)
    return branches


def _next_root(lines: list[CenterlineLine], pending: list[int]) -> int:
    """Return the first of the pending lines that begins on no other of them, or the first if all do."""
    left = [lines[n] for n in pending]
    return next((n for n in pending if _nearest_trunk(lines[n], left)[0] >= JOINT_MARGIN_MM), pending[0])


def _overlapping(lines: list[CenterlineLine], branches: list[np.ndarray]) -> bool:
    """Whether lines run together for more than a joint is long: then they are whole ways from an ostium."""
    total = sum(len(line.points_ras) for line in lines)
    return total - sum(len(rows) for rows in branches) > 4.0 / CENTERLINE_SPACING_MM * len(lines)


def _named_as_told(lines: list[CenterlineLine]) -> VesselTree:
    """Return the vessels with the names they came with, parents before children."""
    known = {line.name for line in lines}
    parents = {str(x.name): x.parent if x.parent in known else _nearest_trunk(x, lines)[1] for x in lines}
    vessels: dict[str, Vessel] = {}
    pending = {str(line.name): line for line in lines}
    while pending:
        ready = [n for n in pending if parents[n] is None or parents[n] in vessels]
        # Lines that name each other as parents would never be ready: the first of them begins a tree.
        name = (ready or list(pending))[0]
        line = pending.pop(name)
        parent = vessels.get(str(parents[name]))
        vessels[name] = _vessel(name, parent, line.points_ras, line.radius_mm)
    return _finished(list(vessels.values()))


def _nearest_trunk(line: CenterlineLine, lines: list[CenterlineLine]) -> tuple[float, str | None]:
    """Return how far outside of the nearest other line, beyond that line's own start, one begins, and its name.

    Where that is `JOINT_MARGIN_MM` or more, it begins on none.
    """
    nearest: tuple[float, str | None] = (JOINT_MARGIN_MM, None)
    for other in lines:
        if other is not line and len(other.points_ras) > BEYOND_START:
            away = np.linalg.norm(other.points_ras - line.points_ras[0], axis=1) - other.radius_mm
            nearest = min(nearest, (float(away[BEYOND_START:].min()), other.name), key=lambda pair: pair[0])
    return nearest


def _named_by_course(lines: list[CenterlineLine], branches: list[np.ndarray]) -> VesselTree:
    """Return the vessels named by the rules that name extracted trees; branches too short to keep are left out."""
    points = np.concatenate([line.points_ras for line in lines])
    radius = np.concatenate([line.radius_mm for line in lines])
    sections: list[Section] = cut_at_forks(branches)
    naming = name_courses(SectionTree(points, radius, sections, lambda nodes: radius[nodes]))
    vessels: dict[str, Vessel] = {}
    for course in naming.courses:
        rows = joined_nodes(sections, course.sections)
        along = arc_length(points[rows])
        path = resample(points[rows], CENTERLINE_SPACING_MM)
        widths = np.interp(np.arange(len(path)) * CENTERLINE_SPACING_MM, along, radius[rows])
        parent = None if course.parent is None else vessels[course.parent.name]
        vessels[course.name] = _vessel(course.name, parent, path, widths)
    return replace(_finished(list(vessels.values())), flags=tuple(dict.fromkeys(naming.flags)))


def _vessel(name: str, parent: Vessel | None, points: np.ndarray, radius: np.ndarray) -> Vessel:
    distance = None
    if parent is not None:
        distance = float(parent.distance_mm[np.argmin(np.linalg.norm(parent.points_ras - points[0], axis=1))])
    along = np.arange(len(points)) * CENTERLINE_SPACING_MM
    return Vessel(
        name, None if parent is None else parent.name, distance, points, along, radius, flags=(IMPORTED_FLAG,)
    )


def _finished(vessels: list[Vessel]) -> VesselTree:
    return VesselTree(with_segments(vessels), dominance_of(vessels))
