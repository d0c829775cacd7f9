"""The course of a vessel where only some control points were moved: the rest stays as it was traced, to the point.

In: the path of a vessel and control points, most of which lie on it. Out: the path with a spline through what was
moved, and the points that changed. A spline through all control points would move the whole path a little, and all of
it would have to be measured again.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry import arc_length
from ..study import CENTERLINE_SPACING_MM

ON_PATH_MM = 0.01
"""A control point nearer than this to a point of the path was not moved."""

_KNOTS = 12  # of the path before and behind what was moved, which give the spline its direction
_FINE_MM = 0.05
_REMOVED = 1.5  # times the usual distance of control points: one between was removed


@dataclass(frozen=True, eq=False)
class CorrectedCourse:
    """A path (N, 3) in RAS mm whose points `first` to `last`, the end not included, are new.

    Those before them are the old ones; those behind them are old ones, too, from `old_last` on.
    """

    points_ras: np.ndarray
    first: int
    last: int
    old_last: int


def corrected_course(path_ras: np.ndarray, control_ras: np.ndarray) -> CorrectedCourse | None:
    """Return the corrected path of a vessel; None where its start was moved, none of it was kept, or all of it.

    Parameters
    ----------
    path_ras : (N, 3) every `CENTERLINE_SPACING_MM`.
    control_ras : (M, 3) control points; those that were not moved are points of the path.
    """
    from scipy.spatial import cKDTree

    control = np.asarray(control_ras, dtype=np.float64)
    if control.ndim != 2 or control.shape[1] != 3 or not np.isfinite(control).all() or len(control) < 3:
        return None
    away, place = cKDTree(path_ras).query(control)
    kept = away < ON_PATH_MM
    if not kept[0] or place[0] != 0 or (np.diff(place[kept]) <= 0).any():
        return None
    steps = np.where(kept[1:] & kept[:-1], np.diff(place), 0)
    if not steps.any():
        return None
    # Between two points that stay, the path stays, too, unless one was removed there.
    changed = np.flatnonzero((steps == 0) | (steps > _REMOVED * np.median(steps[steps > 0])))
    end = int(place[-1]) + 1 if kept[-1] else len(path_ras)
    if len(changed) == 0:
        return CorrectedCourse(path_ras[:end], end, end, end) if end < len(path_ras) else None
    before, behind = int(changed[0]), int(changed[-1]) + 1
    first, last = int(place[before]), int(place[behind]) if kept[behind] else len(path_ras)
    moved = control[before + 1 : behind + (not kept[behind])]
    new = _between(path_ras[: first + 1], moved, path_ras[last:end])
    return CorrectedCourse(
        np.concatenate([path_ras[: first + 1], new, path_ras[last:end]]), first + 1, first + 1 + len(new), last
    )


def _between(before: np.ndarray, moved: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Return new points (K, 3) between two parts of a path, the second maybe empty, on a spline through moved ones."""
    from scipy.interpolate import CubicSpline

    lead, follow = before[-_KNOTS:], behind[:_KNOTS]
    knots = np.concatenate([lead, moved, follow])
    # Chords as parameter: the path arrives with its direction, and knots lie far nearer in it than moved points do.
    parameter = arc_length(knots)
    begin, end = parameter[len(lead) - 1], parameter[len(lead) + len(moved) - (0 if len(behind) else 1)]
    fine = CubicSpline(parameter, knots)(np.linspace(begin, end, round((end - begin) / _FINE_MM) + 2))
    along = arc_length(fine)
    count = max(round(float(along[-1]) / CENTERLINE_SPACING_MM), 1)
    wanted = np.linspace(0.0, along[-1], count + 1)[1 : count if len(behind) else count + 1]
    return np.stack([np.interp(wanted, along, axis) for axis in fine.T], axis=1)
