"""Find the narrowings of each vessel and measure them.

In: vessel tree, lumen profiles and healthy references. Out: `Lesion`s in the order of the tree, proximal first.
Method: diameter stenosis against the healthy reference; a lesion begins where the stenosis and its ratio to the noise
are both large enough, and reaches as far as a stenosis of 10 % is kept; near lesions merge unless the lumen recovers
between them. The interval is propagated from the errors of throat and reference. The thresholds are choices of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import segment_definition
from ..lumen.fit import WALL_HU
from ..study import CENTERLINE_SPACING_MM, Lesion
from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT, grade_of
from .plaque import plaque_of
from .reference import branching_mask

if TYPE_CHECKING:
    from ..study import LumenProfile, ReferenceProfile, Vessel, VesselTree

DETECTION_PERCENT, DETECTION_Z, DETECTION_MM = 20.0, 2.5, 1.0
"""A lesion has this diameter stenosis in percent, this ratio of deficit to its error, over this length in mm."""

BRANCHING_PERCENT = 35.0
"""Diameter stenosis needed at a branching point, where the shape of the lumen alone looks like a stenosis."""

SHOULDER_PERCENT = 10.0
"""A lesion ends where the diameter stenosis falls below this."""

MERGE_MM, SPLIT_MM, SPLIT_PERCENT = 3.0, 5.0, 15.0
"""Lesions nearer than `MERGE_MM` merge; throats farther apart than `SPLIT_MM` with a recovery stay two lesions."""

IGNORED_END_MM = 5.0
"""Length before the end of a vessel in which the contrast fades and nothing is called a lesion."""

OCCLUSION_GAP_MM, OCCLUSION_CONTRAST = 3.0, 0.15
"""An occlusion is a gap at least this long whose center has less than this part of the lumen's contrast."""

CALCIUM_NEAR_MM = 2.0
"""Calcium that hides the lumen this near to a lesion may hide its throat."""

CALCIUM_ERROR_PERCENT = 15.0
"""Added standard error in percentage points of a lesion beside such calcium."""

_MEASURABLE = ("ok", "bifurcation", "ostium")
_QUANTILE_90 = 1.6449


@dataclass(frozen=True)
class _Candidate:
    """A stretch of one vessel by point index: first, throat and last point."""

    first: int
    throat: int
    last: int


def find_lesions(
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    minimum_reference_diameter_mm: float,
) -> tuple[Lesion, ...]:
    """Find all lesions where the healthy diameter is at least `minimum_reference_diameter_mm`."""
    lesions: list[Lesion] = []
    for vessel, profile, reference in zip(tree.vessels, profiles, references, strict=True):
        branching = branching_mask(tree, vessel)
        ignored = IGNORED_END_MM if tree.ends_free(vessel) else 0.0
        graded = (reference.diameter_mm >= minimum_reference_diameter_mm) & (
            vessel.distance_mm <= vessel.length_mm - ignored
        )
        for candidate in _candidates(profile, reference, branching, graded):
            name = f"L{len(lesions) + 1}"
            lesions.append(_measure(name, vessel, profile, reference, branching, candidate))
    return tuple(lesions)


