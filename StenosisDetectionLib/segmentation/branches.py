"""Branches of the grown trees, and the cutting of those that are no coronary arteries.

In: the voxels of the trees with their intensity. The geodesic distance from the aorta cuts them into slices; the
connected parts of the slices are the nodes of a tree whose branches can be judged as a whole: a vein is too dark, a
leak into a chamber lies against it or is too wide, a spur is too short.
"""

from dataclasses import dataclass

import numpy as np

SLICE_MM = 1.5
"""Length of a node along its vessel."""

VEIN_LEVEL = 0.75
"""Vessels darker than this part of the aorta are veins, once the blur of small vessels is allowed for."""

BLUR_SIGMA_MM = 0.6
"""Blur of the scanner, of resampling and of smoothing together: it darkens the core of small vessels."""

LEAST_VISIBLE = 0.65

LARGEST_RADIUS_MM = 4.0
SHORTEST_BRANCH_MM = 5.0
SHORTEST_TREE_MM = 12.0
LARGEST_CONTACT = 0.5
"""More of a branch than this lying directly against a chamber makes it part of the chamber."""


@dataclass(frozen=True, eq=False)
class NodeTree:
    """Nodes of the trees in the order of their distance from the aorta, parents before children.

    Parameters
    ----------
    node_of_voxel : (N,) node of every voxel, -1 when it cannot be reached.
    parent : (M,) node before it, -1 at the aorta.
    level : (M,) number of its slice: distance from the aorta in units of `SLICE_MM`.
    radius_mm, intensity, contact : (M,) equivalent radius, core intensity, part of it within 1 mm of a chamber.
    """

    node_of_voxel: np.ndarray
    parent: np.ndarray
    level: np.ndarray
    radius_mm: np.ndarray
    intensity: np.ndarray
    contact: np.ndarray


