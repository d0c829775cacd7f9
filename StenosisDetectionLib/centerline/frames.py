"""Frames along a centerline: points (N, 3) in RAS mm come in, orthonormal frames (N, 3, 3) go out.

Tangents are local least-squares derivatives over about 1 mm on each side (Savitzky and Golay 1964), because raw
differences of points 0.25 mm apart tilt the cross-section by many degrees. Frames minimize rotation by the double
reflection method (Wang, Juettler, Zheng, Liu: Computation of rotation minimizing frames, ACM Trans. Graph. 27, 2008);
Frenet frames would twist at inflections.
"""

import numpy as np

TANGENT_HALF_WINDOW_MM = 1.0
"""Length of path on each side of a point from which its tangent is fitted."""

_TINY = 1e-12


def unit_tangents(points_ras: np.ndarray, half_window_mm: float = TANGENT_HALF_WINDOW_MM) -> np.ndarray:
    """Return the unit tangents (N, 3) of a path given as nearly equally spaced points (N, 3) in mm.

    The derivative is that of a parabola fitted to the points within `half_window_mm` of path on each side; near the
    ends the last full window is used. A path without length gets the direction (0, 0, 1).
    """
    from scipy.signal import savgol_filter

    points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
    count = len(points)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    length = float(steps.sum())
    if length <= _TINY:
        return np.tile([0.0, 0.0, 1.0], (count, 1))
    half = max(1, round(half_window_mm * (count - 1) / length))
    window = min(2 * half + 1, count - (count + 1) % 2)
    if window < 3:
        derivative = np.gradient(points, axis=0)
    else:
        derivative = savgol_filter(points, window, polyorder=min(2, window - 1), deriv=1, axis=0, mode="interp")
    norms = np.linalg.norm(derivative, axis=1)
    valid = np.flatnonzero(norms > _TINY)
    if len(valid) == 0:
        return np.tile([0.0, 0.0, 1.0], (count, 1))
    # A point without a direction of its own, where the path turns back on itself, takes that of the nearest one.
    nearest = valid[np.abs(np.arange(count)[:, None] - valid).argmin(axis=1)] if len(valid) < count else valid
    return derivative[nearest] / norms[nearest, None]


def rotation_minimizing_frames(points_ras: np.ndarray) -> np.ndarray:
    """Return the rotation-minimizing frames (N, 3, 3) of a path (N, 3) in mm, for N of 0 or more.

    The rows of each frame are the unit tangent, normal and binormal in RAS; they are right-handed (tangent x normal =
    binormal). The first normal is fixed by the tangent alone, so equal paths have equal frames.
    """
    points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
    tangents = unit_tangents(points)
    frames = np.empty((len(points), 3, 3))
    if len(points) == 0:
        return frames
    axis = np.zeros(3)
    axis[np.argmin(np.abs(tangents[0]))] = 1.0
    normal = _perpendicular_part(axis, tangents[0])
    for index, tangent in enumerate(tangents):
        if index > 0:
            normal = _reflect_twice(normal, points[index] - points[index - 1], tangents[index - 1], tangent)
        frames[index] = tangent, normal, np.cross(tangent, normal)
    return frames


def _reflect_twice(normal: np.ndarray, step: np.ndarray, tangent: np.ndarray, next_tangent: np.ndarray) -> np.ndarray:
    """Carry a normal from one point to the next by the two reflections of Wang 2008."""
    length_squared = float(step @ step)
    if length_squared > _TINY:
        normal = normal - (2.0 / length_squared) * (step @ normal) * step
        tangent = tangent - (2.0 / length_squared) * (step @ tangent) * step
    difference = next_tangent - tangent
    length_squared = float(difference @ difference)
    if length_squared > _TINY:
        normal = normal - (2.0 / length_squared) * (difference @ normal) * difference
    return _perpendicular_part(normal, next_tangent)


def _perpendicular_part(vector: np.ndarray, tangent: np.ndarray) -> np.ndarray:
    """Return the unit vector of the part of `vector` perpendicular to `tangent`: removes rounding error."""
    part = vector - (vector @ tangent) * tangent
    norm = float(np.linalg.norm(part))
    if norm <= 1e-6:
        axis = np.zeros(3)
        axis[np.argmin(np.abs(tangent))] = 1.0
        part = axis - (axis @ tangent) * tangent
        norm = float(np.linalg.norm(part))
    return part / norm
