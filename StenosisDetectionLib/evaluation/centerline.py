"""Scores of a coronary tree against a reference tree: branches, ostia, gaps, names and the measures of CAT08.

In: two `VesselTree`s in RAS, mm. The radius of the reference says how far a centerline may stray (see `paths.py`);
the scores of branches and names use one tolerance of 1.5 mm. Out: a `TreeScores` with counts and lengths, which can
be added up over patients.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import arc_length
from .names import MAIN_VESSELS, vessel_name
from .paths import MISSED, STEP_MM, PathScores, compare_paths, resampled

if TYPE_CHECKING:
    from ..study import Vessel, VesselTree

TOLERANCE_MM = 1.5
"""A point of one tree is found when the other has a centerline within this distance."""

GRADED_RADIUS_MM = 0.75
"""Branches are asked for where the reference is at least this wide (diameter 1.5 mm)."""

FOUND_PART = 0.5
"""A branch is found, and is no false one, when at least this part of its length has a counterpart."""

GAP_MM = 2.0
"""A shorter stretch without a centerline is no gap."""

NAME_TIE_MM = 0.25
"""At a branching point two vessels are equally near: a name is right if its vessel is nearest but for this."""

SIDE_BRANCH = "side_branch"
"""Flag of a small unnamed branch of the reference: nobody has to find it, and it is no false branch."""

UNNAMED = "names_unknown"
"""Flag of a reference tree whose names are not known: names are not scored."""

_SPACING_MM = 0.25


@dataclass(frozen=True)
class PathResult:
    """The CAT08 measures of a reference path from the ostium to the end of the vessel `name`."""

    name: str
    length_mm: float
    scores: PathScores


@dataclass(frozen=True)
class OstiumResult:
    """The distance in mm of the ostium nearest to a reference ostium (one-to-one); None when it was not found."""

    vessel: str
    distance_mm: float | None


@dataclass(frozen=True)
class TreeScores:
    """Scores of a tree; lengths in mm.

    `reference_mm` and `found_mm` count the reference where its diameter is 1.5 mm or more, `path_mm` and `matched_mm`
    the evaluated tree. `main_mm` is the found length of LM, LAD, LCX and RCA with a name in the reference, `named_mm`
    that with the right vessel name; `segment_mm` and `segment_named_mm` are the same of SCCT segments.
    """

    paths: tuple[PathResult, ...]
    ostia: tuple[OstiumResult, ...]
    reference_mm: float
    found_mm: float
    path_mm: float
    matched_mm: float
    branches: int
    branches_found: int
    missed_branches: tuple[str, ...]
    false_branches: int
    gaps: int
    trees: int
    trees_reference: int
    main_mm: float
    named_mm: float
    segment_mm: float
    segment_named_mm: float


@dataclass(frozen=True, eq=False)
class _Line:
    """A vessel resampled to 0.25 mm with its radius and its distance along the vessel."""

    vessel: Vessel
    name: str
    points: np.ndarray
    distance: np.ndarray
    radius: np.ndarray

    @property
    def graded(self) -> np.ndarray:
        return self.radius >= GRADED_RADIUS_MM


def compare_trees(
    tree: VesselTree, reference: VesselTree, step_mm: float = STEP_MM, unknown: Collection[str] = ()
) -> TreeScores:
    """Return the scores of a tree against a reference; an empty tree finds nothing and has nothing false.

    `unknown` are vessels of which the reference knows nothing, though the image may show them: a found vessel with such
    a name that the reference does not hold is neither right nor false.
    """
    lines, references = _lines(tree), _lines(reference)
    to_tree = [_distances(line.points, lines) for line in references]
    to_reference = [_distances(line.points, references) for line in lines]
    judged = [
        distance[distance <= TOLERANCE_MM] if line.name in unknown else distance
        for line, distance in zip(lines, to_reference, strict=True)
    ]
    asked = [line.graded & (SIDE_BRANCH not in line.vessel.flags) for line in references]
    found = [distance <= TOLERANCE_MM for distance in to_tree]
    matched = [distance <= TOLERANCE_MM for distance in judged]
    wide = [number for number, part in enumerate(asked) if part.any()]
    missed = tuple(references[number].name for number in wide if found[number][asked[number]].mean() < FOUND_PART)
    main_mm, named_mm, segment_mm, segment_named_mm = _naming(lines, [] if UNNAMED in reference.flags else references)
    return TreeScores(
        paths=_paths(tree, reference, step_mm),
        ostia=_ostia(tree, reference),
        reference_mm=_SPACING_MM * sum(int(part.sum()) for part in asked),
        found_mm=_SPACING_MM * sum(int((part & hit).sum()) for part, hit in zip(asked, found, strict=True)),
        path_mm=_SPACING_MM * sum(len(hit) for hit in matched),
        matched_mm=_SPACING_MM * sum(int(hit.sum()) for hit in matched),
        branches=len(wide),
        branches_found=len(wide) - len(missed),
        missed_branches=missed,
        false_branches=sum(bool(hit.mean() < FOUND_PART) for hit in matched if len(hit)),
        gaps=sum(_gaps(hit, part) for hit, part in zip(found, asked, strict=True)),
        trees=sum(vessel.parent is None for vessel in tree.vessels),
        trees_reference=sum(vessel.parent is None for vessel in reference.vessels),
        main_mm=main_mm,
        named_mm=named_mm,
        segment_mm=segment_mm,
        segment_named_mm=segment_named_mm,
    )


def path_from_ostium(tree: VesselTree, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the line (N, 3) from the ostium through all parents to the end of a vessel, and the radius along it."""
    vessel = tree.vessel(name)
    points, radius = vessel.points_ras, vessel.radius_mm
    visited = {vessel.name}
    while vessel.parent is not None and vessel.parent not in visited:
        visited.add(vessel.parent)
        try:
            parent = tree.vessel(vessel.parent)
        except KeyError:
            break
        end = parent.length_mm if vessel.parent_distance_mm is None else vessel.parent_distance_mm
        before = parent.distance_mm < end - 1e-6
        points = np.concatenate([parent.points_ras[before], points])
        radius = np.concatenate([parent.radius_mm[before], radius])
        vessel = parent
    return points, radius


