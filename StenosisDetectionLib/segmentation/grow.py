"""Coronary trees grown from the aortic root through tubular voxels, short gaps included.

In: tube response and normalized intensity on a RAS grid, the candidate voxels and the seeds on the aorta.
Out: the voxels of the trees. Whatever hangs on the trees but is no artery is cut later (`branches`).
"""

from dataclasses import dataclass

import numpy as np

from ..progress import StageReport

SHORT_GAP_MM = 3.0
"""A vessel may be invisible over this length anywhere (a tight stenosis, a step between slabs)."""

LONG_GAP_MM = 15.0
"""A longer gap (an occlusion) is bridged only where both ends point at each other and not only fat lies between."""

_DIRECTION_REACH_MM = 5.0
_LEAST_CORE = 0.6
_LEAST_BETWEEN = 0.2  # plaque and vessel wall lie near 0.3, fat at 0


@dataclass(frozen=True, eq=False)
class _Piece:
    """Connected tubular voxels: positions (N, 3) in mm, ordered k, j, i, core intensity, extent in mm."""

    points: np.ndarray
    core: float
    extent_mm: float


def grow_trees(
    tubular: np.ndarray,
    strong: np.ndarray,
    seeds: np.ndarray,
    intensity: np.ndarray,
    spacing_mm: float,
    report: StageReport,
) -> np.ndarray:
    """Return the tubular voxels that belong to a tree rooted at the seeds.

    Parameters
    ----------
    tubular : bool array [k, j, i], candidate voxels.
    strong : bool array, voxels that a piece must contain to be more than noise.
    seeds : bool array, candidate voxels at the surface of the aorta.
    intensity : normalized intensity, 1 = aorta.
    spacing_mm : spacing of the isotropic grid.
    """
    from scipy import ndimage

    labels, count = ndimage.label(tubular, structure=np.ones((3, 3, 3)))
    result = np.zeros(tubular.shape, dtype=bool)
    if count == 0:
        return result
    report(0.2, "growing from the aortic root")
    has_strong = np.zeros(count + 1, dtype=bool)
    has_strong[np.unique(labels[strong & tubular])] = True
    rooted = np.unique(labels[seeds & tubular])
    rooted = rooted[(rooted > 0) & has_strong[rooted]]
    boxes = ndimage.find_objects(labels)
    pieces: dict[int, _Piece] = {}
    for label in np.flatnonzero(has_strong):
        piece = _piece(labels, int(label), boxes[label - 1], intensity, spacing_mm)
        if label in rooted or piece.extent_mm >= 5.0:
            pieces[int(label)] = piece
    report(0.4, "growing from the aortic root")
    accepted, bridges = _link(pieces, [int(label) for label in rooted], intensity, spacing_mm, report)
    keep = np.zeros(count + 1, dtype=bool)
    keep[accepted] = True
    result = keep[labels]
    for start, end in bridges:
        _draw(result, start, end, spacing_mm)
    return result


def _piece(labels: np.ndarray, label: int, box: tuple[slice, ...], intensity: np.ndarray, spacing: float) -> _Piece:
    inside = labels[box] == label
    points = (np.argwhere(inside) + [s.start for s in box]) * spacing
    core = float(np.percentile(intensity[box][inside], 75))
    return _Piece(points, core, float(np.linalg.norm(np.ptp(points, axis=0))))


def _link(
    pieces: dict[int, _Piece], rooted: list[int], intensity: np.ndarray, spacing: float, report: StageReport
) -> tuple[list[int], list[tuple[np.ndarray, np.ndarray]]]:
    """Return the labels reached from the rooted pieces, and the end points of the bridges over the gaps (mm)."""
    from scipy.spatial import cKDTree

    accepted = list(rooted)
    bridges: list[tuple[np.ndarray, np.ndarray]] = []
    waiting = sorted(set(pieces) - set(rooted))
    trees = {label: cKDTree(pieces[label].points) for label in pieces}
    front = list(rooted)
    while front and waiting:
        report(0.6, "bridging gaps")
        found = []
        for label in waiting:
            for parent in front:
                bridge = _bridge(pieces[parent], trees[parent], pieces[label], trees[label], intensity, spacing)
                if bridge is not None:
                    found.append(label)
                    bridges.append(bridge)
                    break
        accepted += found
        waiting = [label for label in waiting if label not in found]
        front = found
    return accepted, bridges


def _bridge(
    parent: _Piece, parent_tree: object, piece: _Piece, tree: object, intensity: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the two ends of the gap between two pieces when the piece continues or branches from the parent."""
    low = np.maximum(parent.points.min(axis=0), piece.points.min(axis=0))
    high = np.minimum(parent.points.max(axis=0), piece.points.max(axis=0))
    if np.linalg.norm(np.maximum(low - high, 0.0)) > LONG_GAP_MM:
        return None
    distance, index = parent_tree.query(piece.points, distance_upper_bound=LONG_GAP_MM)  # type: ignore[attr-defined]
    nearest = int(np.argmin(distance))
    gap = float(distance[nearest])
    if not np.isfinite(gap):
        return None
    end, start = piece.points[nearest], parent.points[index[nearest]]
    link = (end - start) / max(gap, 1e-6)
    own = _direction(piece, tree, end)
    theirs = _direction(parent, parent_tree, start)
    along_own, along_theirs = abs(float(link @ own)), abs(float(link @ theirs))
    if piece.core < _LEAST_CORE:
        return None
    if gap <= SHORT_GAP_MM:
        # a branch may leave its parent at any angle, but its own end points at the gap
        accept = along_own > 0.7 or (along_own > 0.45 and along_theirs > 0.6)
    else:
        straight = 0.9 if gap > 10.0 else 0.75
        accept = (
            min(along_own, along_theirs) > straight
            and piece.extent_mm > 10.0
            and _between(start, end, intensity, spacing) > _LEAST_BETWEEN
        )
    return (start, end) if accept else None


def _direction(piece: _Piece, tree: object, point: np.ndarray) -> np.ndarray:
    """Return the unit vector along a piece near one of its points."""
    near = piece.points[tree.query_ball_point(point, _DIRECTION_REACH_MM)]  # type: ignore[attr-defined]
    centered = near - near.mean(axis=0)
    return np.asarray(np.linalg.eigh(centered.T @ centered)[1][:, -1])


def _between(start_mm: np.ndarray, end_mm: np.ndarray, intensity: np.ndarray, spacing: float) -> float:
    """Return the median along the line between two points of the brightest intensity within a voxel of it."""
    voxels = _line(start_mm, end_mm, spacing)
    inner = np.clip(voxels, 1, np.array(intensity.shape) - 2)
    around = np.array(list(np.ndindex(3, 3, 3))) - 1
    values = intensity[tuple((inner[:, None, :] + around[None]).reshape(-1, 3).T)]
    return float(np.median(values.reshape(len(inner), -1).max(axis=1)))


def _draw(mask: np.ndarray, start_mm: np.ndarray, end_mm: np.ndarray, spacing: float) -> None:
    """Set the voxels on the straight line between two points."""
    mask[tuple(_line(start_mm, end_mm, spacing).T)] = True


def _line(start_mm: np.ndarray, end_mm: np.ndarray, spacing: float) -> np.ndarray:
    """Return the voxels (N, 3) on the straight line between two points in mm; neighbors touch."""
    steps = int(np.ceil(np.linalg.norm(end_mm - start_mm) / (0.4 * spacing))) + 1
    line = start_mm + np.linspace(0.0, 1.0, steps)[:, None] * (end_mm - start_mm)
    return np.asarray(np.rint(line / spacing).astype(int))
