"""The attenuation of coronary blood along the vessels, and of calcium beside it, in HU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .fit import WALL_HU
from .rays import ray_directions

if TYPE_CHECKING:
    from ..study import VesselTree
    from .sampling import VolumeSampler
    from .sections import Sections

_RING_MM = 0.35
_RADIUS_ERROR_MM = 0.12  # of the segmentation
_CLEAR_SHARE = 0.8  # of its contrast that a section must keep at its center
_LEAST_CLEAR = 8  # sections that a median needs
_LEAST_ERROR, _INHERITED_ERROR = 0.005, 0.05  # as a part of the attenuation


def calcium_threshold_hu(lumen_hu: np.ndarray | float, noise_hu: float) -> np.ndarray:
    """Return the attenuation in HU above which a voxel beside the lumen is calcium."""
    return np.maximum(350.0, np.asarray(lumen_hu) + max(3.0 * noise_hu, 100.0))


def lumen_attenuation(
    tree: VesselTree, sections: Sections, sampler: VolumeSampler, aorta_hu: float, sigma_mm: float
) -> np.ndarray:
    """Return the attenuation of undisturbed lumen (S,) in HU along every vessel.

    The center of a section shows it, less what the point spread takes from a disc of its radius. The median of the
    sections within 10 mm is joined with the attenuation of the parent, or with 0.95 of the aorta, by their errors: the
    narrower a vessel, the more an uncertain radius makes of the center. Bounded to 0.7 to 1.1 of the aorta.
    """
    import torch

    from .disc import blurred_disc

    inner = ray_directions(sections.frames)[:, ::3] * _RING_MM
    around = np.concatenate([np.zeros((len(inner), 1, 3)), inner], axis=1) + sections.centers[:, None]
    core = np.median(sampler(torch.from_numpy(around))[0].cpu().numpy(), axis=1)
    place, sigma = torch.tensor(_RING_MM), torch.tensor(sigma_mm, dtype=torch.float32)
    radii = torch.from_numpy(np.stack([sections.radius_mm, sections.radius_mm - _RADIUS_ERROR_MM])).float()
    seen, less = blurred_disc(place, radii.clamp(min=0.1), sigma)[0].double().numpy()
    estimate = WALL_HU + (core - WALL_HU) / np.maximum(seen, 0.1)
    error = np.hypot(_LEAST_ERROR, (seen - less) / np.maximum(seen, 0.1))
    clear = (seen > _CLEAR_SHARE) & (estimate > 0.6 * aorta_hu) & (estimate < 1.15 * aorta_hu)
    result = np.empty(len(core))
    half = round(10.0 / CENTERLINE_SPACING_MM)
    by_name: dict[str, np.ndarray] = {}
    for number, vessel in enumerate(tree.vessels):
        own = np.flatnonzero(sections.vessel_index == number)
        inherited = 0.95 * aorta_hu
        if vessel.parent in by_name and vessel.parent_distance_mm is not None:
            parent = by_name[vessel.parent]
            inherited = parent[min(round(vessel.parent_distance_mm / CENTERLINE_SPACING_MM), len(parent) - 1)]
        level = np.full(len(own), inherited)
        good = np.flatnonzero(clear[own])
        if len(good) >= _LEAST_CLEAR:
            values, errors = _medians_near(good, len(own), half, estimate[own][good], error[own][good])
            weight = (_INHERITED_ERROR / errors) ** 2
            level = (weight * values + inherited) / (weight + 1.0)
        by_name[vessel.name] = level = np.clip(level, 0.7 * aorta_hu, 1.1 * aorta_hu)
        result[own] = level
    return result


def _medians_near(good: np.ndarray, count: int, half: int, *values: np.ndarray) -> list[np.ndarray]:
    """Return the medians (N,) of values (G,) known at some of N places, over those within `half` or the nearest eight.

    One sort of all windows instead of a call of `numpy.median` for each place.
    """
    places = np.arange(count)
    first, last = np.searchsorted(good, places - half), np.searchsorted(good, places + half, side="right")
    for i in np.flatnonzero(last - first < _LEAST_CLEAR):
        nearest = np.argsort(np.abs(good - i), kind="stable")[:_LEAST_CLEAR]
        first[i], last[i] = nearest.min(), nearest.max() + 1
    size = last - first
    window = first[:, None] + np.arange(size.max())
    outside = window >= last[:, None]
    result = []
    for value in values:
        ordered = np.sort(np.where(outside, np.inf, value[np.minimum(window, len(good) - 1)]), axis=1)
        result.append(0.5 * (ordered[places, (size - 1) // 2] + ordered[places, size // 2]))
    return result


def coronary_attenuation(tree: VesselTree, sampler: VolumeSampler) -> float | None:
    """Return the median attenuation in HU at the centers of the widest fifth of the tree; None without vessels.

    There the point spread hardly dims the center, so that this is the attenuation of coronary blood.
    """
    import torch

    if not tree.vessels:
        return None
    radius = np.concatenate([vessel.radius_mm for vessel in tree.vessels])
    points = np.concatenate([vessel.points_ras for vessel in tree.vessels])
    widest = points[radius >= np.quantile(radius, 0.8)]
    values, inside = sampler(torch.from_numpy(widest))
    return float(values[inside].median()) if bool(inside.any()) else None
