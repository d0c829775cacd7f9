"""What several lesions say together: tandem lesions, and the Medina class of a bifurcation.

In: tree, profiles, references and lesions. Out: the lesions with further flags. A tandem is two lesions of one vessel
near each other; the Medina class (Medina 2006) says with 1 or 0 whether the main vessel before the bifurcation, the
main vessel behind it and the branch are narrowed by 50 % or more: `medina_1_0_1`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .grades import OBSTRUCTIVE_PERCENT

if TYPE_CHECKING:
    from ..study import Lesion, Vessel, VesselTree

TANDEM_MM = 10.0
"""Two lesions of one vessel that are this near, end to start, make a tandem."""

TANDEM_PERCENT = 25.0
"""Smallest diameter stenosis of both."""

BIFURCATION_MM = 5.0
"""A lesion whose throat lies this near to a branching point belongs to the bifurcation."""


def with_patterns(tree: VesselTree, lesions: tuple[Lesion, ...], smallest_mm: float) -> tuple[Lesion, ...]:
    """Return the lesions with the flags `tandem` and `medina_...`.

    Branches whose radius lies below half of `smallest_mm` make no bifurcation.
    """
    flags: dict[str, list[str]] = {lesion.id: [] for lesion in lesions}
    for before in lesions:
        for after in lesions:
            gap = after.start_mm - before.end_mm
            both = min(before.diameter_stenosis_percent, after.diameter_stenosis_percent) >= TANDEM_PERCENT
            if before.vessel == after.vessel and before.throat_mm < after.throat_mm and gap <= TANDEM_MM and both:
                flags[before.id].append("tandem")
                flags[after.id].append("tandem")
    for child in tree.vessels:
        if child.parent is None or child.parent_distance_mm is None:
            continue
        if float(np.median(child.radius_mm)) < smallest_mm / 2.0:
            continue
        for lesion, word in _medina(tree, child, lesions):
            flags[lesion.id].append(word)
    return tuple(
        replace(lesion, flags=(*lesion.flags, *dict.fromkeys(flags[lesion.id]))) if flags[lesion.id] else lesion
        for lesion in lesions
    )


def _medina(tree: VesselTree, child: Vessel, lesions: tuple[Lesion, ...]) -> list[tuple[Lesion, str]]:
    """Return the obstructive lesions at the origin of a branch with their Medina class."""
    assert child.parent is not None and child.parent_distance_mm is not None
    at = child.parent_distance_mm
    parent = tree.vessel(child.parent)
    # Where the parent ends in this branching, its other daughter is the main vessel behind it.
    heir = next(
        (
            other.name
            for other in tree.vessels
            if at >= parent.length_mm - 1.0
            and other.parent == child.parent
            and other.name != child.name
            and other.parent_distance_mm is not None
            and other.parent_distance_mm >= parent.length_mm - 1.0
        ),
        None,
    )
    parts: list[list[Lesion]] = [[], [], []]
    for lesion in lesions:
        if lesion.diameter_stenosis_percent < OBSTRUCTIVE_PERCENT:
            continue
        if lesion.vessel == child.parent and abs(lesion.throat_mm - at) <= BIFURCATION_MM:
            parts[0 if lesion.throat_mm <= at else 1].append(lesion)
        elif lesion.vessel == heir and lesion.throat_mm <= BIFURCATION_MM:
            parts[1].append(lesion)
        elif lesion.vessel == child.name and lesion.throat_mm <= BIFURCATION_MM:
            parts[2].append(lesion)
    word = "medina_" + "_".join("1" if part else "0" for part in parts)
    return [(lesion, word) for part in parts for lesion in part]
