"""Why a detection without its lesion is there: one cause for each false positive, by where it lies.

In: the detection, the reference lesions and tree. Out: a word of `CAUSES`. The order of the rules is that of the
words; the first that fits is taken, so that the causes add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..study import VesselTree
    from .lesions import LesionFinding

OVERESTIMATED = "overestimated"

CAUSES: dict[str, str] = {
    OVERESTIMATED: "a true lesion below the threshold, measured above it",
    "stent": "flagged as a stent",
    "vein": "more than 2 mm away from every artery of the reference: a vein or another structure",
    "ostium": "within 5 mm of an ostium",
    "bifurcation": "within 4 mm of a branching point",
    "distal_taper": "within 10 mm of a vessel's end, or where the healthy vessel is narrower than 2 mm",
    "calcium": "limited by calcium, or beside calcified plaque",
    "motion_or_noise": "none of these: motion, noise or a wrong centerline",
    "unknown": "the reference has no centerlines to tell",
}
"""The causes and what they mean."""

VEIN_MM, OSTIUM_MM, BIFURCATION_MM, END_MM = 2.0, 5.0, 4.0, 10.0
NARROW_DIAMETER_MM = 2.0


def cause_of(detection: LesionFinding, tree: VesselTree | None) -> str:
    """Return the cause of a detection that has no partner among the lesions of the reference, whose tree is given."""
    if "stent" in detection.flags:
        return "stent"
    if tree is None or not tree.vessels or detection.throat_ras is None:
        return "unknown"
    throat = np.array(detection.throat_ras)
    if min(_distance(throat, vessel.points_ras) for vessel in tree.vessels) > VEIN_MM:
        return "vein"
    if _distance(throat, [vessel.points_ras[0] for vessel in tree.vessels if vessel.parent is None]) <= OSTIUM_MM:
        return "ostium"
    if (
        _distance(throat, [vessel.points_ras[0] for vessel in tree.vessels if vessel.parent is not None])
        <= BIFURCATION_MM
    ):
        return "bifurcation"
    if _at_distal_end(throat, tree):
        return "distal_taper"
    if detection.plaque in ("calcified", "mixed") or any("calcium" in flag for flag in detection.flags):
        return "calcium"
    return "motion_or_noise"


def _distance(point: np.ndarray, points: Sequence[np.ndarray] | np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(points) - point, axis=1).min()) if len(points) else np.inf


def _at_distal_end(throat: np.ndarray, tree: VesselTree) -> bool:
    nearest = min(tree.vessels, key=lambda vessel: _distance(throat, vessel.points_ras))
    index = int(np.argmin(np.linalg.norm(nearest.points_ras - throat, axis=1)))
    if 2.0 * nearest.radius_mm[index] < NARROW_DIAMETER_MM:
        return True
    return tree.ends_free(nearest) and nearest.length_mm - nearest.distance_mm[index] <= END_MM
