"""The measured lumen as voxels: the contours of the cross-sections come in, the vessel of every voxel goes out.

A voxel is lumen where its center lies inside the contour of the section through the nearest point of a centerline.
Where nothing could be measured (behind calcium, in a stent) the mask that the tree was traced in stands instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..geometry import spacing_of, transform_points

if TYPE_CHECKING:
    from ..study import LumenProfile, LumenSegmentation, Vessel, VesselTree

_PLANE_MM = 0.5
"""Voxels farther than this from the plane of the nearest section lie before the start or beyond the tip of a vessel."""

_UNOWNED_MM = 1000.0  # added to the distance of the part of a branch inside its parent, which claims nothing


def draw_vessels(
    segmentation: LumenSegmentation,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    shape_kji: tuple[int, int, int],
    ijk_to_ras: np.ndarray,
) -> np.ndarray:
    """Return labels [k, j, i] on a grid: 1 to n, in the order of the tree, inside the lumen of a vessel, 0 elsewhere.

    A voxel of several vessels belongs to the one into whose lumen it reaches deepest; the part of a branch inside its
    parent claims nothing. Centerlines are drawn, too: a lumen narrower than a voxel stays in one piece.

    Parameters
    ----------
    segmentation : stands where nothing could be measured.
    profiles : of the vessels, in the order of the tree.
    shape_kji, ijk_to_ras : the grid.
    """
    labels = np.zeros(shape_kji, dtype=np.uint8 if len(tree.vessels) < 256 else np.uint16)
    flat = labels.reshape(-1)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    lines: list[np.ndarray] = []
    for number, (vessel, profile) in enumerate(zip(tree.vessels, profiles, strict=True), start=1):
        known = np.isfinite(profile.diameter_mm)
        reach = np.where(known, profile.contour_radius_mm.max(axis=1), vessel.radius_mm)
        centers = np.where(known[:, None], profile.contour_center_ras, vessel.points_ras)
        voxels = voxels_within(centers, reach, shape_kji, ijk_to_ras)
        points = _positions(voxels, shape_kji, ijk_to_ras)
        distance, nearest = contour_distance(points, vessel, profile, segmentation)
        own = distance < 0.0
        claim = distance + _UNOWNED_MM * _inside_parent(vessel)[nearest]
        parts.append((voxels[own], claim[own], np.full(int(own.sum()), number)))
        lines.append(_voxels_of(centers, shape_kji, ijk_to_ras))
    if parts:
        voxels, claim, owner = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((owner, claim, voxels))
        first = order[np.diff(voxels[order], prepend=-1) > 0]
        flat[voxels[first]] = owner[first]
    for number, line in enumerate(lines, start=1):
        flat[line[flat[line] == 0]] = number
    return labels


def contour_distance(
    points_ras: np.ndarray,
    vessel: Vessel,
    profile: LumenProfile,
    segmentation: LumenSegmentation,
    within_mm: float = np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance (N,) of points from the contour of a lumen, in the plane of the section nearest to each.

    It is in mm and negative inside; infinite farther than `within_mm` from the centerline, and before the start and
    beyond the tip of the vessel. The second array (N,) holds the number of the section.
    """
    from scipy.spatial import cKDTree

    result = np.full(len(points_ras), np.inf)
    reach, nearest = cKDTree(vessel.points_ras).query(points_ras, distance_upper_bound=within_mm)
    found = np.flatnonzero(np.isfinite(reach))
    nearest = np.minimum(nearest, len(vessel.points_ras) - 1)
    section = nearest[found]
    offset = points_ras[found] - profile.contour_center_ras[section]
    along, x, y = np.einsum("nij,nj->in", profile.frames[section], offset)
    beside = np.abs(along) <= _PLANE_MM
    found, section, x, y = found[beside], section[beside], x[beside], y[beside]

    contour = profile.contour_radius_mm
    directions = contour.shape[1]
    turn = np.mod(np.arctan2(y, x) / (2 * np.pi), 1.0) * directions
    before = turn.astype(int) % directions
    part = turn - np.floor(turn)
    radius = (1 - part) * contour[section, before] + part * contour[section, (before + 1) % directions]
    result[found] = np.hypot(x, y) - radius
    unknown = ~np.isfinite(profile.diameter_mm)[section]
    if unknown.any():
        hidden = found[unknown]
        tube = reach[hidden] - vessel.radius_mm[section[unknown]]
        in_mask = _in_mask(points_ras[hidden], segmentation)
        result[hidden] = np.where(in_mask, np.minimum(tube, -1e-3), np.maximum(tube, 0.0))
    return result, nearest


