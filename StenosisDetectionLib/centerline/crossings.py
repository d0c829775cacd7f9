"""Crossings: the sections of a traced tree come in, vessels that were cut where another one touches them go out whole.

Where two vessels touch side by side, the cheapest path to the far part of one may lead through the other. Then a vessel
ends at the other, and what continues it straight on seems to branch from there. The same happens where the mask of a
vessel has a gap, as in a stenosis, and its far part touches another: then a bridge leads straight across.
"""

import numpy as np

from ..geometry import arc_length
from .gaps import LONG_COSINE, SIDE_GAP_MM
from .grid import LumenGrid
from .paths import Section

SHORTEST_STUMP_MM, SHORTEST_REST_MM = 8.0, 10.0
"""Least lengths of a vessel before and after the place where it was cut."""

SWITCH_MM = 10.0
"""The way through the touching lumen from the wrong vessel to the cut one is at most this long."""

STRAIGHT, STRAIGHTER = 0.8, 0.2
"""A vessel goes on where the cosine between what leads to the place and what follows is at least the first of these,
and by the second larger than on the way through the other vessel."""

BEFORE_MM, AFTER_MM, TIP_MM = 6.0, 8.0, 3.0
"""What leads to a place is this long, and what follows; a tip is as thick as the vessel this far before it."""


def uncrossed(grid: LumenGrid, sections: list[Section]) -> tuple[list[Section], set[int]]:
    """Return the sections, parents before children, in which cut vessels are whole, and the indices of those."""
    joined: list[tuple[int, int, int, bool]] = []
    taken: set[int] = set()
    starts = {n: _start(grid, s) for n, s in enumerate(sections) if s.parent is not None}
    for index, section in enumerate(sections):
        if section.children or arc_length(grid.ras[section.nodes])[-1] < SHORTEST_STUMP_MM:
            continue
        found = _continuation(grid, sections, starts, index, taken)
        if found is not None:
            joined.append((index, *found))
            taken.update((index, found[0]))
    return _rejoined(sections, joined) if joined else (sections, set())


def _start(grid: LumenGrid, section: Section) -> np.ndarray:
    """Return the nodes at the start of a section at which another vessel may go on into the rest of it."""
    along = arc_length(grid.ras[section.nodes])
    return section.nodes[(along <= SWITCH_MM) & (along <= along[-1] - SHORTEST_REST_MM)]


def _continuation(
    grid: LumenGrid, sections: list[Section], starts: dict[int, np.ndarray], index: int, taken: set[int]
) -> tuple[int, int, bool] | None:
    """Return the section that continues a leaf straight on, the node of it at which it does, and whether across a gap.

    None without one.
    """
    before, at = set(), sections[index].parent
    while at is not None:
        before.add(at)
        at = sections[at].parent
    own = sections[index].nodes[::-1]
    tip = grid.ras[own[0]]
    thick = float(grid.depth[own[arc_length(grid.ras[own]) <= TIP_MM]].max())
    backward = _direction(grid.ras[own], BEFORE_MM)
    best, best_cosine = None, STRAIGHT
    for other, section in enumerate(sections):
        parent = section.parent
        if other == index or other in before or other in taken or parent is None or len(sections[parent].children) < 2:
            continue
        near = starts[other]
        if not len(near):
            continue
        distance = np.linalg.norm(grid.ras[near] - tip, axis=1)
        node = int(np.argmin(distance))
        onward = _direction(grid.ras[section.nodes[node:]], AFTER_MM)
        apart = bool(distance[node] > thick + grid.depth[near[node]] + 3.0 * grid.voxel_mm)
        across = (grid.ras[near[node]] - tip) / max(float(distance[node]), 1e-6)
        if apart and (distance[node] > SIDE_GAP_MM or min(-backward @ across, onward @ across) < LONG_COSINE):
            continue
        through = np.concatenate([section.nodes[: node + 1][::-1], sections[parent].nodes[-2::-1]])
        straight = float(-_direction(np.concatenate([grid.ras[near[node]][None], grid.ras[own]]), BEFORE_MM) @ onward)
        if straight > max(best_cosine, STRAIGHTER - float(_direction(grid.ras[through], BEFORE_MM) @ onward)):
            best, best_cosine = (other, node, apart), straight
    return best


def _direction(points: np.ndarray, length_mm: float) -> np.ndarray:
    """Return the unit vector along the first part of a path."""
    along = arc_length(points)
    step = points[min(int(np.searchsorted(along, length_mm)), len(points) - 1)] - points[0]
    return np.asarray(step / max(float(np.linalg.norm(step)), 1e-6))


def _rejoined(sections: list[Section], joined: list[tuple[int, int, int, bool]]) -> tuple[list[Section], set[int]]:
    """Return the sections with each (leaf, other, node, apart) made one, and what is left of two made one, too."""
    nodes = [s.nodes for s in sections]
    children = [list(s.children) for s in sections]
    bridged = [s.bridged for s in sections]
    whole = set()
    for leaf, other, node, apart in joined:
        nodes[leaf] = np.concatenate([nodes[leaf], nodes[other][node:]])
        children[leaf], bridged[leaf] = children[other], bridged[leaf] or bridged[other] or apart
        parent = sections[other].parent
        assert parent is not None
        children[parent].remove(other)
        whole.add(leaf)
    result: list[Section] = []
    marked: set[int] = set()
    stack: list[tuple[int, int | None]] = []
    stack += [(n, None) for n, s in enumerate(sections) if s.parent is None][::-1]
    while stack:
        index, parent = stack.pop()
        path, chain = nodes[index], [index]
        while len(children[chain[-1]]) == 1:
            chain.append(children[chain[-1]][0])
            path = np.concatenate([path, nodes[chain[-1]][1:]])
        number = len(result)
        result.append(Section(path, parent, [], any(bridged[c] for c in chain)))
        if parent is not None:
            result[parent].children.append(number)
        if whole.intersection(chain):
            marked.add(number)
        stack += [(child, number) for child in children[chain[-1]][::-1]]
    return result, marked
