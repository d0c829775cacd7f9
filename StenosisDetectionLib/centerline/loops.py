"""Loops of the lumen: a traced tree comes in, the sections beside which the lumen closes a loop go out.

A tree cannot hold a loop, so tracing breaks each where the ways around it meet. Where two voxels of the lumen touch
though the tree takes a long way between them, vessels touch that do not branch there, or a loop was broken.
"""

import numpy as np

from ..geometry import arc_length
from .grid import LumenGrid
from .paths import LumenGraph, Section

LOOP_MM, LOOP_RADII = 12.0, 5.0
"""The way through the tree between touching voxels is longer than this plus this many times their depth."""


def looped_sections(grid: LumenGrid, graph: LumenGraph, sections: list[Section]) -> set[int]:
    """Return the sections along which the lumen touches a part of the tree that is far away through the tree."""
    from scipy.spatial import cKDTree

    nodes = np.concatenate([s.nodes for s in sections])
    owner = np.repeat(np.arange(len(sections)), [len(s.nodes) for s in sections])
    lengths = [arc_length(grid.ras[s.nodes]) for s in sections]
    start = np.zeros(len(sections))
    for index, section in enumerate(sections):
        if section.parent is not None:
            start[index] = start[section.parent] + lengths[section.parent][-1]
    from_ostium = np.concatenate([start[index] + along for index, along in enumerate(lengths)])
    distance, nearest = cKDTree(grid.ras[nodes]).query(grid.ras)
    depth, place, section_of = grid.depth[nodes[nearest]], from_ostium[nearest], owner[nearest]
    # Only what belongs to the tree counts: twigs that were left out lie far from every section.
    inside = distance <= 1.5 * depth + grid.voxel_mm
    first, second = graph.first, graph.second
    apart = (section_of[first] != section_of[second]) & inside[first] & inside[second] & ~graph.bridge
    looped: set[int] = set()
    for edge in np.flatnonzero(apart):
        a, b = first[edge], second[edge]
        pair = int(section_of[a]), int(section_of[b])
        if looped.issuperset(pair):
            continue
        fork = _fork_of(sections, start, *pair)
        way = abs(place[a] - place[b]) if fork is None else place[a] + place[b] - 2.0 * fork
        if way > LOOP_MM + LOOP_RADII * max(depth[a], depth[b]):
            looped.update(pair)
    return looped


def _fork_of(sections: list[Section], start: np.ndarray, first: int, second: int) -> float | None:
    """Return the distance from the ostium at which the ways to two sections part; None when one leads to the other."""
    chains = []
    for index in (first, second):
        chain, at = [index], sections[index].parent
        while at is not None:
            chain.append(at)
            at = sections[at].parent
        chains.append(chain[::-1])
    if first in chains[1] or second in chains[0]:
        return None
    shared = 0
    while chains[0][shared] == chains[1][shared]:
        shared += 1
    return float(start[chains[0][shared]]) if shared else 0.0
