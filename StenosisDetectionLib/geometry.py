"""Geometry shared by all rooms: affines between voxel indices and RAS, in mm.

Points are (..., 3) arrays in RAS; voxel indices are (..., 3) in the order i, j, k (column, row, slice) of the
affines, while arrays are indexed [k, j, i].
"""

import numpy as np

from .errors import InputError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Converts homogeneous LPS points (DICOM, ITK) to RAS and back."""


SPACES = ("RAS", "LPS")
"""The patient coordinate systems of files."""


def signs_of(space: str) -> np.ndarray:
    """Return the factors (3,) that take points of a space, `RAS` or `LPS`, to RAS and back; InputError for others."""
    if space not in SPACES:
        raise InputError(f"unknown space '{space}': choose RAS or LPS")
    return np.array([1.0, 1.0, 1.0]) if space == "RAS" else np.array([-1.0, -1.0, 1.0])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a 4 x 4 affine to points of shape (..., 3)."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def spacing_of(ijk_to_ras: np.ndarray) -> tuple[float, float, float]:
    """Return the voxel spacing along i, j, k in mm."""
    norms = np.linalg.norm(np.asarray(ijk_to_ras, dtype=np.float64)[:3, :3], axis=0)
    return float(norms[0]), float(norms[1]), float(norms[2])


def affine(spacing_mm: np.ndarray, directions: np.ndarray, origin_ras: np.ndarray) -> np.ndarray:
    """Return the 4 x 4 matrix ijk to RAS of a grid.

    Parameters
    ----------
    spacing_mm : spacing along i, j, k.
    directions : 3 x 3, whose columns are the unit vectors of i, j, k in RAS.
    origin_ras : RAS position of the center of voxel (0, 0, 0).
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(directions, dtype=np.float64) * np.asarray(spacing_mm, dtype=np.float64)
    matrix[:3, 3] = origin_ras
    return matrix


def shifted(ijk_to_ras: np.ndarray, offset_ijk: tuple[float, float, float]) -> np.ndarray:
    """Return the affine of a grid cropped so that its voxel (0, 0, 0) was voxel `offset_ijk`."""
    matrix = np.array(ijk_to_ras, dtype=np.float64)
    matrix[:3, 3] = transform_points(ijk_to_ras, np.asarray(offset_ijk, dtype=np.float64))
    return matrix


def grid_corners_ras(shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """Return the RAS positions (8, 3) of the centers of the eight corner voxels of a grid."""
    size = np.array(shape_kji[::-1]) - 1
    corners = np.array(np.meshgrid(*[(0, n) for n in size], indexing="ij")).reshape(3, -1).T
    return transform_points(ijk_to_ras, corners)


def arc_length(points: np.ndarray) -> np.ndarray:
    """Return the distance (N,) of each point of a polyline (N, 3) from its first, along the line."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
