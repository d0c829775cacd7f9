"""The lumen of every cross-section with its standard error, from all that tells of it.

In: contours of the fit, what the section network reads, the segmentation. Out: `SectionLumen`. Where the fit failed,
the segmentation gives the lumen (`fallback.py`); elsewhere fit and network give it together, each by its variance,
since their errors have little in common. Beside calcium a label map of the reader counts as well (`given.py`). Where
calcium hides more than half of the circumference nothing but bounds can be told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .attenuation import calcium_threshold_hu
from .fallback import SegmentedLumen, segmented_lumen
from .given import joined_with_given

if TYPE_CHECKING:
    from ..study import LumenSegmentation
    from .contours import Contours
    from .learned import LearnedLumen
    from .sampling import VolumeSampler
    from .sections import Sections

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

FIT_ERRORS, LEAST_ERROR_MM = 1.5, 0.05
"""The error of the fit beside the network's reading: this many times its own, which phantoms set and hearts exceed, and
at least that many mm. With it 86 % of the 90 % intervals of both together hold the truth of single sections in fourteen
whole hearts."""

HIDDEN_LEARNED = 1.25
"""The interval of the network is widened by this where calcium hides more than half of the circumference: it holds 90 %
of such sections of whole hearts then."""

QUANTILE_90 = 1.6449
"""Half of a 90 % interval in standard errors."""


@dataclass(frozen=True, eq=False)
class SectionLumen:
    """The lumen of sections (S,).

    `diameter_mm` of the circle of the same area; its standard error `error_mm`, and `calcium_error_mm` on top of it
    beside calcium; `by_psf` its change with a wider point spread, mm per mm; `contour_mm` (S, A) around `centers`
    (S, 3) RAS; `calcium_mm2` area of calcium; `calcified`, `cut` share of rays that meet calcium, another vessel;
    `misfit` of the fit that it rests on; `failed` where the fit was of no use, `lost` where the segmentation was
    not either; `margin_mm` half of the 90 % interval of a lumen that calcium hides.
    """

    diameter_mm: np.ndarray
    error_mm: np.ndarray
    calcium_error_mm: np.ndarray
    by_psf: np.ndarray
    contour_mm: np.ndarray
    centers: np.ndarray
    calcium_mm2: np.ndarray
    calcified: np.ndarray
    cut: np.ndarray
    misfit: np.ndarray
    failed: np.ndarray
    lost: np.ndarray
    margin_mm: np.ndarray


def section_lumen(
    every_section: Sections,
    index: np.ndarray,
    contours: Contours,
    learned: LearnedLumen,
    segmentation: LumenSegmentation | None,
    lumen_hu: np.ndarray,
    noise_hu: float,
    sigma_mm: float,
    sampler: VolumeSampler,
) -> SectionLumen:
    """Return the lumen of the sections of an index (S,) of all of a tree.

    Parameters
    ----------
    contours, learned : of these sections.
    lumen_hu : (S,) attenuation of undisturbed lumen.
    noise_hu, sigma_mm : SD of the noise and mean point spread of the study.
    """
    sections = every_section.chosen(index)
    seen = learned.sees_calcium
    fit = _by_fit(contours, sigma_mm, np.where(seen, learned.calcium_mm2, 0.0))
    hidden = fit.calcified > HIDDEN_SHARE
    clear = (fit.cut <= CUT_SHARE) & ~hidden
    alone = clear & (fit.calcium_mm2 == 0.0)
    segmented = segmented_lumen(
        segmentation, every_section, index, fit.diameter_mm, fit.error_mm, fit.misfit, fit.centers, alone
    )
    found = _by_segmentation(fit, segmented, sections.centers)
    found = _with_network(found, learned, clear & ~segmented.failed, hidden & seen)
    calcium_hu = calcium_threshold_hu(lumen_hu, noise_hu)
    return _with_given(found, hidden, every_section, index, segmentation, calcium_hu, sampler)


def _by_fit(contours: Contours, sigma_mm: float, seen_mm2: np.ndarray) -> SectionLumen:
    """Return the lumen by the fit of the image; `seen_mm2` (S,) of calcium that the network sees."""

    def of_fit(name: str) -> np.ndarray:
        return getattr(contours.fit, name).cpu().numpy().astype(np.float64)

    coefficients, covariance = of_fit("radius_coefficients"), of_fit("radius_covariance")
    contour, misfit, calcium = of_fit("radius"), of_fit("residual"), of_fit("calcium_area")
    mean_square = (contour**2).mean(axis=1)
    diameter = 2.0 * np.sqrt(mean_square)
    slope = np.concatenate([2 * coefficients[:, :1], coefficients[:, 1:]], axis=1) / np.sqrt(mean_square)[:, None]
    variance = np.einsum("si,sij,sj->s", slope, covariance, slope) * np.maximum(1.0, misfit**2)
    error = np.sqrt(np.maximum(variance, 1e-6))
    small = np.clip(SMALL_LUMEN_SIGMAS - diameter / sigma_mm, 0.0, 1.0)
    error *= np.where(calcium > 0.0, CALCIUM_ERROR_FACTOR, FIT_ERROR_FACTOR)
    # A lumen can be missing, but not less than that.
    doubled = np.minimum(error * (1.0 + (SMALL_LUMEN_FACTOR - 1.0) * small), SMALL_LUMEN_ERROR * diameter)
    error = np.where(calcium > 0.0, np.maximum(error, doubled), error)
    error = np.hypot(error, contours.doubt_mm)
    calcium_error = _calcium_error(diameter, np.maximum(calcium, seen_mm2), misfit)
    nowhere = np.zeros(len(diameter), dtype=bool)
    return SectionLumen(
        diameter_mm=diameter,
        error_mm=error,
        calcium_error_mm=calcium_error,
        by_psf=np.einsum("si,si->s", slope, of_fit("radius_by_sigma")),
        contour_mm=contour,
        centers=contours.centers,
        calcium_mm2=calcium,
        calcified=contours.calcified.mean(axis=1),
        # Another vessel matters where it hides the edge of the lumen, not where it lies beyond the wall.
        cut=(contours.neighbor < contour + NEIGHBOR_MM).mean(axis=1),
        misfit=misfit,
        failed=nowhere,
        lost=nowhere,
        margin_mm=np.hypot(HIDDEN_ERRORS * error, HIDDEN_CALCIUM_ERRORS * calcium_error),
    )


def _calcium_error(diameter_mm: np.ndarray, calcium_mm2: np.ndarray, misfit: np.ndarray) -> np.ndarray:
    """Return the standard error (S,) of the diameter in mm from what may be lumen of calcium, and calcium of lumen."""
    area = CALCIUM_AREA_ERROR * calcium_mm2 * np.maximum(misfit**2 - WELL_FITTED**2, LEAST_UNEXPLAINED)
    together = np.sqrt(diameter_mm**2 + 4.0 * calcium_mm2 / np.pi)
    return np.minimum(area / (np.pi / 2.0 * np.maximum(diameter_mm, LEAST_DIAMETER_MM)), MOST_CALCIUM_ERROR * together)


def _by_segmentation(fit: SectionLumen, segmented: SegmentedLumen, path_ras: np.ndarray) -> SectionLumen:
    """Return the lumen with that of the segmentation where the fit failed."""
    failed = segmented.failed
    return replace(
        fit,
        diameter_mm=np.where(failed, segmented.diameter_mm, fit.diameter_mm),
        error_mm=np.where(failed, segmented.error_mm, fit.error_mm),
        calcium_error_mm=np.where(failed, 0.0, fit.calcium_error_mm),
        by_psf=np.where(failed, 0.0, fit.by_psf),
        contour_mm=np.where(failed[:, None], segmented.radius_mm, fit.contour_mm),
        centers=np.where(failed[:, None], path_ras, fit.centers),
        calcium_mm2=np.where(failed, 0.0, fit.calcium_mm2),
        failed=failed,
        lost=segmented.lost,
    )


def _with_network(fit: SectionLumen, learned: LearnedLumen, clear: np.ndarray, hidden: np.ndarray) -> SectionLumen:
    """Return the lumen of fit and network together in `clear` sections (S,), of the network in those calcium hides.

    Where calcium lies beside the lumen, what exceeds the error of the fit is the calcium's.
    """
    low, middle, high = learned.quantiles_mm.T
    read = ((high - low) / (2.0 * QUANTILE_90)) ** 2
    own = (FIT_ERRORS**2 * (fit.error_mm**2 + fit.calcium_error_mm**2)).clip(min=LEAST_ERROR_MM**2)
    share, variance = share_of_first(fit.diameter_mm, own, middle, read)
    agree = (fit.diameter_mm - middle) ** 2 <= own + read
    share = np.where(clear, share, 0.0)
    whole = np.sqrt(np.where(clear, variance, read))
    diameter = share * fit.diameter_mm + (1.0 - share) * middle
    chosen = clear | hidden
    beside = chosen & ((fit.calcium_mm2 > 0.0) | learned.sees_calcium)
    error = np.where(beside, np.minimum(fit.error_mm, whole), whole)
    # Its shape is that of the fit, unless this took calcium or a neighbor for lumen.
    by_fit = (share >= 0.5) | (clear & ~beside & agree)
    contour = np.where(by_fit[:, None], fit.contour_mm * (diameter / fit.diameter_mm)[:, None], 0.5 * diameter[:, None])
    return replace(
        fit,
        diameter_mm=np.where(chosen, diameter, fit.diameter_mm),
        error_mm=np.where(chosen, error, fit.error_mm),
        calcium_error_mm=np.where(chosen, np.sqrt(whole**2 - error**2), fit.calcium_error_mm),
        by_psf=np.where(chosen, share * fit.by_psf, fit.by_psf),
        contour_mm=np.where(chosen[:, None], contour, fit.contour_mm),
        centers=np.where((chosen & ~by_fit)[:, None], learned.centers, fit.centers),
        calcium_mm2=np.where(beside & (fit.calcium_mm2 == 0.0), learned.calcium_mm2, fit.calcium_mm2),
        misfit=np.where(chosen & ~by_fit, 1.0, fit.misfit),
        margin_mm=np.where(hidden, HIDDEN_LEARNED * QUANTILE_90 * whole, fit.margin_mm),
    )


def share_of_first(
    first: np.ndarray, first_variance: np.ndarray, second: np.ndarray, second_variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much the first of two measurements counts, 0 to 1, and the variance of both together; arrays (S,).

    Both count by their variances, as two studies of one quantity do. Where they are farther apart than their errors
    explain, both are doubted by the same variance between them, so that neither is believed alone: the random effects
    of DerSimonian and Laird, Controlled Clinical Trials 7 (1986) 177, for two studies.
    """
    between = 0.5 * np.maximum((first - second) ** 2 - first_variance - second_variance, 0.0)
    share = (second_variance + between) / (first_variance + second_variance + 2.0 * between)
    return share, share * (first_variance + between)


def _with_given(
    found: SectionLumen,
    hidden: np.ndarray,
    every_section: Sections,
    index: np.ndarray,
    segmentation: LumenSegmentation | None,
    calcium_hu: np.ndarray,
    sampler: VolumeSampler,
) -> SectionLumen:
    """Return the lumen joined with a label map of the reader beside calcium."""
    beside = ((found.calcium_mm2 > 0.0) | (found.calcified > 0.0)) & ~found.failed
    error = np.where(hidden, found.margin_mm / QUANTILE_90, np.hypot(found.error_mm, found.calcium_error_mm))
    diameter, weight = joined_with_given(
        segmentation, every_section, index, beside, found.diameter_mm, error, calcium_hu, sampler
    )
    less = np.sqrt(1.0 - weight)
    return replace(
        found,
        diameter_mm=diameter,
        error_mm=found.error_mm * less,
        calcium_error_mm=found.calcium_error_mm * less,
        by_psf=found.by_psf * less**2,
        margin_mm=found.margin_mm * less,
        contour_mm=found.contour_mm * (diameter / found.diameter_mm)[:, None],
    )
