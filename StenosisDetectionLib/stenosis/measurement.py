"""Measure one lesion: stenosis with its interval, plaque, location, and what limits the measurement.

In: the profile and the healthy reference of its vessel and the stretch it covers. Out: a `Lesion`. Diameter stenosis
is 1 - throat / healthy diameter; the standard errors of fit, point spread and reference propagate to it (method:
first-order propagation), and interval and probabilities are those of a normal distribution. Percentages are 0 to 100.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..lumen.fit import WALL_HU
from ..study import CENTERLINE_SPACING_MM, Lesion
from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT, grade_of
from .local_reference import LocalReference, local_reference
from .plaque import plaque_of
from .stretch import Stretch, points_of, runs, segment_at

if TYPE_CHECKING:
    from ..study import LumenProfile, ReferenceProfile, Vessel

OCCLUSION_GAP_MM, OCCLUSION_CONTRAST = 3.0, 0.15
"""An occlusion is a gap at least this long whose center has less than this part of the lumen's contrast."""

CALCIUM_NEAR_MM = 2.0
"""Calcium that hides the lumen this near to a lesion may hide its throat."""

CALCIUM_ERROR_PERCENT = 15.0
"""Added standard error in percentage points of a lesion beside such calcium."""

DISAGREEMENT = 0.15
"""Model and local reference that differ by more than this part of the model make the reference uncertain."""

_OSTIAL_MM = 3.0
_QUANTILE_90 = 1.6449


def measure_lesion(
    name: str,
    vessel: Vessel,
    profile: LumenProfile,
    reference: ReferenceProfile,
    branching: np.ndarray,
    stretch: Stretch,
    marked: LocalReference | None = None,
) -> Lesion:
    """Return the lesion of a stretch.

    Parameters
    ----------
    branching : (N,) bool, points at bifurcations.
    marked : the healthy diameter at a reader's markers, used instead of the reference profile.
    """
    throat = stretch.throat
    along = vessel.distance_mm
    minimal = float(profile.diameter_mm[throat])
    if marked is None:
        healthy, healthy_error, method = (
            float(reference.diameter_mm[throat]),
            float(reference.error_mm[throat]),
            reference.method,
        )
    else:
        healthy, healthy_error, method = marked.diameter_mm, marked.error_mm, f"marked_{marked.method}"
    stenosis = 100.0 * (1.0 - minimal / healthy)
    error = 100.0 * math.hypot(float(profile.diameter_error_mm[throat]), minimal / healthy * healthy_error) / healthy
    flags: list[str] = []
    near = points_of(CALCIUM_NEAR_MM)
    if "calcium" in profile.quality[max(stretch.first - near, 0) : stretch.last + near + 1]:
        flags.append("calcium_limited")
        error = math.hypot(error, CALCIUM_ERROR_PERCENT)
    if branching[throat]:
        flags.append("bifurcation")
    if vessel.parent is None and along[throat] < _OSTIAL_MM:
        flags.append("ostial")
    local = local_reference(vessel, profile, stretch, branching)
    if marked is None and local is not None and abs(local.diameter_mm - healthy) > DISAGREEMENT * healthy:
        flags.append("uncertain_reference")
    gap = contrast_gap_mm(profile, stretch)
    if gap >= OCCLUSION_GAP_MM:
        stenosis = 100.0
        flags.append("contrast_gap")
    elif gap > 0.5:
        flags.append("occlusion_not_excluded")
    low = max(0.0, min(stenosis - _QUANTILE_90 * error, 100.0))
    high = max(0.0, min(stenosis + _QUANTILE_90 * error, 100.0))
    for threshold in (OBSTRUCTIVE_PERCENT, SEVERE_PERCENT):
        if low < threshold <= high:
            flags.append(f"borderline_{threshold:.0f}")
    stenosis = max(stenosis, 0.0)
    minimal = 0.0 if stenosis == 100.0 else minimal
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
        reference_diameter_mm=healthy,
        reference_method=method,
        diameter_stenosis_percent=stenosis,
        diameter_stenosis_interval_90=(low, high),
        area_stenosis_percent=max(100.0 * (1.0 - (minimal / healthy) ** 2), 0.0),
        probability_50=_probability_above(OBSTRUCTIVE_PERCENT, stenosis, error),
        probability_70=_probability_above(SEVERE_PERCENT, stenosis, error),
        grade=grade_of(stenosis),
        plaque=plaque_of(profile, stretch.first, stretch.last),
        flags=tuple(flags),
        local_reference_diameter_mm=None if local is None else local.diameter_mm,
        local_reference_method=None if local is None else local.method,
    )


def _probability_above(threshold: float, value: float, error: float) -> float:
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
