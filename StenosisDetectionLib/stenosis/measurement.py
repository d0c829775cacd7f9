"""Measure one lesion: stenosis with its interval, plaque, location, and what limits the measurement.

In: the profile and the healthy reference of its vessel and the stretch it covers. Out: a `Lesion`. Diameter stenosis
is 1 - throat / healthy diameter. The healthy diameter joins the taper model with the diameter beside the lesion by
their variances; where the two disagree by more than 15 % the larger counts, since disease only narrows, and that is
flagged. The standard errors of fit, calcium beside the lumen, point spread and reference propagate to the stenosis
(first order; a point spread that is off moves throat and reference together), and interval and probabilities are those
of a normal distribution. Percentages are 0 to 100.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..lumen.estimates import QUANTILE_90
from ..lumen.fit import WALL_HU
from ..study import CENTERLINE_SPACING_MM, Lesion
from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT, grade_of
from .local_reference import LocalReference, local_reference
from .plaque import high_risk_features, plaque_of, remodeling_index
from .stretch import Stretch, points_of, runs, segment_at

if TYPE_CHECKING:
    from ..study import LumenProfile, ReferenceProfile, Vessel

OCCLUSION_GAP_MM, OCCLUSION_CONTRAST, EMPTY_MM, EMPTY_LENGTH_MM = 5.5, 0.15, 0.45, 3.0
"""An occlusion is a gap at least this long whose center has less than this part of the lumen's contrast, and in which
the fit, too, finds hardly a lumen over 3 mm: none at all gives a mean diameter of 0.33 to 0.45 mm. A lumen of 0.2 to
0.3 mm cannot be told from none, so that only the length parts a severe stenosis from an occlusion: 5.5 mm did best
against catheter angiography (FASTTRACK CABG, PMID 38714459)."""

CALCIUM_NEAR_MM = 2.0
"""Calcium that hides the lumen this near to a lesion may hide its throat."""

CALCIUM_ERROR_PERCENT = 15.0
"""Added standard error in percentage points of a lesion beside such calcium."""

DISAGREEMENT = 0.15
"""Model and local reference that differ by more than this part of the model make the reference uncertain."""

MODEL_ERROR_PERCENT = 2.0
"""What model and sampling add to the standard error of every stenosis, in percentage points (calibrated; see the
table of intervals in `Testing/benchmark_intervals.py`)."""

_LOCAL_SPREAD = 0.04
_OSTIAL_MM = 3.0


def measure_lesion(
    name: str,
    vessel: Vessel,
    profile: LumenProfile,
    reference: ReferenceProfile,
    branching: np.ndarray,
    stretch: Stretch,
    marked: LocalReference | None = None,
    diseased: np.ndarray | None = None,
) -> Lesion:
    """Return the lesion of a stretch.

    Parameters
    ----------
    branching : (N,) bool, points at bifurcations.
    marked : the healthy diameter at a reader's markers, used instead of the reference profile.
    diseased : (N,) bool, points that no healthy diameter may be taken from; by default those of `branching`.
    """
    throat = stretch.throat
    along = vessel.distance_mm
    minimal = float(profile.diameter_mm[throat])
    local = local_reference(vessel, profile, stretch, branching if diseased is None else diseased)
    model = LocalReference(float(reference.diameter_mm[throat]), float(reference.error_mm[throat]), reference.method)
    flags: list[str] = []
    if marked is not None:
        healthy = LocalReference(marked.diameter_mm, marked.error_mm, f"marked_{marked.method}")
    else:
        healthy = _joined(model, local)
        if local is not None and abs(local.diameter_mm - model.diameter_mm) > DISAGREEMENT * model.diameter_mm:
            flags.append("uncertain_reference")
    ratio = minimal / healthy.diameter_mm
    stenosis = 100.0 * (1.0 - ratio)
    error = _error_percent(profile, stretch, ratio, healthy)
    near = points_of(CALCIUM_NEAR_MM)
    if "calcium" in profile.quality[max(stretch.first - near, 0) : stretch.last + near + 1]:
        flags.append("calcium_limited")
        error = math.hypot(error, CALCIUM_ERROR_PERCENT)
    if profile.quality[throat] == "segmentation":
        flags.append("from_segmentation")
    if branching[throat]:
        flags.append("bifurcation")
    if vessel.parent is None and along[throat] < _OSTIAL_MM:
        flags.append("ostial")
    gap = contrast_gap_mm(profile, stretch)
    if gap >= OCCLUSION_GAP_MM and _least_mean_mm(profile, stretch) < EMPTY_MM:
        stenosis = 100.0
        flags.append("contrast_gap")
    elif gap > 0.5:
        flags.append("occlusion_not_excluded")
    low = max(0.0, min(stenosis - QUANTILE_90 * error, 100.0))
    high = max(0.0, min(stenosis + QUANTILE_90 * error, 100.0))
    if "occlusion_not_excluded" in flags and minimal < EMPTY_MM:
        high = 100.0
    for threshold in (OBSTRUCTIVE_PERCENT, SEVERE_PERCENT):
        if low < threshold <= high:
            flags.append(f"borderline_{threshold:.0f}")
    stenosis = max(stenosis, 0.0)
    minimal = 0.0 if stenosis == 100.0 else minimal
    remodeling = remodeling_index(profile, stretch, branching)
    plaque = plaque_of(profile, stretch.first, stretch.last)
    narrow, wide = float(profile.minimum_diameter_mm[throat]), float(profile.maximum_diameter_mm[throat])
    start, end = float(along[stretch.first]), float(along[stretch.last])
    r, a, s = (float(v) for v in profile.contour_center_ras[throat])
    return Lesion(
        id=name,
        vessel=vessel.name,
        segment=segment_at(vessel, float(along[throat])),
        position_ras=(r, a, s),
        start_mm=start,
        throat_mm=float(along[throat]),
        end_mm=end,
        length_mm=end - start,
        minimal_lumen_diameter_mm=minimal,
        minimal_lumen_area_mm2=math.pi * minimal**2 / 4.0,
        reference_diameter_mm=healthy.diameter_mm,
        reference_method=healthy.method,
        diameter_stenosis_percent=stenosis,
        diameter_stenosis_interval_90=(low, high),
        area_stenosis_percent=max(100.0 * (1.0 - (minimal / healthy.diameter_mm) ** 2), 0.0),
        probability_50=probability_above(OBSTRUCTIVE_PERCENT, stenosis, error),
        probability_70=probability_above(SEVERE_PERCENT, stenosis, error),
        grade=grade_of(stenosis),
        plaque=plaque,
        flags=tuple(flags),
        local_reference_diameter_mm=None if local is None else local.diameter_mm,
        local_reference_method=None if local is None else local.method,
        model_reference_diameter_mm=model.diameter_mm if math.isfinite(model.diameter_mm) else None,
        diameter_stenosis_error=error,
        eccentricity=narrow / wide if wide > 0.0 else None,
        remodeling_index=remodeling,
        features=tuple(high_risk_features(profile, stretch, plaque, remodeling)),
    )


def _joined(model: LocalReference, local: LocalReference | None) -> LocalReference:
    """Return the healthy diameter from the taper model and from what lies beside the lesion."""
    if local is None:
        return model
    # Single places of healthy vessels differ from any smooth reference.
    error = math.hypot(local.error_mm, _LOCAL_SPREAD * local.diameter_mm)
    if not math.isfinite(model.diameter_mm):
        return LocalReference(local.diameter_mm, error, local.method)
    difference = local.diameter_mm - model.diameter_mm
    if abs(difference) > DISAGREEMENT * model.diameter_mm:
        larger, its_error, method = (
            (local.diameter_mm, error, local.method) if difference > 0 else (model.diameter_mm, model.error_mm, "model")
        )
        return LocalReference(larger, math.hypot(its_error, abs(difference) / 3.0), method)
    weights = 1.0 / model.error_mm**2, 1.0 / error**2
    diameter = (weights[0] * model.diameter_mm + weights[1] * local.diameter_mm) / sum(weights)
    # The scatter between both is part of the doubt.
    spread = math.hypot(1.0 / math.sqrt(sum(weights)), abs(difference) / 4.0)
    return LocalReference(diameter, spread, f"model_{local.method}")


def _error_percent(profile: LumenProfile, stretch: Stretch, ratio: float, healthy: LocalReference) -> float:
    """Return the standard error of the diameter stenosis in percentage points."""
    fit = float(profile.diameter_error_mm[stretch.throat])
    parts = [fit / healthy.diameter_mm, ratio * healthy.error_mm / healthy.diameter_mm]
    if profile.calcium_error_mm is not None:
        parts.append(float(np.nan_to_num(profile.calcium_error_mm[stretch.throat])) / healthy.diameter_mm)
    if profile.diameter_by_psf is not None:
        with np.errstate(invalid="ignore"):
            usual = np.nan_to_num(np.nanmedian(profile.diameter_by_psf))
        at_throat = np.nan_to_num(profile.diameter_by_psf[stretch.throat])
        parts.append(profile.psf_error_mm * float(at_throat - ratio * usual) / healthy.diameter_mm)
    return math.hypot(100.0 * math.sqrt(sum(part**2 for part in parts)), MODEL_ERROR_PERCENT)


def probability_above(threshold: float, value: float, error: float) -> float:
    """Return the probability that a normally distributed value exceeds a threshold."""
    return 0.5 * math.erfc((threshold - value) / (math.sqrt(2.0) * max(error, 1e-6)))


def contrast_gap_mm(profile: LumenProfile, stretch: Stretch) -> float:
    """Return the length in mm of the longest stretch of a lesion without contrast, 0 unless it opacifies again."""
    core = profile.lumen_hu
    around = points_of(10.0)
    before = core[max(stretch.first - around, 0) : stretch.first]
    after = core[stretch.last + 1 : stretch.last + 1 + around]
    if len(before) < 4 or len(after) < 4:
        return 0.0
    level = float(np.median(before))
    empty = WALL_HU + OCCLUSION_CONTRAST * (level - WALL_HU)
    if float(np.median(after)) < 0.5 * (level + WALL_HU):
        return 0.0
    gaps = runs(core[stretch.first : stretch.last + 1] < empty)
    return max((last - first + 1 for first, last in gaps), default=0) * CENTERLINE_SPACING_MM


def _least_mean_mm(profile: LumenProfile, stretch: Stretch) -> float:
    """Return the smallest mean diameter in mm over the length of an occlusion within a lesion."""
    length = points_of(EMPTY_LENGTH_MM)
    diameter = profile.diameter_mm[stretch.first : stretch.last + 1]
    means = np.convolve(diameter, np.full(length, 1.0 / length), mode="valid")
    return float(np.nanmin(means)) if np.isfinite(means).any() else math.inf
