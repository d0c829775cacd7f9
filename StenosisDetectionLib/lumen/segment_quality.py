"""Image quality along the coronary segments: attenuation, noise and contrast-to-noise ratio.

In: CT, vessel tree, lumen profiles, point spread and noise of the study. Out: a `SegmentQuality` per SCCT segment in
HU, and the contrast-to-noise ratio of the study. Method of the noise: the voxels near the center of the lumen, minus
what the point spread makes of a round lumen there (`disc.py`) and a trend along the vessel, both fitted to them; the
standard deviation of the rest. Its standard error counts a value per mm of the vessel or per mm3, since the noise of
neighboring voxels is shared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import spacing_of, transform_points
from ..study import CENTERLINE_SPACING_MM, SegmentQuality

if TYPE_CHECKING:
    from ..study import CTVolume, LumenProfile, Vessel, VesselSegment, VesselTree

EDGE_SIGMAS = 2.5
"""Voxels this many standard deviations of the point spread inside of the edge see hardly anything of it."""

NARROW_MM, NARROW_SHARE = 0.5, 0.4
"""In narrower vessels voxels up to this distance from the center, and this share of the radius, are used as well."""

SMALLEST_RADIUS_MM = 0.9
"""Below this radius of the lumen its center tells more of the point spread than of the noise."""

FEWEST_VOXELS = 50
"""Fewer voxels tell nothing of the noise."""

MAIN_VESSELS = ("LM", "LAD", "LCX", "RCA")
"""Vessels whose points make the contrast-to-noise ratio of the study."""

_MEASURED = ("ok", "bifurcation", "ostium")
_STEP = 2
_LARGEST_CORE_MM = 1.5
_OUTLIER = 4.0


def segment_quality(
    volume: CTVolume,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    sigma_mm: tuple[float, float, float],
    noise_hu: float,
) -> tuple[SegmentQuality, ...]:
    """Return the image quality of every SCCT segment, in the order of the tree.

    Parameters
    ----------
    sigma_mm : point spread along i, j, k.
    noise_hu : noise of the study that the profiles were measured with.
    """
    return tuple(
        _of_segment(volume, vessel, profile, segment, max(sigma_mm), noise_hu)
        for vessel, profile in zip(tree.vessels, profiles, strict=True)
        for segment in vessel.segments
    )


def study_contrast_to_noise(profiles: tuple[LumenProfile, ...]) -> float | None:
    """Return the median of (lumen - surroundings) over noise along the main vessels; None where nothing is known."""
    values = [
        profile.contrast_to_noise[np.isin(profile.quality, _MEASURED)]
        for profile in profiles
        if profile.vessel in MAIN_VESSELS and profile.contrast_to_noise is not None
    ]
    return _median(np.concatenate([np.zeros(0), *values]))


def _of_segment(
    volume: CTVolume, vessel: Vessel, profile: LumenProfile, segment: VesselSegment, sigma_mm: float, noise_hu: float
) -> SegmentQuality:
    inside = (vessel.distance_mm >= segment.start_mm) & (vessel.distance_mm <= segment.end_mm)
    measured = inside & np.isin(profile.quality, _MEASURED)
    noise, error = _core_noise(volume, vessel, profile, measured, sigma_mm)
    ratio = None if profile.contrast_to_noise is None else _median(profile.contrast_to_noise[measured])
    if ratio is not None and noise is not None:
        ratio *= noise_hu / noise
    known = inside & np.isfinite(profile.diameter_mm)
    return SegmentQuality(
        vessel=vessel.name,
        number=segment.number,
        lumen_hu=_median(profile.lumen_hu[measured]),
        noise_hu=noise,
        noise_error_hu=error,
        contrast_to_noise=ratio,
        measured_percent=100.0 * float(known.sum()) / max(int(inside.sum()), 1),
    )


def _median(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def _core_noise(
    volume: CTVolume, vessel: Vessel, profile: LumenProfile, measured: np.ndarray, sigma_mm: float
) -> tuple[float | None, float | None]:
    """Return the noise in HU and its standard error from the voxels near the center; None where there are too few."""
    import torch

    from .disc import blurred_disc

    with np.errstate(invalid="ignore"):
        radius = profile.diameter_mm / 2.0
        narrow = np.minimum(NARROW_SHARE * radius, NARROW_MM)
        core = np.minimum(
            np.maximum(profile.minimum_diameter_mm / 2.0 - EDGE_SIGMAS * sigma_mm, narrow), _LARGEST_CORE_MM
        )
        # Calcium reaches farther into the lumen than its edge does, and branches have no round lumen.
        use = (
            measured
            & (np.array(profile.quality) == "ok")
            & (radius >= SMALLEST_RADIUS_MM)
            & ~(profile.calcified_area_mm2 > 0.0)
        )
    chosen = np.flatnonzero(use)[::_STEP]
    if not len(chosen):
        return None, None
    hu, distance, nearest = _core_voxels(volume, profile.contour_center_ras[chosen], core[chosen])
    if len(hu) < FEWEST_VOXELS:
        return None, None
    x = (vessel.distance_mm[chosen][nearest] - vessel.distance_mm[chosen].mean()) / 10.0
    lumen, _ = blurred_disc(
        torch.from_numpy(distance).float(), torch.from_numpy(radius[chosen][nearest]).float(), torch.tensor(sigma_mm)
    )
    seen = lumen.numpy().astype(np.float64)
    basis = np.column_stack([np.ones_like(x), x, x * x, seen, seen * x])
    kept = np.ones(len(hu), dtype=bool)
    for _ in range(3):
        rest = hu - basis @ np.linalg.lstsq(basis[kept], hu[kept], rcond=None)[0]
        middle = np.median(rest[kept])
        kept = np.abs(rest - middle) < _OUTLIER * 1.4826 * np.median(np.abs(rest[kept] - middle)) + 1e-9
    voxels_mm3 = len(hu) * float(np.prod(spacing_of(volume.ijk_to_ras)))
    independent = max(use.sum() * CENTERLINE_SPACING_MM, voxels_mm3)
    freedom = independent - basis.shape[1]
    if freedom < 2.0:
        return None, None
    # The fit takes a part of the noise with it.
    noise = float(rest[kept].std()) * math.sqrt(independent / freedom)
    return (noise, noise / math.sqrt(2.0 * freedom)) if noise > 0.0 else (None, None)


def _core_voxels(
    volume: CTVolume, centers_ras: np.ndarray, core_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return HU, distance to the nearest center and its number of the voxels within the core radius of that center."""
    from scipy.spatial import cKDTree

    spacing = np.array(spacing_of(volume.ijk_to_ras))
    near = np.round(transform_points(np.linalg.inv(volume.ijk_to_ras), centers_ras)).astype(int)
    reach = np.ceil((core_mm.max() + _STEP * CENTERLINE_SPACING_MM) / spacing).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    ijk = np.unique((near[:, None] + steps).reshape(-1, 3), axis=0)
    ijk = ijk[((ijk >= 0) & (ijk < np.array(volume.size_ijk))).all(axis=1)]
    distance, nearest = cKDTree(centers_ras).query(transform_points(volume.ijk_to_ras, ijk))
    inside = distance <= core_mm[nearest]
    i, j, k = ijk[inside].T
    return volume.voxels[k, j, i].astype(np.float64), distance[inside], nearest[inside]
