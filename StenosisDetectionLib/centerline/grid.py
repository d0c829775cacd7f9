"""The lumen as a sparse grid: masks [k, j, i] come in, lumen voxels with their depth in mm and position in RAS go out.

The masks are cropped to the lumen. Axes coarser than 0.6 mm are upsampled, and axes finer than 0.2 mm thinned, by
linear interpolation of the signed distance, so that thick slices give neither stairs nor gaps. `depth` is the distance
from a voxel center to the nearest wall, where the wall is the set of faces between inside and outside voxels: it has
no half-voxel offset. The aorta counts as inside, so that a vessel does not taper to nothing at its ostium.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import shifted, spacing_of, transform_points
from ..study import LumenSegmentation

COARSEST_SPACING_MM = 0.6
FINEST_SPACING_MM = 0.2
WORKING_SPACING_MM = 0.5
"""Coarse axes are divided into steps of at most this; fine ones are thinned to about 0.8 of it."""

MARGIN_MM = 6.0
"""Kept around the lumen: more than the largest gap to the aorta and than half the bore of the aorta needs."""

NEIGHBORS = np.array(
    [(i, j, k) for k in (-1, 0, 1) for j in (-1, 0, 1) for i in (-1, 0, 1) if (k, j, i) > (0, 0, 0)], dtype=np.int64
)
"""One of each pair of opposite directions (i, j, k) of the 26-neighborhood."""


WALL_FACES = 48
"""Nearest faces of the wall that a radius is averaged from."""


@dataclass(frozen=True, eq=False)
class LumenGrid:
    """The lumen voxels of the working grid, one row each.

    Parameters
    ----------
    ijk : (N, 3) int64 voxel indices i, j, k.
    ras : (N, 3) positions in mm.
    depth : (N,) distance to the wall in mm.
    aorta_distance : (N,) distance to the nearest voxel center of the aorta in mm, infinite where there is none within
        `MARGIN_MM`.
    ijk_to_ras : 4 x 4 matrix of the working grid.
    index : int32 array [k, j, i]: row of each voxel, -1 outside the lumen; its outermost layer is outside.
    depth_map : float32 array [k, j, i] of `depth`, 0 outside the lumen.
    fraction : (N,) part of the voxel that is lumen as the network sees it, 1 where the segmentation does not tell.
    bridged : (N,) bool, voxels that the segmentation only put in to join its parts.
    wall : scipy cKDTree of the wall points in RAS.
    aorta : scipy cKDTree of the outermost aortic voxel centers in RAS, None without aorta near the lumen.
    """

    ijk: np.ndarray
    ras: np.ndarray
    depth: np.ndarray
    aorta_distance: np.ndarray
    ijk_to_ras: np.ndarray
    index: np.ndarray
    depth_map: np.ndarray
    fraction: np.ndarray
    bridged: np.ndarray
    wall: Any
    aorta: Any

    @property
    def voxel_mm(self) -> float:
        """Largest voxel spacing in mm."""
        return max(spacing_of(self.ijk_to_ras))


def wall_radius(grid: LumenGrid, points_ras: np.ndarray) -> np.ndarray:
    """Return the radius in mm of the inscribed sphere of the mask around each point (N, 3) inside it.

    The nearest wall face alone is the deepest step of the voxel staircase and reads about half a voxel too near. This
    is the mean distance of the up to 48 nearest faces within three quarters of a voxel of the nearest one; against the
    inscribed spheres of a real coronary surface it is off by less than 0.05 mm.
    """
    distance = grid.wall.query(points_ras, k=WALL_FACES)[0]
    used = distance <= distance[:, :1] + 0.75 * grid.voxel_mm
    mean: np.ndarray = np.where(used, distance, 0.0).sum(axis=1) / used.sum(axis=1)
    return mean


def build_grid(segmentation: LumenSegmentation) -> LumenGrid:
    """Return the sparse working grid of a segmentation whose lumen is not empty."""
    from scipy.spatial import cKDTree

    lumen, aorta, ijk_to_ras = _crop(segmentation)
    lumen, aorta, ijk_to_ras = _resample(lumen, aorta, ijk_to_ras)
    aorta &= ~lumen

    shape = lumen.shape
    strides = np.array([1, shape[2], shape[1] * shape[2]])
    flat = np.flatnonzero(lumen)
    ijk = np.stack(np.unravel_index(flat, shape)[::-1], axis=1)
    ras = transform_points(ijk_to_ras, ijk)
    index = np.full(lumen.size, -1, dtype=np.int32)
    index[flat] = np.arange(len(flat), dtype=np.int32)

    inside = (lumen | aorta).ravel()
    wall_points = _faces(flat, inside, shape, strides, ijk_to_ras)
    aorta_tree = None
    aorta_distance = np.full(len(flat), np.inf)
    aorta_flat = np.flatnonzero(aorta)
    if len(aorta_flat):
        steps = np.concatenate([strides, -strides])
        core = np.all([aorta.ravel()[_clipped(aorta_flat + step, aorta.size)] for step in steps], axis=0)
        surface = aorta_flat[~core]
        surface_ras = transform_points(ijk_to_ras, np.stack(np.unravel_index(surface, shape)[::-1], axis=1))
        aorta_tree = cKDTree(surface_ras)
        aorta_distance = aorta_tree.query(ras, distance_upper_bound=MARGIN_MM)[0]
        wall_points = np.concatenate([wall_points, _faces(surface, inside, shape, strides, ijk_to_ras)])
    wall = cKDTree(wall_points)
    # Rounding lets ties be ties, so that the same lumen gives the same paths whatever it is cropped to.
    depth = np.round(wall.query(ras)[0], 5)
    depth_map = np.zeros(lumen.size, dtype=np.float32)
    depth_map[flat] = depth
    return LumenGrid(
        ijk,
        ras,
        depth,
        aorta_distance,
        ijk_to_ras,
        index.reshape(shape),
        depth_map.reshape(shape),
        _at_voxels(segmentation.probability, segmentation, ras, 1.0).astype(np.float64),
        _at_voxels(segmentation.bridged, segmentation, ras, 0.0).astype(bool),
        wall,
        aorta_tree,
    )


def _at_voxels(
    array: np.ndarray | None, segmentation: LumenSegmentation, ras: np.ndarray, unknown: float
) -> np.ndarray:
    """Return the values of an array on the grid of the segmentation at its voxels nearest to points."""
    if array is None:
        return np.full(len(ras), unknown)
    ijk = np.rint(transform_points(np.linalg.inv(segmentation.ijk_to_ras), ras)).astype(int)
    k, j, i = np.clip(ijk[:, ::-1], 0, np.array(array.shape) - 1).T
    return np.asarray(array[k, j, i])


def neighbor_pairs(grid: LumenGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all pairs of lumen voxels that touch in the 26-neighborhood, each pair once."""
    shape = grid.index.shape
    flat_index = grid.index.ravel()
    flat = np.ravel_multi_index(tuple(grid.ijk.T[::-1]), shape)
    first, second = [], []
    for offset in NEIGHBORS @ np.array([1, shape[2], shape[1] * shape[2]]):
        neighbor = flat_index[flat + offset]
        rows = np.flatnonzero(neighbor >= 0)
        first.append(rows)
        second.append(neighbor[rows].astype(np.int64))
    return np.concatenate(first), np.concatenate(second)


