"""Branches drawn by hand: control points of a curve come in, the tree with that branch goes out, the rest untouched."""

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..geometry import arc_length, shifted, spacing_of, transform_points
from ..study import CENTERLINE_SPACING_MM, LumenSegmentation, Vessel, VesselTree
from .corrected_course import CorrectedCourse
from .grid import build_grid
from .segments import dominance_of, with_segments
from .smoothing import DRAWN_WAVE_MM, PATH_STEP_MM, path_radius, resample, smooth_path

EDITED_FLAG = "edited"

SHORTEST_PATH_MM = 2.0
DENSE_MM = 1.0
"""Control points nearer together than this are a traced path; farther apart, a spline goes through each of them."""

START_MARGIN_MM = 1.0
"""A branch may begin this far outside of its parent's lumen; farther away the gap is bridged with a flag."""

UNKNOWN_RADIUS_MM = 1.0
"""Radius to start measuring from where the segmentation shows no lumen."""

_MARGIN_MM = 8.0


def drawn_vessel(
    tree: VesselTree,
    segmentation: LumenSegmentation,
    name: str,
    parent: str | None,
    points_ras: np.ndarray,
    flags: tuple[str, ...] = (),
) -> Vessel:
    """Return the vessel through control points (N, 3) in RAS mm, from its parent or ostium to its tip.

    Its first point moves onto the parent's path; its radius is that of the segmentation around it.

    Raises
    ------
    InputError : the points are not a path of at least 2 mm.
    """
    points = _path_through(points_ras, name)
    marks = [f for f in flags if f not in (EDITED_FLAG, "bridged")] + [EDITED_FLAG]
    parent_distance = None
    if parent is not None:
        trunk = tree.vessel(parent)
        away = np.linalg.norm(trunk.points_ras - points[0], axis=1)
        joint = int(np.argmin(away))
        parent_distance = float(trunk.distance_mm[joint])
        if away[joint] > trunk.radius_mm[joint] + START_MARGIN_MM:
            marks.append("bridged")
        way = np.concatenate([trunk.points_ras[joint : joint + 1], points])
        points = smooth_path(resample(way, PATH_STEP_MM), DRAWN_WAVE_MM)
    return Vessel(
        name=name,
        parent=parent,
        parent_distance_mm=parent_distance,
        points_ras=points,
        distance_mm=np.arange(len(points)) * CENTERLINE_SPACING_MM,
        radius_mm=_mask_radius(segmentation, points),
        flags=tuple(marks),
    )


def corrected_vessel(segmentation: LumenSegmentation, vessel: Vessel, course: CorrectedCourse) -> Vessel:
    """Return a vessel with its corrected course; radii of the segmentation where it is new."""
    points, before = course.points_ras, vessel.radius_mm
    radius = np.concatenate([before[: course.first], np.empty(course.last - course.first), before[course.old_last :]])
    radius = radius[: len(points)]
    if course.last > course.first:
        radius[course.first : course.last] = _mask_radius(segmentation, points[course.first : course.last])
    return replace(
        vessel,
        points_ras=points,
        distance_mm=np.arange(len(points)) * CENTERLINE_SPACING_MM,
        radius_mm=radius,
        flags=(*(f for f in vessel.flags if f != EDITED_FLAG), EDITED_FLAG),
    )


def with_branch(tree: VesselTree, vessel: Vessel) -> VesselTree:
    """Return the tree with a vessel in the place of the one of its name, or at the end when there is none.

    The paths of the others stay; where branches leave the vessel, and all segments, are found anew.
    """
    exists = any(v.name == vessel.name for v in tree.vessels)
    vessels = [vessel if v.name == vessel.name else _rejoined(v, vessel) for v in tree.vessels]
    if not exists:
        vessels.append(vessel)
    return VesselTree(with_segments(vessels, tree.flags), dominance_of(vessels, tree.flags), tree.flags)


def without_branch(tree: VesselTree, name: str) -> VesselTree:
    """Return the tree without a vessel and everything that leaves it; KeyError when there is no such vessel."""
    removed = {tree.vessel(name).name}
    for vessel in tree.vessels:
        if vessel.parent in removed:
            removed.add(vessel.name)
    vessels = [v for v in tree.vessels if v.name not in removed]
    return VesselTree(with_segments(vessels, tree.flags), dominance_of(vessels, tree.flags), tree.flags)


def _path_through(points_ras: np.ndarray, name: str) -> np.ndarray:
    """Return a smooth path every 0.25 mm through control points."""
    from scipy.interpolate import CubicSpline

    points = np.asarray(points_ras, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f"the path of {name} needs points of three numbers each, in RAS and mm")
    steps = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1] - 1.0), axis=1)
    points = points[steps > 1e-6]
    along = arc_length(points)
    if len(points) < 2 or along[-1] < SHORTEST_PATH_MM:
        raise InputError(
            f"the path of {name} is shorter than {SHORTEST_PATH_MM:.0f} mm: draw it from its start to its tip"
        )
    if along[-1] / (len(points) - 1) <= DENSE_MM:
        return smooth_path(resample(points, PATH_STEP_MM), DRAWN_WAVE_MM)
    if len(points) > 2:
        # Square roots of the chords as parameter keep the spline from swinging out where control points crowd.
        parameter = np.concatenate([[0.0], np.cumsum(np.sqrt(np.diff(along)))])
        points = CubicSpline(parameter, points)(np.linspace(0.0, parameter[-1], int(along[-1] / 0.05) + 2))
    return resample(points, CENTERLINE_SPACING_MM)


def _rejoined(vessel: Vessel, edited: Vessel) -> Vessel:
    """Return a branch of the edited vessel with the place where it leaves it now; other vessels stay as they are."""
    if vessel.parent != edited.name:
        return vessel
    joint = int(np.argmin(np.linalg.norm(edited.points_ras - vessel.points_ras[0], axis=1)))
    return replace(vessel, parent_distance_mm=float(edited.distance_mm[joint]))


def _mask_radius(segmentation: LumenSegmentation, points: np.ndarray) -> np.ndarray:
    """Return the radius of the mask around a path, looking only at its surroundings."""
    inverse = np.linalg.inv(segmentation.ijk_to_ras)
    kji = transform_points(inverse, points)[:, ::-1]
    margin = np.ceil(_MARGIN_MM / np.array(spacing_of(segmentation.ijk_to_ras)[::-1]))
    low = np.maximum(np.floor(kji.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(kji.max(axis=0) + margin) + 1, segmentation.lumen.shape).astype(int)
    box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
    lumen = segmentation.lumen[box]
    if not lumen.any():
        return np.full(len(points), UNKNOWN_RADIUS_MM)
    matrix = shifted(segmentation.ijk_to_ras, (float(low[2]), float(low[1]), float(low[0])))
    part = LumenSegmentation(lumen, segmentation.aorta[box], matrix, segmentation.model)
    return path_radius(build_grid(part), points)
