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

Vector = list[float]


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
    first = perpendicular_vectors(tangents[:1])[0]
    normals = np.array(_carried(first.tolist(), points.tolist(), tangents.tolist()))
    # What rounding has left along the tangent goes.
    normals -= np.sum(normals * tangents, axis=1, keepdims=True) * tangents
    norms = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(norms > 1e-6, normals / np.maximum(norms, 1e-6), first)
    frames[:, 0], frames[:, 1], frames[:, 2] = tangents, normals, np.cross(tangents, normals)
    return frames


def perpendicular_vectors(tangents: np.ndarray) -> np.ndarray:
    """Return unit vectors (N, 3) perpendicular to unit tangents (N, 3), each fixed by its tangent alone."""
    axes = np.eye(3)[np.argmin(np.abs(tangents), axis=1)]
    parts = axes - np.sum(axes * tangents, axis=1, keepdims=True) * tangents
    vectors: np.ndarray = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    return vectors


def _carried(normal: Vector, points: list[Vector], tangents: list[Vector]) -> list[Vector]:
    """Carry a normal along a path by the two reflections of Wang 2008, one step depending on the one before.

    Plain numbers: a small array for each of thousands of steps would take twenty times as long.
    """
    normals = [normal]
    for index in range(1, len(points)):
        before, here = points[index - 1], points[index]
        tangent, following = tangents[index - 1], tangents[index]
        step = [here[0] - before[0], here[1] - before[1], here[2] - before[2]]
        normal, tangent = _reflected(normal, step), _reflected(tangent, step)
        turn = [following[0] - tangent[0], following[1] - tangent[1], following[2] - tangent[2]]
        normal = _reflected(normal, turn)
        normals.append(normal)
    return normals


def _reflected(vector: Vector, mirror: Vector) -> Vector:
    """Return a vector reflected in the plane normal to another; a mirror without length leaves it as it is."""
    square = mirror[0] * mirror[0] + mirror[1] * mirror[1] + mirror[2] * mirror[2]
    if square <= _TINY:
        return vector
    factor = 2.0 * (mirror[0] * vector[0] + mirror[1] * vector[1] + mirror[2] * vector[2]) / square
    return [vector[0] - factor * mirror[0], vector[1] - factor * mirror[1], vector[2] - factor * mirror[2]]