def voxel_graph(
    voxels: np.ndarray, shape: tuple[int, ...], spacing_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs (a, b) of 26-connected voxels with their distance in mm; `voxels` is (N, 3) of the array."""
    index = np.full(np.array(shape) + 2, -1, dtype=np.int32)
    inner = voxels + 1
    index[tuple(inner.T)] = np.arange(len(voxels), dtype=np.int32)
    first, second, length = [], [], []
    offsets = [o for o in np.ndindex(3, 3, 3) if o > (1, 1, 1)]
    for offset in offsets:
        shift = np.array(offset) - 1
        other = index[tuple((inner + shift).T)]
        valid = other >= 0
        first.append(np.flatnonzero(valid).astype(np.int32))
        second.append(other[valid])
        length.append(np.full(valid.sum(), spacing_mm * float(np.linalg.norm(shift)), dtype=np.float32))
    return np.concatenate(first), np.concatenate(second), np.concatenate(length)


def node_tree(
    voxels: np.ndarray,
    shape: tuple[int, ...],
    spacing_mm: float,
    sources: np.ndarray,
    intensity: np.ndarray,
    near_chamber: np.ndarray,
) -> NodeTree:
    """Cut tree voxels into nodes by their geodesic distance from the sources.

    Parameters
    ----------
    voxels : (N, 3) array coordinates.
    sources : (N,) bool, the voxels at the aorta.
    intensity, near_chamber : (N,) normalized intensity, and whether a chamber is within 1 mm.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components, dijkstra

    count = len(voxels)
    first, second, length = voxel_graph(voxels, shape, spacing_mm)
    graph = coo_matrix((length, (first, second)), shape=(count, count)).tocsr()
    start = np.flatnonzero(sources)
    distance = dijkstra(graph, directed=False, indices=start, min_only=True)
    level = np.where(np.isfinite(distance), distance // SLICE_MM, -1).astype(np.int64)
    same = (level[first] == level[second]) & (level[first] >= 0)
    slices = coo_matrix((np.ones(same.sum()), (first[same], second[same])), shape=(count, count))
    _, node = connected_components(slices, directed=False)
    # number the reached nodes by level, so that parents come before children
    reached = np.flatnonzero(level >= 0)
    names, inverse = np.unique(node[reached], return_inverse=True)
    node_level = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(node_level, inverse, level[reached])
    order = np.argsort(node_level, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    node_of_voxel = np.full(count, -1, dtype=np.int64)
    node_of_voxel[reached] = rank[inverse]
    node_level = node_level[order]

    parent = np.full(len(order), -1, dtype=np.int64)
    a, b = node_of_voxel[first], node_of_voxel[second]
    linked = (a >= 0) & (b >= 0) & (level[first] != level[second])
    a, b = a[linked], b[linked]
    low, high = np.where(node_level[a] < node_level[b], a, b), np.where(node_level[a] < node_level[b], b, a)
    # the parent is the node of the slice before with the widest contact
    pairs, contacts = np.unique(np.stack([high, low], axis=1), axis=0, return_counts=True)
    widest = np.zeros(len(order), dtype=np.int64)
    for (child, before), size in zip(pairs, contacts, strict=True):
        if size > widest[child]:
            widest[child], parent[child] = size, before

    sizes = np.bincount(node_of_voxel[reached], minlength=len(order))
    radius = np.sqrt(sizes * spacing_mm**3 / SLICE_MM / np.pi)
    sorted_voxels = reached[np.lexsort((intensity[reached], node_of_voxel[reached]))]
    ends = np.cumsum(sizes)
    core = intensity[sorted_voxels[np.maximum(ends - 1 - sizes // 10, 0)]]  # the 90th percentile of each node
    contact = np.bincount(node_of_voxel[reached], near_chamber[reached], len(order)) / np.maximum(sizes, 1)
    return NodeTree(node_of_voxel, parent, node_level, radius, core, contact)


def pruned(
    grown: np.ndarray,
    seeds: np.ndarray,
    intensity: np.ndarray,
    spacing_mm: float,
    near_chamber: np.ndarray | None = None,
) -> np.ndarray:
    """Return the grown voxels without veins, leaks, spurs and trees too short to be coronary arteries.

    Parameters
    ----------
    grown, seeds : bool arrays [k, j, i], the voxels of the trees and those at the aorta.
    intensity : normalized attenuation (1 = aorta).
    near_chamber : bool array, voxels that lie against a chamber; None where that says nothing.
    """
    result = np.zeros(grown.shape, dtype=bool)
    voxels = np.argwhere(grown)
    if not len(voxels):
        return result
    box = tuple(slice(max(a - 1, 0), b + 2) for a, b in zip(voxels.min(axis=0), voxels.max(axis=0), strict=True))
    at = tuple(voxels.T)
    contact = np.zeros(len(voxels), dtype=bool) if near_chamber is None else near_chamber[at]
    shape = tuple(s.stop - s.start for s in box)
    low = np.array([s.start for s in box])
    tree = node_tree(voxels - low, shape, spacing_mm, seeds[at], np.minimum(intensity[at], 1.2), contact)
    keep = arteries(tree)
    top = np.zeros(len(keep), dtype=np.int64)  # the farthest kept level of every node's descendants
    root = np.arange(len(keep))
    for node in range(len(keep)):
        if tree.parent[node] >= 0:
            root[node] = root[tree.parent[node]]
    np.maximum.at(top, root[keep], tree.level[keep])
    keep &= top[root] * SLICE_MM >= SHORTEST_TREE_MM
    reached = tree.node_of_voxel >= 0
    kept = voxels[reached][keep[tree.node_of_voxel[reached]]]
    result[tuple(kept.T)] = True
    return result


def arteries(tree: NodeTree) -> np.ndarray:
    """Return (M,) bool: the nodes that are left after veins, leaks and spurs were cut."""
    count = len(tree.parent)
    keep = np.ones(count, dtype=bool)
    for _ in range(4):
        before = keep.copy()
        keep = _without_wide_nodes(tree, keep)
        branch_of = _branches(tree, keep)
        keep = _without_bad_subtrees(tree, keep, branch_of)
        keep = _without_spurs(tree, keep, _branches(tree, keep))
        if (keep == before).all():
            break
    return keep


def _children_count(tree: NodeTree, keep: np.ndarray) -> np.ndarray:
    own = keep & (tree.parent >= 0)
    return np.bincount(tree.parent[own], minlength=len(keep))


def _branches(tree: NodeTree, keep: np.ndarray) -> np.ndarray:
    """Return for each kept node the first node of its branch (the chain between two bifurcations), else -1."""
    children = _children_count(tree, keep)
    head = np.full(len(keep), -1, dtype=np.int64)
    for node in np.flatnonzero(keep):
        parent = tree.parent[node]
        head[node] = node if parent < 0 or not keep[parent] or children[parent] != 1 else head[parent]
    return head


def _drop_descendants(tree: NodeTree, keep: np.ndarray) -> np.ndarray:
    """Return `keep` without the nodes whose parent was cut."""
    result = keep.copy()
    for node in np.flatnonzero(keep):
        parent = tree.parent[node]
        if parent >= 0 and not result[parent]:
            result[node] = False
    return result


def _without_wide_nodes(tree: NodeTree, keep: np.ndarray) -> np.ndarray:
    """Cut where the vessel becomes wider than any coronary artery over two slices: it has run into a chamber."""
    wide = tree.radius_mm > LARGEST_RADIUS_MM
    parent_wide = np.where(tree.parent >= 0, wide[np.maximum(tree.parent, 0)], False)
    return _drop_descendants(tree, keep & ~((wide & parent_wide) & (tree.level > 3)))


def _without_bad_subtrees(tree: NodeTree, keep: np.ndarray, branch_of: np.ndarray) -> np.ndarray:
    """Cut branches that, with all that hangs on them, are too dark for arteries or lie in a chamber's surface."""
    count = len(keep)
    weight = np.where(keep, 1.0, 0.0)
    # what is left in the core of a round vessel after a Gaussian blur
    visible = 1.0 - np.exp(-0.5 * (tree.radius_mm / BLUR_SIGMA_MM) ** 2)
    brightness = tree.intensity - VEIN_LEVEL * np.maximum(visible, LEAST_VISIBLE)
    total, excess, contact = weight.copy(), weight * brightness, weight * tree.contact
    for node in np.flatnonzero(keep)[::-1]:
        parent = tree.parent[node]
        if parent >= 0:
            total[parent] += total[node]
            excess[parent] += excess[node]
            contact[parent] += contact[node]
    heads = np.zeros(count, dtype=bool)
    heads[branch_of[branch_of >= 0]] = True
    bad = heads & ((excess < 0.0) | (contact > LARGEST_CONTACT * total))
    return _drop_descendants(tree, keep & ~bad)


def _without_spurs(tree: NodeTree, keep: np.ndarray, branch_of: np.ndarray) -> np.ndarray:
    """Cut end branches shorter than `SHORTEST_BRANCH_MM` beyond the radius of the vessel they leave."""
    children = _children_count(tree, keep)
    size = np.bincount(branch_of[branch_of >= 0], minlength=len(keep))
    spur = np.zeros(len(keep), dtype=bool)
    for node in np.flatnonzero(keep & (children == 0)):
        head = branch_of[node]
        parent = tree.parent[head]
        around = tree.radius_mm[parent] if parent >= 0 else 0.0
        if parent >= 0 and size[head] * SLICE_MM < SHORTEST_BRANCH_MM + min(around, 2.0):
            spur[head] = True
    return _drop_descendants(tree, keep & ~spur)
