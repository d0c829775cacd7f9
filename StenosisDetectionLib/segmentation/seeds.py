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

OSTIUM_REACH_MM = 6.0
"""Ostia lie this near to the aorta."""

OSTIA_APART_MM = 5.0
MOST_OSTIA = 12
"""Two or three ostia are normal; more candidates than this are noise."""


def shell(aorta_mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the voxels outside an aorta that lie within `SEED_DISTANCE_MM` of it."""
    return _near(aorta_mask, spacing_mm, SEED_DISTANCE_MM) & ~aorta_mask


def _near(mask: np.ndarray, spacing_mm: float, reach_mm: float) -> np.ndarray:
    """Return the voxels within a distance of a mask, the mask itself included; only its neighborhood is looked at."""
    result = np.zeros(mask.shape, dtype=bool)
    where = np.argwhere(mask)
    if len(where):
        reach = int(np.ceil(reach_mm / spacing_mm)) + 1
        low = np.maximum(where.min(axis=0) - reach, 0)
        box = tuple(slice(int(a), int(b) + reach + 1) for a, b in zip(low, where.max(axis=0), strict=True))
        result[box] = distance_mm(mask[box], spacing_mm) <= reach_mm
    return result


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


def ostium_candidates(heat: np.ndarray, aorta_mask: np.ndarray, grid: RasGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (N, 3) in RAS and scores (N,) of the highest points of a heat map [k, j, i], the best first.

    They are at least `OSTIA_APART_MM` apart, and at most `MOST_OSTIA`; where an aorta is known (its mask is not empty)
    they lie within `OSTIUM_REACH_MM` of it.
    """
    hot = np.argwhere(heat >= OSTIUM_SCORE)
    if len(hot) and aorta_mask.any():
        hot = hot[_near(aorta_mask, grid.spacing_mm, OSTIUM_REACH_MM)[tuple(hot.T)]]
    scores = np.asarray(heat[tuple(hot.T)], dtype=np.float64)
    points = grid.to_ras(hot)
    found: list[int] = []
    left = scores.copy()
    while len(found) < MOST_OSTIA and left.size and left.max() > 0.0:
        best = int(np.argmax(left))
        found.append(best)
        left[np.linalg.norm(points - points[best], axis=1) < OSTIA_APART_MM] = 0.0
    return points[found].reshape(-1, 3), scores[found]
