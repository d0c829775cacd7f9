"""Fit the contours of all cross-sections of a tree: where the lumen lies, and whether calcium lies beside it.

In: sections, sampler, point spread, attenuation of lumen and noise. Out: `Contours` with one entry per section. Two
explanations of a section compete where its shape or its brightness is suspicious: a lumen alone, centered on what is
bright, and a narrower lumen on the path with calcium beside it, which the point spread may dim to the attenuation of a
lumen. Chi-squared of both, averaged over a stretch of the vessel, decides.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from ..progress import no_report
from ..study import CENTERLINE_SPACING_MM
from .attenuation import calcium_threshold_hu
from .calcium import Calcium, guess_spot
from .fit import WALL_HU, SectionData, SectionFit, fit_sections
from .rays import (
    ANGLES,
    SAMPLES,
    Rays,
    RayView,
    candidate_excess_hu,
    ray_directions,
    ray_extent,
    sample_rays,
    view_rays,
)
from .sections import Sections

if TYPE_CHECKING:
    from ..progress import StageReport
    from .sampling import VolumeSampler

EVIDENCE, EVIDENCE_MM = 2.0, 1.0
"""Calcium is believed where it lowers chi-squared by this much, averaged over this length to both sides."""

PATH_SD_MM = 0.5
"""How far the path lies from the middle of the lumen."""

_SECTIONS_A_BATCH = 512
_SHIFTED, _ELONGATED = 0.25, 0.12
_SMALL_LUMEN_MM = 0.6


@dataclass(frozen=True, eq=False)
class Contours:
    """Fitted sections.

    `centers` (S, 3) RAS; `fit`; `calcified` (S, A) rays that meet calcium; `neighbor` (S, A) mm where another vessel
    begins; `ring` (S,) share of rays that meet a bright ring; `inside` (S,) whether the section lies in the volume;
    `core_hu` (S,) HU at the center; `doubt_mm` (S,) standard error of the diameter from which explanation is right.
    """

    centers: np.ndarray
    fit: SectionFit
    calcified: np.ndarray
    neighbor: np.ndarray
    ring: np.ndarray
    inside: np.ndarray
    core_hu: np.ndarray
    doubt_mm: np.ndarray


@dataclass(frozen=True, eq=False)
class _Seen:
    """Sections at given centers with what their rays see."""

    rays: Rays
    view: RayView
    data: SectionData


class _Fitter:
    """Samples and fits sections of one study."""

    def __init__(
        self,
        sampler: VolumeSampler,
        sections: Sections,
        covariance: np.ndarray,
        lumen_hu: np.ndarray,
        noise_hu: float,
    ) -> None:
        self.sampler, self.sections, self.covariance = sampler, sections, covariance
        self.lumen_hu, self.noise_hu = lumen_hu, noise_hu
        self.neighbors = _other_vessels(sections)

    def see(self, index: np.ndarray, centers: np.ndarray, radius: np.ndarray) -> _Seen:
        """Sample the sections of an index at given centers."""
        import torch

        device = self.sampler.device
        frames, vessel = self.sections.frames[index], self.sections.vessel_index[index]
        extent = ray_extent(radius)
        rays = sample_rays(self.sampler, centers, frames, extent, self.covariance)
        level = torch.tensor(self.lumen_hu[index], dtype=torch.float32, device=device)
        threshold = calcium_threshold_hu(self.lumen_hu[index], self.noise_hu)
        cut = _neighbor_samples(centers, frames, radius, extent, vessel, self.neighbors)
        view = view_rays(
            rays,
            level,
            self.noise_hu,
            torch.tensor(threshold, dtype=torch.float32, device=device),
            torch.from_numpy(cut).to(device),
        )
        wide = view.radius > 3.0 * rays.sigma.mean()
        spread = torch.where(wide, 0.05 * level, 0.03 * level)
        data = SectionData(
            rays.values, view.weights, rays.distance, rays.sigma, level, spread, view.radius, self.noise_hu
        )
        return _Seen(rays, view, data)

    def with_calcium(self, index: np.ndarray, centers: np.ndarray, radius: np.ndarray) -> tuple[_Seen, SectionFit]:
        """Fit sections with calcium: where it shines, or else at the brightest place."""
        import torch

        seen = self.see(index, centers, radius)
        shines = seen.view.calcium.present.any(dim=1)
        spot = guess_spot(seen.view.evened, seen.data.distance)
        calcium = Calcium(
            torch.where(shines[:, None, None], seen.view.calcium.parameters, spot.parameters),
            torch.where(shines[:, None], seen.view.calcium.present, spot.present),
        )
        start = torch.where(shines, seen.data.radius, seen.data.radius.clamp(max=_SMALL_LUMEN_MM))
        return seen, fit_sections(replace(seen.data, radius=start, calcium=calcium))


def fit_contours(
    sampler: VolumeSampler,
    sections: Sections,
    covariance: np.ndarray,
    lumen_hu: np.ndarray,
    noise_hu: float,
    chosen: np.ndarray,
    report: StageReport = no_report,
) -> Contours:
    """Fit the sections of an index (S,); the others are neighbors only.

    Parameters
    ----------
    covariance : (3, 3) of the point spread in RAS, mm2.
    lumen_hu : (S,) attenuation of undisturbed lumen.
    """
    fitter = _Fitter(sampler, sections, covariance, lumen_hu, noise_hu)
    count = len(chosen)
    parts = []
    for start in range(0, count, _SECTIONS_A_BATCH):
        stop = min(start + _SECTIONS_A_BATCH, count)
        report(start / count, f"fitting cross-sections {start + 1} to {stop} of {count}")
        parts.append(_fit_batch(fitter, chosen[start:stop]))
    fits = [part.fit for part in parts]
    return Contours(
        np.concatenate([part.centers for part in parts]),
        _joined(fits),
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Contours)[2:]),
    )


def _joined(fits: list[SectionFit]) -> SectionFit:
    import torch

    return SectionFit(*(torch.cat([getattr(fit, f.name) for fit in fits]) for f in fields(SectionFit)))


def _fit_batch(fitter: _Fitter, index: np.ndarray) -> Contours:
    import torch

    sections = fitter.sections
    frames, radius = sections.frames[index], sections.radius_mm[index]
    path = sections.centers[index]
    bright_hu = fitter.lumen_hu[index] + candidate_excess_hu(fitter.noise_hu)
    shift = _toward_lumen(fitter.sampler, path, frames, radius, bright_hu)
    centers = path + shift
    seen = fitter.see(index, centers, radius)
    first = fit_sections(seen.data)
    suspicious = _suspicious(first, seen.view, (shift**2).sum(axis=1) > 0)
    centers = centers + _recentering(first, frames)
    wider = np.maximum(radius, first.radius_coefficients[:, 0].cpu().numpy())
    seen = fitter.see(index, centers, wider)
    fit = fit_sections(seen.data)
    view, inside = seen.view, seen.rays.inside
    core = seen.rays.values[:, :, :2].mean((1, 2))
    calcified = view.calcified.clone()
    doubt = np.zeros(len(index))
    chosen = np.flatnonzero(suspicious)
    if len(chosen):
        own = index[chosen]
        _, other = fitter.with_calcium(own, path[chosen], radius[chosen])
        moved = path[chosen] + _recentering(other, frames[chosen])
        other_seen, other = fitter.with_calcium(own, moved, radius[chosen])
        gain = (fit.cost[chosen] - other.cost).cpu().numpy()
        # The path was drawn through the lumen: the farther from it, the less an explanation is believed.
        away = [((place - path[chosen]) ** 2).sum(axis=1) for place in (centers[chosen], moved)]
        gain = gain + (away[0] - away[1]) / PATH_SD_MM**2
        vessel = sections.vessel_index[own]
        gain = _averaged(gain, own, vessel)
        worth = gain > EVIDENCE
        share = 1.0 / (1.0 + np.exp(-np.clip(gain - EVIDENCE, -30.0, 30.0)))
        apart = [2.0 * one.radius.square().mean(dim=1).sqrt().cpu().numpy() for one in (fit, other)]
        doubt[chosen] = np.sqrt(share * (1.0 - share)) * np.abs(apart[0][chosen] - apart[1])
        keep = chosen[worth]
        taken = torch.from_numpy(np.flatnonzero(worth)).to(fit.cost.device)
        for f in fields(SectionFit):
            getattr(fit, f.name)[keep] = getattr(other, f.name)[taken]
        centers[keep] = moved[worth]
        core[keep] = other_seen.rays.values[:, :, :2].mean((1, 2))[taken]
        calcified[keep] = other_seen.view.calcified[taken]
    return Contours(
        centers,
        fit,
        calcified.cpu().numpy(),
        view.neighbor.cpu().numpy().astype(np.float64),
        view.ring.cpu().numpy().astype(np.float64),
        inside.cpu().numpy(),
        core.cpu().numpy().astype(np.float64),
        doubt,
    )


def _suspicious(first: SectionFit, view: RayView, beside: np.ndarray) -> np.ndarray:
    """Return which sections may hide calcium: they shine, or are far from a disc away from other vessels."""
    coefficients = first.radius_coefficients.cpu().numpy()
    mean = np.maximum(coefficients[:, 0], 0.1)
    shifted = np.linalg.norm(coefficients[:, 1:3], axis=1) > _SHIFTED * mean
    elongated = np.linalg.norm(coefficients[:, 3:5], axis=1) > _ELONGATED * mean
    alone = np.isinf(view.neighbor.cpu().numpy()).all(axis=1)
    shines = view.calcium.present.any(dim=1).cpu().numpy()
    return shines | (alone & (beside | (shifted & elongated)))


def _averaged(gain: np.ndarray, index: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    """Return the gains (M,) averaged over the neighbors of the same vessel within `EVIDENCE_MM`."""
    half = round(EVIDENCE_MM / CENTERLINE_SPACING_MM)
    near = (np.abs(index[:, None] - index[None]) <= half) & (vessel[:, None] == vessel[None])
    return (near * np.clip(gain, -50.0, 50.0)[None]).sum(axis=1) / near.sum(axis=1)


def _other_vessels(sections: Sections) -> list:
    """Return, per vessel, a k-d tree over the points of the other vessels with their radii, or None."""
    from scipy.spatial import cKDTree

    result: list = []
    for number in range(int(sections.vessel_index.max()) + 1):
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
    ring = np.maximum(fraction, 0.1)
    # The mean over three neighboring rays keeps noise from looking like a lumen.
    smooth = (np.roll(values, 1, axis=1) + values + np.roll(values, -1, axis=1)) / 3.0
    calcified = (smooth > calcium_hu[:, None, None]).any(axis=2, keepdims=True)
    values, smooth = np.where(calcified, WALL_HU, values), np.where(calcified, WALL_HU, smooth)
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