def stenosis_percent(profile: LumenProfile, reference: ReferenceProfile) -> np.ndarray:
    """Return the diameter stenosis (N,) in percent, negative where the lumen is wider than the reference."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100.0 * (1.0 - profile.diameter_mm / reference.diameter_mm)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _candidates(
    profile: LumenProfile, reference: ReferenceProfile, branching: np.ndarray, graded: np.ndarray
) -> list[_Candidate]:
    stenosis = stenosis_percent(profile, reference)
    with np.errstate(invalid="ignore"):
        deficit = (reference.diameter_mm - profile.diameter_mm) / np.hypot(
            profile.diameter_error_mm, reference.error_mm
        )
        usable = graded & np.isin(profile.quality, _MEASURABLE) & np.isfinite(stenosis)
        enough = stenosis >= np.where(branching, BRANCHING_PERCENT, DETECTION_PERCENT)
        narrow = usable & enough & (deficit >= DETECTION_Z)
        shoulder = np.isfinite(stenosis) & (stenosis >= SHOULDER_PERCENT)
    shortest = round(DETECTION_MM / CENTERLINE_SPACING_MM) + 1
    cores = [(first, last) for first, last in _runs(narrow) if last - first + 1 >= shortest]
    found: list[_Candidate] = []
    for first, last in cores:
        throat = first + int(np.argmax(stenosis[first : last + 1]))
        while first > 0 and shoulder[first - 1]:
            first -= 1
        while last < len(stenosis) - 1 and shoulder[last + 1]:
            last += 1
        candidate = _Candidate(first, throat, last)
        if found and first - found[-1].last < MERGE_MM / CENTERLINE_SPACING_MM:
            found[-1:] = _merge_or_split(found[-1], candidate, stenosis)
        else:
            found.append(candidate)
    return found


def _merge_or_split(before: _Candidate, after: _Candidate, stenosis: np.ndarray) -> list[_Candidate]:
    """Merge two neighboring candidates, or part them at the widest place between their throats."""
    between = stenosis[before.throat : after.throat + 1]
    widest = before.throat + int(np.nanargmin(between))
    recovery = min(stenosis[before.throat], stenosis[after.throat]) - stenosis[widest]
    apart = (after.throat - before.throat) * CENTERLINE_SPACING_MM
    if recovery > SPLIT_PERCENT and apart > SPLIT_MM:
        return [
            _Candidate(before.first, before.throat, min(before.last, widest)),
            _Candidate(max(after.first, widest + 1), after.throat, after.last),
        ]
    throat = before.throat if stenosis[before.throat] >= stenosis[after.throat] else after.throat
    return [_Candidate(before.first, throat, max(before.last, after.last))]


def _measure(
    name: str,
    vessel: Vessel,
    profile: LumenProfile,
    reference: ReferenceProfile,
    branching: np.ndarray,
    candidate: _Candidate,
) -> Lesion:
    throat = candidate.throat
    along = vessel.distance_mm
    minimal, healthy = float(profile.diameter_mm[throat]), float(reference.diameter_mm[throat])
    stenosis = 100.0 * (1.0 - minimal / healthy)
    error = 100.0 * math.hypot(profile.diameter_error_mm[throat], minimal / healthy * reference.error_mm[throat])
    error /= healthy
    flags: list[str] = []
    near = round(CALCIUM_NEAR_MM / CENTERLINE_SPACING_MM)
    if "calcium" in profile.quality[max(candidate.first - near, 0) : candidate.last + near + 1]:
        flags.append("calcium_limited")
        error = math.hypot(error, CALCIUM_ERROR_PERCENT)
    if branching[throat]:
        flags.append("bifurcation")
    if vessel.parent is None and along[throat] < 3.0:
        flags.append("ostial")
    local = _local_reference(profile, candidate)
    if local is not None and abs(local - healthy) > 0.15 * healthy:
        flags.append("uncertain_reference")
    gap = _contrast_gap_mm(profile, candidate)
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
    minimal = 0.0 if stenosis == 100.0 else minimal
    start, end = float(along[candidate.first]), float(along[candidate.last])
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
        reference_method=reference.method,
        diameter_stenosis_percent=stenosis,
        diameter_stenosis_interval_90=(low, high),
        area_stenosis_percent=100.0 * (1.0 - (minimal / healthy) ** 2),
        probability_50=_probability_above(OBSTRUCTIVE_PERCENT, stenosis, error),
        probability_70=_probability_above(SEVERE_PERCENT, stenosis, error),
        grade=grade_of(stenosis),
        plaque=plaque_of(profile, candidate.first, candidate.last),
        flags=tuple(flags),
    )


def _probability_above(threshold: float, value: float, error: float) -> float:
    """Return the probability that a normally distributed value exceeds a threshold."""
    return 0.5 * math.erfc((threshold - value) / (math.sqrt(2.0) * max(error, 1e-6)))


def segment_at(vessel: Vessel, distance_mm: float) -> str:
    """Return the abbreviation of the SCCT segment at a distance along a vessel; the vessel's name where it has none."""
    for segment in vessel.segments:
        if segment.start_mm <= distance_mm <= segment.end_mm:
            return segment_definition(segment.number).abbreviation
    return vessel.name


def _local_reference(profile: LumenProfile, candidate: _Candidate) -> float | None:
    """Return the mean diameter of 5 mm windows 2 mm outside both shoulders; None where neither can be measured."""
    away, window = round(2.0 / CENTERLINE_SPACING_MM), round(5.0 / CENTERLINE_SPACING_MM)
    good = np.array([word == "ok" for word in profile.quality]) & np.isfinite(profile.diameter_mm)
    sides = []
    for first, last in (
        (candidate.first - away - window, candidate.first - away),
        (candidate.last + away + 1, candidate.last + away + window + 1),
    ):
        inside = slice(max(first, 0), max(min(last, len(good)), 0))
        values = profile.diameter_mm[inside][good[inside]]
        if len(values) >= window // 2:
            sides.append(float(values.mean()))
    return float(np.mean(sides)) if sides else None


def _contrast_gap_mm(profile: LumenProfile, candidate: _Candidate) -> float:
    """Return the length in mm of the longest stretch of a lesion without contrast, 0 unless it opacifies again."""
    core = profile.lumen_hu
    around = round(10.0 / CENTERLINE_SPACING_MM)
    before = core[max(candidate.first - around, 0) : candidate.first]
    after = core[candidate.last + 1 : candidate.last + 1 + around]
    if len(before) < 4 or len(after) < 4:
        return 0.0
    level = float(np.median(before))
    empty = WALL_HU + OCCLUSION_CONTRAST * (level - WALL_HU)
    if float(np.median(after)) < 0.5 * (level + WALL_HU):
        return 0.0
    runs = _runs(core[candidate.first : candidate.last + 1] < empty)
    return max((last - first + 1 for first, last in runs), default=0) * CENTERLINE_SPACING_MM
