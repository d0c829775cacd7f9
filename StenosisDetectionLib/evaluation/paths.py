"""Scores of one centerline against one reference: the measures of the Rotterdam challenge CAT08 (Schaap 2009).

In: two lines (N, 3) in RAS or any other one space in mm, from proximal to distal, and the radius of the vessel along
the reference. Out: OV, OF, OT (0 to 1), AI and AD in mm.

The lines are resampled to `STEP_MM` and corresponded by the monotone path of pairs, from both first to both last
points, whose distances have the smallest sum; it is found exactly (dynamic programming over anti-diagonals).
"""

import math
from dataclasses import dataclass

import numpy as np

from ..geometry import arc_length

STEP_MM = 0.1
"""Resampling for the measures. At 0.03 mm, as in CAT08, they take seven times longer and move by less than 0.002."""

RELEVANT_RADIUS_MM = 0.75
"""OT looks at the reference up to its most distal point with at least this radius (Schaap 2009)."""

IGNORED_START_MM = 5.0
"""Errors in this first part of the reference are no first error of OF (Schaap 2009)."""

START_DISC_RADII = 2.0
"""Radius, in radii of the vessel, of the disc at the start of the reference that cuts off what lies before it."""


START_TANGENT_MM = 1.0
"""The disc is normal to the reference over this first part."""


@dataclass(frozen=True)
class PathScores:
    """Measures of a centerline (Schaap 2009).

    Parameters
    ----------
    overlap : OV, part of the points of both lines that correspond within the radius of the reference.
    overlap_first_error : OF, part of the reference before the first point without correspondence.
    overlap_relevant : OT, as OV up to the last reference point of radius 0.75 mm; None when there is none.
    accuracy_inside_mm : AI, mean length of the connections within the radius; None without any.
    average_distance_mm : AD, mean length of all connections; None without a line to compare.
    """

    overlap: float
    overlap_first_error: float
    overlap_relevant: float | None
    accuracy_inside_mm: float | None
    average_distance_mm: float | None


MISSED = PathScores(0.0, 0.0, 0.0, None, None)
"""The scores of a reference for which nothing was found."""


def compare_paths(
    path: np.ndarray, reference: np.ndarray, radius_mm: np.ndarray, step_mm: float = STEP_MM
) -> PathScores:
    """Return the CAT08 measures of a path against a reference.

    Parameters
    ----------
    path : (M, 3) evaluated centerline, proximal first. What lies before the start of the reference is cut off.
    reference : (N, 3) reference centerline.
    radius_mm : (N,) radius along the reference.
    step_mm : distance of the points the measures are taken on.
    """
    reference, radius = resampled(reference, step_mm, radius_mm)
    path, _ = resampled(clipped_start(path, reference, float(radius[0])), step_mm)
    first, second = correspondence(reference, path)
    distance = np.linalg.norm(reference[first] - path[second], axis=1)
    inside = distance <= radius[first]
    true_reference = np.zeros(len(reference), dtype=bool)
    true_reference[first[inside]] = True
    true_path = np.zeros(len(path), dtype=bool)
    true_path[second[inside]] = True
    return PathScores(
        overlap=_overlap(true_reference, true_path),
        overlap_first_error=_before_first_error(true_reference, step_mm),
        overlap_relevant=_relevant(true_reference, true_path, radius, first, second),
        accuracy_inside_mm=float(distance[inside].mean()) if inside.any() else None,
        average_distance_mm=float(distance.mean()),
    )


def correspondence(reference: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the pairs of the monotone correspondence with the smallest sum of distances.

    Both first points and both last points are paired, and every point has a pair. From one pair to the next, the
    reference, the path or both go one point on. Time and memory are those of all pairs, one byte each.
    """
    n, m = len(reference), len(path)
    # Row k holds the anti-diagonal i + j = k by i: 0 came from both, 1 from (i - 1, j), 2 from (i, j - 1).
    steps = np.zeros((n + m - 1, n), dtype=np.uint8)
    before = np.full(n + 1, np.inf)  # costs of the last anti-diagonal at index i + 1
    before_that = np.full(n + 1, np.inf)
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        i = np.arange(low, high)
        distance = np.sqrt(((reference[low:high] - path[k - i]) ** 2).sum(axis=1))
        both, first, second = before_that[low:high], before[low:high], before[low + 1 : high + 1]
        best = np.minimum(both, np.minimum(first, second))
        steps[k, low:high] = np.where(both <= best, 0, np.where(first <= best, 1, 2))
        current = np.full(n + 1, np.inf)
        current[low + 1 : high + 1] = distance + (best if k else 0.0)
        before, before_that = current, before
    pairs = [(n - 1, m - 1)]
    a, b = pairs[0]
    while a or b:
        step = steps[a + b, a]
        a, b = a - (step != 2), b - (step != 1)
        pairs.append((a, b))
    indices = np.array(pairs[::-1])
    return indices[:, 0], indices[:, 1]


def resampled(points: np.ndarray, step_mm: float, values: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return a line with points at equal distances of about `step_mm`, and values along it, linearly interpolated."""
    points = np.asarray(points, dtype=np.float64)
    along = arc_length(points)
    places = np.linspace(0.0, along[-1], max(round(along[-1] / step_mm), 1) + 1) if along[-1] > 0 else np.zeros(1)
    line = np.stack([np.interp(places, along, axis) for axis in points.T], axis=1)
    return line, np.zeros(len(places)) if values is None else np.interp(places, along, values)


def clipped_start(path: np.ndarray, reference: np.ndarray, radius_mm: float) -> np.ndarray:
    """Return a path from its last passage through the disc at the start of the reference on (Schaap 2009).

    The disc is normal to the reference and twice as wide as the vessel; a path that does not pass it is kept whole.
    """
    path = np.asarray(path, dtype=np.float64)
    ahead = int(np.searchsorted(arc_length(reference), START_TANGENT_MM))
    tangent = reference[min(ahead, len(reference) - 1)] - reference[0]
    length = float(np.linalg.norm(tangent))
    if length == 0.0 or len(path) < 2:
        return path
    height = (path - reference[0]) @ (tangent / length)
    for index in np.flatnonzero((height[:-1] < 0) & (height[1:] >= 0))[::-1]:
        part = -height[index] / (height[index + 1] - height[index])
        crossing = path[index] + part * (path[index + 1] - path[index])
        if np.linalg.norm(crossing - reference[0]) <= START_DISC_RADII * radius_mm:
            return np.concatenate([crossing[None], path[index + 1 :]])
    return path


def _overlap(true_reference: np.ndarray, true_path: np.ndarray) -> float:
    return float((true_reference.sum() + true_path.sum()) / (len(true_reference) + len(true_path)))


def _before_first_error(true_reference: np.ndarray, step_mm: float) -> float:
    errors = np.flatnonzero(~true_reference)
    errors = errors[errors * step_mm >= IGNORED_START_MM]
    first = int(errors[0]) if len(errors) else len(true_reference)
    return float(true_reference[:first].sum() / len(true_reference))


def _relevant(
    true_reference: np.ndarray, true_path: np.ndarray, radius: np.ndarray, first: np.ndarray, second: np.ndarray
) -> float | None:
    wide = np.flatnonzero(radius >= RELEVANT_RADIUS_MM)
    if len(wide) == 0:
        return None
    end = int(wide[-1]) + 1
    belongs = np.zeros(len(true_path), dtype=bool)
    belongs[second[first < end]] = True
    value = _overlap(true_reference[:end], true_path[belongs])
    return value if math.isfinite(value) else None
