"""Estimate the point spread of a study from the edge of its aorta.

In: the CT and the aorta. Out: the standard deviation of a Gaussian point spread along the voxel axes i, j, k in mm,
as the trilinear sampler sees it. Method: blood-to-wall edge profiles along the surface normal are fitted with an error
function; the variance of a profile in direction n is the sum over axes of n_a^2 sigma_a^2, in-plane axes sharing one
value, solved robustly over all profiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import spacing_of, transform_points

if TYPE_CHECKING:
    from ..study import CTVolume
    from .sampling import VolumeSampler

SIGMA_RANGE_MM = (0.25, 0.70)
"""Estimates outside this range are clamped and flagged: clinical kernels lie inside."""

_MINIMUM_PROFILES = 60


@dataclass(frozen=True)
class PointSpread:
    """Gaussian sigma in mm along i, j, k; `measured` is False where the spacing had to stand in for a measurement."""

    sigma_mm: tuple[float, float, float]
    measured: bool
    warnings: tuple[str, ...] = ()


def assumed_point_spread(volume: CTVolume) -> PointSpread:
    """Return a typical point spread for the spacing, where none can be measured."""
    low, high = SIGMA_RANGE_MM
    sigma = np.clip(0.9 * np.array(volume.spacing_mm), low, max(high, 0.6 * max(volume.spacing_mm)))
    i, j, k = (float(v) for v in sigma)
    return PointSpread((i, j, k), False, ("point spread assumed from the voxel size: no sharp aortic edge was found",))


def estimate_point_spread(
    volume: CTVolume, aorta: np.ndarray, aorta_ijk_to_ras: np.ndarray, aorta_hu: float, sampler: VolumeSampler
) -> PointSpread:
    """Estimate the point spread from up to 2000 edge profiles of the aorta.

    Parameters
    ----------
    aorta, aorta_ijk_to_ras : mask [k, j, i] of the aorta and its grid.
    aorta_hu : attenuation of the blood.
    sampler : the sampler that the measurement uses.
    """
    points, normals = _surface(aorta, aorta_ijk_to_ras)
    if len(points) < _MINIMUM_PROFILES:
        return assumed_point_spread(volume)
    variance, good = _edge_variances(points, normals, aorta_hu, sampler)
    if good.sum() < _MINIMUM_PROFILES:
        return assumed_point_spread(volume)
    axes = volume.ijk_to_ras[:3, :3] / np.array(spacing_of(volume.ijk_to_ras))
    squares = (normals[good] @ axes) ** 2
    # Slices are stacked along the axis whose spacing differs; in-plane directions share one value.
    design = np.stack([squares[:, 0] + squares[:, 1], squares[:, 2]], axis=1)
    in_plane, through_plane = _robust_nonnegative(design, variance[good])
    measured = np.sqrt(np.array([in_plane, in_plane, through_plane]))
    low, high = SIGMA_RANGE_MM[0], max(SIGMA_RANGE_MM[1], 0.6 * max(volume.spacing_mm))
    clamped = np.clip(measured, low, high)
    warnings: tuple[str, ...] = ()
    if np.any(np.abs(clamped - measured) > 0.02):
        warnings = (
            f"the measured point spread, {measured[0]:.2f} mm in plane and {measured[2]:.2f} mm across slices "
            f"(standard deviation), lies outside {low:.2f} to {high:.2f} mm and was clamped",
        )
    i, j, k = (float(v) for v in clamped)
    return PointSpread((i, j, k), True, warnings)


def _surface(mask: np.ndarray, ijk_to_ras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return up to 2000 points of a mask's surface and their outward unit normals in RAS."""
    from scipy import ndimage

    if not mask.any():
        return np.zeros((0, 3)), np.zeros((0, 3))
    spacing = np.array(spacing_of(ijk_to_ras))
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), 1.5 / spacing[::-1])
    edge = mask & ~ndimage.binary_erosion(mask)
    # The cut through the vessel at the border of the volume is no edge of blood.
    edge[[0, -1]] = edge[:, [0, -1]] = edge[:, :, [0, -1]] = False
    kji = np.argwhere(edge)
    kji = kji[:: max(1, len(kji) // 2000)]
    gradient = np.stack([np.gradient(smooth, axis=a)[tuple(kji.T)] for a in (2, 1, 0)], axis=1) / spacing
    normals = -(gradient @ (ijk_to_ras[:3, :3] / spacing).T)
    length = np.linalg.norm(normals, axis=1)
    keep = length > 1e-6
    points = transform_points(ijk_to_ras, kji[:, ::-1])
    return points[keep], normals[keep] / length[keep, None]


def _edge_variances(
    points: np.ndarray, normals: np.ndarray, aorta_hu: float, sampler: VolumeSampler
) -> tuple[np.ndarray, np.ndarray]:
    """Fit an error function to each profile; return its variance in mm2 and which fits can be trusted."""
    import torch
    from scipy.special import erfc

    offsets = np.arange(-4.0, 4.01, 0.1)
    lines = points[:, None] + offsets[None, :, None] * normals[:, None]
    values, inside = sampler(torch.from_numpy(lines))
    profile = values.cpu().numpy().astype(np.float64)
    whole = inside.cpu().numpy().all(axis=1)
    # The edge is where the profile last leaves blood, half-way to its lowest value outside.
    floor = profile[:, offsets > -1].min(axis=1)
    half = 0.5 * (aorta_hu + floor)
    above = profile > half[:, None]
    crossing = np.argmin(above | (offsets < -3.0), axis=1)
    usable = whole & (crossing > 12) & (crossing < len(offsets) - 8) & (aorta_hu - floor > 150.0)

    window = np.arange(-22, 7)  # -2.2 mm inside to +0.6 mm outside: the wall's far side is not part of the edge
    columns = np.clip(crossing[:, None] + window, 0, len(offsets) - 1)
    data = np.take_along_axis(profile, columns, axis=1)
    x = window * 0.1
    best = np.full(len(points), np.inf)
    variance = np.full(len(points), np.nan)
    step_found = np.zeros(len(points))
    for sigma in np.arange(0.16, 1.21, 0.04):
        for shift in np.arange(-0.3, 0.31, 0.1):
            model = 0.5 * erfc((x - shift) / (np.sqrt(2) * sigma))
            centered = model - model.mean()
            step = (data @ centered) / (centered @ centered)
            residual = ((data - data.mean(axis=1, keepdims=True) - step[:, None] * centered) ** 2).mean(axis=1)
            better = residual < best
            best[better], variance[better], step_found[better] = residual[better], sigma**2, step[better]
    good = usable & (step_found > 100.0) & (np.sqrt(best) < 0.15 * step_found)
    return variance, good


def _robust_nonnegative(design: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Least absolute deviation of `design @ x = values` with x >= 0: the median of the profiles by direction."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack

    count, width = design.shape
    identity = eye_array(count)
    result = linprog(
        np.concatenate([np.zeros(width), np.ones(2 * count)]),
        A_eq=hstack([csr_array(design), identity, -identity]),
        b_eq=values,
        method="highs",
    )
    return float(result.x[0]), float(result.x[1])
