"""Gaps of the mask: pieces of lumen near the connected lumen come in, edges across the gaps go out.

A gap of up to 3 mm is bridged whatever its direction, one of up to 8 mm only where both ends point along it. Pieces
that remain are named, not measured: what feeds them is unknown.
"""

import numpy as np

from .grid import LumenGrid
from .paths import LumenGraph, voxel_cost

SHORT_GAP_MM = 3.0
LONG_GAP_MM = 8.0
COLLINEAR_COSINE = 0.85
"""Least cosine between the gap and the axis of the lumen at each of its ends, for a long gap."""

AXIS_RADIUS_MM = 6.0
"""The axis of the lumen at an end is that of the voxels within this distance."""

SMALLEST_PIECE_MM = 4.0
"""Pieces of smaller extent are noise."""


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
    members = {int(c): np.flatnonzero(component == c) for c in np.flatnonzero(extents >= SMALLEST_PIECE_MM)}
    pending = {c: (np.inf, -1, -1) for c in members if c not in rooted}
    rooted = {c for c in rooted if c in members} | rooted
    bridges: list[tuple[int, int]] = []
    added = [c for c in sorted(rooted) if c in members]
    while added and pending:
        nodes = np.concatenate([members[c] for c in added])
        tree = cKDTree(grid.ras[nodes])
        for c, best in pending.items():
            distance, nearest = tree.query(grid.ras[members[c]], distance_upper_bound=LONG_GAP_MM)
            row = int(np.argmin(distance))
            if distance[row] < best[0] and _bridgeable(grid, component, int(nodes[nearest[row]]), int(members[c][row])):
                pending[c] = (float(distance[row]), int(nodes[nearest[row]]), int(members[c][row]))
        closest = min(pending, key=lambda c: (pending[c][0], c))
        if not np.isfinite(pending[closest][0]):
            break
        bridges.append(pending.pop(closest)[1:])
        rooted.add(closest)
        added = [closest]
    return _with_bridges(grid, graph, bridges), rooted


def _bridgeable(grid: LumenGrid, component: np.ndarray, first: int, second: int) -> bool:
    """Whether the gap between two voxels is short, or long with both ends pointing along it."""
    gap = grid.ras[second] - grid.ras[first]
    length = float(np.linalg.norm(gap))
    if length <= SHORT_GAP_MM:
        return True
    return all(abs(_axis_at(grid, component, node) @ gap) / length >= COLLINEAR_COSINE for node in (first, second))


def _axis_at(grid: LumenGrid, component: np.ndarray, node: int) -> np.ndarray:
    """Return the unit main axis of the piece of lumen around one of its voxels."""
    piece = grid.ras[component == component[node]]
    near = piece[np.linalg.norm(piece - grid.ras[node], axis=1) <= AXIS_RADIUS_MM]
    return np.linalg.svd(near - near.mean(axis=0), full_matrices=False)[2][0]


def _with_bridges(grid: LumenGrid, graph: LumenGraph, bridges: list[tuple[int, int]]) -> LumenGraph:
    """Return the graph with an edge across each gap, as costly as the shallower of its two ends."""
    if not bridges:
        return graph
    ends = np.array(bridges, dtype=np.int64)
    length = np.linalg.norm(grid.ras[ends[:, 0]] - grid.ras[ends[:, 1]], axis=1)
    cost = length * voxel_cost(grid.depth[ends].min(axis=1))
    return LumenGraph(
        np.concatenate([graph.first, ends[:, 0]]),
        np.concatenate([graph.second, ends[:, 1]]),
        np.concatenate([graph.length, length]),
        np.concatenate([graph.cost, cost]),
        np.concatenate([graph.bridge, np.ones(len(ends), dtype=bool)]),
    )
