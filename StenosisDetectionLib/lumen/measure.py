"""Measure the lumen in cross-sections normal to every vessel, on the original voxels.

In: CT, vessel tree, point spread and noise. Out: a `LumenProfile` per vessel in mm and mm2 with standard errors.
Method: rays in the plane of a rotation-minimizing frame, two-shell fit with the point spread in the model (`fit.py`),
re-centered once, then smoothed along the vessel over less than a millimeter. Where the path steps sideways out of its
lumen (`sidesteps.py`) nothing is measured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import spacing_of
from ..progress import no_report, part_of
from ..study import CENTERLINE_SPACING_MM, LumenProfile
from .attenuation import lumen_attenuation
from .contours import Contours, fit_contours
from .fallback import LARGEST_MISFIT, UNRELIABLE_MM, segmented_lumen
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

NEIGHBOR_MM, CUT_SHARE = 0.5, 0.25
"""Another vessel nearer than this to the contour disturbs it; the section cuts it on more than this share of rays."""

FIT_ERROR_FACTOR, CALCIUM_ERROR_FACTOR = 0.4, 0.6
"""Standard error of a diameter over that of the fit, without and with calcium in the section: calibrated on lesions of
known stenosis (`Testing/benchmark_intervals.py`). The noise of CT has less power at low frequencies than the
correlation that the weights of the fit assume, and calcium is only roughly an arc."""

SMALL_LUMEN_SIGMAS, SMALL_LUMEN_FACTOR, SMALL_LUMEN_ERROR = 3.0, 2.0, 0.7
"""Beside calcium, a lumen narrower than this many point spreads can hardly be told from calcium: the error grows to
this many times that of the fit, which is a straight line through a curved problem, and at most to this part of the
diameter."""

CALCIUM_AREA_ERROR, WELL_FITTED, LEAST_DIAMETER_MM, MOST_CALCIUM_ERROR = 0.5, 0.85, 0.4, 0.25
"""This part of the area of the calcium, times what chi-squared over independent samples exceeds that of a good fit (the
square of the second), may be lumen, or as much of the lumen calcium: both run into one through the point spread, and
the arcs describe calcium roughly. The error of the diameter is that of the area at the third in mm at least, and at
most the last part of the diameter of lumen and calcium together. From whole hearts of known lumen."""

LEAST_UNEXPLAINED = 0.15
"""What a good fit leaves unexplained: it may be that of a wrong lumen."""

HIDDEN_SHARE, HIDDEN_ERRORS, HIDDEN_CALCIUM_ERRORS = 0.5, 3.3, 2.0
"""Calcium on more than this share of the rays hides the lumen. Its diameter is then known to that many standard errors
of the fit: twice the 1.645 of a 90 % interval, since the fit rests on less than half of the circumference; and to that
many of the error from calcium, by which 90 % of such sections of whole hearts are covered."""

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
) -> tuple[LumenProfile, ...]:
    """Measure every vessel of the tree; profiles are in the order of `tree.vessels`.

    Parameters
    ----------
    aorta_hu, noise_hu : attenuation of the blood in the aorta and SD of the noise there.
    point_spread : of this study.
    sampler : of this volume; its device does the work.
    only : names of the vessels to measure, the others being neighbors only; None measures all.
    segmentation : that the tree was made from; it gives the lumen where the fit fails (`fallback.py`).
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
    own = np.flatnonzero(np.isin(sections.vessel_index, measured))
    contours = fit_contours(sampler, sections, covariance, lumen_hu, noise, own, part_of(report, 0.1, 0.95))
    report(0.95, "assembling the profiles")
    return _profiles(tree, sections, own, contours, lumen_hu[own], noise, point_spread, segmentation)


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