def _lines(tree: VesselTree) -> list[_Line]:
    lines = []
    for vessel in tree.vessels:
        if len(vessel.points_ras) < 2:
            continue
        points, radius = resampled(vessel.points_ras, _SPACING_MM, vessel.radius_mm)
        _, distance = resampled(vessel.points_ras, _SPACING_MM, vessel.distance_mm)
        lines.append(_Line(vessel, vessel_name(vessel.name), points, distance, radius))
    return lines


def _distances(points: np.ndarray, lines: list[_Line]) -> np.ndarray:
    """Return the distance of each point to the nearest point of some lines, infinite without any."""
    from scipy.spatial import cKDTree

    if not lines:
        return np.full(len(points), np.inf)
    return np.asarray(cKDTree(np.concatenate([line.points for line in lines])).query(points)[0])


def _gaps(found: np.ndarray, asked: np.ndarray) -> int:
    """Return how many stretches of a vessel are missing between two that are found."""
    hits = np.flatnonzero(found)
    if len(hits) == 0:
        return 0
    inner = ~found[hits[0] : hits[-1] + 1] & asked[hits[0] : hits[-1] + 1]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inner.astype(np.int8), [0]])))
    return int(((edges[1::2] - edges[0::2]) * _SPACING_MM >= GAP_MM).sum())


def _paths(tree: VesselTree, reference: VesselTree, step_mm: float) -> tuple[PathResult, ...]:
    """Return the measures of each path to a free end of the reference, with the path of the tree that fits it best."""
    candidates = [path_from_ostium(tree, vessel.name)[0] for vessel in tree.vessels if tree.ends_free(vessel)]
    results = []
    for vessel in reference.vessels:
        if not reference.ends_free(vessel) or len(vessel.points_ras) < 2:
            continue
        if SIDE_BRANCH in vessel.flags or not (vessel.radius_mm >= GRADED_RADIUS_MM).any():
            continue
        points, radius = path_from_ostium(reference, vessel.name)
        best = _best(candidates, points, radius)
        scores = MISSED if best is None else compare_paths(best, points, radius, step_mm)
        results.append(PathResult(vessel_name(vessel.name), float(arc_length(points)[-1]), scores))
    return tuple(results)


