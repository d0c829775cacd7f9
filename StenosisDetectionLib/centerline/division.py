"""Where a left tree divides: its sections come in, the left main and what it divides into go out.

The left main ends at the first fork into two long daughters of which one leads forward and one backward. Where LAD and
LCX begin at the aorta on their own, the first fork of either must not be taken for that. Lengths in mm, RAS.
"""

import numpy as np

from ..geometry import arc_length
from .courses import Habit, SectionTree, is_branch

MAJOR_BRANCH_MM = 20.0
"""A fork ends the left main when two daughters reach at least this far."""

TRIFURCATION_MM = 4.0
"""Forks this close together count as one."""

LEAST_CONTRAST = 0.3
"""Least difference between the anterior directions of LAD and LCX."""

SIDEWAYS = 0.1
"""Directions less anterior or posterior than this, or twice this, are sideways: those of diagonals and marginals."""

LONGEST_LEFT_MAIN_MM = 25.0

SAME_SINUS_MM, LONG_ARTERY_MM = 15.0, 60.0
"""LAD and LCX with ostia of their own begin this near to each other, and each is this long."""

LAD_HABIT = Habit(1.0, 0.8, 1.0, 0.5, (-0.51, 0.61, -0.61))
LCX_HABIT = Habit(0.7, 0.8, 0.5, 1.0, (0.34, -0.85, -0.42))


def divide(tree: SectionTree, root: list[int]) -> tuple[list[int], list[list[int]]] | None:
    """Return the stem and the major daughters of a left tree, None when it does not divide into LAD and LCX.

    Each daughter is the list of sections from the end of the stem to its own first one.
    """
    stem: list[int] = []
    while True:
        children = tree.sections[stem[-1]].children if stem else root
        major = [c for c in children if _is_major(tree, c)]
        if len(major) >= 2:
            break
        if not major:
            return None
        stem.append(major[0])
    daughters: list[list[int]] = []
    for child in major:
        further = [c for c in tree.sections[child].children if _is_major(tree, c)]
        close = tree.length(child) <= TRIFURCATION_MM and len(further) >= 2
        daughters += [[child, c] for c in further] if close else [[child]]
    front, back = _front_and_back(tree, daughters)
    # A long stem is rather an LAD that gives its first diagonal branch than a left main.
    long = sum(tree.length(s) for s in stem) > LONGEST_LEFT_MAIN_MM
    plausible = front >= SIDEWAYS and back <= (-2 * SIDEWAYS if long else SIDEWAYS)
    return (stem, daughters) if plausible and front - back >= LEAST_CONTRAST else None


def has_own_ostia(tree: SectionTree, root: list[int], daughters: list[list[int]], others: list[list[int]]) -> bool:
    """Return whether another tree holds the real LAD or LCX, so that what a tree divides into is one of them alone.

    It leads farther forward or backward than all daughters do; or it begins beside the tree, is long, leads farther
    forward than the foremost or backward than the hindmost daughter, and is not thinner than that.
    """
    front, back = _front_and_back(tree, daughters)
    ordered = by_position(tree, daughters)
    ostium = tree.ras[tree.sections[root[0]].nodes[0]]
    for other in others:
        stack, found = list(other), []
        while stack:
            section = stack.pop()
            if tree.longest[section] >= MAJOR_BRANCH_MM:
                found.append(float(tree.direction([section], 5.0, 60.0)[1]))
                stack += tree.sections[section].children
        if found and (
            (back > -2 * SIDEWAYS and min(found) < back - LEAST_CONTRAST)
            or (front < 2 * SIDEWAYS and max(found) > front + LEAST_CONTRAST)
        ):
            return True
        start = max(other, key=lambda s: tree.longest[s])
        apart = float(np.linalg.norm(tree.ras[tree.sections[start].nodes[0]] - ostium))
        if apart > SAME_SINUS_MM or tree.longest[start] < LONG_ARTERY_MM:
            continue
        thick = tree.thickness(start)
        as_lad, as_lcx = _anterior(tree, [start], LAD_HABIT), _anterior(tree, [start], LCX_HABIT)
        if as_lad > front + SIDEWAYS and thick >= tree.thickness(ordered[0][-1]):
            return True
        if as_lcx < back - SIDEWAYS and thick >= tree.thickness(ordered[-1][-1]):
            return True
    return False


def by_position(tree: SectionTree, daughters: list[list[int]]) -> list[list[int]]:
    """Return the daughters of the left main from the LAD to the LCX."""
    front = max(daughters, key=lambda d: _anterior(tree, d, LAD_HABIT))
    others = [d for d in daughters if d is not front]
    return [front, *sorted(others, key=lambda d: -_anterior(tree, d, LCX_HABIT))]


def _is_major(tree: SectionTree, index: int) -> bool:
    """Whether a branch is long enough, and thicker than a twig, to be one that the left main divides into."""
    return tree.longest[index] >= MAJOR_BRANCH_MM and is_branch(tree, index)


def _anterior(tree: SectionTree, daughter: list[int], habit: Habit) -> float:
    """Return how far anterior a daughter of the left main leads, -1 to 1, where it goes the way of a vessel."""
    nodes = tree.nodes(tree.follow(daughter[-1], habit))
    along = arc_length(tree.ras[nodes])
    part = (along >= min(5.0, 0.5 * along[-1])) & (along <= 60.0)
    steps = tree.ras[nodes[part]] - tree.ras[nodes[0]]
    return float((steps[:, 1] / np.maximum(np.linalg.norm(steps, axis=1), 1e-6)).mean())


def _front_and_back(tree: SectionTree, daughters: list[list[int]]) -> tuple[float, float]:
    """Return how far anterior the foremost daughter leads as an LAD, and the hindmost of the others as an LCX."""
    ordered = by_position(tree, daughters)
    return _anterior(tree, ordered[0], LAD_HABIT), _anterior(tree, ordered[-1], LCX_HABIT)
