"""The crux of the heart without a fork: vessels with names come in, the right coronary artery ends at the crux.

Where the right coronary artery gives no posterolateral branch it turns from the groove behind the atria into that
between the ventricles, and is called posterior descending artery from there. The turn is where it stops leading away
from the apex. A circumflex artery that gives the posterior descending artery comes to the crux from the left, so that
its turn is where it stops leading to the right; a posterolateral branch may leave it long before. Lengths in mm, RAS.
"""

import re
from dataclasses import replace

import numpy as np

from ..study import CENTERLINE_SPACING_MM, Vessel
from .naming import ACUTE_MARGIN_DIRECTION, APEXWARD, CRUX_BELOW_MM, CRUX_LEFT_OF_MARGIN_MM, CRUX_RIGHT_MM

FORK_TO_CRUX_MM = 5.0
"""A circumflex artery that turns this far or less behind its last fork ends at the fork."""

SHORTEST_DESCENDING_MM = 20.0
"""What leads at least this far toward the apex after the turn is a posterior descending or posterolateral artery."""

OBTUSE_MARGIN = 0.5
"""The obtuse margin lies about half the way around the groove from the left main coronary artery to the crux."""

POSTERIOR_PART = 0.6
"""What leaves a circumflex artery that reaches the crux past this part of its way there is a posterolateral branch."""

_IN_GROOVE_MM = 40.0  # a circumflex artery follows the groove this far at least


def end_at_crux(vessels: list[Vessel]) -> tuple[list[Vessel], tuple[str, ...]]:
    """Return the vessels with the PDA parted from the right coronary artery where it turns into it, and flags.

    `dominance_inferred` says that no PDA was seen, but that the right coronary artery reaches the crux;
    `balanced_inferred` that a circumflex artery is taken for a posterolateral branch from where it leaves its groove.
    """
    by_name = {v.name: v for v in vessels}
    vessels = _with_turn_of_circumflex(vessels, by_name.get("LCX"), by_name.get("PDA"))
    vessels, flags = _with_turn_of_right(vessels, by_name.get("RCA"))
    if not flags:
        vessels = _with_left_descending(vessels)
    turned = _with_posterolateral(vessels)
    return (vessels, flags) if turned is None else (turned, (*flags, "balanced_inferred"))


def _with_turn_of_right(vessels: list[Vessel], right: Vessel | None) -> tuple[list[Vessel], tuple[str, ...]]:
    """Return the vessels with the PDA parted from the right coronary artery where it turns into it, and flags."""
    if right is None or any(v.name.rstrip("0123456789") == "PDA" for v in vessels):
        return vessels, ()
    points = right.points_ras
    margin = int(np.argmax(points @ np.array(ACUTE_MARGIN_DIRECTION)))
    reaches = (points[:, 0] < points[margin, 0] - CRUX_LEFT_OF_MARGIN_MM) & (points[:, 1] < points[0, 1])
    reaches[:margin] = False
    if not reaches.any():
        return vessels, ()
    toward_apex = points @ np.array(APEXWARD)
    turn = margin + int(np.argmin(toward_apex[margin:]))
    rest = (len(points) - 1 - turn) * CENTERLINE_SPACING_MM
    if rest < SHORTEST_DESCENDING_MM or toward_apex[-1] - toward_apex[turn] < SHORTEST_DESCENDING_MM:
        return vessels, ("dominance_inferred",)
    return _parted(vessels, right, turn, "PDA"), ()


def _with_left_descending(vessels: list[Vessel]) -> list[Vessel]:
    """Return the vessels with the PDA parted from a circumflex artery that comes to the crux, where nothing else does.

    Without a fork there, its turn is again where it stops leading to the right. The last branch before it that leaves
    behind the obtuse margin is a posterolateral one.
    """
    circumflex = next((v for v in vessels if v.name == "LCX"), None)
    if circumflex is None or any(v.name.rstrip("0123456789") == "PDA" for v in vessels):
        return vessels
    points = circumflex.points_ras
    leftmost = int(np.argmin(points[:, 0]))
    turn = leftmost + int(np.argmax(points[leftmost:, 0]))
    right, _, above = points[turn] - points[0]
    rise = float((points[-1] - points[turn]) @ np.array(APEXWARD))
    rest = (len(points) - 1 - turn) * CENTERLINE_SPACING_MM
    if right < CRUX_RIGHT_MM or above > -CRUX_BELOW_MM or min(rest, rise) < SHORTEST_DESCENDING_MM:
        return vessels
    behind = [
        v
        for v in vessels
        if v.parent == "LCX"
        and v.parent_distance_mm is not None
        and POSTERIOR_PART * circumflex.distance_mm[turn] < v.parent_distance_mm <= circumflex.distance_mm[turn]
    ]
    if behind and not any(v.name == "PLB" for v in vessels):
        old = max(behind, key=lambda v: v.parent_distance_mm or 0.0).name
        vessels = [v if v is circumflex else _called(v, old, "PLB") for v in vessels]
    return _parted(vessels, circumflex, turn, "PDA")


def _called(vessel: Vessel, old: str, new: str) -> Vessel:
    """Return a vessel with a new name if it has the old one, or is called after the one that has."""
    name = re.sub(rf"^{old}(?![0-9])", new, vessel.name)
    parent = None if vessel.parent is None else re.sub(rf"^{old}(?![0-9])", new, vessel.parent)
    return replace(vessel, name=name, parent=parent)


