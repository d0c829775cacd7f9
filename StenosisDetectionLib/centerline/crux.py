"""The crux of the heart without a fork: vessels with names come in, the right coronary artery ends at the crux.

Where the right coronary artery gives no posterolateral branch it turns from the groove behind the atria into that
between the ventricles, and is called posterior descending artery from there. The turn is where it stops leading away
from the apex. A circumflex artery that gives the posterior descending artery comes to the crux from the left, so that
its turn is where it stops leading to the right; a posterolateral branch may leave it long before. Lengths in mm, RAS.
"""

from dataclasses import replace

import numpy as np

from ..study import CENTERLINE_SPACING_MM, Vessel
from .naming import ACUTE_MARGIN_DIRECTION, APEXWARD, CRUX_LEFT_OF_MARGIN_MM

FORK_TO_CRUX_MM = 5.0
"""A circumflex artery that turns this far or less behind its last fork ends at the fork."""

SHORTEST_DESCENDING_MM = 20.0
"""What leads at least this far toward the apex after the turn is a posterior descending artery."""


def end_at_crux(vessels: list[Vessel]) -> tuple[list[Vessel], tuple[str, ...]]:
    """Return the vessels with the PDA parted from the right coronary artery where it turns into it, and flags.

    `dominance_inferred` says that no PDA was seen, but that the right coronary artery reaches the crux.
    """
    by_name = {v.name: v for v in vessels}
    vessels = _with_turn_of_circumflex(vessels, by_name.get("LCX"), by_name.get("PDA"))
    right = by_name.get("RCA")
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
    return _parted(vessels, right, turn), ()


def _parted(vessels: list[Vessel], right: Vessel, turn: int) -> list[Vessel]:
    """Return the vessels with the right coronary artery cut at a point and the rest called PDA."""
    at = float(right.distance_mm[turn])
    trunk = replace(
        right,
        points_ras=right.points_ras[: turn + 1],
        distance_mm=right.distance_mm[: turn + 1],
        radius_mm=right.radius_mm[: turn + 1],
    )
    descending = Vessel(
        name="PDA",
        parent="RCA",
        parent_distance_mm=at,
        points_ras=right.points_ras[turn:],
        distance_mm=right.distance_mm[turn:] - at,
        radius_mm=right.radius_mm[turn:],
        flags=right.flags,
    )
    result: list[Vessel] = []
    for vessel in vessels:
        if vessel is right:
            result += [trunk, descending]
        elif vessel.parent == "RCA" and vessel.parent_distance_mm is not None and vessel.parent_distance_mm > at:
            result.append(replace(vessel, parent="PDA", parent_distance_mm=vessel.parent_distance_mm - at))
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
