"""Ostia: lumen voxels near the aorta come in, one starting point on the aortic surface per coronary tree goes out.

An ostium is a cluster of lumen voxels that touch the aorta. A vessel that runs along the aorta may touch it again: a
further cluster of the same piece of lumen counts only when the way to it through the lumen is long and roundabout, as
between left and right trees that meet far from the aorta. Left or right is decided later, from the course.
"""

from dataclasses import dataclass

import numpy as np

from ..geometry import arc_length
from .gaps import SHORT_GAP_MM, extents_mm
from .grid import LumenGrid
from .paths import LumenGraph, components, reach, trace_sections

SMALLEST_TREE_MM = 10.0
"""Pieces of lumen of a smaller extent are no coronary tree."""

SECOND_OSTIUM_PATH_MM = 40.0
SECOND_OSTIUM_DETOUR = 2.0
"""A second ostium of the same piece is at least this far along the lumen, and this many times the direct distance."""

LARGE_PIECE_MM = 30.0
"""Without contact to an aorta, only pieces of at least this extent get an estimated ostium."""


@dataclass(frozen=True, eq=False)
class Ostium:
    """Where a tree begins: a row of the grid and the position in RAS on the surface of the aorta."""

    node: int
    point_ras: np.ndarray
    flags: tuple[str, ...] = ()


def find_ostia(grid: LumenGrid, graph: LumenGraph, component: np.ndarray) -> list[Ostium]:
    """Return the ostia of all pieces of lumen that reach the aorta; pieces that do not are left out."""
    if grid.aorta is None:
        return []
    extents = extents_mm(grid, component)
    touching = np.flatnonzero(grid.aorta_distance <= max(1.0, 1.8 * grid.voxel_mm))
    ostia: list[Ostium] = []
    touched = np.unique(component[touching])
    for piece in touched[extents[touched] >= SMALLEST_TREE_MM]:
        ostia += _contacts(grid, graph, touching[component[touching] == piece])
    near = np.flatnonzero(grid.aorta_distance <= SHORT_GAP_MM)
    for piece in np.setdiff1d(np.unique(component[near]), touched):
        members = near[component[near] == piece]
        if extents[piece] >= SMALLEST_TREE_MM:
            node = members[np.argmin(grid.aorta_distance[members])]
            ostia.append(_ostium(grid, np.array([node]), ("ostium_gap",)))
    return ostia


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


def _contacts(grid: LumenGrid, graph: LumenGraph, touching: np.ndarray) -> list[Ostium]:
    """Return the ostia of one piece of lumen, given its voxels that touch the aorta."""
    cluster = _clusters(grid, graph, touching)
    clusters = [touching[cluster == c] for c in np.unique(cluster)]
    clusters.sort(key=lambda nodes: (-round(float(grid.depth[nodes].max()), 3), int(nodes[0])))
    ostia = [_ostium(grid, clusters[0])]
    for nodes in clusters[1:]:
        candidate = _ostium(grid, nodes)
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
