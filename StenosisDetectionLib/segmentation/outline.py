"""The outline of the lumen around the voxels of a tree.

In: tree voxels (the tubular core of the vessels) and normalized intensity on a RAS grid. Out: the mask of the lumen,
connected wherever the tree is.
"""

import numpy as np

from ..progress import StageReport, no_report
from .branches import voxel_graph
from .tissue import distance_mm, widened

LUMEN_PART = 0.57
"""Where between its surroundings and its core the lumen ends: a little above half, because the vessel wall between
lumen and fat is brighter than fat."""

_LARGEST_STEP_MM = 1.0
_LEVEL_RADIUS_MM = 1.7
_SURROUNDINGS_SIGMA_MM = 1.5
_SURROUNDINGS_LEVEL = 0.3
_SMALLEST_PART = 8


def lumen_mask(
    tree: np.ndarray,
    intensity: np.ndarray,
    smooth: np.ndarray,
    closed: np.ndarray,
    spacing_mm: float,
    report: StageReport = no_report,
) -> np.ndarray:
    """Return the voxels at and within 1 mm of the tree that are brighter than `LUMEN_PART` of the local contrast.

    Parameters
    ----------
    tree : bool array [k, j, i].
    intensity, smooth : normalized intensity (1 = aorta), as it is and smoothed.
    closed : bool array, voxels that are never lumen (aorta and chambers).

    The lumen's own level is the brightest tree voxel nearby; that of its surroundings is a local mean of everything
    that is neither tree nor closed. Tight stenoses and bridged gaps, darker than that, stay connected by a thin line.
    """
    from scipy import ndimage

    if not tree.any():
        return tree
    margin = int(np.ceil(4.0 / spacing_mm))
    where = np.argwhere(tree)
    box = tuple(
        slice(max(a - margin, 0), b + margin + 1) for a, b in zip(where.min(axis=0), where.max(axis=0), strict=True)
    )
    report(0.0, "outlining the lumen")
    core, own, outside = tree[box] & ~closed[box], np.minimum(smooth[box], 1.1), closed[box]
    near = distance_mm(core, spacing_mm)
    level = ndimage.maximum_filter(np.where(core, own, 0.0), size=2 * round(_LEVEL_RADIUS_MM / spacing_mm) + 1)
    report(0.3, "outlining the lumen")
    around = ((near > _LARGEST_STEP_MM) & ~outside).astype(np.float32)
    sigma = _SURROUNDINGS_SIGMA_MM / spacing_mm
    weight = ndimage.gaussian_filter(around, sigma)
    background = ndimage.gaussian_filter(np.clip(intensity[box], 0.0, 0.7) * around, sigma) / np.maximum(weight, 1e-4)
    report(0.6, "outlining the lumen")
    background = np.where(weight > 1e-3, background, _SURROUNDINGS_LEVEL)
    threshold = LUMEN_PART * level + (1.0 - LUMEN_PART) * background
    allowed = (near <= _LARGEST_STEP_MM) & ~outside & (intensity[box] > threshold)
    filled = ndimage.binary_propagation(core & allowed, mask=allowed)
    report(0.8, "outlining the lumen")
    result = np.zeros(tree.shape, dtype=bool)
    result[box] = connected(core, filled, own, spacing_mm)
    return result


def connected(core: np.ndarray, filled: np.ndarray, intensity: np.ndarray, spacing: float) -> np.ndarray:
    """Return `filled` with its parts joined through `core` wherever the core joins them; specks are dropped."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components, dijkstra

    # On the voxels of the trees alone, which are few, instead of the whole image.
    voxels = np.argwhere(core | filled)
    at = tuple(voxels.T)
    inside = filled[at]
    first, second, length = voxel_graph(voxels, core.shape, spacing)

    def labeled(chosen: np.ndarray) -> np.ndarray:
        """Return the number of the connected part of each voxel (N,) among the chosen ones; others are alone."""
        both = chosen[first] & chosen[second]
        pairs = coo_matrix((np.ones(both.sum()), (first[both], second[both])), shape=(len(voxels),) * 2)
        return np.asarray(connected_components(pairs, directed=False)[1])

    part = labeled(inside)
    inside &= np.bincount(part)[part] >= _SMALLEST_PART
    result = np.zeros(core.shape, dtype=bool)
    result[tuple(voxels[inside].T)] = True
    used = core[at] | inside
    tree = labeled(used)
    largest = [np.argmax(np.bincount(part[(tree == t) & inside])) for t in np.unique(tree[inside])]
    sources = np.flatnonzero(np.isin(part, largest) & inside)
    others = np.setdiff1d(np.unique(part[inside]), largest)
    if not len(others):
        return result
    dark = np.where(inside, 0.01, np.maximum(1.3 - intensity[at], 0.1))
    both = used[first] & used[second]
    first, second, length = first[both], second[both], length[both]
    graph = coo_matrix((length * 0.5 * (dark[first] + dark[second]), (first, second)), shape=(len(voxels),) * 2).tocsr()
    cost, before, _ = dijkstra(graph, directed=False, indices=sources, min_only=True, return_predecessors=True)
    path = np.zeros(core.shape, dtype=bool)
    for label in others:
        members = np.flatnonzero((part == label) & inside)
        node = int(members[np.argmin(cost[members])])
        while node >= 0:
            path[tuple(voxels[node])] = True
            node = int(before[node])
    return result | path | (widened(path & ~result) & core)
