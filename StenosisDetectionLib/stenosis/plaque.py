"""The plaque of a lesion from the lumen profile: type and volumes in mm3, and candidates of high-risk features.

Noncalcified plaque is parted by its attenuation as the fit sees it, with the point spread taken off, so that lumen
contrast does not leak into it: below 30 HU low-attenuation, to 130 HU fibrofatty, above fibrous (the usual bins at
120 kVp). Features follow Cury 2022: at least two make the modifier HRP, which stays a reader's decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM, Plaque

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile
    from .stretch import Stretch

LOW_ATTENUATION_HU, FIBROUS_HU = 30.0, 130.0
"""Attenuations in HU that part low-attenuation, fibrofatty and fibrous plaque."""

FAT_BELOW_HU = -30.0
"""Below this attenuation in HU is fat, not plaque."""

POSITIVE_REMODELING = 1.10
"""Outer diameter at the lesion over that beside it from which remodeling is positive."""

SPOTTY_MM = 3.0
"""Calcium shorter than this along the vessel is spotty."""

FEATURE_CONTRAST_TO_NOISE = 10.0
"""Low attenuation is believed from this contrast-to-noise ratio on."""

BY_ATTENUATION = ("low_attenuation", "napkin_ring")
"""Features that the attenuation of plaque tells."""

FEATURE_KVP = (100.0, 120.0)
"""Tube voltages at which attenuation tells low-attenuation plaque."""

_BESIDE_MM = 10.0

CALCIFIED_SHARE, NONCALCIFIED_SHARE = 0.6, 0.05
"""Calcified volume over plaque volume above which plaque is calcified and below which it is noncalcified."""

_SMALLEST_CALCIUM_MM3 = 0.5


def wall_shown(profile: LumenProfile) -> np.ndarray:
    """Return where (N,) the outer wall shows: what is as dark as fat is no wall but the fat around it."""
    shown = np.isfinite(profile.plaque_area_mm2)
    if profile.plaque_hu is not None:
        with np.errstate(invalid="ignore"):
            shown &= ~(profile.plaque_hu < FAT_BELOW_HU)
    return shown


def plaque_of(profile: LumenProfile, first: int, last: int) -> Plaque:
    """Return the plaque between two points of a profile.

    The volume is None where the outer wall shows in less than half of the stretch (it shows only against fat).
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
    share = calcified / total if has_calcium and total > 0 else 0.0
    kind = "calcified" if share > CALCIFIED_SHARE else "noncalcified" if share < NONCALCIFIED_SHARE else "mixed"
    return Plaque(kind, total, calcified if has_calcium else 0.0, *_by_attenuation(profile, stretch, total - calcified))


def _by_attenuation(
    profile: LumenProfile, stretch: slice, noncalcified_mm3: float
) -> tuple[float | None, float | None, float | None]:
    """Return the volumes of low-attenuation, fibrofatty and fibrous plaque; None where the attenuation is not known."""
    if profile.plaque_hu is None:
        return None, None, None
    hu, area = profile.plaque_hu[stretch], profile.plaque_area_mm2[stretch]
    known = np.isfinite(hu) & np.isfinite(area)
    weight = float(area[known].sum())
    if weight <= 0.0 or noncalcified_mm3 <= 0.0:
        return 0.0, 0.0, 0.0
    scale = noncalcified_mm3 / weight
    low = hu[known] < LOW_ATTENUATION_HU
    fibrous = hu[known] > FIBROUS_HU
    parts = (area[known][low], area[known][~low & ~fibrous], area[known][fibrous])
    a, b, c = (float(part.sum()) * scale for part in parts)
    return a, b, c


def remodeling_index(profile: LumenProfile, stretch: Stretch, excluded: np.ndarray) -> float | None:
    """Return the outer diameter at the throat over the mean of 10 mm to both sides; None where the wall is hidden."""
    if profile.outer_diameter_mm is None:
        return None
    outer = profile.outer_diameter_mm
    beside = round(_BESIDE_MM / CENTERLINE_SPACING_MM)
    near = slice(max(stretch.throat - 2, 0), stretch.throat + 3)
    sides = np.zeros(len(outer), dtype=bool)
    sides[max(stretch.first - beside, 0) : stretch.first] = True
    sides[stretch.last + 1 : stretch.last + 1 + beside] = True
    sides &= ~excluded & np.isfinite(outer)
    if not np.isfinite(outer[near]).any() or sides.sum() * CENTERLINE_SPACING_MM < 3.0:
        return None
    return float(np.nanmean(outer[near]) / outer[sides].mean())


def high_risk_features(profile: LumenProfile, stretch: Stretch, plaque: Plaque, remodeling: float | None) -> list[str]:
    """Return the candidates of high-risk features of a lesion."""
    found = []
    inside = slice(stretch.first, stretch.last + 1)
    clear = profile.contrast_to_noise is not None and bool(
        np.nanmedian(profile.contrast_to_noise[inside]) >= FEATURE_CONTRAST_TO_NOISE
    )
    if clear and (plaque.low_attenuation_volume_mm3 or 0.0) >= 1.0:
        found.append("low_attenuation")
    if remodeling is not None and remodeling >= POSITIVE_REMODELING:
        found.append("positive_remodeling")
    length = float((np.nan_to_num(profile.calcified_area_mm2[inside]) > 0.2).sum()) * CENTERLINE_SPACING_MM
    if 0.5 <= length < SPOTTY_MM and (plaque.calcified_volume_mm3 or 0.0) > 0.0:
        found.append("spotty_calcification")
    return found


def voltage_warnings(acquisition: Mapping[str, object]) -> tuple[str, ...]:
    """Return that the tube voltage, where it is known, does not suit the classes of plaque; nothing where it does."""
    kvp = acquisition.get("kvp")
    if not isinstance(kvp, int | float) or FEATURE_KVP[0] <= float(kvp) <= FEATURE_KVP[1]:
        return ()
    low, high = FEATURE_KVP
    return (
        f"at {float(kvp):.0f} kV the attenuation of plaque differs from that at {low:.0f} to {high:.0f} kV: its "
        "classes are uncertain, and neither low-attenuation plaque nor a napkin ring is named",
    )


def believed_features(lesions: tuple[Lesion, ...], acquisition: Mapping[str, object]) -> tuple[Lesion, ...]:
    """Return the lesions without the features that the tube voltage of the scan does not let believe."""
    if not voltage_warnings(acquisition):
        return lesions
    return tuple(
        replace(lesion, features=tuple(word for word in lesion.features if word not in BY_ATTENUATION))
        for lesion in lesions
    )
