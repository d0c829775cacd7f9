"""Measure the lumen in cross-sections normal to every vessel, on the original voxels.

In: CT, vessel tree, point spread and noise. Out: a `LumenProfile` per vessel in mm and mm2 with standard errors.
Method: rays in the plane of a rotation-minimizing frame, two-shell fit with the point spread in the model (`fit.py`),
re-centered once, then smoothed along the vessel over less than a millimeter, and without the blur along the vessel
(`deblurring.py`). Where the path steps sideways out of its lumen (`sidesteps.py`) nothing is measured.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import spacing_of
from ..progress import no_report, part_of
from ..study import CENTERLINE_SPACING_MM, LumenProfile
from .attenuation import lumen_attenuation
from .contours import Contours, fit_contours
from .deblurring import deblurred
from .estimates import CUT_SHARE, HIDDEN_SHARE, SectionLumen, section_lumen
from .fallback import LARGEST_MISFIT, UNRELIABLE_MM
from .learned import learned_lumen
from .sections import Sections, sections_of
from .sidesteps import sidesteps

if TYPE_CHECKING:
    from ..progress import StageReport
    from ..study import CTVolume, LumenSegmentation, Vessel, VesselTree
    from .point_spread import PointSpread
    from .sampling import VolumeSampler

OSTIUM_MM = 2.5
"""Length at the aorta where the section cuts the aortic wall obliquely."""

END_MM = 3.0
"""Length before the end of a vessel where the lumen fades out."""

NORMAL_WALL_MM = 0.5
"""Thickness of a healthy wall; what is thicker counts as plaque."""

STRAYED, STRAYED_MM = 2.0, 0.5
"""A lumen that is wider than the segmentation by this factor and this many mm is that of a neighbor, a vein or a
chamber, that the fit has run into."""

STENT_MM, STENT_RING, STENT_HOLE_MM = 8.0, 0.6, 2.0
"""A stent is a bright ring over this length, on this share of the rays, with holes of at most that length."""

SMOOTHING_MM = 0.3
"""Standard deviation of the smoothing along the vessel: wider kernels fill the throat of a short lesion."""


def measure_lumen(
    volume: CTVolume,
    tree: VesselTree,
    aorta_hu: float,
    noise_hu: float,
    point_spread: PointSpread,
    sampler: VolumeSampler,
    report: StageReport = no_report,
    only: frozenset[str] | None = None,
    segmentation: LumenSegmentation | None = None,
    stretch: slice = slice(None),
) -> tuple[LumenProfile, ...]:
    """Measure every vessel of the tree; profiles are in the order of `tree.vessels`.

    Parameters
    ----------
    aorta_hu, noise_hu : attenuation of the blood in the aorta and SD of the noise there.
    point_spread : of this study.
    sampler : of this volume; its device does the work.
    only : names of the vessels to measure, the others being neighbors only; None measures all.
    segmentation : that the tree was made from; it gives the lumen where the fit fails (`fallback.py`).
    stretch : points of the one vessel of `only` to measure; its profile has these alone.
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
    whole = np.flatnonzero(np.isin(sections.vessel_index, measured))
    report(0.05, "reading the lumen beside calcium")
    # The network looks along the vessel, so it reads all of it.
    learned = learned_lumen(sampler, sections.chosen(whole), lumen_hu[whole], noise, covariance).chosen(stretch)
    own = whole[stretch]
    contours = fit_contours(sampler, sections, covariance, lumen_hu, noise, own, learned, part_of(report, 0.1, 0.95))
    report(0.95, "assembling the profiles")
    sigma_mm = float(np.mean(point_spread.sigma_mm))
    lumen = section_lumen(sections, own, contours, learned, segmentation, lumen_hu[own], noise, sigma_mm, sampler)
    parts = {number: tree.vessels[number] for number in measured}
    if stretch != slice(None):
        parts = {number: _part(vessel, stretch) for number, vessel in parts.items()}
    free = {number: tree.ends_free(tree.vessels[number]) for number in measured}
    return _profiles(parts, free, sections.chosen(own), contours, lumen, lumen_hu[own], noise, point_spread, covariance)


