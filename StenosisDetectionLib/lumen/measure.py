"""Measure the lumen in cross-sections normal to every vessel, on the original voxels.

In: CT, vessel tree, point spread and noise. Out: a `LumenProfile` per vessel in mm and mm2 with standard errors.
Method: rays in the plane of a rotation-minimizing frame, two-shell fit with the point spread in the model (`fit.py`),
re-centered once, then smoothed along the vessel over less than a millimeter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import spacing_of
from ..progress import no_report
from ..study import CENTERLINE_SPACING_MM, LumenProfile
from .attenuation import calcium_threshold_hu, lumen_attenuation
from .fit import WALL_HU, SectionData, SectionFit, fit_sections
from .rays import ANGLES, SAMPLES, RayView, ray_directions, ray_extent, sample_rays, view_rays
from .sections import Sections, sections_of

if TYPE_CHECKING:
    from ..progress import StageReport
    from ..study import CTVolume, Vessel, VesselTree
    from .point_spread import PointSpread
    from .sampling import VolumeSampler

OSTIUM_MM = 2.5
"""Length at the aorta where the section cuts the aortic wall obliquely."""

END_MM = 3.0
"""Length before the end of a vessel where the lumen fades out."""

NORMAL_WALL_MM = 0.5
"""Thickness of a healthy wall; what is thicker counts as plaque."""

NEIGHBOR_MM = 0.5
"""Another vessel nearer than this to the contour disturbs it."""

SMOOTHING_MM = 0.3
"""Standard deviation of the smoothing along the vessel: wider kernels fill the throat of a short lesion."""

_SECTIONS_A_BATCH = 512


@dataclass(frozen=True, eq=False)
class _Part:
    """One fitted batch: the fit, what the rays saw, whether each section lies in the volume, HU at its center."""

    fit: SectionFit
    view: RayView
    inside: np.ndarray
    core_hu: np.ndarray


def measure_lumen(
    volume: CTVolume,
    tree: VesselTree,
    aorta_hu: float,
    noise_hu: float,
    point_spread: PointSpread,
    sampler: VolumeSampler,
    report: StageReport = no_report,
    only: frozenset[str] | None = None,
) -> tuple[LumenProfile, ...]:
    """Measure every vessel of the tree; profiles are in the order of `tree.vessels`.

    Parameters
    ----------
    aorta_hu, noise_hu : attenuation of the blood in the aorta and SD of the noise there.
    point_spread : of this study.
    sampler : of this volume; its device does the work.
    only : names of the vessels to measure, the others being neighbors only; None measures all.
    """
    measured = [n for n, vessel in enumerate(tree.vessels) if only is None or vessel.name in only]
    if not measured:
        return ()
    report(0.0, "sampling cross-sections")
    sections = sections_of(tree)
    axes = volume.ijk_to_ras[:3, :3] / np.array(spacing_of(volume.ijk_to_ras))
    covariance = axes @ np.diag(np.square(point_spread.sigma_mm)) @ axes.T
    noise = max(noise_hu, 5.0)
    lumen_hu = lumen_attenuation(tree, sections, sampler, aorta_hu, float(np.mean(point_spread.sigma_mm)))
    neighbors = _other_vessels(tree, sections)
    own = np.isin(sections.vessel_index, measured)
    sections, lumen_hu = sections.chosen(own), lumen_hu[own]

    centers = sections.centers.copy()
    parts: list[_Part] = []
    count = len(centers)
    for start in range(0, count, _SECTIONS_A_BATCH):
        chosen = slice(start, min(start + _SECTIONS_A_BATCH, count))
        report(0.1 + 0.8 * start / count, f"fitting cross-sections {start + 1} to {chosen.stop} of {count}")
        radius = sections.radius_mm[chosen]
        centers[chosen] += _toward_lumen(
            sampler, centers[chosen], sections.frames[chosen], radius, calcium_threshold_hu(lumen_hu[chosen], noise)
        )
        first = _fit(sampler, centers[chosen], sections, chosen, radius, covariance, lumen_hu, noise, neighbors)
        shift = _recentering(first.fit, sections.frames[chosen])
        centers[chosen] += shift
        report(0.1 + 0.8 * (start + 0.5 * (chosen.stop - start)) / count, "refining the contours")
        radius = np.maximum(radius, first.fit.radius_coefficients[:, 0].cpu().numpy())
        parts.append(_fit(sampler, centers[chosen], sections, chosen, radius, covariance, lumen_hu, noise, neighbors))
    report(0.95, "assembling the profiles")
    return _profiles(tree, sections, centers, parts, lumen_hu, noise)


def _other_vessels(tree: VesselTree, sections: Sections) -> list:
    """Return, per vessel, a k-d tree over the points of the other vessels with their radii, or None."""
    from scipy.spatial import cKDTree

    result: list = []
    for number in range(len(tree.vessels)):
        others = sections.vessel_index != number
        points = sections.centers[others]
        result.append((cKDTree(points), sections.radius_mm[others]) if len(points) else None)
    return result


def _neighbor_samples(
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


def _fit(
    sampler: VolumeSampler,
    centers: np.ndarray,
    sections: Sections,
    chosen: slice,
    radius: np.ndarray,
    covariance: np.ndarray,
    lumen_hu: np.ndarray,
    noise: float,
    neighbors: list,
) -> _Part:
    """Sample and fit one batch of sections."""
    import torch

    frames, vessel = sections.frames[chosen], sections.vessel_index[chosen]
    extent = ray_extent(radius)
    rays = sample_rays(sampler, centers, frames, extent, covariance)
    level = torch.tensor(lumen_hu[chosen], dtype=torch.float32, device=sampler.device)
    calcium = torch.tensor(calcium_threshold_hu(lumen_hu[chosen], noise), dtype=torch.float32, device=sampler.device)
    cut = _neighbor_samples(centers, frames, radius, extent, vessel, neighbors)
    view = view_rays(rays, level, noise, calcium, torch.from_numpy(cut).to(sampler.device))
    wide = view.radius > 3.0 * rays.sigma.mean()
    spread = torch.where(wide, 0.05 * level, 0.03 * level)
    data = SectionData(rays.values, view.weights, rays.distance, rays.sigma, level, spread, view.radius, view.edge)
    return _Part(fit_sections(data), view, rays.inside.cpu().numpy(), rays.values[:, :, :2].mean((1, 2)).cpu().numpy())


def _toward_lumen(
    sampler: VolumeSampler, centers: np.ndarray, frames: np.ndarray, radius: np.ndarray, calcium_hu: np.ndarray
) -> np.ndarray:
    """Return the shift (S, 3) in RAS that brings a section whose center lies beside its lumen onto it.

    A path may run through the plaque of an eccentric narrowing. Where the brightest place within the vessel is clearly
    brighter than the center, the centroid of what is brighter than half-way to it is taken. Directions with calcium,
    which is bright too, are left out.
    """
    import torch

    reach = np.clip(radius + 0.3, 0.8, 2.0)
    fraction = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    directions = ray_directions(frames)[:, ::2]
    offsets = reach[:, None, None, None] * fraction[:, None] * directions[:, :, None]
    values = sampler(torch.from_numpy(centers[:, None, None] + offsets))[0].cpu().numpy().astype(np.float64)
    values = np.where((values > calcium_hu[:, None, None]).any(axis=2, keepdims=True), WALL_HU, values)
    ring = np.maximum(fraction, 0.1)
    # The mean over three neighboring rays keeps noise from looking like a lumen.
    smooth = (np.roll(values, 1, axis=1) + values + np.roll(values, -1, axis=1)) / 3.0
    peak, core = smooth[:, :, 1:].max(axis=(1, 2)), values[:, :, 0].max(axis=1)
    weight = np.maximum(smooth - 0.5 * (peak + WALL_HU)[:, None, None], 0.0) * ring
    total = weight.sum(axis=(1, 2))
    shift = (weight[..., None] * offsets).sum(axis=(1, 2)) / np.maximum(total, 1e-6)[:, None]
    beside = (core - WALL_HU < 0.75 * (peak - WALL_HU)) & (peak > 2.0 * WALL_HU) & (total > 0)
    return np.where(beside[:, None], shift, 0.0)


def _recentering(fit: SectionFit, frames: np.ndarray) -> np.ndarray:
    """Return the shift (S, 3) in RAS to the center of the fitted contour, at most 0.8 of its radius."""
    coefficients = fit.radius_coefficients.cpu().numpy().astype(np.float64)
    shift = coefficients[:, 1:3]
    length = np.linalg.norm(shift, axis=1)
    limit = 0.8 * np.maximum(coefficients[:, 0], 0.3)
    shift = shift * np.minimum(1.0, limit / np.maximum(length, 1e-6))[:, None]
    return shift[:, :1] * frames[:, 1] + shift[:, 1:] * frames[:, 2]


def smooth_along(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Smooth a profile (N,) by local straight lines with Gaussian weights of `SMOOTHING_MM` over the errors squared.

    NaN values are left out of the sums and stay NaN.
    """
    count = len(values)
    half = math.ceil(3 * SMOOTHING_MM / CENTERLINE_SPACING_MM)
    offsets = np.arange(-half, half + 1)
    index = np.clip(np.arange(count)[:, None] + offsets, 0, count - 1)
    x = (index - np.arange(count)[:, None]) * CENTERLINE_SPACING_MM
    known = np.isfinite(values)
    y = np.where(known, values, 0.0)[index]
    weight = np.exp(-0.5 * (x / SMOOTHING_MM) ** 2) / np.square(np.where(known, error, np.inf))[index]
    weight[(np.arange(count)[:, None] + offsets) != index] = 0.0
    s0, s1, s2 = weight.sum(1), (weight * x).sum(1), (weight * x * x).sum(1)
    t0, t1 = (weight * y).sum(1), (weight * x * y).sum(1)
    determinant = s0 * s2 - s1 * s1
    with np.errstate(invalid="ignore", divide="ignore"):
        line = np.where(determinant > 1e-9 * s0 * s0, (s2 * t0 - s1 * t1) / determinant, t0 / s0)
    return np.where(known, line, np.nan)


