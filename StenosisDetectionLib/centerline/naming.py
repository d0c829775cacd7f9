"""Names by simple rules in RAS: sections of the trees come in, named courses go out.

The rules use directions in the patient only (x right, y anterior, z superior), never the order of voxels, so they hold
for any orientation of the grid. Left and right are told by where the first 60 mm of a tree lead. The left main ends at
the first fork into two long daughters; the more anterior is the LAD, the more posterior the LCX, any between the ramus.
The right coronary artery ends where the posterior descending artery leaves it. Side branches are numbered along their
parent; those that are short or thin are left out, because nothing below 1.5 mm is graded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..anatomy import branch_name
from .courses import BRANCH_HABIT, SHORTEST_BRANCH_MM, Course, Habit, SectionTree, is_branch
from .division import (
    LAD_HABIT,
    LCX_HABIT,
    LEAST_CONTRAST,
    MAJOR_BRANCH_MM,
    SIDEWAYS,
    by_position,
    divide,
    has_own_ostia,
)
from .veins import is_vein

LONGEST_SEPTAL_MM = 45.0

LONGEST_COMMON_STEM_MM = 20.0

RCA_HABIT = Habit(0.7, 0.8, 1.0, 0.8, (0.0, -0.8, -0.6))

BEHIND_AORTA = -0.6
"""What leads backward this much, beside another tree that leads right, goes behind the aorta to the left."""

ACUTE_MARGIN_DIRECTION = (0.64, 0.24, -0.73)
"""The acute margin is the point of the right coronary artery farthest to the right, below and a little to the front."""

CRUX_RIGHT_MM, CRUX_BELOW_MM = -20.0, 35.0
"""A circumflex artery is near the crux when it has come back this far to the right of, and below, its beginning."""

CRUX_LEFT_OF_MARGIN_MM = 25.0
"""A right coronary artery reaches the crux when it ends behind its ostium and this far to the left of the margin."""

APEXWARD = (-0.30, 0.81, -0.51)
"""Where the posterior descending artery leads, against the posterolateral branch."""


@dataclass
class Naming:
    """Named courses, parents before children, and flags of the tree."""

    courses: list[Course] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


def name_courses(tree: SectionTree) -> Naming:
    """Return the named courses of all trees."""
    naming = Naming()
    roles: dict[int, str] = {}
    roots = sorted(tree.roots(), key=lambda r: -max(tree.longest[s] for s in r))
    roots = [r for r in roots if max(tree.longest[s] for s in r) >= SHORTEST_BRANCH_MM]
    right: list[list[int]] = []
    left: list[list[int]] = []
    for root in roots:
        branch = _right_of_common_stem(tree, root)
        if branch is None:
            (right if _leads_right(tree, root, roots) else left).append(root)
            continue
        naming.flags.append("common_ostium")
        right.append([branch])
        stem = tree.sections[branch].parent
        if stem is not None:
            tree.sections[stem].children.remove(branch)
        if root != [branch]:
            left.append([s for s in root if s != branch])
    # Where the right coronary artery supplies the crux, the left circumflex artery has no posterior descending branch.
    crux_free = not (right and _reaches_crux(tree, right[0]))
    unnamed = _name_left(tree, left, naming, roles, crux_free) + _name_right(tree, right, naming, roles)
    for root in unnamed:
        if root:
            naming.courses.append(_attached(tree, naming, tree.follow(root[0], BRANCH_HABIT), "branch"))
    _name_side_branches(tree, naming, roles)
    naming.courses = _renamed_duplicates(naming.courses)
    return naming


def _leads_right(tree: SectionTree, root: list[int], roots: list[list[int]]) -> bool:
    """Return whether a tree is a right one; a circumflex artery from the right sinus leads behind the aorta first."""
    leads = {r[0]: tree.direction(r, 5.0, 60.0) for r in roots}
    rightward = [first for first, direction in leads.items() if direction[0] > 0 and direction[1] >= BEHIND_AORTA]
    return root[0] in rightward or (bool(leads[root[0]][0] > 0) and not rightward)


def _right_of_common_stem(tree: SectionTree, root: list[int]) -> int | None:
    """Return the section where a right coronary artery leaves a stem it shares with the left one, None without."""
    children, way = root, 0.0
    while way <= LONGEST_COMMON_STEM_MM:
        major = [c for c in children if tree.longest[c] >= MAJOR_BRANCH_MM]
        if not major:
            return None
        rightward = {c: float(tree.direction([c], 5.0, 60.0)[0]) for c in major}
        rightmost = max(major, key=lambda c: rightward[c])
        if rightward[rightmost] > 2 * SIDEWAYS and min(rightward.values()) < -2 * SIDEWAYS:
            return rightmost
        longest = max(major, key=lambda c: tree.longest[c])
        way += tree.length(longest)
        children = tree.sections[longest].children
    return None


def _attached(tree: SectionTree, naming: Naming, sections: list[int], name: str) -> Course:
    """Return a course that begins on the named course it leaves, or at the ostium."""
    while (before := tree.sections[sections[0]].parent) is not None:
        parent = next((c for c in naming.courses if before in c.sections), None)
        if parent is not None:
            return Course(sections, parent, name)
        sections = [before, *sections]
    return Course(sections, None, name)


def _reaches_crux(tree: SectionTree, root: list[int]) -> bool:
    """Whether a right coronary artery leads past the acute margin to the crux of the heart."""
    nodes = tree.nodes(tree.follow(max(root, key=lambda s: tree.longest[s]), RCA_HABIT))
    points = tree.ras[nodes]
    margin = int(np.argmax(points @ np.array(ACUTE_MARGIN_DIRECTION)))
    beyond = points[margin:]
    reached = (beyond[:, 0] < points[margin, 0] - CRUX_LEFT_OF_MARGIN_MM) & (beyond[:, 1] < points[0, 1])
    return bool(reached.any())


def _name_left(
    tree: SectionTree, roots: list[list[int]], naming: Naming, roles: dict[int, str], crux_free: bool
) -> list[list[int]]:
    """Name left main, LAD, LCX and ramus; return the roots that got no name."""
    if not roots:
        naming.flags.append("left_not_found")
        return []
    for root in roots:
        divided = divide(tree, root)
        if divided is not None and not has_own_ostia(tree, root, divided[1], [r for r in roots if r is not root]):
            _name_divided_left(tree, *divided, naming, roles, crux_free)
            return [r for r in roots if r is not root]
    naming.flags.append("no_left_main")
    anterior = {id(r): float(tree.direction(r, 5.0, 60.0)[1]) for r in roots}
    pair = sorted(roots[:2], key=lambda r: -anterior[id(r)])
    if len(pair) == 2 and anterior[id(pair[0])] - anterior[id(pair[1])] < LEAST_CONTRAST:
        pair = roots[:1]
    if len(pair) == 2:
        names = ["LAD", "LCX"]
        naming.flags.append("separate_left_ostia")
    else:
        names = ["LAD" if anterior[id(pair[0])] > 0 else "LCX"]
    for root, name in zip(pair, names, strict=True):
        start = max(root, key=lambda s: tree.longest[s])
        habit = LAD_HABIT if name == "LAD" else LCX_HABIT
        naming.courses.append(Course(tree.follow(start, habit), None, name))
    return [r for r in roots if all(r is not p for p in pair)]


def _name_divided_left(
    tree: SectionTree,
    stem: list[int],
    daughters: list[list[int]],
    naming: Naming,
    roles: dict[int, str],
    crux_free: bool,
) -> None:
    """Name a left tree by its stem and major daughters: foremost the LAD, hindmost the LCX, between them the ramus."""
    daughters = by_position(tree, daughters)
    front, back = daughters[0], daughters[-1]
    while len(front) > 1 and len(back) > 1 and front[0] == back[0]:
        stem, front, back = [*stem, front[0]], front[1:], back[1:]
    left_main = Course(stem, None, "LM") if stem else None
    if left_main is None:
        naming.flags += ["no_left_main"]
    else:
        naming.courses.append(left_main)
    naming.courses.append(Course([*front[:-1], *tree.follow(front[-1], LAD_HABIT)], left_main, "LAD"))
    circumflex = [*back[:-1], *tree.follow(back[-1], LCX_HABIT)]
    fork = tree.ras[tree.sections[circumflex[0]].nodes[0]]

    def near_crux(n: int) -> bool:
        right, _, above = tree.ras[tree.sections[circumflex[n]].nodes[-1]] - fork
        return bool(right > CRUX_RIGHT_MM and above < -CRUX_BELOW_MM)

    if crux_free:
        circumflex = _cut_at_crux(tree, circumflex, near_crux, lambda c: _direction(tree, c)[0], roles)
    naming.courses.append(Course(circumflex, left_main, "LCX"))
    for daughter in daughters[1:-1]:
        roles[daughter[0]] = roles[daughter[-1]] = "RI"


def _name_right(tree: SectionTree, roots: list[list[int]], naming: Naming, roles: dict[int, str]) -> list[list[int]]:
    """Name the right coronary artery and what it divides into; return the roots that got no name."""
    if not roots:
        naming.flags.append("right_not_found")
        return []
    start = max(roots[0], key=lambda s: tree.longest[s])
    course = tree.follow(start, RCA_HABIT)
    ostium = tree.ras[tree.sections[start].nodes[0]]
    nodes = tree.nodes(course)
    margin = int(nodes[np.argmax(tree.ras[nodes] @ np.array(ACUTE_MARGIN_DIRECTION))])
    beyond = next(n for n, s in enumerate(course) if margin in tree.sections[s].nodes)
    course = _cut_at_crux(
        tree,
        course,
        lambda n: n >= beyond and tree.ras[tree.sections[course[n]].nodes[-1]][1] < ostium[1],
        lambda c: float(_direction(tree, c) @ np.array(APEXWARD)),
        roles,
    )
    naming.courses.append(_attached(tree, naming, course, "RCA"))
    return roots[1:]


def _cut_at_crux(
    tree: SectionTree,
    course: list[int],
    near_crux: Callable[[int], bool],
    descending: Callable[[int], float],
    roles: dict[int, str],
) -> list[int]:
    """Return a right or circumflex artery up to where it gives the PDA, and give PDA and PLB their roles.

    Among the forks at the ends of the sections for which `near_crux` holds, it is the last with a side branch that
    is more `descending` than the rest; where none is, the vessel itself turns into the PDA at the last fork. Without
    such a fork the course stays whole. From the right, the PDA is the daughter that leads to the apex; from the left,
    the one that leads farther to the right, to the groove between the ventricles.
    """
    fork: tuple[int, int] | None = None
    for position in range(len(course) - 2, -1, -1):
        continuation = course[position + 1]
        sides = [c for c in tree.sections[course[position]].children if c != continuation and is_branch(tree, c)]
        if not sides or not is_branch(tree, continuation) or not near_crux(position):
            continue
        side = max(sides, key=descending)
        if descending(side) > descending(continuation):
            fork = position, side
            break
        fork = fork or (position, continuation)
    if fork is None:
        return course
    position, chosen = fork
    for child in tree.sections[course[position]].children:
        if child == course[position + 1] or is_branch(tree, child):
            roles[child] = "PDA" if child == chosen else "PLB"
    return course[: position + 1]


def _direction(tree: SectionTree, index: int) -> np.ndarray:
    """Return where a branch at the crux leads."""
    return tree.direction([index], 5.0, 35.0)


def _name_side_branches(tree: SectionTree, naming: Naming, roles: dict[int, str]) -> None:
    """Append the kept side branches of all courses, generation by generation, with names that may still repeat."""
    used = {s for c in naming.courses for s in c.sections}
    generation = list(naming.courses)
    while generation:
        following = []
        for parent in generation:
            for section in parent.sections:
                for child in tree.sections[section].children:
                    if child in used or not (child in roles or is_branch(tree, child)):
                        continue
                    if child not in roles and is_vein(tree, parent, section, child):
                        naming.flags.append("touching_vein")
                        continue
                    sections = tree.follow(child, BRANCH_HABIT)
                    course = Course(sections, parent, roles.get(child) or _branch_name(tree, parent, child))
                    used.update(sections)
                    following.append(course)
        naming.courses += following
        generation = following


def _branch_name(tree: SectionTree, parent: Course, child: int) -> str:
    """Return the kind of a side branch by its parent: D or S of the LAD, OM, AM; empty for a branch of a branch."""
    if parent.name == "LAD":
        direction = tree.direction([child], 3.0, 25.0)
        septal = direction[0] > 0 and tree.longest[child] < LONGEST_SEPTAL_MM
        return "S" if septal else "D"
    return {"LCX": "OM", "RCA": "AM", "LM": "branch"}.get(parent.name, "")


def _renamed_duplicates(courses: list[Course]) -> list[Course]:
    """Number the names that repeat: D, S, OM, AM and branch from 1, others (PLB, PLB2) from the second on.

    A branch of a branch is called after it: D1a, D1b.
    """
    counts: dict[str, int] = {}
    used: set[str] = set()
    for course in courses:
        kind = course.name
        if kind == "":
            course.name = branch_name(course.parent.name if course.parent else "branch", used)
        else:
            counts[kind] = counts.get(kind, 0) + 1
            if kind in ("D", "S", "OM", "AM", "branch") or counts[kind] > 1:
                course.name = f"{kind}{counts[kind]}"
        used.add(course.name)
    return courses
