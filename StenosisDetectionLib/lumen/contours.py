"""Fit the contours of all cross-sections of a tree: where the lumen lies, and whether calcium lies beside it.

In: sections, sampler, point spread, attenuation of lumen and noise. Out: `Contours` with one entry per section. Two
explanations of a section compete where its shape or its brightness is suspicious: a lumen alone, centered on what is
bright, and a narrower lumen on the path with calcium beside it, which the point spread may dim to the attenuation of a
lumen. They compete, too, wherever the vessel is narrow, unless the section network rules calcium out. Chi-squared of
both and that network, averaged over a stretch of the vessel, decide, chi-squared in units of the misfit that the
sections of the vessel have anyway: where it moved or the noise is unlike what the weights assume, a lumen alone fits
badly everywhere, and more parameters always fit better.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from ..progress import no_report
from .attenuation import calcium_threshold_hu
from .calcium import SIDES, Calcium, guess_side
from .evidence import evidence_for_calcium, healthy_radius, narrow_sections, usual_misfit
from .fit import WALL_HU, SectionData, SectionFit, chosen_sections, fit_sections
from .neighbors import neighbor_samples, other_vessels
from .rays import (
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
    import torch

    from ..progress import StageReport
    from .learned import LearnedLumen
    from .sampling import VolumeSampler

_SECTIONS_A_BATCH = 512

_CALCIFIED_A_BATCH = 96
"""Fits with arcs of calcium take ten times as long: fewer at a time, so that cancelled work ends within two seconds."""
EDGE_MM, OUTSIDE_SHARE = 0.5, 0.25
"""The image must reach this far beyond the lumen of a section, on all but this share of its rays."""

POSSIBLE = 0.05
"""Where nothing shines and the network gives calcium at most this probability, none is looked for."""

_SHIFTED, _ELONGATED = 0.25, 0.12
_SMALL_LUMEN_MM, _DIMMED_LUMEN = 0.3, 0.75
_TRIAL_ITERATIONS = 5


@dataclass(frozen=True, eq=False)
class Contours:
    """Fitted sections.

    `centers` (S, 3) RAS; `fit`; `calcified` (S, A) rays that meet calcium; `neighbor` (S, A) mm where another vessel
    begins; `ring` (S,) share of rays that meet a bright ring; `inside` (S,) whether the section lies in the volume;
    `core_hu` (S,) HU at the center; `shines` (S,) whether anything is brighter than the lumen; `doubt_mm` (S,) standard
    error of the diameter from which explanation is right.
    """

    centers: np.ndarray
    fit: SectionFit
    calcified: np.ndarray
    neighbor: np.ndarray
    ring: np.ndarray
    inside: np.ndarray
    core_hu: np.ndarray
    shines: np.ndarray
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
        self.neighbors = other_vessels(sections)
        self.healthy_radius = np.full(len(sections.centers), np.inf)
        self.starts = sections.centers

    def see(self, index: np.ndarray, centers: np.ndarray, radius: np.ndarray) -> _Seen:
        """Sample the sections of an index at given centers."""
        import torch

        device = self.sampler.device
        frames, vessel = self.sections.frames[index], self.sections.vessel_index[index]
        extent = ray_extent(radius)
        rays = sample_rays(self.sampler, centers, frames, extent, self.covariance)
        level = torch.tensor(self.lumen_hu[index], dtype=torch.float32, device=device)
        threshold = calcium_threshold_hu(self.lumen_hu[index], self.noise_hu)
        cut = neighbor_samples(centers, frames, radius, extent, vessel, self.neighbors)
        cut = np.minimum(cut, rays.border)  # a ray ends where the image does
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
        """Fit sections with calcium, from a start where it shines, or else on the side where it explains most."""
        import torch

        seen = self.see(index, centers, radius)
        shining = seen.view.calcium
        shines = shining.present.any(dim=1)
        healthy = torch.tensor(self.healthy_radius[index], dtype=torch.float32, device=self.sampler.device)
        data = replace(seen.data, healthy_radius=healthy)
        likely = torch.minimum(data.radius, healthy)
        start = torch.where(shines, likely, (_DIMMED_LUMEN * likely).clamp(min=_SMALL_LUMEN_MM))
        hidden = guess_side(start, torch.from_numpy(self._sides(data, start, ~shines)).to(start))
        calcium = Calcium(
            torch.where(shines[:, None, None], shining.parameters, hidden.parameters),
            torch.where(shines[:, None], shining.present, hidden.present),
        )
        return seen, fit_sections(replace(data, radius=start, calcium=calcium))

    def _sides(self, data: SectionData, start: torch.Tensor, wanted: torch.Tensor) -> np.ndarray:
        """Return the side (S,) of the lumen on which calcium explains the wanted sections best, by short fits."""
        import torch

        best = np.zeros(len(start))
        rows = torch.nonzero(wanted)[:, 0]
        if len(rows) == 0:
            return best
        part = _thinned(replace(chosen_sections(data, rows), radius=start[rows]))
        costs = []
        for side in range(SIDES + 1):
            guess = guess_side(part.radius, torch.full_like(part.radius, float(side)))
            costs.append(fit_sections(replace(part, calcium=guess), _TRIAL_ITERATIONS).cost)
        best[rows.cpu().numpy()] = torch.stack(costs).argmin(dim=0).cpu().numpy()
        return best


def _thinned(data: SectionData) -> SectionData:
    """Return every second ray and sample with the information of all: enough to tell sides, and to find the middle."""
    return replace(
        data,
        values=data.values[:, ::2, ::2],
        weights=4.0 * data.weights[:, ::2, ::2],
        distance=data.distance[:, ::2],
        sigma=data.sigma[:, ::2],
    )


def fit_contours(
    sampler: VolumeSampler,
    sections: Sections,
    covariance: np.ndarray,
    lumen_hu: np.ndarray,
    noise_hu: float,
    chosen: np.ndarray,
    learned: LearnedLumen,
    report: StageReport = no_report,
) -> Contours:
    """Fit the sections of an index (S,); the others are neighbors only.

    Parameters
    ----------
    covariance : (3, 3) of the point spread in RAS, mm2.
    lumen_hu : (S,) attenuation of undisturbed lumen.
    learned : what the section network reads in the sections of the index: where it sees calcium the path may run
        through that, and the lumen lies where the network sees it.
    """
    fitter = _Fitter(sampler, sections, covariance, lumen_hu, noise_hu)
    seen = learned.sees_calcium
    fitter.starts = sections.centers.copy()
    fitter.starts[chosen[seen]] = learned.centers[seen]
    plain: list[tuple[Contours, np.ndarray]] = []
    for batch in _batches(chosen):
        done = sum(len(odd) for _, odd in plain) / len(chosen)
        report(0.7 * done, f"fitting {len(chosen)} cross-sections")
        plain.append(_fit_plain(fitter, batch))
    contours = _joined([part for part, _ in plain])
    vessel = sections.vessel_index[chosen]
    narrow = narrow_sections(contours, vessel)
    odd = np.concatenate([part for _, part in plain])
    possible = learned.calcium > POSSIBLE
    rows = np.flatnonzero(((odd | narrow) & possible) | seen | contours.shines)
    if len(rows) == 0:
        return contours
    fitter.healthy_radius[chosen] = healthy_radius(contours, vessel, chosen, ~odd & ~narrow & ~seen)
    calcified: list[Contours] = []
    for batch in _batches(chosen[rows], _CALCIFIED_A_BATCH):
        done = sum(len(part.centers) for part in calcified) / len(rows)
        report(0.7 + 0.3 * done, f"looking for calcium in {len(rows)} cross-sections")
        calcified.append(_fit_calcified(fitter, batch))
    other = _joined(calcified)
    usual = usual_misfit(contours, vessel, ~odd & ~narrow & ~seen)[rows]
    evidence = evidence_for_calcium(
        contours,
        other,
        rows,
        fitter.starts[chosen[rows]],
        chosen[rows],
        vessel[rows],
        usual,
        fitter.healthy_radius[chosen[rows]],
        narrow[rows],
        float(np.mean(np.diag(covariance))),
        learned.calcium[rows],
    )
    better = _better(contours, other, rows, evidence)
    # A section centered on calcium has calcium on all rays: from the lumen it is an arc.
    better.calcified[rows[seen[rows]]] = other.calcified[seen[rows]]
    return better


def _batches(index: np.ndarray, size: int = _SECTIONS_A_BATCH) -> list[np.ndarray]:
    return [index[start : start + size] for start in range(0, len(index), size)]


def _joined(parts: list[Contours]) -> Contours:
    import torch

    fits = [part.fit for part in parts]
    fit = SectionFit(*(torch.cat([getattr(one, f.name) for one in fits]) for f in fields(SectionFit)))
    others = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Contours) if f.name != "fit"
    }
    return Contours(fit=fit, **others)


def _inside(seen: _Seen) -> np.ndarray:
    """Return which sections (S,) lie in the volume: with their lumen and what shows its edge on nearly all rays."""
    distance = seen.rays.distance.cpu().numpy()
    step = distance[:, 1] - distance[:, 0]
    lumen = seen.data.radius.cpu().numpy()
    return (seen.rays.border * step[:, None] < lumen[:, None] + EDGE_MM).mean(axis=1) <= OUTSIDE_SHARE


def _contours_of(centers: np.ndarray, fit: SectionFit, seen: _Seen) -> Contours:
    return Contours(
        centers=centers,
        fit=fit,
        calcified=seen.view.calcified.cpu().numpy(),
        neighbor=seen.view.neighbor.cpu().numpy().astype(np.float64),
        ring=seen.view.ring.cpu().numpy().astype(np.float64),
        inside=_inside(seen),
        core_hu=seen.rays.values[:, :, :2].mean((1, 2)).cpu().numpy().astype(np.float64),
        shines=seen.view.calcium.present.any(dim=1).cpu().numpy(),
        doubt_mm=np.zeros(len(centers)),
    )


def _fit_plain(fitter: _Fitter, index: np.ndarray) -> tuple[Contours, np.ndarray]:
    """Fit a lumen alone, centered on what is bright; also return which sections (S,) look odd for that."""
    sections = fitter.sections
    frames, radius, path = sections.frames[index], sections.radius_mm[index], sections.centers[index]
    bright_hu = fitter.lumen_hu[index] + candidate_excess_hu(fitter.noise_hu)
    shift = _toward_lumen(fitter.sampler, path, frames, radius, bright_hu)
    centers = path + shift
    seen = fitter.see(index, centers, radius)
    first = fit_sections(_thinned(seen.data))
    odd = _odd(first, seen.view, (shift**2).sum(axis=1) > 0)
    centers = centers + _recentering(first, frames)
    wider = np.maximum(radius, first.radius_coefficients[:, 0].cpu().numpy())
    seen = fitter.see(index, centers, wider)
    return _contours_of(centers, fit_sections(seen.data), seen), odd


def _fit_calcified(fitter: _Fitter, index: np.ndarray) -> Contours:
    """Fit a lumen on the path, or where it is seen, with calcium beside it."""
    sections = fitter.sections
    start, radius = fitter.starts[index], sections.radius_mm[index]
    seen, fit = fitter.with_calcium(index, start, radius)
    return _contours_of(start, fit, seen)


def _better(plain: Contours, other: Contours, rows: np.ndarray, evidence: np.ndarray) -> Contours:
    """Return the plain contours (S,) with the others (M,) in the rows (M,) where the evidence for these is positive."""
    import torch

    share = 1.0 / (1.0 + np.exp(-np.clip(evidence, -30.0, 30.0)))
    diameter = [2.0 * one.fit.radius.square().mean(dim=1).sqrt().cpu().numpy() for one in (plain, other)]
    doubt = plain.doubt_mm.copy()
    doubt[rows] = np.sqrt(share * (1.0 - share)) * np.abs(diameter[0][rows] - diameter[1])
    worth = evidence > 0.0
    keep, taken = rows[worth], np.flatnonzero(worth)
    fit = SectionFit(*(getattr(plain.fit, f.name).clone() for f in fields(SectionFit)))
    for f in fields(SectionFit):
        getattr(fit, f.name)[torch.from_numpy(keep)] = getattr(other.fit, f.name)[torch.from_numpy(taken)]
    changed = {}
    for name in ("centers", "core_hu", "calcified"):
        changed[name] = getattr(plain, name).copy()
        changed[name][keep] = getattr(other, name)[taken]
    return replace(plain, fit=fit, doubt_mm=doubt, **changed)


def _odd(first: SectionFit, view: RayView, beside: np.ndarray) -> np.ndarray:
    """Return which sections may hide calcium: they shine, or are far from a disc away from other vessels."""
    coefficients = first.radius_coefficients.cpu().numpy()
    mean = np.maximum(coefficients[:, 0], 0.1)
    shifted = np.linalg.norm(coefficients[:, 1:3], axis=1) > _SHIFTED * mean
    elongated = np.linalg.norm(coefficients[:, 3:5], axis=1) > _ELONGATED * mean
    alone = np.isinf(view.neighbor.cpu().numpy()).all(axis=1)
    shines = view.calcium.present.any(dim=1).cpu().numpy()
    return shines | (alone & (beside | (shifted & elongated)))


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
