"""Ostia: lumen voxels near the aorta come in, one starting point on the aortic surface per coronary tree goes out.

Where a network has marked ostia, a mark tells which of several contacts of a tree with the aorta is its origin, and
where a tree begins that does not reach the aorta. Otherwise an ostium is a cluster of lumen voxels that touch the
aorta; where a vessel begins along the aorta, it is the end of the cluster. A stump that a narrowing parts from the rest
of its vessel is its beginning, however short. A vessel may touch the aorta again: a further cluster of the same piece
of lumen counts only when the way to it through the lumen is long and roundabout, as between left and right trees that
meet far from the aorta. Left or right is decided later, from the course.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry import arc_length
from ..study import LumenSegmentation
from .gaps import SHORT_GAP_MM, SMALLEST_PIECE_MM, STUMP_RADIUS_MM, extents_mm
from .grid import LumenGrid
from .paths import LumenGraph, components, length_matrix, reach, trace_sections

SMALLEST_TREE_MM = 10.0
"""Pieces of lumen of a smaller extent are no coronary tree."""

SECOND_OSTIUM_PATH_MM = 40.0
SECOND_OSTIUM_DETOUR = 2.0
"""A second ostium of the same piece is at least this far along the lumen, and this many times the direct distance."""

LARGE_PIECE_MM = 30.0
"""Without contact to an aorta, only pieces of at least this extent get an estimated ostium."""


LEAST_SCORE = 0.3
"""Marks of a network with a lower score are none."""

MARK_REACH_MM = 5.0
"""A mark belongs to the lumen within this distance."""


@dataclass(frozen=True, eq=False)
class Ostium:
    """Where a tree begins: a row of the grid and the position in RAS on the surface of the aorta."""

    node: int
    point_ras: np.ndarray
    flags: tuple[str, ...] = ()


def find_ostia(grid: LumenGrid, graph: LumenGraph, component: np.ndarray, marks: np.ndarray) -> list[Ostium]:
    """Return the ostia of all pieces of lumen that reach the aorta or a mark; pieces that do not are left out.

    `marks` (N, 3) are the places in RAS where a network sees an ostium, the surest first (`ostium_marks`).
    """
    extents = extents_mm(grid, component)
    ostia: list[Ostium] = []
    begun: np.ndarray = np.zeros(0, dtype=component.dtype)
    if grid.aorta is not None:
        touching = np.flatnonzero(grid.aorta_distance <= max(1.0, 1.8 * grid.voxel_mm))
        begun = np.unique(component[touching])
        for piece in begun[extents[begun] >= SMALLEST_TREE_MM]:
            ostia += _contacts(grid, graph, touching[component[touching] == piece], marks)
    for mark in marks:
        distance = np.linalg.norm(grid.ras - mark, axis=1)
        node = int(np.argmin(distance))
        if distance[node] <= MARK_REACH_MM and component[node] not in begun:
            begun = np.append(begun, component[node])
            if extents[component[node]] >= SMALLEST_TREE_MM:
                ostia.append(Ostium(node, np.asarray(mark, dtype=np.float64)))
    for stump in [c for c in begun if SMALLEST_PIECE_MM <= extents[c] < SMALLEST_TREE_MM]:
        rest = _cut_off(grid, component, int(stump), np.setdiff1d(np.flatnonzero(extents >= SMALLEST_TREE_MM), begun))
        if len(rest):
            ostia.append(_ostium(grid, touching[component[touching] == stump]))
            begun = np.union1d(begun, rest)
    near = np.flatnonzero(grid.aorta_distance <= SHORT_GAP_MM)
    for piece in np.setdiff1d(np.unique(component[near]), begun):
        members = near[component[near] == piece]
        if extents[piece] >= SMALLEST_TREE_MM:
            node = int(members[np.argmin(grid.aorta_distance[members])])
            ostia.append(_ostium(grid, np.array([node]), ("ostium_gap",)))
    return ostia


def _cut_off(grid: LumenGrid, component: np.ndarray, stump: int, pieces: np.ndarray) -> np.ndarray:
    """Return the pieces that a stump on the aorta, as wide as an artery, feeds: those a short gap away from it."""
    from scipy.spatial import cKDTree

    own = component == stump
    others = np.flatnonzero(np.isin(component, pieces))
    if grid.depth[own].max() < STUMP_RADIUS_MM or len(others) == 0:
        return pieces[:0]
    gap = cKDTree(grid.ras[own]).query(grid.ras[others], distance_upper_bound=SHORT_GAP_MM)[0]
    return np.unique(component[others[np.isfinite(gap)]])


def ostium_marks(segmentation: LumenSegmentation) -> np.ndarray:
    """Return the places (N, 3) in RAS where the network sees an ostium, the surest first; none without a network."""
    if segmentation.ostia_ras is None:
        return np.zeros((0, 3))
    marks = np.asarray(segmentation.ostia_ras, dtype=np.float64).reshape(-1, 3)
    if segmentation.ostia_scores is None:
        return marks
    scores = np.asarray(segmentation.ostia_scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    return marks[order[scores[order] >= LEAST_SCORE]]


def estimate_ostia(grid: LumenGrid, graph: LumenGraph, component: np.ndarray, pieces: np.ndarray) -> list[Ostium]:
    """Return the thickest end of each of the given pieces that is large enough, flagged `ostium_estimated`."""
    extents = extents_mm(grid, component)
    ostia = []
    for piece in pieces[extents[pieces] >= LARGE_PIECE_MM]:
        members = np.flatnonzero(component == piece)
        far = reach(grid, graph, members[:1])
        start = members[np.argmax(far.length[members])]
        sections = trace_sections(grid, graph, reach(grid, graph, np.array([start])), lambda _f, _m: None)
        ends = [s.nodes for s in sections if s.parent is None] + [s.nodes[::-1] for s in sections if not s.children]
        if ends:
            thickest = max(ends, key=lambda nodes: _thickness(grid, nodes))
            ostia.append(Ostium(int(thickest[0]), grid.ras[thickest[0]], ("ostium_estimated",)))
    return ostia


def _thickness(grid: LumenGrid, nodes: np.ndarray) -> float:
    """Return the mean depth between 2 and 10 mm from the start of a path: its tip says nothing of its caliber."""
    along = arc_length(grid.ras[nodes])
    near = nodes[(along >= min(2.0, along[-1] / 2)) & (along <= 10.0)]
    return float(grid.depth[near].mean())


def _contacts(grid: LumenGrid, graph: LumenGraph, touching: np.ndarray, marks: np.ndarray) -> list[Ostium]:
    """Return the ostia of one piece of lumen, given its voxels that touch the aorta: marked ones before wide ones."""
    cluster = _clusters(grid, graph, touching)
    clusters = [touching[cluster == c] for c in np.unique(cluster)]

    def rank(nodes: np.ndarray) -> tuple[bool, float, int]:
        marked = any(np.linalg.norm(grid.ras[nodes] - mark, axis=1).min() <= MARK_REACH_MM for mark in marks)
        return not marked, -round(float(grid.depth[nodes].max()), 3), int(nodes[0])

    clusters.sort(key=rank)
    ostia = [_ostium(grid, _mouth(grid, graph, clusters[0]))]
    for nodes in clusters[1:]:
        candidate = _ostium(grid, _mouth(grid, graph, nodes))
        nearby = reach(grid, graph, np.array([candidate.node]), limit_mm=SECOND_OSTIUM_PATH_MM)
        if np.isfinite(nearby.cost[[o.node for o in ostia]]).any():
            continue
        way = reach(grid, graph, np.array([candidate.node])).length[[o.node for o in ostia]]
        direct = np.linalg.norm([o.point_ras - candidate.point_ras for o in ostia], axis=1)
        if np.all(way >= SECOND_OSTIUM_DETOUR * direct):
            ostia.append(candidate)
    if len(ostia) > 1:
        ostia = [Ostium(o.node, o.point_ras, (*o.flags, "trees_touch")) for o in ostia]
    return ostia


def _mouth(grid: LumenGrid, graph: LumenGraph, nodes: np.ndarray) -> np.ndarray:
    """Return the part of a contact with the aorta where the vessel begins: the end away from the rest of the lumen."""
    from scipy.sparse.csgraph import dijkstra

    width = 2.0 * float(grid.depth[nodes].max())
    if np.linalg.norm(np.ptp(grid.ras[nodes], axis=0)) <= 1.3 * width:
        return nodes
    matrix = length_matrix(grid, graph)
    from_contact = dijkstra(matrix, directed=False, indices=nodes, min_only=True)
    far = int(np.argmax(np.where(np.isfinite(from_contact), from_contact, -1.0)))
    along = dijkstra(matrix, directed=False, indices=far)[nodes]
    return nodes[along >= along.max() - width]


def _clusters(grid: LumenGrid, graph: LumenGraph, touching: np.ndarray) -> np.ndarray:
    """Return the number of the connected cluster of every touching voxel."""
    member = np.zeros(len(grid.ras), dtype=bool)
    member[touching] = True
    kept = member[graph.first] & member[graph.second]
    part = LumenGraph(*(x[kept] for x in (graph.first, graph.second, graph.length, graph.cost, graph.bridge)))
    return components(grid, part)[touching]


def _ostium(grid: LumenGrid, nodes: np.ndarray, flags: tuple[str, ...] = ()) -> Ostium:
    """Return the ostium of a contact: its center, weighted to the open mouth, on the surface of the aorta."""
    weight = grid.depth[nodes] ** 4
    center = weight @ grid.ras[nodes] / weight.sum()
    node = nodes[np.argmin(np.linalg.norm(grid.ras[nodes] - center, axis=1))]
    distance, nearest = grid.aorta.query(center)
    wall = grid.aorta.data[nearest]
    # The surface lies half a voxel outside the outermost aortic voxel center.
    point = wall + (center - wall) * min(1.0, 0.5 * grid.voxel_mm / max(float(distance), 1e-6))
    return Ostium(int(node), point, flags)
