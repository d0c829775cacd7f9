"""Gaps of the mask: pieces of lumen near the connected lumen come in, edges across the gaps go out.

A piece is joined at one of its tips. A gap of up to 3 mm is bridged whatever its direction; a longer one only where
both ends point along it, within 60 degrees up to 8 mm and within 37 degrees up to 15 mm. A tip may also point at the
side of a vessel up to 6 mm away, as a branch with a narrowed origin does. Of several gaps, a straight one counts as
shorter than one around a corner. A large piece may get a bridge at each of its tips: where a twig of another vessel
comes near one that a stenosis cuts, the cheaper path decides which of them feeds it. So it does where the far part of a
cut vessel is connected already, through a vein or a twig that touches it: a wide stump that points at another tip to
which the way through the lumen is long gets a bridge, too. Pieces that remain are named, not measured: what feeds them
is unknown.
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

CORNER_COST = 1.0
"""A gap counts as this many times longer for each of its ends that points across it rather than along it."""

LARGE_PIECE_MM = 15.0
"""Only pieces of this extent are joined over long gaps, at the side of a vessel, or at more than one of their tips."""

SMALLEST_PIECE_MM = 4.0
"""Pieces of smaller extent are noise."""

STUMP_RADIUS_MM, STUMP_MM = 1.0, 3.0
"""A vessel this wide this near to its tip does not end there by itself: something cut it."""

DETOUR_MM = 30.0
"""Where the way through the lumen is longer, two places across a gap are not beside each other already."""

STUMP_TO_AORTA_MM = 5.0
"""What ends this near to the aorta begins there."""

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
    pieces = [int(c) for c in np.flatnonzero(extents >= SMALLEST_PIECE_MM)]
    pending = {c: (np.inf, -1, -1) for c in pieces if c not in rooted}
    if not rooted:
        return graph, rooted
    matrix = length_matrix(grid, graph)
    pieces = [c for c in pieces if c in pending or extents[c] >= LARGE_PIECE_MM]
    found = _tips(grid, graph, matrix, [np.flatnonzero(component == c) for c in pieces])
    tips = dict(zip(pieces, found, strict=True))
    gaps = _Gaps(grid, (matrix + matrix.T).tocsr(), {})
    joined = set(rooted)
    bridges: list[tuple[int, int]] = []
    added = np.flatnonzero(np.isin(component, list(rooted)))
    ends = _tips_of(tips, rooted)
    while pending:
        near = cKDTree(grid.ras[added])
        for c, best in pending.items():
            pending[c] = gaps.shortest(_pairs(grid, near, added, ends, tips[c]), float(extents[c]), best)
        closest = min(pending, key=lambda c: (pending[c][0], c))
        if not np.isfinite(pending[closest][0]):
            break
        bridges.append(pending.pop(closest)[1:])
        joined.add(closest)
        added, ends = np.flatnonzero(component == closest), tips[closest]
    large = sorted(c for c in joined - rooted if extents[c] >= LARGE_PIECE_MM)
    bridges += _further(grid, component, gaps, tips, joined, large)
    bridges += _from_stumps(gaps, component, _tips_of(tips, joined))
    return _with_bridges(grid, graph, list(dict.fromkeys(bridges))), joined


def _further(
    grid: LumenGrid,
    component: np.ndarray,
    gaps: "_Gaps",
    tips: dict[int, np.ndarray],
    joined: set[int],
    large: list[int],
) -> list[tuple[int, int]]:
    """Return the shortest gap at each tip of large pieces to other joined lumen that it points to."""
    from scipy.spatial import cKDTree

    result = []
    for c in large:
        others = np.flatnonzero(np.isin(component, list(joined - {c})))
        ends = _tips_of(tips, joined - {c})
        near = cKDTree(grid.ras[others])
        for tip in tips[c]:
            pairs = _pairs(grid, near, others, ends, np.array([tip]))
            best = gaps.shortest(pairs, LARGE_PIECE_MM, (np.inf, -1, -1))
            if best[0] <= MIDDLE_GAP_MM:
                result.append(best[1:])
    return result


def _from_stumps(gaps: "_Gaps", component: np.ndarray, tips: np.ndarray) -> list[tuple[int, int]]:
    """Return the gaps between wide stumps and tips they point at and that point at them, far through the lumen."""
    from scipy.sparse.csgraph import dijkstra
    from scipy.spatial import cKDTree

    grid, result = gaps.grid, []
    voxels = cKDTree(grid.ras)
    for tip in tips[grid.aorta_distance[tips] > STUMP_TO_AORTA_MM]:
        beside = np.array(voxels.query_ball_point(grid.ras[tip], SIDE_GAP_MM))
        beside = beside[component[beside] == component[tip]]
        if len(beside) == 0 or grid.depth[beside].max() < STUMP_RADIUS_MM:
            continue
        along = dijkstra(gaps.matrix, indices=tip, limit=DETOUR_MM)
        if grid.depth[along <= STUMP_MM].max() < STUMP_RADIUS_MM:
            continue
        far = beside[np.isinf(along[beside])]
        gap = grid.ras[far] - grid.ras[tip]
        length = np.linalg.norm(gap, axis=1)
        end = gaps.end(tip)
        straight = gap @ end.direction >= LONG_COSINE * length
        if not end.is_tip or not straight.any():
            continue
        nearest = np.flatnonzero(straight)[np.argmin(length[straight])]
        other = gaps.end(int(far[nearest]))
        if other.is_tip and -gap[nearest] @ other.direction >= MIDDLE_COSINE * length[nearest]:
            result.append((int(far[nearest]), int(tip)))
    return result


def _tips_of(tips: dict[int, np.ndarray], pieces: set[int]) -> np.ndarray:
    """Return the tips of all pieces whose tips are known."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *(tips[c] for c in pieces if c in tips)])