def _feret(contour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and largest caliper diameter (S,) of contours given as radii (S, A)."""
    theta = np.arange(contour.shape[1]) * (2 * math.pi / contour.shape[1])
    support = (contour[:, None, :] * np.cos(theta[None, :] - theta[:, None])).max(axis=-1)
    width = support + np.roll(support, contour.shape[1] // 2, axis=1)
    return width.min(axis=1), width.max(axis=1)


def _profiles(
    tree: VesselTree,
    sections: Sections,
    centers: np.ndarray,
    parts: list[_Part],
    lumen_hu: np.ndarray,
    noise: float,
) -> tuple[LumenProfile, ...]:
    def of_fit(name: str) -> np.ndarray:
        return np.concatenate([getattr(part.fit, name).cpu().numpy() for part in parts]).astype(np.float64)

    def of_view(name: str) -> np.ndarray:
        return np.concatenate([getattr(part.view, name).cpu().numpy() for part in parts]).astype(np.float64)

    coefficients, covariance = of_fit("radius_coefficients"), of_fit("radius_covariance")
    contour, outer, residual = of_fit("radius"), of_fit("outer_radius"), of_fit("residual")
    outside_hu, plaque_hu = of_fit("surroundings_hu").mean(axis=1), of_fit("plaque_hu")
    calcified = of_view("calcified").mean(axis=1)
    # Another vessel matters where it hides the edge of the lumen, not where it lies beyond the wall.
    neighbor = (of_view("neighbor") < contour + NEIGHBOR_MM).mean(axis=1)
    calcified_area = of_view("calcified_area")
    inside = np.concatenate([part.inside for part in parts])
    core_hu = np.concatenate([part.core_hu for part in parts]).astype(np.float64)

    mean_square = (contour**2).mean(axis=1)
    diameter = 2.0 * np.sqrt(mean_square)
    slope = np.concatenate([2 * coefficients[:, :1], coefficients[:, 1:]], axis=1) / np.sqrt(mean_square)[:, None]
    variance = np.einsum("si,sij,sj->s", slope, covariance, slope) * np.maximum(1.0, residual**2)
    error = np.sqrt(np.maximum(variance, 1e-6))
    annulus = np.pi * ((outer**2).mean(axis=1) - ((contour + NORMAL_WALL_MM) ** 2).mean(axis=1))
    # The outer wall shows only where wall and surroundings differ, which they do in fat.
    plaque_area = np.where(plaque_hu - outside_hu > 80.0, np.maximum(annulus, 0.0), np.nan)

    result = []
    for number in np.unique(sections.vessel_index):
        vessel = tree.vessels[number]
        own = sections.vessel_index == number
        quality = _quality(
            vessel,
            tree.ends_free(vessel),
            inside[own],
            calcified[own],
            neighbor[own],
            error[own] / diameter[own],
            residual[own],
            (lumen_hu[own] - outside_hu[own]) / noise,
        )
        # Where calcium hides more than half of the circumference the lumen cannot be known.
        known = inside[own] & (np.array(quality) != "calcium")
        smooth = smooth_along(np.where(known, diameter[own], np.nan), error[own])
        with np.errstate(invalid="ignore"):
            scale = smooth / diameter[own]
            low, high = _feret(contour[own])
        scaled = contour[own] * np.where(np.isfinite(scale), scale, 1.0)[:, None]
        result.append(
            LumenProfile(
                vessel=vessel.name,
                area_mm2=np.pi * smooth**2 / 4.0,
                diameter_mm=smooth,
                minimum_diameter_mm=low * scale,
                maximum_diameter_mm=high * scale,
                diameter_error_mm=np.where(known, error[own], np.nan),
                contour_radius_mm=scaled,
                frames=sections.frames[own],
                contour_center_ras=centers[own],
                lumen_hu=np.where(known, core_hu[own], np.nan),
                plaque_area_mm2=np.where(known, plaque_area[own], np.nan),
                calcified_area_mm2=np.where(known, calcified_area[own], np.nan),
                quality=quality,
            )
        )
    return tuple(result)


def _quality(
    vessel: Vessel,
    ends_free: bool,
    inside: np.ndarray,
    calcified: np.ndarray,
    neighbor: np.ndarray,
    relative_error: np.ndarray,
    residual: np.ndarray,
    contrast_to_noise: np.ndarray,
) -> tuple[str, ...]:
    """Return one word per point, the most serious reason first."""
    words = np.full(len(inside), "ok", dtype=object)
    along, length = vessel.distance_mm, vessel.length_mm
    words[neighbor > 0.25] = "bifurcation"
    if ends_free:
        words[along > length - END_MM] = "end"
    if vessel.parent is None:
        words[along < OSTIUM_MM] = "ostium"
    words[(relative_error > 0.25) | (residual > 3.0)] = "unreliable"
    words[contrast_to_noise < 5.0] = "low_contrast"
    words[calcified > 0.5] = "calcium"
    words[~inside] = "outside"
    return tuple(str(w) for w in words)