def _part(vessel: Vessel, stretch: slice) -> Vessel:
    """Return a stretch of a vessel, whose distances stay those along the whole of it."""
    return replace(
        vessel,
        points_ras=vessel.points_ras[stretch],
        distance_mm=vessel.distance_mm[stretch],
        radius_mm=vessel.radius_mm[stretch],
    )


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
    vessels: dict[int, Vessel],
    ends_free: dict[int, bool],
    sections: Sections,
    contours: Contours,
    lumen: SectionLumen,
    lumen_hu: np.ndarray,
    noise: float,
    point_spread: PointSpread,
    covariance: np.ndarray,
) -> tuple[LumenProfile, ...]:
    fit, inside = contours.fit, contours.inside
    outer = fit.outer_radius.cpu().numpy().astype(np.float64)
    outside_hu = fit.surroundings_hu.mean(dim=1).cpu().numpy().astype(np.float64)
    plaque_hu = fit.plaque_hu.cpu().numpy().astype(np.float64)
    contour, diameter, error = lumen.contour_mm, lumen.diameter_mm, lumen.error_mm
    outer_diameter = 2.0 * np.sqrt((outer**2).mean(axis=1))
    tangent = sections.frames[:, 0]
    sigma_along = np.sqrt(np.einsum("si,ij,sj->s", tangent, covariance, tangent) + SMOOTHING_MM**2)
    annulus = np.pi * ((outer**2).mean(axis=1) - ((contour + NORMAL_WALL_MM) ** 2).mean(axis=1))
    # The outer wall shows only where wall and surroundings differ, which they do in fat.
    wall_shows = (plaque_hu - outside_hu > 80.0) & ~lumen.failed
    plaque_area = np.where(wall_shows, np.maximum(annulus, 0.0), np.nan)

    result = []
    for number, vessel in vessels.items():
        own = sections.vessel_index == number
        gone = lumen.lost[own] | sidesteps(vessel.points_ras, np.where(inside[own], diameter[own], np.nan))
        quality = _quality(
            vessel,
            ends_free[number],
            inside[own],
            lumen.calcified[own],
            lumen.cut[own],
            error[own],
            lumen.misfit[own],
            gone,
            lumen.failed[own] & ~gone,
            contours.ring[own],
            (lumen_hu[own] - outside_hu[own]) / noise,
            diameter[own] > STRAYED * 2.0 * sections.radius_mm[own] + STRAYED_MM,
        )
        # Where calcium hides more than half of the circumference, or a stent lies, the lumen cannot be known.
        known = inside[own] & ~np.isin(quality, ("calcium", "stent")) & ~gone
        margin = lumen.margin_mm[own]
        bounds = np.stack([diameter[own] - margin, np.minimum(diameter[own] + margin, outer_diameter[own])], axis=1)
        hides = inside[own] & (np.array(quality) == "calcium")
        smooth = smooth_along(np.where(known, diameter[own], np.nan), np.hypot(error[own], lumen.calcium_error_mm[own]))
        # Within a branching the sections show more than one vessel.
        alone = np.array(quality) != "bifurcation"
        sharp, doubt = deblurred(np.where(alone, smooth, np.nan), sigma_along[own])
        smooth = np.where(np.isfinite(sharp), sharp, smooth)
        error_mm = np.hypot(error[own], np.nan_to_num(doubt))
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
                diameter_error_mm=np.where(known, error_mm, np.nan),
                contour_radius_mm=scaled,
                frames=sections.frames[own],
                contour_center_ras=lumen.centers[own],
                lumen_hu=np.where(known, contours.core_hu[own], np.nan),
                plaque_area_mm2=np.where(known, plaque_area[own], np.nan),
                calcified_area_mm2=np.where(known, lumen.calcium_mm2[own], np.nan),
                quality=quality,
                diameter_by_psf=np.where(known, lumen.by_psf[own], np.nan),
                psf_error_mm=point_spread.error_mm,
                outer_diameter_mm=np.where(known & wall_shows[own], outer_diameter[own], np.nan),
                plaque_hu=np.where(known & wall_shows[own], plaque_hu[own], np.nan),
                contrast_to_noise=(lumen_hu[own] - outside_hu[own]) / noise,
                hidden_diameter_mm=np.where(hides[:, None], np.maximum(bounds, 0.0), np.nan),
                calcium_error_mm=np.where(known, lumen.calcium_error_mm[own], np.nan),
            )
        )
    return tuple(result)


def _quality(
    vessel: Vessel,
    ends_free: bool,
    inside: np.ndarray,
    calcified: np.ndarray,
    neighbor: np.ndarray,
    error_mm: np.ndarray,
    residual: np.ndarray,
    lost: np.ndarray,
    segmented: np.ndarray,
    ring: np.ndarray,
    contrast_to_noise: np.ndarray,
    strayed: np.ndarray,
) -> tuple[str, ...]:
    """Return one word per point, the most serious reason first."""
    words = np.full(len(inside), "ok", dtype=object)
    along, length = vessel.distance_mm, vessel.length_mm
    words[neighbor > CUT_SHARE] = "bifurcation"
    if ends_free:
        words[along > length - END_MM] = "end"
    if vessel.parent is None:
        words[along < OSTIUM_MM] = "ostium"
    words[(error_mm > UNRELIABLE_MM) | (residual > LARGEST_MISFIT) | strayed | lost] = "unreliable"
    words[contrast_to_noise < 5.0] = "low_contrast"
    words[segmented] = "segmentation"
    words[calcified > HIDDEN_SHARE] = "calcium"
    words[_stented(ring)] = "stent"
    words[~inside] = "outside"
    return tuple(str(w) for w in words)


def _stented(ring: np.ndarray) -> np.ndarray:
    """Return which points (N,) lie in a stent, from the share of the rays that meet a bright ring.

    A long ring of calcium looks the same and hides the lumen as well.
    """
    from scipy import ndimage

    hole = round(STENT_HOLE_MM / CENTERLINE_SPACING_MM)
    closed = ndimage.binary_closing(np.pad(ring >= STENT_RING, hole), np.ones(hole + 1))[hole : hole + len(ring)]
    labels, count = ndimage.label(closed)
    stented = np.zeros(len(ring), dtype=bool)
    for number in range(1, count + 1):
        own = labels == number
        if own.sum() * CENTERLINE_SPACING_MM >= STENT_MM and (ring[own] >= STENT_RING).mean() > 0.6:
            stented |= own
    return stented
