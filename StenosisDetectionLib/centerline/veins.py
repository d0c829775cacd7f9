"""Veins that touch an artery: branches, or named vessels, come in; what is a vein, or the vessels without it, goes out.

The great cardiac vein runs beside the left coronary arteries, and where the lumen of both touches, a path goes on into
the vein. It then runs beside the artery it came from, which no artery does over a long way. Lengths in mm, RAS.
"""

from dataclasses import replace

import numpy as np

from ..geometry import arc_length
from ..study import CENTERLINE_SPACING_MM, Vessel
from .courses import BRANCH_HABIT, Course, SectionTree
from .frames import unit_tangents

BESIDE_MM, BESIDE_PART, BESIDE_LENGTH_MM = 6.0, 0.6, 30.0
BACKWARD_COSINE = -0.5
"""What runs beside its parent over more than this part of 30 mm or more, or leaves it backward and stays beside it over
15 mm, is a vein that touches the artery."""

BACK_BESIDE_MM, BACK_LENGTH_MM, TURN_MM = 5.0, 8.0, 10.0
"""A vessel that comes back beside itself, this near, over this length, behind a turn at least this long, has gone on
into a vein at the turn. Among 502 vessels of synthetic hearts the longest way back was 3.5 mm."""


def is_vein(tree: SectionTree, parent: Course, section: int, child: int) -> bool:
    """Return whether a side branch at the end of a section of its parent is a vein that touches it there."""
    from scipy.spatial import cKDTree

    nodes = tree.nodes(tree.follow(child, BRANCH_HABIT))
    along = arc_length(tree.ras[nodes])
    beside = cKDTree(tree.ras[tree.nodes(parent.sections)]).query(tree.ras[nodes])[0] < BESIDE_MM
    if along[-1] >= BESIDE_LENGTH_MM and beside.mean() > BESIDE_PART:
        return True
    backward = float(tree.direction([child], 3.0, 15.0) @ tree.end_tangent(section)) < BACKWARD_COSINE
    return backward and bool(beside[along <= 15.0].mean() > BESIDE_PART)


def without_way_back(vessels: list[Vessel]) -> list[Vessel]:
    """Return the vessels, parents before children, without what comes back beside itself and what leaves it there."""
    ends: dict[str, float] = {}
    result = []
    for vessel in vessels:
        if vessel.parent is not None:
            end = ends.get(vessel.parent, np.inf)
            if vessel.parent_distance_mm is not None and vessel.parent_distance_mm > end:
                ends[vessel.name] = -1.0  # what leaves it goes, too
                continue
        turn = _turn(vessel)
        if turn is None:
            result.append(vessel)
            continue
        ends[vessel.name] = float(vessel.distance_mm[turn])
        kept = slice(0, turn + 1)
        result.append(
            replace(
                vessel,
                points_ras=vessel.points_ras[kept],
                distance_mm=vessel.distance_mm[kept],
                radius_mm=vessel.radius_mm[kept],
            )
        )
    return result


def _turn(vessel: Vessel) -> int | None:
    """Return the point at which a vessel turns to come back beside itself, None where it does not."""
    from scipy.spatial import cKDTree

    points = vessel.points_ras
    pairs = cKDTree(points).query_pairs(BACK_BESIDE_MM, output_type="ndarray")
    pairs = pairs[pairs[:, 1] - pairs[:, 0] >= TURN_MM / CENTERLINE_SPACING_MM]
    tangents = unit_tangents(points)
    back = pairs[(tangents[pairs[:, 0]] * tangents[pairs[:, 1]]).sum(axis=1) < BACKWARD_COSINE]
    if len(np.unique(back[:, 1])) * CENTERLINE_SPACING_MM < BACK_LENGTH_MM:
        return None
    there, here = back[np.lexsort((-back[:, 0], back[:, 1]))[0]]
    middle = 0.5 * (points[there] + points[here])
    return int(there + np.argmax(np.linalg.norm(points[there : here + 1] - middle, axis=1)))
