"""SCCT segments: named vessels come in, the same vessels with their segments of the 18-segment model go out.

Boundaries follow Leipsic et al. (J Cardiovasc Comput Tomogr 2014; 8: 342). Confidence is lower where a boundary is a
landmark that the tree shows only indirectly (acute margin, way to the apex) and lowest where it had to be guessed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..anatomy import SEGMENT_SCHEME, segment_definition
from ..study import CENTERLINE_SPACING_MM, Vessel, VesselSegment
from .naming import ACUTE_MARGIN_DIRECTION

SEEN, LANDMARK, GUESSED = 0.9, 0.6, 0.3
"""Confidence of a segment with boundaries at forks, at a landmark of the course, and without either."""

PROXIMAL_LAD, PROXIMAL_LCX = 0.25, 0.4
"""Part of the LAD and LCX that is proximal where no branch tells: 25 to 35 mm, as far as the first one usually is."""

EARLIEST_MARGIN, LATEST_MARGIN = 0.2, 0.9
"""The acute margin lies between these parts of the right coronary artery."""

TAKEOFF_MM, BACK_MM = 4.0, 8.0
"""A branch leads this far straight out of the lumen of its parent; its axis is followed back this far at most."""

WHOLE_VESSELS = {"LM": 5, "D1": 9, "D2": 10, "OM1": 12, "OM2": 14, "RI": 17}
"""Vessels that are one segment, with its number."""

RENAMED_FLAG = "renamed"
"""Flag of a vessel whose name a person chose: its segments are no longer uncertain because of the name."""


def with_segments(vessels: Sequence[Vessel], flags: Sequence[str] = ()) -> tuple[Vessel, ...]:
    """Return the vessels with their SCCT segments; vessels the model does not number have none.

    With `orientation_doubtful` among the flags of the tree, all names but those a person chose are guesses.
    """
    doubtful = "orientation_doubtful" in flags
    result = []
    for vessel in vessels:
        segments = _segments(vessel, [w for w in vessels if w.parent == vessel.name])
        if doubtful and RENAMED_FLAG not in vessel.flags:
            segments = tuple(replace(s, confidence=min(s.confidence, GUESSED)) for s in segments)
        result.append(replace(vessel, segments=segments))
    return tuple(result)


def dominance_of(vessels: Sequence[Vessel], flags: Sequence[str] = ()) -> str:
    """Return right, left, balanced or unknown by the vessels that give PDA and PLB.

    That is the giver of the PDA; balanced where both give one, or where the right coronary artery gives the PDA alone
    and the circumflex artery a posterolateral branch. `dominance_inferred` among the flags of the tree is right.
    """
    parents = {v.name: v.parent for v in vessels}
    givers: dict[str, set[str | None]] = {"PDA": set(), "PLB": set()}
    for vessel in vessels:
        kind = vessel.name.rstrip("0123456789")
        if kind in givers:
            # A branch that leaves the PDA belongs to the vessel that gives the PDA.
            giver = parents.get("PDA") if vessel.parent == "PDA" else vessel.parent
            givers[kind].add(giver)
    right, left = "RCA" in givers["PDA"], "LCX" in givers["PDA"]
    if right and (left or ("LCX" in givers["PLB"] and "RCA" not in givers["PLB"])):
        return "balanced"
    if right or left:
        return "right" if right else "left"
    return "right" if "dominance_inferred" in flags else "unknown"


def _segments(vessel: Vessel, branches: list[Vessel]) -> tuple[VesselSegment, ...]:
    end = vessel.length_mm
    if vessel.name in WHOLE_VESSELS:
        return _cut(vessel, [(WHOLE_VESSELS[vessel.name], end, SEEN)])
    if vessel.name in ("PDA", "PLB"):
        from_left = vessel.parent in ("LCX", "LM")
        number = {"PDA": 15 if from_left else 4, "PLB": 18 if from_left else 16}[vessel.name]
        return _cut(vessel, [(number, end, LANDMARK)])
    if vessel.name == "LAD":
        first = _first_branch(vessel, branches, ("D", "S"))
        proximal, confidence = (PROXIMAL_LAD * end, GUESSED) if first is None else (first, SEEN)
        middle = (proximal + end) / 2
        return _cut(vessel, [(6, proximal, confidence), (7, middle, min(confidence, LANDMARK)), (8, end, LANDMARK)])
    if vessel.name == "LCX":
        first = _first_branch(vessel, branches, ("OM",))
        proximal, confidence = (PROXIMAL_LCX * end, GUESSED) if first is None else (first, SEEN)
        return _cut(vessel, [(11, proximal, confidence), (13, end, confidence)])
    if vessel.name == "RCA":
        position = int(np.argmax(vessel.points_ras @ np.array(ACUTE_MARGIN_DIRECTION)))
        margin = float(np.clip(vessel.distance_mm[position], EARLIEST_MARGIN * end, LATEST_MARGIN * end))
        divides = any(b.name == "PDA" for b in branches)
        return _cut(
            vessel,
            [
                (1, margin / 2, LANDMARK if divides else GUESSED),
                (2, margin, LANDMARK if divides else GUESSED),
                (3, end, LANDMARK if divides else GUESSED),
            ],
        )
    return ()


def _first_branch(vessel: Vessel, branches: list[Vessel], kinds: tuple[str, ...]) -> float | None:
    """Return the distance along a vessel at which the first branch of the given kinds leaves."""
    return min((_origin_mm(vessel, b) for b in branches if b.name.rstrip("0123456789") in kinds), default=None)


def _origin_mm(parent: Vessel, branch: Vessel) -> float:
    """Return the distance along a parent at which the axis of a branch meets that of the parent.

    Two vessels that part at a sharp angle share their lumen for some mm, and their lines part only behind that. So the
    axis of the branch just outside of the parent is carried back straight to where it comes nearest to the parent's.
    """
    from scipy.spatial import cKDTree

    at = parent.length_mm if branch.parent_distance_mm is None else branch.parent_distance_mm
    line = cKDTree(parent.points_ras)
    away, nearest = line.query(branch.points_ras)
    outside = np.flatnonzero(away > parent.radius_mm[nearest])
    if not len(outside):
        return at
    takeoff = branch.points_ras[outside[0] :][: 1 + round(TAKEOFF_MM / CENTERLINE_SPACING_MM)]
    step = takeoff[0] - takeoff[-1]
    length = float(np.linalg.norm(step))
    if length < 0.5 * TAKEOFF_MM:
        return at
    back = takeoff[0] + np.arange(0.0, BACK_MM, 0.1)[:, None] * step / length
    away, nearest = line.query(back)
    closest = int(np.argmin(away))
    meets = away[closest] <= parent.radius_mm[nearest[closest]]
    return min(float(parent.distance_mm[nearest[closest]]), at) if meets else at


def _cut(vessel: Vessel, parts: list[tuple[int, float, float]]) -> tuple[VesselSegment, ...]:
    """Return the segments of (number, end in mm, confidence), without those that have no length."""
    certain = 0.7 if "ostium_estimated" in vessel.flags else 1.0
    segments: list[VesselSegment] = []
    start = 0.0
    for number, end, confidence in parts:
        if end > start:
            d = segment_definition(number)
            segments.append(
                VesselSegment(SEGMENT_SCHEME, number, d.abbreviation, d.snomed, start, end, confidence * certain)
            )
            start = end
    return tuple(segments)