def _calcium_error(diameter_mm: np.ndarray, calcium_mm2: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the standard error (S,) of the diameter in mm from what may be lumen of calcium, and calcium of lumen."""
    area = CALCIUM_AREA_ERROR * calcium_mm2 * np.maximum(residual**2 - WELL_FITTED**2, LEAST_UNEXPLAINED)
    together = np.sqrt(diameter_mm**2 + 4.0 * calcium_mm2 / np.pi)
    return np.minimum(area / (np.pi / 2.0 * np.maximum(diameter_mm, LEAST_DIAMETER_MM)), MOST_CALCIUM_ERROR * together)


def _profiles(
    tree: VesselTree,
    every_section: Sections,
    index: np.ndarray,
    contours: Contours,
    lumen_hu: np.ndarray,
    noise: float,
    point_spread: PointSpread,
    segmentation: LumenSegmentation | None,
) -> tuple[LumenProfile, ...]:
    sections = every_section.chosen(index)

    def of_fit(name: str) -> np.ndarray:
        return getattr(contours.fit, name).cpu().numpy().astype(np.float64)

    coefficients, covariance = of_fit("radius_coefficients"), of_fit("radius_covariance")
    contour, outer, residual = of_fit("radius"), of_fit("outer_radius"), of_fit("residual")
    outside_hu, plaque_hu = of_fit("surroundings_hu").mean(axis=1), of_fit("plaque_hu")
    calcified = contours.calcified.mean(axis=1)
    # Another vessel matters where it hides the edge of the lumen, not where it lies beyond the wall.
    neighbor = (contours.neighbor < contour + NEIGHBOR_MM).mean(axis=1)
    calcified_area = of_fit("calcium_area")
    inside, core_hu, centers = contours.inside, contours.core_hu, contours.centers
    sigma_mm = float(np.mean(point_spread.sigma_mm))

    mean_square = (contour**2).mean(axis=1)
    diameter = 2.0 * np.sqrt(mean_square)
    slope = np.concatenate([2 * coefficients[:, :1], coefficients[:, 1:]], axis=1) / np.sqrt(mean_square)[:, None]
    variance = np.einsum("si,sij,sj->s", slope, covariance, slope) * np.maximum(1.0, residual**2)
    error = np.sqrt(np.maximum(variance, 1e-6))
    small = np.clip(SMALL_LUMEN_SIGMAS - diameter / sigma_mm, 0.0, 1.0)
    error *= np.where(calcified_area > 0.0, CALCIUM_ERROR_FACTOR, FIT_ERROR_FACTOR)
    # A lumen can be missing, but not less than that.
    doubled = np.minimum(error * (1.0 + (SMALL_LUMEN_FACTOR - 1.0) * small), SMALL_LUMEN_ERROR * diameter)
    error = np.where(calcified_area > 0.0, np.maximum(error, doubled), error)
    error = np.hypot(error, contours.doubt_mm)
    calcium_error = _calcium_error(diameter, calcified_area, residual)
    by_psf = np.einsum("si,si->s", slope, of_fit("radius_by_sigma"))
    # Where the fit failed the segmentation gives the lumen; of wall and plaque nothing is known there.
    clear = (neighbor <= CUT_SHARE) & (calcified <= HIDDEN_SHARE)
    segmented = segmented_lumen(segmentation, every_section, index, diameter, error, residual, centers, clear)
    failed, lost = segmented.failed, segmented.lost
    contour = np.where(failed[:, None], segmented.radius_mm, contour)
    centers = np.where(failed[:, None], sections.centers, centers)
    diameter, error = np.where(failed, segmented.diameter_mm, diameter), np.where(failed, segmented.error_mm, error)
    by_psf = np.where(failed, 0.0, by_psf)
    calcified_area = np.where(failed, 0.0, calcified_area)
    calcium_error = np.where(failed, 0.0, calcium_error)
    outer_diameter = 2.0 * np.sqrt((outer**2).mean(axis=1))
    annulus = np.pi * ((outer**2).mean(axis=1) - ((contour + NORMAL_WALL_MM) ** 2).mean(axis=1))
    # The outer wall shows only where wall and surroundings differ, which they do in fat.
    wall_shows = (plaque_hu - outside_hu > 80.0) & ~failed
    plaque_area = np.where(wall_shows, np.maximum(annulus, 0.0), np.nan)

    result = []
    for number in np.unique(sections.vessel_index):
        vessel = tree.vessels[number]
        own = sections.vessel_index == number
        gone = lost[own] | sidesteps(vessel.points_ras, np.where(inside[own], diameter[own], np.nan))
        quality = _quality(
            vessel,
            tree.ends_free(vessel),
            inside[own],
            calcified[own],
            neighbor[own],
            error[own],
            residual[own],
            gone,
            failed[own] & ~gone,
            contours.ring[own],
            (lumen_hu[own] - outside_hu[own]) / noise,
            diameter[own] > STRAYED * 2.0 * sections.radius_mm[own] + STRAYED_MM,
        )
        # Where calcium hides more than half of the circumference, or a stent lies, the lumen cannot be known.
        known = inside[own] & ~np.isin(quality, ("calcium", "stent")) & ~gone
        margin = np.hypot(HIDDEN_ERRORS * error[own], HIDDEN_CALCIUM_ERRORS * calcium_error[own])
        bounds = np.stack([diameter[own] - margin, np.minimum(diameter[own] + margin, outer_diameter[own])], axis=1)
        hides = inside[own] & (np.array(quality) == "calcium")
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
                diameter_by_psf=np.where(known, by_psf[own], np.nan),
                psf_error_mm=point_spread.error_mm,
                outer_diameter_mm=np.where(known & wall_shows[own], outer_diameter[own], np.nan),
                plaque_hu=np.where(known & wall_shows[own], plaque_hu[own], np.nan),
                contrast_to_noise=(lumen_hu[own] - outside_hu[own]) / noise,
                hidden_diameter_mm=np.where(hides[:, None], np.maximum(bounds, 0.0), np.nan),
                calcium_error_mm=np.where(known, calcium_error[own], np.nan),
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
