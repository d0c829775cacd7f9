"""The healthy diameter beside a lesion, as quantitative coronary angiography takes it, and at a reader's two markers.

In: the lumen profile of a vessel and the stretch of a lesion. Out: a `LocalReference` in mm at the throat. Method: the
mean diameter of 5 mm windows that begin 2 mm outside of both shoulders (European Bifurcation Club), over what was
measured outside of bifurcations, on a straight line between the two windows; one side stands alone where the other
cannot be used. With markers, the same in windows of 2 mm around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .stretch import Stretch, points_of

if TYPE_CHECKING:
    from ..study import LumenProfile, Vessel

AWAY_MM, WINDOW_MM = 2.0, 5.0
"""Distance of a window from the shoulder of a lesion, and its length."""

MARKER_WINDOW_MM = 2.0
"""Length of the window around a marker that a reader has set."""

_LARGEST_SLOPE = 0.05  # mm/mm: what is steeper is no taper


@dataclass(frozen=True)
class LocalReference:
    """The healthy diameter at the throat in mm, its standard error, and `interp`, `prox` or `dist`."""

    diameter_mm: float
    error_mm: float
    method: str


@dataclass(frozen=True)
class _Window:
    """Mean diameter of a window, its standard error, and the middle of the window along the vessel, in mm."""

    diameter_mm: float
    error_mm: float
    middle_mm: float


def local_reference(
    vessel: Vessel, profile: LumenProfile, stretch: Stretch, excluded: np.ndarray
) -> LocalReference | None:
    """Return the reference beside a lesion; None where neither side can be measured.

    `excluded` (N,) bool are points that must not be used: bifurcations and other lesions.
    """
    away, window = points_of(AWAY_MM), points_of(WINDOW_MM)
    good = _usable(profile) & ~excluded
    before = _window(vessel, profile, good, stretch.first - away - window, stretch.first - away, window // 2)
    after = _window(vessel, profile, good, stretch.last + away + 1, stretch.last + away + window + 1, window // 2)
    return _between(before, after, float(vessel.distance_mm[stretch.throat]))


def marked_reference(
    vessel: Vessel, profile: LumenProfile, markers_mm: tuple[float, float], throat_mm: float
) -> LocalReference | None:
    """Return the reference at a throat from two markers along the vessel; None where nothing was measured at them."""
    half = points_of(MARKER_WINDOW_MM / 2.0)
    good = np.isfinite(profile.diameter_mm)
    windows = []
    for marker in markers_mm:
        middle = round(marker / CENTERLINE_SPACING_MM)
        windows.append(_window(vessel, profile, good, middle - half, middle + half + 1, 1))
    return _between(windows[0], windows[1], throat_mm)


def _usable(profile: LumenProfile) -> np.ndarray:
    return (np.array(profile.quality) == "ok") & np.isfinite(profile.diameter_mm)


def _window(
    vessel: Vessel, profile: LumenProfile, good: np.ndarray, first: int, last: int, fewest: int
) -> _Window | None:
    inside = np.arange(max(first, 0), max(min(last, len(good)), 0))
    inside = inside[good[inside]]
    if len(inside) < max(fewest, 1):
        return None
    values, errors = profile.diameter_mm[inside], profile.diameter_error_mm[inside]
    # Points are correlated over about a millimeter.
    independent = max(len(inside) * CENTERLINE_SPACING_MM, 1.0)
    error = np.hypot(float(np.mean(errors)), float(values.std())) / np.sqrt(independent)
    return _Window(float(values.mean()), float(error), float(vessel.distance_mm[inside].mean()))


def _between(before: _Window | None, after: _Window | None, throat_mm: float) -> LocalReference | None:
    if before is None and after is None:
        return None
    if before is None or after is None:
        one = before if before is not None else after
        assert one is not None
        # One side alone leaves the taper between window and throat unknown.
        taper = 0.01 * abs(one.middle_mm - throat_mm)
        method = "prox" if after is None else "dist"
        return LocalReference(one.diameter_mm, float(np.hypot(one.error_mm, taper)), method)
    length = max(after.middle_mm - before.middle_mm, 1e-6)
    share = float(np.clip((throat_mm - before.middle_mm) / length, 0.0, 1.0))
    diameter = (1.0 - share) * before.diameter_mm + share * after.diameter_mm
    error = float(np.hypot((1.0 - share) * before.error_mm, share * after.error_mm))
    # A step from one side to the other that no taper explains is a doubt about the value between them.
    step = max(abs(after.diameter_mm - before.diameter_mm) - _LARGEST_SLOPE * length, 0.0)
    return LocalReference(diameter, float(np.hypot(error, 0.5 * step)), "interp")