def voxels_within(
    points_ras: np.ndarray, reach_mm: np.ndarray, shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray
) -> np.ndarray:
    """Return the flat indices of the voxels within reach (N,) of the points of a line, and a few more around them."""
    spacing = np.array(spacing_of(ijk_to_ras))[::-1]
    slack = 0.5 * float(np.linalg.norm(spacing))
    kji = np.rint(transform_points(np.linalg.inv(ijk_to_ras), points_ras)[:, ::-1]).astype(int)
    margin = np.ceil((float(reach_mm.max()) + slack) / spacing).astype(int)
    low = np.clip(kji.min(axis=0) - margin, 0, shape_kji)
    high = np.clip(kji.max(axis=0) + margin + 1, low, shape_kji)
    marked = np.zeros(high - low, dtype=bool)
    steps = np.maximum(np.ceil(4 * reach_mm) / 4, 0.25)  # one ball for all points of about the same reach
    for reach in np.unique(steps):
        half = np.ceil((reach + slack) / spacing).astype(int)
        ball = np.stack(np.meshgrid(*[np.arange(-h, h + 1) for h in half], indexing="ij"), axis=-1).reshape(-1, 3)
        ball = ball[np.linalg.norm(ball * spacing, axis=1) <= reach + slack]
        around = (np.unique(kji[steps == reach], axis=0)[:, None] + ball).reshape(-1, 3) - low
        around = around[((around >= 0) & (around < marked.shape)).all(axis=1)]
        marked[tuple(around.T)] = True
    where = np.argwhere(marked) + low
    return np.asarray(np.ravel_multi_index(tuple(where.T), shape_kji))


def _inside_parent(vessel: Vessel) -> np.ndarray:
    """Return which points (N,) of a branch lie inside the lumen it leaves."""
    if vessel.parent is None:
        return np.zeros(len(vessel.points_ras), dtype=bool)
    left = np.linalg.norm(vessel.points_ras - vessel.points_ras[0], axis=1) > vessel.radius_mm[0]
    return np.arange(len(left)) < (int(np.argmax(left)) if left.any() else 0)


def _in_mask(points_ras: np.ndarray, segmentation: LumenSegmentation) -> np.ndarray:
    """Return which points lie in the lumen of a segmentation, its surface interpolated linearly."""
    from scipy.ndimage import map_coordinates

    kji = transform_points(np.linalg.inv(segmentation.ijk_to_ras), points_ras)[:, ::-1]
    low = np.clip(np.floor(kji.min(axis=0)).astype(int), 0, np.array(segmentation.lumen.shape) - 1)
    high = np.clip(np.ceil(kji.max(axis=0)).astype(int) + 1, low + 1, segmentation.lumen.shape)
    box = segmentation.lumen[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    return np.asarray(map_coordinates(box, (kji - low).T, order=1) >= 0.5)


def _positions(voxels: np.ndarray, shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """Return the centers (N, 3) in RAS of the voxels of flat indices."""
    return transform_points(ijk_to_ras, np.stack(np.unravel_index(voxels, shape_kji)[::-1], axis=1))


def _voxels_of(points_ras: np.ndarray, shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """Return the flat indices of the voxels that points lie in, without those outside of the grid."""
    kji = np.rint(transform_points(np.linalg.inv(ijk_to_ras), points_ras)[:, ::-1]).astype(int)
    kji = kji[((kji >= 0) & (kji < shape_kji)).all(axis=1)]
    return np.unique(np.ravel_multi_index(tuple(kji.T), shape_kji))