def _pairs(grid: LumenGrid, near: Any, added: np.ndarray, ends: np.ndarray, tips: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of a voxel of the connected lumen and a tip of a piece between which a gap may be, by length."""
    distance, nearest = near.query(grid.ras[tips], distance_upper_bound=LONG_GAP_MM)
    found = np.isfinite(distance)
    pairs = {
        (int(added[n]), int(tip)): float(d)
        for d, n, tip in zip(distance[found], nearest[found], tips[found], strict=True)
    }
    for tip in tips:
        apart = np.linalg.norm(grid.ras[ends] - grid.ras[tip], axis=1)
        pairs |= {(int(end), int(tip)): float(d) for end, d in zip(ends, apart, strict=True) if d <= LONG_GAP_MM}
    return sorted(pairs, key=lambda pair: (pairs[pair], pair))


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


@dataclass(frozen=True, eq=False)
class _Gaps:
    """Judges gaps between voxels of a grid, given the lengths of edges both ways; `ends` keeps what was found out."""

    grid: LumenGrid
    matrix: Any
    ends: dict[int, _End]

    def shortest(
        self, pairs: list[tuple[int, int]], extent_mm: float, best: tuple[float, int, int]
    ) -> tuple[float, int, int]:
        """Return the length and the ends of the shortest of the gaps, sorted by their length, and one found before."""
        for first, second in pairs:
            if np.linalg.norm(self.grid.ras[second] - self.grid.ras[first]) >= best[0]:
                break  # corners make a gap only longer
            length = self.length(first, second, extent_mm)
            if length < best[0]:
                best = (length, first, second)
        return best

    def length(self, first: int, second: int, extent_mm: float) -> float:
        """Return the length of a gap from connected lumen to a tip of a piece, corners counted; infinite for none."""
        gap = self.grid.ras[second] - self.grid.ras[first]
        length = float(np.linalg.norm(gap))
        if length <= SHORT_GAP_MM and extent_mm < LARGE_PIECE_MM:
            return length
        here, there = self.end(first), self.end(second)
        cosines = float(here.direction @ gap) / max(length, 1e-6), float(-there.direction @ gap) / max(length, 1e-6)
        counted = length * (1.0 + CORNER_COST * (2.0 - (cosines[0] if here.is_tip else 0.0) - cosines[1]))
        if length <= SHORT_GAP_MM:
            return counted
        if not here.is_tip:
            possible = length <= SIDE_GAP_MM and cosines[1] >= LONG_COSINE and extent_mm >= LARGE_PIECE_MM
        elif length <= MIDDLE_GAP_MM:
            possible = min(cosines) >= MIDDLE_COSINE
        else:
            possible = min(cosines) >= LONG_COSINE and extent_mm >= LARGE_PIECE_MM
        return counted if possible else np.inf

    def end(self, node: int) -> _End:
        """Return where the lumen around a voxel points."""
        if node not in self.ends:
            self.ends[node] = _end_at(self.grid, self.matrix, node)
        return self.ends[node]


def _end_at(grid: LumenGrid, matrix: Any, node: int) -> _End:
    """Return where the lumen around a voxel points, seen along the lumen."""
    from scipy.sparse.csgraph import dijkstra

    along = dijkstra(matrix, indices=node, limit=FAR_MM)
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
