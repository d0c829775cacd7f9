"""Gaps of the mask: pieces of lumen near the connected lumen come in, edges across the gaps go out.

A piece is joined at one of its tips. A gap of up to 3 mm is bridged whatever its direction; a longer one only where
both ends point along it, within 60 degrees up to 8 mm and within 37 degrees up to 15 mm. A tip may also point at the
side of a vessel up to 6 mm away, as a branch with a narrowed origin does. Pieces that remain are named, not measured:
what feeds them is unknown.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .grid import LumenGrid
from .paths import LumenGraph, length_matrix, voxel_cost

SHORT_GAP_MM = 3.0
MIDDLE_GAP_MM, MIDDLE_COSINE = 8.0, 0.5
LONG_GAP_MM, LONG_COSINE = 15.0, 0.8
SIDE_GAP_MM = 6.0
"""Longest gaps and least cosines between the gap and the direction of its ends, see the head of this file."""

LARGE_PIECE_MM = 15.0
"""Only pieces of this extent are joined over long gaps or at the side of a vessel."""

SMALLEST_PIECE_MM = 4.0
"""Pieces of smaller extent are noise."""

NEAR_MM, FAR_MM = 1.5, 6.0
"""An end points to the lumen this near to it, along the lumen, from that between 3.5 mm and this far from it."""

_SHELL_MM = 3.5
_TIP_PART = 0.6  # a tip lies this part of the way off the lumen around it; the middle of a vessel lies amid it
_TIP_SPACING_MM = 5.0


@dataclass(frozen=True, eq=False)
class _End:
    """A place at the border of a piece: where it points, and whether the lumen ends there."""

    direction: np.ndarray
    is_tip: bool


def extents_mm(grid: LumenGrid, component: np.ndarray) -> np.ndarray:
    """Return the diagonal of the bounding box of every component in mm."""
    from scipy.ndimage import maximum, minimum

    labels = np.arange(component.max() + 1)
    sides = [maximum(x, component, labels) - minimum(x, component, labels) for x in grid.ras.T]
    return np.linalg.norm(sides, axis=0)


def bridge_gaps(
    grid: LumenGrid, graph: LumenGraph, component: np.ndarray, rooted: set[int]
) -> tuple[LumenGraph, set[int]]:
    """Return the graph with bridges from rooted components to others near them, and all components now rooted."""
    from scipy.spatial import cKDTree

    extents = extents_mm(grid, component)
    large = np.flatnonzero(extents >= SMALLEST_PIECE_MM)
    pending = {int(c): (np.inf, -1, -1) for c in large if int(c) not in rooted}
    if not pending or not rooted:
        return graph, rooted
    matrix = length_matrix(grid, graph)
    found = _tips(grid, graph, matrix, [np.flatnonzero(component == c) for c in pending])
    tips = dict(zip(pending, found, strict=True))
    joined = set(rooted)
    bridges: list[tuple[int, int]] = []
    added = np.flatnonzero(np.isin(component, list(rooted)))
    while pending:
        tree = cKDTree(grid.ras[added])
        for c, best in pending.items():
            distance, nearest = tree.query(grid.ras[tips[c]], distance_upper_bound=LONG_GAP_MM)
            for row in np.argsort(distance, kind="stable"):
                if distance[row] >= best[0]:
                    break
                first, second = int(added[nearest[row]]), int(tips[c][row])
                if _bridgeable(grid, matrix, first, second, float(extents[c])):
                    pending[c] = (float(distance[row]), first, second)
                    break
        closest = min(pending, key=lambda c: (pending[c][0], c))
        if not np.isfinite(pending[closest][0]):
            break
        bridges.append(pending.pop(closest)[1:])
        joined.add(closest)
        added = np.flatnonzero(component == closest)
    return _with_bridges(grid, graph, bridges), joined


def _tips(grid: LumenGrid, graph: LumenGraph, matrix: Any, pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Return, for each piece, the voxels that are farther from one of its ends along the lumen than all beside them."""
    from scipy.sparse.csgraph import dijkstra

    def along_from(sources: list[int]) -> np.ndarray:
        distance: np.ndarray = dijkstra(matrix, directed=False, indices=sources, min_only=True)
        return distance

    start = along_from([int(nodes[0]) for nodes in pieces])
    far = [int(nodes[np.argmax(start[nodes])]) for nodes in pieces]
    along = along_from(far)
    beside = np.zeros(len(along))
    np.maximum.at(beside, graph.first, along[graph.second])
    np.maximum.at(beside, graph.second, along[graph.first])
    result = []
    for nodes, first in zip(pieces, far, strict=True):
        tips = [first]
        highest = nodes[along[nodes] >= beside[nodes]]
        for node in highest[np.argsort(-along[highest], kind="stable")]:
            if np.linalg.norm(grid.ras[tips] - grid.ras[node], axis=1).min() >= _TIP_SPACING_MM:
                tips.append(int(node))
        result.append(np.array(tips))
    return result


def _bridgeable(grid: LumenGrid, matrix: Any, first: int, second: int, extent_mm: float) -> bool:
    """Whether the gap from a voxel of the connected lumen to a tip of a piece is to be bridged."""
    gap = grid.ras[second] - grid.ras[first]
    length = float(np.linalg.norm(gap))
    if length <= SHORT_GAP_MM:
        return True
    here, there = _end_at(grid, matrix, first), _end_at(grid, matrix, second)
    cosines = float(here.direction @ gap) / length, float(-there.direction @ gap) / length
    if not here.is_tip:
        return length <= SIDE_GAP_MM and cosines[1] >= LONG_COSINE and extent_mm >= LARGE_PIECE_MM
    if length <= MIDDLE_GAP_MM:
        return min(cosines) >= MIDDLE_COSINE
    return min(cosines) >= LONG_COSINE and extent_mm >= LARGE_PIECE_MM


def _end_at(grid: LumenGrid, matrix: Any, node: int) -> _End:
    """Return where the lumen around a voxel points, seen along the lumen."""
    from scipy.sparse.csgraph import dijkstra

    along = dijkstra(matrix, directed=False, indices=node, limit=FAR_MM)
    reached = np.flatnonzero(np.isfinite(along))
    shell = reached[along[reached] >= min(_SHELL_MM, 0.6 * float(along[reached].max()))]
    near = reached[along[reached] <= NEAR_MM]
    offset = grid.ras[near].mean(axis=0) - grid.ras[shell].mean(axis=0)
    size = float(np.linalg.norm(offset))
    return _End(offset / max(size, 1e-6), size >= _TIP_PART * (float(along[shell].mean()) - float(along[near].mean())))


def _with_bridges(grid: LumenGrid, graph: LumenGraph, bridges: list[tuple[int, int]]) -> LumenGraph:
    """Return the graph with an edge across each gap, as costly as the shallower of its two ends."""
    if not bridges:
        return graph
    ends = np.array(bridges, dtype=np.int64)
    length = np.linalg.norm(grid.ras[ends[:, 0]] - grid.ras[ends[:, 1]], axis=1)
    cost = length * voxel_cost(grid.depth[ends].min(axis=1), np.ones(len(ends)))
    return LumenGraph(
        np.concatenate([graph.first, ends[:, 0]]),
        np.concatenate([graph.second, ends[:, 1]]),
        np.concatenate([graph.length, length]),
        np.concatenate([graph.cost, cost]),
        np.concatenate([graph.bridge, np.ones(len(ends), dtype=bool)]),
    )
