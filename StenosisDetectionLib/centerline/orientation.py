"""Whether the anatomy fits the orientation of the image: the sections of the trees come in, a doubt goes out.

Sides are told by the coordinates of the file, never guessed, so that a mirrored or turned image gives wrong names.
What notices it is how well the two trees would fit the usual anatomy if the image were mirrored or turned: there are
48 ways to exchange and to reverse the three axes, and where another one than the file's fits at least as well, the
file's is doubted. Compared are directions, each by its cosine with the usual one, and that the left tree, not the right
one, divides near the aorta into two long arteries. A doubt may also mean an unusual situs of the heart.

The usual directions are means over 44 synthetic hearts of the training families, rounded; the pose of a heart in the
chest varies by some 30 degrees about them, a wrong axis by 90. Lengths in mm, RAS.
"""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from .courses import SectionTree

EARLY_DIVISION_MM = 27.0
"""The left tree divides nearer to the aorta than this, the right one does not."""

LONG_BRANCH_MM = 40.0
DIVERGENCE_COSINE = 0.8
"""Two arteries divide where each leads on this far and their directions have at most this cosine."""

RIGHT_FROM_LEFT = (0.34, 0.76, -0.55)
"""Direction from the left to the right ostium."""

LEFT_BEGINS, LEFT_LEADS = (-1.0, -0.05, 0.0), (-0.90, 0.20, -0.38)
RIGHT_BEGINS, RIGHT_LEADS = (0.85, 0.23, -0.47), (0.44, 0.10, -0.89)
"""Where the trees lead in their first 40 mm and in the next 60 mm."""

LAD_LEADS, LCX_LEADS = (-0.64, 0.58, -0.51), (-0.75, -0.59, -0.31)
"""Where the two arteries lead that the left tree divides into."""

_NEAR_MM, _MIDDLE_MM, _FAR_MM = 5.0, 40.0, 100.0
_DAUGHTER_MM = 10.0, 60.0

ORIENTATIONS = np.array(
    [
        np.eye(3)[list(order)] * np.array(signs)
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
)
"""The 48 matrices (48, 3, 3) that exchange and reverse axes; the first changes nothing."""


@dataclass(frozen=True, eq=False)
class _Side:
    """What is compared of one tree: ostium and mean directions in RAS; `daughters` (2, 3) where it divides early."""

    ostium: np.ndarray
    begins: np.ndarray
    leads: np.ndarray
    daughters: np.ndarray | None


def orientation_doubtful(tree: SectionTree) -> bool:
    """Return whether the trees look like those of a mirrored or turned image.

    One tree alone, or more than three, are only asked whether they lead down from the aorta. Of three, two are taken
    for LAD and LCX with ostia of their own.
    """
    roots = [r for r in tree.roots() if max(tree.longest[s] for s in r) >= LONG_BRANCH_MM]
    if not roots:
        return False
    if float(np.mean([tree.direction(r, 20.0, _FAR_MM)[2] for r in roots])) > 0:
        return True
    sides = [_side(tree, root) for root in roots]
    if len(sides) == 2:
        pairs = [(sides[0], sides[1]), (sides[1], sides[0])]
    elif len(sides) == 3:
        leads = [tree.direction(root, *_DAUGHTER_MM) for root in roots]
        pairs = [(_joined(sides[n - 2], sides[n - 1], leads[n - 2], leads[n - 1]), sides[n]) for n in range(3)]
    else:
        return False
    best = np.max([_fits(left, right) for left, right in pairs], axis=0)
    return bool(best[0] <= best[1:].max())


def _side(tree: SectionTree, root: list[int]) -> _Side:
    return _Side(
        ostium=tree.ras[tree.sections[root[0]].nodes[0]],
        begins=tree.direction(root, _NEAR_MM, _MIDDLE_MM),
        leads=tree.direction(root, _MIDDLE_MM, _FAR_MM),
        daughters=_early_daughters(tree, root),
    )


def _joined(first: _Side, second: _Side, first_leads: np.ndarray, second_leads: np.ndarray) -> _Side:
    """Return two trees as one that divides at its ostium."""
    return _Side(
        ostium=0.5 * (first.ostium + second.ostium),
        begins=0.5 * (first.begins + second.begins),
        leads=0.5 * (first.leads + second.leads),
        daughters=np.stack([first_leads, second_leads]),
    )


def _fits(left: _Side, right: _Side) -> np.ndarray:
    """Return how well (48,) two trees, taken for left and right, fit the usual anatomy in each orientation."""

    def cosine(usual: tuple[float, float, float], seen: np.ndarray) -> np.ndarray:
        found: np.ndarray = ORIENTATIONS @ seen @ np.array(usual)
        return found

    apart = right.ostium - left.ostium
    fit = cosine(RIGHT_FROM_LEFT, apart / max(float(np.linalg.norm(apart)), 1e-6))
    fit += cosine(LEFT_BEGINS, left.begins) + cosine(RIGHT_BEGINS, right.begins) + cosine(RIGHT_LEADS, right.leads)
    if right.daughters is not None:
        fit -= 1.0
    if left.daughters is None:
        return fit + cosine(LEFT_LEADS, left.leads)
    first, second = left.daughters
    pair = np.maximum(
        cosine(LAD_LEADS, first) + cosine(LCX_LEADS, second), cosine(LAD_LEADS, second) + cosine(LCX_LEADS, first)
    )
    return fit + pair + 1.0


def _early_daughters(tree: SectionTree, root: list[int]) -> np.ndarray | None:
    """Return where the two long arteries lead that diverge most where a tree first divides, None if not early."""
    children, way = root, 0.0
    while way < EARLY_DIVISION_MM:
        long = sorted((c for c in children if tree.longest[c] >= LONG_BRANCH_MM), key=lambda c: -tree.longest[c])
        if not long:
            return None
        directions = np.array([tree.direction([c], *_DAUGHTER_MM) for c in long])
        units = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)
        cosines = units @ units.T
        first, second = np.unravel_index(int(np.argmin(cosines)), cosines.shape)
        if cosines[first, second] <= DIVERGENCE_COSINE:
            return directions[[first, second]]
        way += tree.length(long[0])
        children = tree.sections[long[0]].children
    return None