def _best(candidates: list[np.ndarray], reference: np.ndarray, radius: np.ndarray) -> np.ndarray | None:
    """Return the candidate that shares the largest part of its length and of the reference's; None if none does."""
    from scipy.spatial import cKDTree

    reference, radius = resampled(reference, 2 * _SPACING_MM, radius)
    reach = np.maximum(radius, GRADED_RADIUS_MM)
    best, best_overlap = None, 0.0
    for candidate in candidates:
        line, _ = resampled(candidate, 2 * _SPACING_MM)
        forth, nearest = cKDTree(reference).query(line)
        back = cKDTree(line).query(reference)[0]
        inside = int((forth <= reach[nearest]).sum()) + int((back <= reach).sum())
        overlap = inside / (len(line) + len(reference))
        if overlap > best_overlap:
            best, best_overlap = candidate, overlap
    return best


def _ostia(tree: VesselTree, reference: VesselTree) -> tuple[OstiumResult, ...]:
    """Return the distance of each reference ostium to its partner: the assignment with the smallest sum."""
    from scipy.optimize import linear_sum_assignment

    roots = [vessel for vessel in reference.vessels if vessel.parent is None]
    starts = [vessel.points_ras[0] for vessel in tree.vessels if vessel.parent is None]
    if not roots or not starts:
        return tuple(OstiumResult(vessel_name(vessel.name), None) for vessel in roots)
    ends = np.array([vessel.points_ras[0] for vessel in roots])
    distance = np.linalg.norm(ends[:, None] - np.array(starts)[None], axis=2)
    partner = dict(zip(*(index.tolist() for index in linear_sum_assignment(distance)), strict=True))
    return tuple(
        OstiumResult(vessel_name(vessel.name), float(distance[number, partner[number]]) if number in partner else None)
        for number, vessel in enumerate(roots)
    )


def _naming(lines: list[_Line], references: list[_Line]) -> tuple[float, float, float, float]:
    """Return found and rightly named lengths of the main vessels by vessel, then by segment."""
    lengths = [0.0, 0.0, 0.0, 0.0]
    segments = [np.array([_segment_of(line.vessel, s) for s in line.distance]) for line in lines]
    for reference in references:
        if reference.name not in MAIN_VESSELS:
            continue
        any_distance = _distances(reference.points, lines)
        found = any_distance <= TOLERANCE_MM
        own = _distances(reference.points, [line for line in lines if line.name == reference.name])
        right = found & (own <= any_distance + NAME_TIE_MM)
        lengths[0] += _SPACING_MM * int(found.sum())
        lengths[1] += _SPACING_MM * int(right.sum())
        numbers = np.array([_segment_of(reference.vessel, s) for s in reference.distance])
        for number in set(numbers.tolist()) - {0}:
            part = numbers == number
            near = _nearest_with(reference.points[part], lines, segments, number)
            lengths[2] += _SPACING_MM * int(found[part].sum())
            lengths[3] += _SPACING_MM * int((found[part] & (near <= any_distance[part] + NAME_TIE_MM)).sum())
    return lengths[0], lengths[1], lengths[2], lengths[3]


def _nearest_with(points: np.ndarray, lines: list[_Line], segments: list[np.ndarray], number: int) -> np.ndarray:
    """Return the distance of points to the nearest point of the lines that lies in a segment."""
    from scipy.spatial import cKDTree

    chosen = [line.points[part == number] for line, part in zip(lines, segments, strict=True)]
    chosen = [part for part in chosen if len(part)]
    if not chosen:
        return np.full(len(points), np.inf)
    return np.asarray(cKDTree(np.concatenate(chosen)).query(points)[0])


def _segment_of(vessel: Vessel, distance_mm: float) -> int:
    """Return the SCCT number at a distance along a vessel, 0 where it has none."""
    for segment in vessel.segments:
        if segment.start_mm - 1e-6 <= distance_mm <= segment.end_mm + 1e-6:
            return segment.number
    return 0
