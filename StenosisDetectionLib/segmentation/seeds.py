"""Where coronary trees begin: just outside the aortic root, and where a model sees an ostium.

In: masks and heat maps on a RAS grid. Out: masks of seeds, and positions of ostia in RAS.
"""

import numpy as np

from ..geometry import arc_length
from .aorta import Aorta
from .grid import RasGrid
from .tissue import distance_mm

SEED_DISTANCE_MM = 2.5
"""Coronary arteries begin within this distance of the surface of the aortic root."""

SEED_HEIGHT_MM = (3.0, 50.0)
"""... and at this height above the annulus."""

OSTIUM_SCORE = 0.3
"""Least height of a peak of the heat map of ostia."""

OSTIUM_RADIUS_MM = 3.0
"""A tree that begins within this distance of an ostium seen by a model begins there."""

OSTIA_APART_MM = 5.0


def shell(aorta_mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the voxels outside an aorta that lie within `SEED_DISTANCE_MM` of it."""
    if not aorta_mask.any():
        return np.zeros(aorta_mask.shape, dtype=bool)
    distance = distance_mm(aorta_mask, spacing_mm)
    return (distance > 0.0) & (distance <= SEED_DISTANCE_MM)


def root_shell(aorta: Aorta, aorta_mask: np.ndarray, grid: RasGrid) -> np.ndarray:
    """Return the voxels just outside the aortic root and the lower ascending aorta, its two cut ends left out."""
    from scipy.spatial import cKDTree

    zone = shell(aorta_mask, grid.spacing_mm)
    where = np.argwhere(zone)
    if not len(where):
        return zone
    points = grid.to_ras(where)
    _, nearest = cKDTree(aorta.centerline_ras).query(points)
    along = arc_length(aorta.centerline_ras)
    height = along[nearest]
    height = height + ((points - aorta.centerline_ras[nearest]) * aorta.directions[nearest]).sum(axis=1)
    low, high = SEED_HEIGHT_MM
    top = float(along[-1]) - 1.0
    zone[tuple(where[(height < low) | (height > min(high, top))].T)] = False
    return zone


def with_ostia(zone: np.ndarray, ostia_ras: np.ndarray, grid: RasGrid) -> np.ndarray:
    """Return a zone of seeds with balls of `OSTIUM_RADIUS_MM` around the ostia (N, 3) added to it."""
    zone = zone.copy()
    radius = OSTIUM_RADIUS_MM / grid.spacing_mm
    for center in grid.to_kji(ostia_ras):
        low = np.maximum(np.floor(center - radius).astype(int), 0)
        high = np.minimum(np.ceil(center + radius).astype(int) + 1, zone.shape)
        axes = np.ogrid[tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))]
        inside = sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True)) <= radius**2
        zone[tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))] |= inside
    return zone


def ostium_candidates(heat: np.ndarray, grid: RasGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (N, 3) in RAS and scores (N,) of the peaks of a heat map [k, j, i], the best first.

    Of peaks within `OSTIA_APART_MM` of each other only the highest counts.
    """
    from scipy import ndimage

    hot = np.argwhere(heat >= OSTIUM_SCORE)
    if not len(hot):
        return np.zeros((0, 3)), np.zeros(0)
    box = tuple(slice(max(a - 3, 0), b + 4) for a, b in zip(hot.min(axis=0), hot.max(axis=0), strict=True))
    near = np.asarray(heat[box], dtype=np.float32)
    peaks = np.argwhere((near == ndimage.maximum_filter(near, size=3)) & (near >= OSTIUM_SCORE))
    scores = near[tuple(peaks.T)].astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    points, scores = grid.to_ras(peaks[order] + [s.start for s in box]), scores[order]
    kept: list[int] = []
    for index, point in enumerate(points):
        if all(np.linalg.norm(point - points[other]) > OSTIA_APART_MM for other in kept):
            kept.append(index)
    return points[kept], scores[kept]
