"""Where the rays of a cross-section reach another vessel of the tree: RAS mm in, sample numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rays import ANGLES, SAMPLES, ray_directions

if TYPE_CHECKING:
    from .sections import Sections


def other_vessels(sections: Sections) -> list:
    """Return, per vessel, a k-d tree over the points of the other vessels with their radii, or None."""
    from scipy.spatial import cKDTree

    result: list = []
    for number in range(int(sections.vessel_index.max()) + 1):
        others = sections.vessel_index != number
        points = sections.centers[others]
        result.append((cKDTree(points), sections.radius_mm[others]) if len(points) else None)
    return result


def neighbor_samples(
    centers: np.ndarray, frames: np.ndarray, radius: np.ndarray, extent: np.ndarray, vessel: np.ndarray, neighbors: list
) -> np.ndarray:
    """Return (S, ANGLES) the first sample on each ray that is nearer to another vessel, in units of the radii."""
    result = np.full((len(centers), ANGLES), SAMPLES)
    directions = ray_directions(frames)
    fraction = (np.arange(SAMPLES) + 0.5) / SAMPLES
    for number in np.unique(vessel):
        if neighbors[number] is None:
            continue
        kd_tree, other_radius = neighbors[number]
        own = np.flatnonzero(vessel == number)
        gap, _ = kd_tree.query(centers[own], distance_upper_bound=12.0)
        own = own[gap < extent[own] + 3.0]
        if len(own) == 0:
            continue
        distance = extent[own, None] * fraction
        points = centers[own, None, None] + distance[:, None, :, None] * directions[own][:, :, None]
        other, index = kd_tree.query(points, distance_upper_bound=8.0)
        scaled = np.where(np.isinf(other), np.inf, other / np.append(other_radius, 1.0)[index])
        taken = scaled < distance[:, None] / radius[own, None, None]
        result[own] = np.where(taken.any(-1), taken.argmax(-1), SAMPLES)
    return result
