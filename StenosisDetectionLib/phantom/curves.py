"""Lines in space: even spacing, tangents, side directions and nearest points. RAS, mm."""

import numpy as np

from ..geometry import arc_length
from ..study import CENTERLINE_SPACING_MM


def resampled(points: np.ndarray, spacing_mm: float = CENTERLINE_SPACING_MM, smoothing_mm: float = 0.0) -> np.ndarray:
    """Return a polyline with points every `spacing_mm`, smoothed along itself by a Gaussian; a rest is dropped."""
    from scipy.ndimage import gaussian_filter1d

    keep = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6])
    points = _evenly(points[keep], spacing_mm)
    if smoothing_mm > 0:
        points = gaussian_filter1d(points, smoothing_mm / spacing_mm, axis=0, mode="nearest")
        points = _evenly(points, spacing_mm)
    return points


def _evenly(points: np.ndarray, spacing_mm: float) -> np.ndarray:
    distance = arc_length(points)
    even = np.arange(0, distance[-1] + 1e-9, spacing_mm)
    return np.stack([np.interp(even, distance, axis) for axis in points.T], axis=1)


def curve_through(*stations: tuple[float, float, float]) -> np.ndarray:
    """Return a smooth curve through points, with a point every 0.25 mm (cubic spline over the chord length)."""
    from scipy.interpolate import CubicSpline

    points = np.array(stations)
    distance = arc_length(points)
    fine = np.linspace(0, distance[-1], int(20 * distance[-1]))
    return resampled(CubicSpline(distance, points, bc_type="natural")(fine))


def tangents(points: np.ndarray) -> np.ndarray:
    """Return the unit tangents (N, 3) of a polyline."""
    along = np.gradient(points, axis=0)
    return along / np.linalg.norm(along, axis=1, keepdims=True)


def side_direction(tangent: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """Return the unit vectors normal to tangents (..., 3) that point most toward a direction (3,) or (..., 3)."""
    side = toward - (tangent * toward).sum(axis=-1, keepdims=True) * tangent
    return side / np.linalg.norm(side, axis=-1, keepdims=True)


def transported_side(tangent: np.ndarray) -> np.ndarray:
    """Return unit vectors normal to the tangents (N, 3) of a line that turn about it as little as possible.

    The first points most toward the head, or toward the right where the line begins nearly vertical.
    """
    start = np.array([0.0, 0.0, 1.0]) if abs(tangent[0, 2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    side = [side_direction(tangent[0], start)]
    for direction in tangent[1:]:
        side.append(side_direction(direction, side[-1]))
    return np.array(side)


def first_farther_than(points: np.ndarray, other: np.ndarray, distance_mm: float) -> int:
    """Return the index of the first point of a line after its last one within a distance of another line."""
    from scipy.spatial import cKDTree

    near = np.flatnonzero(cKDTree(other).query(points)[0] <= distance_mm)
    return int(near[-1]) + 1 if len(near) else 0
