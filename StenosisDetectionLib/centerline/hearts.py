"""Whose tree: ostia and pieces of lumen come in, those of one heart go out, with a flag where there are more.

A segmentation may hold the trees of two patients: two were drawn into one label map, or it belongs to another scan.
Trees on two aortas far apart, and pieces farther apart than the arteries of one heart can be, are of two hearts. Which
one is this patient's, the aorta tells, or that the other lies outside of the image; otherwise nothing does. Lengths in
mm, RAS.
"""

from typing import Any

import numpy as np

from ..geometry import transform_points
from ..study import CTVolume
from .gaps import extents_mm
from .grid import LumenGrid
from .ostia import Ostium

SEVERAL, UNDECIDED = "several_hearts", "several_hearts_undecided"
"""Flags of a tree: another heart's was left out; nothing was analyzed, because nothing tells whose is whose."""

TREE_MM = 60.0
"""A piece of lumen of this extent may be a coronary tree, a smaller one is part of one."""

APART_MM, HEART_MM = 40.0, 180.0
"""Pieces farther apart than the first, and longer together than the second, are not of one heart, however large."""

AORTAS_APART_MM = 50.0
"""Ostia on two aortas, or on two parts of one, are of two hearts from this distance on."""

MOST_LOST = 0.5
"""Lumen without ostium that is more than this part of a complete tree belongs to another one."""


def of_one_heart(
    grid: LumenGrid, component: np.ndarray, ostia: list[Ostium], volume: CTVolume | None
) -> tuple[list[Ostium], tuple[str, ...]]:
    """Return the ostia of one heart and the flags `several_hearts` or, with no ostium, `several_hearts_undecided`.

    Of the trees on two aortas, those that lie more in the volume are kept, or else the larger ones.
    """
    hearts = _hearts(grid, component, ostia)
    if len(hearts) < 2:
        return ostia, ()
    voxels = [np.isin(component, [component[ostia[n].node] for n in heart]) for heart in hearts]
    inside = [0.0 if volume is None else round(_part_inside(volume, grid.ras[v]), 1) for v in voxels]
    best = max(range(len(hearts)), key=lambda n: (inside[n], int(voxels[n].sum())))
    estimated = all("ostium_estimated" in ostia[n].flags for heart in hearts for n in heart)
    if estimated and sum(part > 0.0 for part in inside) != 1:
        return [], (UNDECIDED,)
    others = {n for number, heart in enumerate(hearts) if number != best for n in heart}
    return [o for n, o in enumerate(ostia) if n not in others], (SEVERAL,)


def holds_another_tree(grid: LumenGrid, component: np.ndarray, rooted: set[int], complete: bool) -> bool:
    """Return whether lumen that is connected to no ostium is another heart's tree.

    `complete` tells that the tree that is connected has both its left and its right arteries.
    """
    lost = np.setdiff1d(np.flatnonzero(extents_mm(grid, component) >= TREE_MM), list(rooted))
    if len(lost) == 0:
        return False
    own = np.isin(component, list(rooted))
    if complete and np.isin(component, lost).sum() > MOST_LOST * own.sum():
        return True
    return any(_too_far_apart(grid.ras[own], grid.ras[component == piece]) for piece in lost)


def _hearts(grid: LumenGrid, component: np.ndarray, ostia: list[Ostium]) -> list[list[int]]:
    """Return the ostia, by number, of each heart that has a piece as large as a tree; one heart at least."""
    if len(ostia) < 2:
        return [list(range(len(ostia)))]
    extents = extents_mm(grid, component)
    large = [n for n, o in enumerate(ostia) if extents[component[o.node]] >= TREE_MM]
    places = np.array([o.point_ras for o in ostia])
    aorta = _parts_of(grid.aorta, grid.voxel_mm, places) if _spread(places) > AORTAS_APART_MM else None
    hearts: list[list[int]] = []
    for n in large:
        lumen = grid.ras[component == component[ostia[n].node]]
        for heart in hearts:
            first = heart[0]
            if aorta is not None:
                same = aorta[n] == aorta[first] or np.linalg.norm(places[n] - places[first]) < AORTAS_APART_MM
            else:
                same = not any(
                    _too_far_apart(grid.ras[component == component[ostia[other].node]], lumen) for other in heart
                )
            if same:
                heart.append(n)
                break
        else:
            hearts.append([n])
    return hearts or [list(range(len(ostia)))]


def _parts_of(aorta: Any, voxel_mm: float, places: np.ndarray) -> np.ndarray | None:
    """Return the number of the connected part of the aorta that is nearest to each place; None without aorta."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if aorta is None:
        return None
    pairs = aorta.query_pairs(1.8 * voxel_mm, output_type="ndarray")
    touching = coo_array((np.ones(len(pairs)), pairs.T), shape=(aorta.n, aorta.n))
    return np.asarray(connected_components(touching, directed=False)[1][aorta.query(places)[1]])


def _spread(places: np.ndarray) -> float:
    """Return the largest distance between places (N, 3)."""
    return float(np.linalg.norm(places[:, None] - places[None], axis=2).max())


def _too_far_apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two sets of points lie farther apart, and reach farther together, than arteries of one heart."""
    from scipy.spatial import cKDTree

    if float(cKDTree(first[::5]).query(second[::5])[0].min()) <= APART_MM:
        return False
    along = second.mean(axis=0) - first.mean(axis=0)
    along /= np.linalg.norm(along)
    return float(np.ptp(np.concatenate([first @ along, second @ along]))) > HEART_MM


def _part_inside(volume: CTVolume, points_ras: np.ndarray) -> float:
    """Return the part of points that lies inside a volume."""
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), points_ras)
    return float(((ijk >= -0.5) & (ijk <= np.array(volume.size_ijk) - 0.5)).all(axis=1).mean())