def _clipped(flat: np.ndarray, size: int) -> np.ndarray:
    """Keep neighbor indices inside the array; only voxels of the cropping border are affected."""
    return np.clip(flat, 0, size - 1)


def _faces(
    flat: np.ndarray, inside: np.ndarray, shape: tuple[int, ...], strides: np.ndarray, ijk_to_ras: np.ndarray
) -> np.ndarray:
    """Return the centers in RAS of the faces between the given inside voxels and outside voxels."""
    centers = np.stack(np.unravel_index(flat, shape)[::-1], axis=1).astype(np.float64)
    points = []
    for axis, stride in enumerate(strides):
        for sign in (-1, 1):
            position = centers[:, axis] + sign
            within = (position >= 0) & (position < shape[2 - axis])
            face = centers[within & ~inside[_clipped(flat + sign * stride, len(inside))]]
            face[:, axis] += 0.5 * sign
            points.append(face)
    return transform_points(ijk_to_ras, np.concatenate(points))


def _crop(segmentation: LumenSegmentation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lumen, aorta and affine cropped to the lumen with a margin; padded so the lumen never touches the edge."""
    lumen = np.asarray(segmentation.lumen, dtype=bool)
    aorta = np.asarray(segmentation.aorta, dtype=bool)
    spacing = spacing_of(segmentation.ijk_to_ras)[::-1]
    slices, pads, first = [], [], []
    for axis in range(3):
        occupied = np.flatnonzero(lumen.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(MARGIN_MM / spacing[axis])) + 1
        start, stop = int(occupied[0]) - margin, int(occupied[-1]) + margin + 1
        slices.append(slice(max(start, 0), min(stop, lumen.shape[axis])))
        pads.append((max(-start, 0), max(stop - lumen.shape[axis], 0)))
        first.append(start)
    window = tuple(slices)
    ijk_to_ras = shifted(segmentation.ijk_to_ras, (first[2], first[1], first[0]))
    return np.pad(lumen[window], pads), np.pad(aorta[window], pads), ijk_to_ras


def _resample(
    lumen: np.ndarray, aorta: np.ndarray, ijk_to_ras: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the masks on a grid of the same axes with spacings between about 0.2 and 0.6 mm."""
    spacing = np.array(spacing_of(ijk_to_ras))
    step = np.ones(3)
    coarse, fine = spacing > COARSEST_SPACING_MM, spacing < FINEST_SPACING_MM
    step[coarse] = 1.0 / np.ceil(spacing[coarse] / WORKING_SPACING_MM)
    step[fine] = np.round(0.8 * WORKING_SPACING_MM / spacing[fine])
    if np.all(step == 1.0):
        return lumen, aorta.copy(), ijk_to_ras
    # The level a little below zero keeps voxels connected that touch only at an edge or a corner.
    tolerance = 0.05 * float(spacing.min())
    lumen = _interpolated(lumen, spacing, step) > -tolerance
    aorta = _interpolated(aorta, spacing, step) > 0 if aorta.any() else np.zeros_like(lumen)
    matrix = np.array(ijk_to_ras, dtype=np.float64)
    matrix[:3, :3] *= step
    for axis in range(3):  # the voxels of the border stay outside
        lumen[(slice(None),) * axis + ([0, -1],)] = False
    return lumen, aorta, matrix


def _interpolated(mask: np.ndarray, spacing_ijk: np.ndarray, step_ijk: np.ndarray) -> np.ndarray:
    """Return the signed distance of a mask in mm (inside positive) at every `step` voxels of each axis."""
    from scipy.ndimage import distance_transform_edt

    sampling = tuple(spacing_ijk[::-1])
    distance = distance_transform_edt(mask, sampling=sampling) - distance_transform_edt(~mask, sampling=sampling)
    for axis, step in enumerate(step_ijk[::-1]):
        if step == 1.0:
            continue
        size = distance.shape[axis]
        position = np.arange(int((size - 1) / step + 1e-9) + 1) * step
        low = np.minimum(position.astype(int), size - 2)
        weight = (position - low).reshape([-1 if a == axis else 1 for a in range(3)])
        distance = (1 - weight) * np.take(distance, low, axis) + weight * np.take(distance, low + 1, axis)
    return distance
