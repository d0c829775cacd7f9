"""Whether the anatomy fits the orientation of the image: the sections of the trees come in, a doubt goes out.

Sides are told by the coordinates of the file, never guessed, so that a mirrored or turned image gives wrong names.
Three facts that hold in nearly every heart notice it: the left tree, not the right one, divides near the aorta into two
long arteries; the arteries lead down from the aorta; the right ostium lies in front of the left one, and the right
coronary artery ends behind its ostium. A doubt may also mean an unusual situs of the heart.
"""

import numpy as np

from ..geometry import arc_length
from .courses import SectionTree
from .naming import BRANCH_HABIT

EARLY_DIVISION_MM, LATE_DIVISION_MM = 20.0, 27.0
"""The left main is shorter than the first; the right coronary artery gives no long branch before the second."""

LONG_BRANCH_MM = 40.0
DIVERGENCE_COSINE = 0.8
"""Two arteries divide where each leads on this far and their directions have at most this cosine."""

CLEARLY_MM = 5.0

DISTAL_MM = (60.0, 110.0)
"""Part of the right coronary artery that lies behind its ostium."""


def orientation_doubtful(tree: SectionTree) -> bool:
    """Return whether the trees look like those of a mirrored or turned image."""
    roots = [r for r in tree.roots() if max(tree.longest[s] for s in r) >= LONG_BRANCH_MM]
    left = [r for r in roots if tree.direction(r, 5.0, 60.0)[0] <= 0]
    right = [r for r in roots if tree.direction(r, 5.0, 60.0)[0] > 0]
    if not roots:
        return False
    if float(np.mean([tree.direction(r, 20.0, 100.0)[2] for r in roots])) > 0:
        return True
    if len(left) != 1 or len(right) != 1:
        return False
    if _division_mm(tree, left[0]) > LATE_DIVISION_MM and _division_mm(tree, right[0]) < EARLY_DIVISION_MM:
        return True
    left_ostium, right_ostium = (tree.ras[tree.sections[side[0][0]].nodes[0]] for side in (left, right))
    course = tree.ras[tree.nodes(tree.follow(max(right[0], key=lambda s: tree.longest[s]), BRANCH_HABIT))]
    along = arc_length(course)
    distal = course[(along > DISTAL_MM[0]) & (along < DISTAL_MM[1])]
    leads_forward = len(distal) > 0 and float(distal[:, 1].mean()) > right_ostium[1] + CLEARLY_MM
    return bool(leads_forward and right_ostium[1] < left_ostium[1] - CLEARLY_MM)


def _division_mm(tree: SectionTree, root: list[int]) -> float:
    """Return how far from its ostium a tree divides into two long arteries that diverge; infinite if it does not."""
    children, way = root, 0.0
    while children:
        long = sorted((c for c in children if tree.longest[c] >= LONG_BRANCH_MM), key=lambda c: -tree.longest[c])
        if not long:
            return float("inf")
        if len(long) > 1:
            directions = [tree.direction([c], 10.0, 60.0) for c in long[:2]]
            lengths = [max(float(np.linalg.norm(d)), 1e-6) for d in directions]
            if float(directions[0] @ directions[1]) <= DIVERGENCE_COSINE * lengths[0] * lengths[1]:
                return way
        way += tree.length(long[0])
        children = tree.sections[long[0]].children
    return float("inf")
