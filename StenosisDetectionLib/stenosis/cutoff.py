"""Vessels whose lumen ends abruptly: candidates of an occlusion without refill behind it.

In: tree, profiles, segmentation and CT. Out: the tree, with the flag `abrupt_end` on such vessels. An occlusion that
fills again behind is a gap in a vessel and is found as a lesion. One that does not leaves a vessel that ends at a
width from which vessels go on for centimeters. Geometry alone grades nothing: noise, motion and a network that loses a
vessel end it as well, so that the flag only asks a reader to look. It is left out where the end has another reason: the
border of the image, a stent, another vessel, lumen that the segmentation holds ahead, or contrast that goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..lumen.fit import WALL_HU

if TYPE_CHECKING:
    from ..lumen import VolumeSampler
    from ..study import LumenProfile, LumenSegmentation, Vessel, VesselTree

ABRUPT_END = "abrupt_end"

WIDE_MM, WIDE_CIRCUMFLEX_MM = 2.0, 2.5
"""Vessels taper to less than this before they end. The circumflex artery may end in its groove at the usual diameter of
its distal part, 2.0 with an SD of 0.5 mm."""

THAN_OTHER_ENDS = 1.5
"""A wide end has this many times the usual width of the ends of the tree: where all are wide, the scan is at fault."""

END_MM, FADING_MM = 6.0, 1.5
"""The diameter of the end is the median of this length, without the last part, in which the lumen fades out."""

SHORTEST_MM = 8.0
"""Shorter vessels are hardly more than their branching."""

OTHER_MM = 2.5
"""Another vessel this near to the end, beyond its radius, is what the vessel runs into."""

AHEAD_MM, AHEAD_COSINE, AHEAD_MM3 = 20.0, 0.8, 10.0
"""Lumen of the segmentation that lies within this distance ahead, within 37 degrees, of at least this volume, is the
vessel that goes on: 6 mm of one of 1.5 mm. The lumen fraction of a network would not do: veins beside it have some."""

CONTRAST_FROM_MM, CONTRAST_TO_MM, CONTRAST_BESIDE_MM = 2.5, 6.0, 1.5
"""Contrast at these distances ahead, up to this far beside, is the vessel that goes on."""

BORDER_MM = 5.0
"""An end nearer than this to the border of the image is where imaging ends."""

_STEP_MM = 0.5
_FEWEST = 8
_DIRECTION_MM = 3.0


def flag_abrupt_ends(
    tree: VesselTree, profiles: tuple[LumenProfile, ...], segmentation: LumenSegmentation, sampler: VolumeSampler
) -> VesselTree:
    """Return the tree with the vessels flagged that end abruptly, and no others.

    Parameters
    ----------
    profiles : in the order of `tree.vessels`.
    segmentation : that the tree was made from.
    sampler : of the CT.
    """
    tree = replace(tree, vessels=tuple(_unflagged(vessel) for vessel in tree.vessels))
    ends = {
        vessel.name: end_diameter_mm(vessel, profile)
        for vessel, profile in zip(tree.vessels, profiles, strict=True)
        if tree.ends_free(vessel)
    }
    known = [diameter for diameter in ends.values() if diameter is not None]
    if not known:
        return tree
    usual = float(np.median(known))
    vessels = []
    for vessel, profile in zip(tree.vessels, profiles, strict=True):
        diameter = ends.get(vessel.name)
        wide = WIDE_CIRCUMFLEX_MM if vessel.name == "LCX" else WIDE_MM
        abrupt = (
            diameter is not None
            and diameter >= max(wide, THAN_OTHER_ENDS * usual)
            and vessel.length_mm >= SHORTEST_MM
            and "leaves_field_of_view" not in vessel.flags
            and not _meets_another(tree, vessel)
            and not _lumen_ahead(tree, vessel, segmentation)
            and _tissue_ahead(vessel, profile, sampler)
        )
        vessels.append(replace(vessel, flags=(*vessel.flags, ABRUPT_END)) if abrupt else vessel)
    return replace(tree, vessels=tuple(vessels))


def _unflagged(vessel: Vessel) -> Vessel:
    return replace(vessel, flags=tuple(flag for flag in vessel.flags if flag != ABRUPT_END))


def end_diameter_mm(vessel: Vessel, profile: LumenProfile) -> float | None:
    """Return the lumen diameter at the end of a vessel in mm; None where it was not measured, or in a stent.

    Where fit and segmentation disagree the smaller counts.
    """
    to_end = vessel.length_mm - vessel.distance_mm
    near = (to_end >= FADING_MM) & (to_end <= END_MM)
    measured = near & np.isfinite(profile.diameter_mm)
    if measured.sum() < _FEWEST or "stent" in np.array(profile.quality)[to_end <= END_MM]:
        return None
    return float(min(np.median(profile.diameter_mm[measured]), np.median(2.0 * vessel.radius_mm[near])))


def _direction(vessel: Vessel) -> np.ndarray:
    """Return the unit vector along which a vessel ends."""
    before = np.flatnonzero(vessel.length_mm - vessel.distance_mm >= _DIRECTION_MM)[-1]
    along = vessel.points_ras[-1] - vessel.points_ras[before]
    return along / max(float(np.linalg.norm(along)), 1e-6)


def _meets_another(tree: VesselTree, vessel: Vessel) -> bool:
    end = vessel.points_ras[-1]
    return any(
        bool((np.linalg.norm(other.points_ras - end, axis=1) < OTHER_MM + other.radius_mm).any())
        for other in tree.vessels
        if other.name != vessel.name
    )


def _lumen_ahead(tree: VesselTree, vessel: Vessel, segmentation: LumenSegmentation) -> bool:
    """Return whether the segmentation holds lumen ahead of the end that belongs to no vessel of the tree."""
    from scipy.spatial import cKDTree

    lumen = segmentation.lumen
    to_ijk = np.linalg.inv(segmentation.ijk_to_ras)
    end, direction = vessel.points_ras[-1], _direction(vessel)
    middle = (to_ijk[:3, :3] @ end + to_ijk[:3, 3])[::-1]
    reach = AHEAD_MM * np.linalg.norm(to_ijk[:3, :3], axis=1)[::-1]
    low = np.clip(np.floor(middle - reach), 0, np.array(lumen.shape) - 1).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, low + 1, lumen.shape).astype(int)
    box = lumen[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    ijk = (np.argwhere(box) + low)[:, ::-1]
    points = ijk @ segmentation.ijk_to_ras[:3, :3].T + segmentation.ijk_to_ras[:3, 3]
    away = points - end
    distance = np.linalg.norm(away, axis=1)
    ahead = (distance <= AHEAD_MM) & (away @ direction >= AHEAD_COSINE * distance)
    lines = np.concatenate([one.points_ras for one in tree.vessels])
    widths = np.concatenate([one.radius_mm for one in tree.vessels])
    gap, nearest = cKDTree(lines).query(points[ahead])
    free = int((gap > 1.5 * widths[nearest] + 1.0).sum()) if ahead.any() else 0
    return free * abs(float(np.linalg.det(segmentation.ijk_to_ras[:3, :3]))) >= AHEAD_MM3


def _tissue_ahead(vessel: Vessel, profile: LumenProfile, sampler: VolumeSampler) -> bool:
    """Return whether the image goes on ahead of the end, and its contrast does not."""
    import torch

    end, direction = vessel.points_ras[-1], _direction(vessel)
    normal, binormal = np.linalg.svd(direction[None])[2][1:]  # two unit vectors across
    steps = np.arange(CONTRAST_FROM_MM, CONTRAST_TO_MM + 1e-6, _STEP_MM)
    beside = np.arange(-CONTRAST_BESIDE_MM - _STEP_MM, CONTRAST_BESIDE_MM + _STEP_MM + 1e-6, _STEP_MM)
    plane = beside[:, None, None] * normal + beside[None, :, None] * binormal
    points = end + steps[:, None, None, None] * direction + plane
    values, inside = sampler(torch.from_numpy(np.concatenate([points.reshape(-1, 3), [end + BORDER_MM * direction]])))
    if not bool(inside.all()):
        return False
    hu = values[:-1].cpu().numpy().reshape(points.shape[:3]).astype(np.float64)
    # The mean of 3 x 3 samples, 1 mm wide, is what a lumen fills and noise does not.
    even = sum(hu[:, 1 + a : hu.shape[1] - 1 + a, 1 + b : hu.shape[2] - 1 + b] for a in (-1, 0, 1) for b in (-1, 0, 1))
    brightest = np.asarray(even).max(axis=(1, 2)) / 9.0
    lumen = profile.lumen_hu[vessel.length_mm - vessel.distance_mm <= END_MM]
    level = 0.5 * (float(np.nanmedian(lumen)) + WALL_HU)
    return bool((brightest < level).any())
