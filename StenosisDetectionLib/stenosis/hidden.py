"""Narrowings behind calcium that covers more than half of the circumference: an interval, and no number.

In: profile and healthy reference of a vessel. Out: stretches whose lumen calcium hides, and a `Lesion` of each with the
flag `interval_only`. Its interval reaches from the widest to the narrowest lumen that the fit allows over 1 mm. Where a
`Lesion` needs one number it holds the end of the interval that is certain, the least stenosis; report and tables leave
it empty.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..lumen.estimates import QUANTILE_90
from ..study import Lesion
from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT, grade_of
from .measurement import probability_above
from .plaque import plaque_of
from .stretch import Stretch, points_of, runs, segment_at

if TYPE_CHECKING:
    from ..study import LumenProfile, ReferenceProfile, Vessel

INTERVAL_ONLY = "interval_only"
"""The flag of a lesion that has an interval and no number."""

UNMEASURED = (
    "diameter_stenosis_percent",
    "area_stenosis_percent",
    "minimal_lumen_diameter_mm",
    "minimal_lumen_area_mm2",
)
"""What report and tables leave empty of such a lesion."""

SHORTEST_MM = 1.0
"""Shorter stretches of hidden lumen say nothing that what lies beside them does not."""

POSSIBLE_PERCENT = 25.0
"""A stretch that cannot hide a diameter stenosis of this many percent is no lesion."""


def as_shown(lesion: Lesion) -> Lesion:
    """Return a lesion with what calcium hides unknown (NaN), for people; other lesions come back as they are."""
    unknown: dict[str, Any] = dict.fromkeys(UNMEASURED, math.nan)
    return replace(lesion, **unknown) if INTERVAL_ONLY in lesion.flags else lesion


def hidden_stretches(profile: LumenProfile, graded: np.ndarray, found: list[Stretch]) -> list[Stretch]:
    """Return the stretches that calcium hides, where `graded` (N,) and outside of the lesions found."""
    if profile.hidden_diameter_mm is None:
        return []
    hidden = np.isfinite(profile.hidden_diameter_mm).all(axis=1) & graded
    for one in found:
        hidden[one.first : one.last + 1] = False
    shortest = points_of(SHORTEST_MM) + 1
    return [Stretch(a, (a + b) // 2, b) for a, b in runs(hidden) if b - a + 1 >= shortest]


def hidden_lesion(
    name: str, vessel: Vessel, profile: LumenProfile, reference: ReferenceProfile, stretch: Stretch
) -> Lesion | None:
    """Return the lesion of a hidden stretch; None where no narrowing that matters can be behind the calcium."""
    from scipy.ndimage import median_filter

    assert profile.hidden_diameter_mm is not None
    inside = slice(stretch.first, stretch.last + 1)
    # A single section is no narrowing: what its neighbors exclude is excluded.
    half = points_of(SHORTEST_MM / 2.0)
    bounds = median_filter(profile.hidden_diameter_mm[inside], size=(2 * half + 1, 1))
    ratio = (bounds / reference.diameter_mm[inside, None])[half : len(bounds) - half]
    low, high = (float(v) for v in np.clip(100.0 * (1.0 - ratio[:, ::-1].min(axis=0)), 0.0, 100.0))
    if high < POSSIBLE_PERCENT:
        return None
    throat = stretch.first + half + int(np.argmin(ratio.mean(axis=1)))
    error = max(high - low, 1.0) / (2.0 * QUANTILE_90)
    middle = 0.5 * (low + high)
    healthy = float(reference.diameter_mm[throat])
    diameter = healthy * (1.0 - low / 100.0)
    r, a, s = (float(v) for v in profile.contour_center_ras[throat])
    along = vessel.distance_mm
    borderline = [f"borderline_{t:.0f}" for t in (OBSTRUCTIVE_PERCENT, SEVERE_PERCENT) if low < t <= high]
    return Lesion(
        id=name,
        vessel=vessel.name,
        segment=segment_at(vessel, float(along[throat])),
        position_ras=(r, a, s),
        start_mm=float(along[stretch.first]),
        throat_mm=float(along[throat]),
        end_mm=float(along[stretch.last]),
        length_mm=float(along[stretch.last] - along[stretch.first]),
        minimal_lumen_diameter_mm=diameter,
        minimal_lumen_area_mm2=math.pi * diameter**2 / 4.0,
        reference_diameter_mm=healthy,
        reference_method=reference.method,
        diameter_stenosis_percent=low,
        diameter_stenosis_interval_90=(low, high),
        area_stenosis_percent=100.0 * (1.0 - (1.0 - low / 100.0) ** 2),
        probability_50=probability_above(OBSTRUCTIVE_PERCENT, middle, error),
        probability_70=probability_above(SEVERE_PERCENT, middle, error),
        grade=grade_of(low),
        plaque=plaque_of(profile, stretch.first, stretch.last),
        flags=("calcium_limited", INTERVAL_ONLY, *borderline),
        model_reference_diameter_mm=healthy,
        diameter_stenosis_error=error,
    )
