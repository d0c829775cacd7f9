"""The plaque of a lesion from the lumen profile: type and volumes in mm3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM, Plaque

if TYPE_CHECKING:
    from ..study import LumenProfile

CALCIFIED_SHARE, NONCALCIFIED_SHARE = 0.6, 0.05
"""Calcified volume over plaque volume above which plaque is calcified and below which it is noncalcified."""

_SMALLEST_CALCIUM_MM3 = 0.5


def plaque_of(profile: LumenProfile, first: int, last: int) -> Plaque:
    """Return the plaque between two points of a profile.

    The volume is None where the outer wall shows in less than half of the stretch (it shows only against fat); calcium
    blooms, so that its volume is an upper bound.
    """
    stretch = slice(first, last + 1)
    calcified = float(np.nansum(profile.calcified_area_mm2[stretch]) * CENTERLINE_SPACING_MM)
    area = profile.plaque_area_mm2[stretch]
    known = np.isfinite(area)
    has_calcium = calcified >= _SMALLEST_CALCIUM_MM3
    if known.mean() < 0.5:
        return Plaque("unknown", None, calcified if has_calcium else 0.0)
    # Where calcium hides the wall, the mean of the rest stands in.
    total = max(float(np.nanmean(area)) * len(area) * CENTERLINE_SPACING_MM, calcified)
    if not has_calcium:
        return Plaque("noncalcified", total, 0.0)
    share = calcified / total
    if share > CALCIFIED_SHARE:
        return Plaque("calcified", total, calcified)
    return Plaque("noncalcified" if share < NONCALCIFIED_SHARE else "mixed", total, calcified)
