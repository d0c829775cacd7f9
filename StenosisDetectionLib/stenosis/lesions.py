"""Find the narrowings of each vessel.

In: vessel tree, lumen profiles and healthy references. Out: `Lesion`s in the order of the tree, proximal first.
Method: diameter stenosis against the healthy reference; a lesion begins where the stenosis and its ratio to the noise
are both large enough, and reaches as far as a stenosis of 10 % is kept; near lesions merge unless the lumen recovers
between them. What is found is measured by `measurement.py`. The thresholds are choices of ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .hidden import hidden_lesion, hidden_stretches
from .measurement import measure_lesion
from .pattern import with_patterns
from .priors import SMALL_MM
from .reference import branching_mask, small_vessel_mm
from .stretch import Stretch, points_of, runs

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile, ReferenceProfile, VesselTree

DETECTION_PERCENT, DETECTION_Z, DETECTION_MM = 20.0, 2.5, 1.0
"""A lesion has this diameter stenosis in percent, this ratio of deficit to its error, over this length in mm."""

CALCIFIED_Z, CALCIFIED_MM = 2.0, 2.0
"""The ratio needed where calcium lies beside the lumen: it makes the error large, and a narrowing likely. In a healthy
vessel thinner than that many mm what looks like calcium is as likely noise, and nothing less is needed."""

BRANCHING_PERCENT = 35.0
"""Diameter stenosis needed at a branching point, where the shape of the lumen alone looks like a stenosis."""

OSTIAL_PERCENT = 25.0
"""Diameter stenosis needed in the first millimeters at the aorta, where the section cuts the wall obliquely."""

OSTIAL_MM = 2.0
"""Length that a narrowing which begins where its vessel leaves the aorta must have: the path may begin that far beside
the orifice, in the wall of the aorta."""

UNSEEN_MM = 2.0
"""A narrowing with its throat this near to where the vessel leaves the image is none: the vessel is not seen whole."""

SHOULDER_PERCENT = 10.0
"""A lesion ends where the diameter stenosis falls below this."""

MERGE_MM, SPLIT_MM, SPLIT_PERCENT = 3.0, 5.0, 15.0
"""Lesions nearer than `MERGE_MM` merge; throats farther apart than `SPLIT_MM` with a recovery stay two lesions."""

IGNORED_END_MM = 5.0
"""Length before the end of a vessel in which the contrast fades and nothing is called a lesion."""

_MEASURABLE = ("ok", "bifurcation", "ostium")


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
        found = _candidates(profile, reference, branching, graded)
        diseased = branching.copy()
        for candidate in found:
            diseased[candidate.first : candidate.last + 1] = True
        small = small_vessel_mm(tree, vessel, reference) > SMALL_MM
        hidden = hidden_stretches(profile, graded, found)
        for candidate in sorted(found + hidden, key=lambda one: one.first):
            name = f"L{len(lesions) + 1}"
            if candidate in hidden:
                behind = hidden_lesion(name, vessel, profile, reference, candidate)
                if behind is not None:
                    lesions.append(behind)
                continue
            lesion = measure_lesion(name, vessel, profile, reference, branching, candidate, diseased=diseased)
            if small:
                lesion = replace(lesion, flags=(*lesion.flags, "diffusely_small_vessel"))
            # What is no narrowing beside what surrounds it is a dip of the model's reference.
            if lesion.diameter_stenosis_percent >= SHOULDER_PERCENT:
                lesions.append(lesion)
    return with_patterns(tree, tuple(lesions), minimum_reference_diameter_mm)


def stenosis_percent(profile: LumenProfile, reference: ReferenceProfile) -> np.ndarray:
    """Return the diameter stenosis (N,) in percent, negative where the lumen is wider than the reference."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100.0 * (1.0 - profile.diameter_mm / reference.diameter_mm)


def _candidates(
    profile: LumenProfile, reference: ReferenceProfile, branching: np.ndarray, graded: np.ndarray
) -> list[Stretch]:
    stenosis = stenosis_percent(profile, reference)
    with np.errstate(invalid="ignore"):
        deficit = (reference.diameter_mm - profile.diameter_mm) / np.hypot(
            profile.diameter_error_mm, reference.error_mm
        )
        usable = graded & np.isin(profile.quality, _MEASURABLE) & np.isfinite(stenosis)
        ostial = np.array([word == "ostium" for word in profile.quality])
        needed = np.where(branching, BRANCHING_PERCENT, np.where(ostial, OSTIAL_PERCENT, DETECTION_PERCENT))
        enough = stenosis >= needed
        calcified = (np.nan_to_num(profile.calcified_area_mm2) > 0.0) & (reference.diameter_mm >= CALCIFIED_MM)
        narrow = usable & enough & (deficit >= np.where(calcified, CALCIFIED_Z, DETECTION_Z))
        shoulder = np.isfinite(stenosis) & (stenosis >= SHOULDER_PERCENT)
    known = np.flatnonzero(np.isfinite(reference.diameter_mm))
    # A narrowing from which the lumen does not widen again before the thin end of its vessel is that end.
    thin_end = known[-1] if len(known) and known[-1] < len(stenosis) - 1 else len(stenosis)
    shortest, shortest_ostial = points_of(DETECTION_MM) + 1, points_of(OSTIAL_MM) + 1
    cores = [
        (first, last)
        for first, last in runs(narrow)
        if last - first + 1 >= (shortest_ostial if first == 0 and ostial[0] else shortest)
    ]
    outside = np.flatnonzero(np.array(profile.quality) == "outside")
    found: list[Stretch] = []
    for first, last in cores:
        throat = first + int(np.argmax(stenosis[first : last + 1]))
        while first > 0 and shoulder[first - 1]:
            first -= 1
        while last < len(stenosis) - 1 and shoulder[last + 1]:
            last += 1
        candidate = Stretch(first, throat, last)
        if last >= thin_end or (np.abs(outside - throat) <= points_of(UNSEEN_MM)).any():
            continue
        if found and first - found[-1].last < points_of(MERGE_MM):
            found[-1:] = _merge_or_split(found[-1], candidate, stenosis)
        else:
            found.append(candidate)
    return found


def _merge_or_split(before: Stretch, after: Stretch, stenosis: np.ndarray) -> list[Stretch]:
    """Merge two neighboring candidates, or part them at the widest place between their throats."""
    between = stenosis[before.throat : after.throat + 1]
    widest = before.throat + int(np.nanargmin(between))
    recovery = min(stenosis[before.throat], stenosis[after.throat]) - stenosis[widest]
    apart = (after.throat - before.throat) * CENTERLINE_SPACING_MM
    if recovery > SPLIT_PERCENT and apart > SPLIT_MM:
        return [
            Stretch(before.first, before.throat, min(before.last, widest)),
            Stretch(max(after.first, widest + 1), after.throat, after.last),
        ]
    throat = before.throat if stenosis[before.throat] >= stenosis[after.throat] else after.throat
    return [Stretch(before.first, throat, max(before.last, after.last))]
