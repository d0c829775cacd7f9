"""The vessels that a network misses between what it sees: pieces of lumen are led back to the trees through blood.

In: pieces of lumen that no tree reaches, the trees, and the intensity (0 = fat, 1 = aorta). Out: the voxels of the
vessels between them. The way of least cost is sought from each piece: blood costs little, dark tissue so much that only
a short gap is crossed, and chambers are closed. Where a way leads through blood, the vessel around it is filled.
"""

import numpy as np

from .branches import voxel_graph
from .tissue import distance_mm, widened

BUDGET = 12.0
"""What a way may cost: 48 mm of a bright vessel, 2 mm of dark tissue, or part of each."""

BRIGHT_COST, DARK_COST = 0.25, 6.0
"""Cost of a mm through blood as bright as that of the aorta, and through tissue no brighter than myocardium."""

SEEN_COST = 0.05
"""Cost of a mm through what the network takes for lumen."""

BRIGHT_PART = 0.7
"""Blood is bright above this part of the way from the myocardium to the aorta: small vessels are darkened by blur."""

BLOOD_PART = 0.35
"""What is brighter than this part of the way from the myocardium to the aorta is blood, at the edge of a vessel too."""

SHORTEST_PIECE_MM = 8.0
LARGEST_RADIUS_MM = 2.7
"""Half the width of the widest left main arteries."""

_SHORT_GAP_VOXELS = 3
_CLOSED_RIM_VOXELS = 2
_MOST_ROUNDS = 4
_SURE_VEIN = 0.5


def missing_vessels(
    tubular: np.ndarray,
    strong: np.ndarray,
    roots: np.ndarray,
    intensity: np.ndarray,
    thick: np.ndarray,
    vein: np.ndarray | None,
    myocardium: float,
    spacing_mm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ways that join pieces of lumen to those at the aorta, or to the aorta, and the blood around them.

    Parameters
    ----------
    tubular, strong : bool arrays [k, j, i], the lumen that the network sees, and where it is sure.
    roots : bool array, the voxels at the aorta where trees may begin.
    intensity : normalized and smoothed.
    thick : bool array, chambers and great vessels: no way leads through them.
    vein : probability of being a vein, None where that is not known.
    myocardium : normalized intensity of the myocardium.
    """
    from scipy import ndimage

    ways = np.zeros(tubular.shape, dtype=bool)
    labels, count = ndimage.label(tubular, structure=np.ones((3, 3, 3)))
    rooted = np.zeros(count + 1, dtype=bool)
    rooted[np.intersect1d(labels[roots & tubular], labels[strong & tubular])] = True
    waiting = _waiting(labels, rooted, strong, vein, spacing_mm)
    if not waiting:
        return ways, ways
    near = widened(tubular, _SHORT_GAP_VOXELS)
    closed = widened(thick, _CLOSED_RIM_VOXELS) & ~tubular
    level = myocardium + BLOOD_PART * (1.0 - myocardium)
    voxels = np.argwhere((near | (intensity > level)) & ~closed)
    at = tuple(voxels.T)
    brightness = (intensity[at] - myocardium) / (BRIGHT_PART * (1.0 - myocardium))
    cost = DARK_COST + (BRIGHT_COST - DARK_COST) * np.clip(brightness, 0.0, 1.0)
    if vein is not None:
        cost = cost + DARK_COST * (vein[at] > _SURE_VEIN)
    cost[tubular[at]] = SEEN_COST
    graph = _graph(voxels, tubular.shape, cost.astype(np.float32), spacing_mm)
    label_at = labels[at]
    reached = rooted[label_at] | (roots[at] & (brightness > 0.5))
    for _ in range(_MOST_ROUNDS):
        found, path = _ways_back(graph, label_at, waiting, reached)
        if not found:
            break
        ways[tuple(voxels[path].T)] = True
        reached |= np.isin(label_at, found)
        reached[path] = True
        waiting = [label for label in waiting if label not in found]
    return ways, _filled(ways & ~tubular, (intensity > level) & ~closed, spacing_mm)


def _waiting(
    labels: np.ndarray, rooted: np.ndarray, strong: np.ndarray, vein: np.ndarray | None, spacing_mm: float
) -> list[int]:
    """Return the labels of the pieces that are not at the aorta, but long, sure and no vein."""
    from scipy import ndimage

    waiting = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        extent = spacing_mm * np.linalg.norm([side.stop - side.start for side in box])
        if rooted[label] or extent < SHORTEST_PIECE_MM:
            continue
        inside = labels[box] == label
        if strong[box][inside].any() and (vein is None or float(np.mean(vein[box][inside])) < _SURE_VEIN):
            waiting.append(label)
    return waiting


def _graph(voxels: np.ndarray, shape: tuple[int, ...], cost: np.ndarray, spacing_mm: float) -> object:
    from scipy.sparse import coo_matrix

    first, second, length = voxel_graph(voxels, shape, spacing_mm)
    weights = 0.5 * length * (cost[first] + cost[second])
    return coo_matrix((weights, (first, second)), shape=(len(voxels),) * 2).tocsr()


def _ways_back(
    graph: object, label_at: np.ndarray, waiting: list[int], reached: np.ndarray
) -> tuple[list[int], np.ndarray]:
    """Return the pieces from which a way leads to what is reached, and the nodes of these ways."""
    from scipy.sparse.csgraph import dijkstra

    start = np.flatnonzero(np.isin(label_at, waiting))
    if not len(start):
        return [], start
    cost, before, source = dijkstra(
        graph, directed=False, indices=start, min_only=True, limit=BUDGET, return_predecessors=True
    )
    ends = np.flatnonzero(reached & np.isfinite(cost))
    found: list[int] = []
    path: list[int] = []
    for end in ends[np.argsort(cost[ends], kind="stable")]:
        label = int(label_at[source[end]])
        if label in found:
            continue
        found.append(label)
        node = int(end)
        while node >= 0:
            path.append(node)
            node = int(before[node])
        if len(found) == len(waiting):
            break
    return found, np.array(path, dtype=int)


def _filled(ways: np.ndarray, bright: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the blood around ways that lead through blood."""
    from scipy import ndimage

    result = np.zeros(ways.shape, dtype=bool)
    if not ways.any():
        return result
    where = np.argwhere(ways)
    margin = int(np.ceil(LARGEST_RADIUS_MM / spacing_mm)) + 1
    low = np.maximum(where.min(axis=0) - margin, 0)
    box = tuple(slice(int(a), int(b) + margin + 1) for a, b in zip(low, where.max(axis=0), strict=True))
    blood = bright[box] & (distance_mm(ways[box], spacing_mm) <= LARGEST_RADIUS_MM)
    result[box] = ndimage.binary_propagation(ways[box] & blood, mask=blood)
    return result
