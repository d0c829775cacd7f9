"""The attenuation of coronary blood along the vessels, and of calcium beside it, in HU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .rays import ray_directions

if TYPE_CHECKING:
    from ..study import VesselTree
    from .sampling import VolumeSampler
    from .sections import Sections


def calcium_threshold_hu(lumen_hu: np.ndarray | float, noise_hu: float) -> np.ndarray:
    """Return the attenuation in HU above which a voxel beside the lumen is calcium."""
    return np.maximum(350.0, np.asarray(lumen_hu) + max(3.0 * noise_hu, 100.0))


def lumen_attenuation(
    tree: VesselTree, sections: Sections, sampler: VolumeSampler, aorta_hu: float, sigma_mm: float
) -> np.ndarray:
    """Return the attenuation of undisturbed lumen (S,) in HU along every vessel.

    The center of a wide section shows it; where a vessel is narrow the value of the nearest wide sections within 10 mm
    holds, then that of the parent. Bounded to 0.7 to 1.1 of the aorta.
    """
    import torch

    inner = ray_directions(sections.frames)[:, ::3] * 0.35
    around = np.concatenate([np.zeros((len(inner), 1, 3)), inner], axis=1) + sections.centers[:, None]
    core = np.median(sampler(torch.from_numpy(around))[0].cpu().numpy(), axis=1)
    wide = (sections.radius_mm > 2.9 * sigma_mm) & (core > 0.6 * aorta_hu) & (core < 1.15 * aorta_hu)
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
        good = np.flatnonzero(wide[own])
        if len(good) >= 8:
            values = core[own][good]
            for i in range(len(own)):
                near = values[np.abs(good - i) <= half]
                nearest = near if len(near) >= 8 else values[np.argsort(np.abs(good - i), kind="stable")[:8]]
                level[i] = np.median(nearest)
        by_name[vessel.name] = level = np.clip(level, 0.7 * aorta_hu, 1.1 * aorta_hu)
        result[own] = level
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
