"""How much plaque a patient has: scores over the SCCT segments and volumes over the whole tree.

In: tree, profiles and lesions. Out: segments with plaque, the segment involvement and stenosis scores (Min 2007, JACC
50:1161), plaque volumes in mm3 by attenuation, and percent atheroma volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..anatomy import SEGMENTS
from ..study import CENTERLINE_SPACING_MM
from .grades import OBSTRUCTIVE_PERCENT, SEVERE_PERCENT
from .plaque import FIBROUS_HU, LOW_ATTENUATION_HU, wall_shown
from .reference import shown_points
from .stretch import points_of, runs, segment_at

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile, ReferenceProfile, Vessel, VesselTree

CALCIUM_MM2, CALCIUM_MM, CALCIUM_MM3 = 0.5, 1.0, 2.5
"""Calcium counts that somewhere has this area in a section, is this long along the vessel and has this volume; less is
noise: clean vessels of whole hearts show runs of up to 2.1 mm3."""

AORTIC_MM = 5.0
"""At its ostium a section of the vessel cuts the aorta, whose blood looks like calcium beside the lumen."""

FORK_MM = 2.0
"""So far before its thin end a vessel forks into twigs, whose blood looks like calcium beside the lumen."""

THICK_WALL_MM, THICK_MM = 0.8, 2.0
"""A wall of this thickness over this length along the vessel holds plaque; what is thinner is healthy or noise."""

PLAQUE_VESSEL_MM = 2.0
"""Outside of lesions noncalcified plaque is measured in vessels of this healthy diameter: in smaller ones the fit
widens the wall."""

_WALL_MEASURED = ("ok", "calcium")
_SCCT = frozenset(segment.abbreviation for segment in SEGMENTS)


@dataclass(frozen=True)
class PlaqueVolumes:
    """Plaque of the whole tree where its outer wall shows; fields as in `Patient`."""

    plaque_volume_mm3: float | None = None
    percent_atheroma_volume: float | None = None
    calcified_volume_mm3: float | None = None
    low_attenuation_volume_mm3: float | None = None
    fibrofatty_volume_mm3: float | None = None
    fibrous_volume_mm3: float | None = None
    wall_shown_percent: float | None = None


def segment_scores(tree: VesselTree, profiles: tuple[LumenProfile, ...], lesions: tuple[Lesion, ...]) -> dict[str, int]:
    """Return the score of each segment with plaque: 1, 2 from 50 % and 3 from 70 % diameter stenosis.

    Segments go by their abbreviation; a lesion of a branch that the SCCT model has no segment for counts to the segment
    the branch leaves. The number of entries is the segment involvement score, their sum the segment stenosis score.
    """
    worst = dict.fromkeys(_calcified_segments(tree, profiles), 0.0)
    for lesion in lesions:
        segment = _scct_segment(tree, lesion.vessel, lesion.segment)
        worst[segment] = max(worst.get(segment, 0.0), lesion.diameter_stenosis_percent)
    return {
        segment: 1 + (percent >= OBSTRUCTIVE_PERCENT) + (percent >= SEVERE_PERCENT)
        for segment, percent in worst.items()
    }


def plaque_volumes(
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    references: tuple[ReferenceProfile, ...],
    lesions: tuple[Lesion, ...],
) -> PlaqueVolumes:
    """Return the volumes of plaque: calcium everywhere, the rest in lesions and where a thick wall can be measured."""
    sums = np.zeros(5)
    points, shown_points = 0, 0
    plaque_mm2, vessel_mm2 = 0.0, 0.0
    for vessel, profile, reference in zip(tree.vessels, profiles, references, strict=True):
        calcium = believed_calcium(tree, vessel, profile)
        narrowed = np.zeros(len(calcium), dtype=bool)
        for lesion in lesions:
            if lesion.vessel == vessel.name:
                narrowed |= (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
        with np.errstate(invalid="ignore"):
            wide = (reference.diameter_mm >= PLAQUE_VESSEL_MM) & np.isin(profile.quality, _WALL_MEASURED)
        shown = wall_shown(profile) & (wide | narrowed)
        thick = _thick(profile, shown) | (shown & narrowed)
        plaque = np.where(thick, np.maximum(np.nan_to_num(profile.plaque_area_mm2), calcium), calcium)
        points += int(np.isfinite(profile.diameter_mm).sum())
        shown_points += int(shown.sum())
        hu = np.full(len(calcium), np.nan) if profile.plaque_hu is None else profile.plaque_hu
        with np.errstate(invalid="ignore"):
            soft = np.where(thick & np.isfinite(hu), plaque - calcium, 0.0)
            low, fibrous = hu < LOW_ATTENUATION_HU, hu > FIBROUS_HU
        sums += [plaque.sum(), calcium.sum(), soft[low].sum(), soft[~low & ~fibrous].sum(), soft[fibrous].sum()]
        if profile.outer_diameter_mm is not None:
            within = shown & np.isfinite(profile.outer_diameter_mm)
            plaque_mm2 += float(plaque[within].sum())
            vessel_mm2 += float((np.pi / 4.0 * profile.outer_diameter_mm[within] ** 2).sum())
    if not shown_points:
        return PlaqueVolumes(wall_shown_percent=0.0 if points else None)
    total, calcified, low_mm3, fatty, fibrous_mm3 = (float(value) for value in sums * CENTERLINE_SPACING_MM)
    percent = 100.0 * plaque_mm2 / vessel_mm2 if vessel_mm2 > 0.0 else None
    return PlaqueVolumes(total, percent, calcified, low_mm3, fatty, fibrous_mm3, 100.0 * shown_points / points)


def believed_calcium(tree: VesselTree, vessel: Vessel, profile: LumenProfile) -> np.ndarray:
    """Return the area (N,) of calcium in mm2 where it is long and large enough, away from the aorta and from twigs."""
    area = np.nan_to_num(profile.calcified_area_mm2)
    unseen = np.isin(profile.quality, ("low_contrast", "unreliable", "end", "outside"))
    shown = shown_points(tree, vessel, profile)
    if shown < len(area):
        unseen |= vessel.distance_mm > shown * CENTERLINE_SPACING_MM - FORK_MM
    if vessel.parent is None:
        unseen |= vessel.distance_mm < AORTIC_MM
    area = np.where(unseen, 0.0, area)
    kept = np.zeros_like(area)
    for first, last in runs(area > 0.0):
        inside = slice(first, last + 1)
        large = area[inside].max() > CALCIUM_MM2 and area[inside].sum() * CENTERLINE_SPACING_MM > CALCIUM_MM3
        if large and last - first + 1 >= points_of(CALCIUM_MM):
            kept[inside] = area[inside]
    return kept


def _thick(profile: LumenProfile, shown: np.ndarray) -> np.ndarray:
    """Return where (N,) the wall is thick enough for long enough to hold plaque."""
    if profile.outer_diameter_mm is None:
        return shown
    with np.errstate(invalid="ignore"):
        wall = (profile.outer_diameter_mm - profile.diameter_mm) / 2.0
    thick = np.zeros(len(shown), dtype=bool)
    for first, last in runs(shown & (wall >= THICK_WALL_MM)):
        thick[first : last + 1] = last - first + 1 >= points_of(THICK_MM)
    return thick


def _scct_segment(tree: VesselTree, vessel_name: str, segment: str) -> str:
    """Return the segment itself, or for a branch outside of the SCCT model the one it leaves."""
    known = {vessel.name: vessel for vessel in tree.vessels}
    vessel = known.get(vessel_name)
    while segment not in _SCCT and vessel is not None and vessel.parent in known:
        parent = known[str(vessel.parent)]
        segment = segment_at(parent, vessel.parent_distance_mm or 0.0)
        vessel = parent
    return segment


def _calcified_segments(tree: VesselTree, profiles: tuple[LumenProfile, ...]) -> set[str]:
    """Return the segments with calcium in them."""
    result: set[str] = set()
    for vessel, profile in zip(tree.vessels, profiles, strict=True):
        calcified = np.flatnonzero(believed_calcium(tree, vessel, profile) > CALCIUM_MM2)
        names = [segment_at(vessel, float(vessel.distance_mm[i])) for i in calcified]
        result |= {_scct_segment(tree, vessel.name, name) for name in set(names)}
    return result
