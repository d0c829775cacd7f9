"""Courses: sections between forks come in, the main course of each vessel through the forks goes out.

At a fork a vessel goes on into the daughter with the best sum of four terms, each between about 0 and 1: straightest,
thickest, longest, and pointing where this vessel is known to go.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..geometry import arc_length
from .paths import Section

OUTER_START_MM = 10.0
"""Length at the beginning of a branch over which its radius counts by itself."""


@dataclass(frozen=True)
class Habit:
    """How a vessel chooses its way: weights of the four terms, and the direction in RAS it tends to."""

    straight: float
    thick: float
    long: float
    toward: float
    direction: tuple[float, float, float] = (0.0, 0.0, 0.0)


BRANCH_HABIT = Habit(1.0, 0.8, 1.0, 0.0)
"""How a side branch chooses its way."""

SHORTEST_BRANCH_MM = 10.0
THINNEST_BRANCH_MM = 0.47
"""Side branches that stick out less, or whose radius is less, both over all and over their first 10 mm, are left out.

Among branches of synthetic hearts on voxels of 0.4 x 0.4 x 0.5 mm, this parts those that begin 1.2 mm wide or wider
from smaller ones.
"""


@dataclass(eq=False)
class Course:
    """A vessel in the making: its sections in order, the course it branches from, its name and flags."""

    sections: list[int]
    parent: "Course | None"
    name: str
    flags: list[str] = field(default_factory=list)


def joined_nodes(sections: list[Section], course: list[int]) -> np.ndarray:
    """Return the voxels of consecutive sections, each once."""
    return np.concatenate([sections[course[0]].nodes] + [sections[s].nodes[1:] for s in course[1:]])


class SectionTree:
    """The sections of all trees with the lengths, thicknesses and directions the naming rules ask for.

    `ras` (N, 3) and `depth` (N,) are positions and distances to the wall in mm of the nodes of the sections;
    `radius_of` gives the radii at some of them.
    """

    def __init__(
        self,
        ras: np.ndarray,
        depth: np.ndarray,
        sections: list[Section],
        radius_of: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.ras = ras
        self.depth = depth
        self.sections = sections
        self.radius_of = radius_of
        self.along = [self._distances(s.nodes) for s in sections]
        self.longest = np.array([a[-1] for a in self.along])
        for index in range(len(sections) - 1, -1, -1):
            children = sections[index].children
            if children:
                self.longest[index] += max(self.longest[c] for c in children)

    def roots(self) -> list[list[int]]:
        """Return the sections that begin at each ostium."""
        groups: dict[int, list[int]] = {}
        for index, section in enumerate(self.sections):
            if section.parent is None:
                groups.setdefault(int(section.nodes[0]), []).append(index)
        return list(groups.values())

    def length(self, index: int) -> float:
        """Return the length of a section in mm."""
        return float(self.along[index][-1])

    def direction(self, starts: list[int], near_mm: float, far_mm: float) -> np.ndarray:
        """Return the mean unit vector from the common start of subtrees to their voxels that far along the path.

        Where nothing is as far as `near_mm`, all voxels count; the result is shorter than 1 where they spread.
        """
        origin = self.ras[self.sections[starts[0]].nodes[0]]
        points, distances = [], []
        stack = [(s, 0.0) for s in starts]
        while stack:
            index, offset = stack.pop()
            if offset > far_mm:
                continue
            points.append(self.ras[self.sections[index].nodes])
            distances.append(offset + self.along[index])
            stack += [(c, offset + self.length(index)) for c in self.sections[index].children]
        position, distance = np.concatenate(points), np.concatenate(distances)
        kept = (distance >= near_mm) & (distance <= far_mm)
        steps = (position[kept] if kept.any() else position) - origin
        norms = np.linalg.norm(steps, axis=1, keepdims=True)
        mean: np.ndarray = (steps / np.maximum(norms, 1e-6)).mean(axis=0)
        return mean

    def thickness(self, index: int, far_mm: float = 12.0) -> float:
        """Return the mean depth of a section between 2 mm and `far_mm` from its start."""
        along = self.along[index]
        kept = (along >= min(2.0, along[-1] / 2)) & (along <= far_mm)
        return float(self.depth[self.sections[index].nodes[kept]].mean())

    def follow(self, start: int, habit: Habit) -> list[int]:
        """Return the sections of a vessel from its first one to its tip."""
        course = [start]
        while self.sections[course[-1]].children:
            children = self.sections[course[-1]].children
            tangent = self.end_tangent(course[-1])
            thickest = max(self.thickness(c) for c in children)
            longest = max(self.longest[c] for c in children)
            course.append(
                max(
                    children,
                    key=lambda c: (
                        habit.straight * float(self.direction([c], 3.0, 10.0) @ tangent)
                        + habit.thick * self.thickness(c) / thickest
                        + habit.long * self.longest[c] / longest
                        + habit.toward * float(self.direction([c], 5.0, 35.0) @ np.asarray(habit.direction))
                    ),
                )
            )
        return course

    def nodes(self, course: list[int]) -> np.ndarray:
        """Return the voxels of consecutive sections, each once."""
        return joined_nodes(self.sections, course)

    def outer_part(self, course: list[int]) -> tuple[float, float]:
        """Return the length in mm of a branch beyond the lumen of the vessel it leaves, and its radius there.

        The radius is the mean over the whole or over the first 10 mm, whichever is larger: long branches are thin at
        their end, narrowed ones at their beginning.
        """
        nodes = self.nodes(course)
        along = self._distances(nodes) - self.depth[nodes[0]]
        outside = along > 0.0
        if not outside.any():
            return 0.0, 0.0
        radius = self.radius_of(nodes[outside])
        first = radius[along[outside] <= OUTER_START_MM]
        return float(along[-1]), float(max(radius.mean(), first.mean()))

    def end_tangent(self, index: int) -> np.ndarray:
        """Return the direction of the last 6 mm of a section."""
        nodes, along = self.sections[index].nodes, self.along[index]
        step = self.ras[nodes[-1]] - self.ras[nodes[np.searchsorted(along, max(along[-1] - 6.0, 0.0))]]
        return step / max(float(np.linalg.norm(step)), 1e-6)

    def _distances(self, nodes: np.ndarray) -> np.ndarray:
        """Return the distance of each voxel of a path from its first."""
        return arc_length(self.ras[nodes])


def is_branch(tree: SectionTree, index: int) -> bool:
    """Return whether a side branch is long and thick enough to be kept."""
    length, radius = tree.outer_part(tree.follow(index, BRANCH_HABIT))
    return length >= SHORTEST_BRANCH_MM and radius >= THINNEST_BRANCH_MM