def _with_posterolateral(vessels: list[Vessel]) -> list[Vessel] | None:
    """Return the vessels with the posterolateral branch parted from a circumflex artery that turns into it, or None.

    The plane of the groove is that of the right coronary artery and of the first part of the circumflex artery. Past
    the obtuse margin, the turn is the point farthest behind the straight line to the tip, away from the apex.
    """
    by_name = {v.name: v for v in vessels}
    right, circumflex, descending = (by_name.get(n) for n in ("RCA", "LCX", "PDA"))
    if right is None or circumflex is None or descending is None or descending.parent != "RCA":
        return None
    if any(v.name.rstrip("0123456789") == "PLB" for v in vessels):
        return None
    start = round(_IN_GROOVE_MM / CENTERLINE_SPACING_MM)
    points = circumflex.points_ras
    if len(points) <= 2 * start:
        return None
    groove = np.concatenate([right.points_ras, points[:start]])
    center = groove.mean(axis=0)
    normal = np.linalg.svd(groove - center, full_matrices=False)[2][2]
    normal *= np.sign(normal @ np.array(APEXWARD))
    height = points[start:] @ normal
    turn = start + int(np.argmax(np.linspace(height[0], height[-1], len(height)) - height))
    rest = (len(points) - 1 - turn) * CENTERLINE_SPACING_MM
    if min(rest, height[-1] - height[turn - start]) < SHORTEST_DESCENDING_MM:
        return None
    if _part_of_way(np.stack([points[0], points[turn], descending.points_ras[0]]) - center, normal) < OBTUSE_MARGIN:
        return None
    return _parted(vessels, circumflex, turn, "PLB")


def _part_of_way(places: np.ndarray, axis: np.ndarray) -> float:
    """Return how far the second of three places (3, 3) lies on the way about an axis from the first to the third."""
    flat = places - (places @ axis)[:, None] * axis
    turn, last = (np.arctan2(np.cross(flat[0], p) @ axis, flat[0] @ p) for p in flat[1:])
    return float(turn / last) if abs(last) > 1e-6 else 0.0


def _parted(vessels: list[Vessel], whole: Vessel, turn: int, name: str) -> list[Vessel]:
    """Return the vessels with one cut at a point and the rest of it called `name`."""
    at = float(whole.distance_mm[turn])
    trunk = replace(
        whole,
        points_ras=whole.points_ras[: turn + 1],
        distance_mm=whole.distance_mm[: turn + 1],
        radius_mm=whole.radius_mm[: turn + 1],
    )
    rest = Vessel(
        name=name,
        parent=whole.name,
        parent_distance_mm=at,
        points_ras=whole.points_ras[turn:],
        distance_mm=whole.distance_mm[turn:] - at,
        radius_mm=whole.radius_mm[turn:],
        flags=whole.flags,
    )
    result: list[Vessel] = []
    for vessel in vessels:
        if vessel is whole:
            result += [trunk, rest]
        elif vessel.parent == whole.name and vessel.parent_distance_mm is not None and vessel.parent_distance_mm > at:
            result.append(replace(vessel, parent=name, parent_distance_mm=vessel.parent_distance_mm - at))
        else:
            result.append(vessel)
    return result


def _with_turn_of_circumflex(
    vessels: list[Vessel], circumflex: Vessel | None, descending: Vessel | None
) -> list[Vessel]:
    """Return the vessels with what continues the circumflex artery from its last fork to its turn as part of it."""
    if circumflex is None or descending is None or descending.parent != "LCX":
        return vessels
    fork = descending.parent_distance_mm
    turn = int(np.argmax(descending.points_ras[:, 0]))
    way, rest = turn * CENTERLINE_SPACING_MM, (len(descending.points_ras) - 1 - turn) * CENTERLINE_SPACING_MM
    if fork is None or fork < circumflex.length_mm - 1.0 or way <= FORK_TO_CRUX_MM or rest < SHORTEST_DESCENDING_MM:
        return vessels
    last = round(fork / CENTERLINE_SPACING_MM)
    points = np.concatenate([circumflex.points_ras[: last + 1], descending.points_ras[1 : turn + 1]])
    radius = np.concatenate([circumflex.radius_mm[: last + 1], descending.radius_mm[1 : turn + 1]])
    along = np.arange(len(points)) * CENTERLINE_SPACING_MM
    changed = {
        "LCX": replace(circumflex, points_ras=points, radius_mm=radius, distance_mm=along),
        "PDA": replace(
            descending,
            parent_distance_mm=float(along[-1]),
            points_ras=descending.points_ras[turn:],
            radius_mm=descending.radius_mm[turn:],
            distance_mm=np.arange(len(descending.points_ras) - turn) * CENTERLINE_SPACING_MM,
        ),
    }
    result = [changed.get(v.name, v) for v in vessels]
    for n, vessel in enumerate(result):
        if vessel.parent == "PDA" and vessel.parent_distance_mm is not None:
            at = vessel.parent_distance_mm
            result[n] = (
                replace(vessel, parent="LCX", parent_distance_mm=at + fork)
                if at <= way
                else replace(vessel, parent_distance_mm=at - way)
            )
    return result
