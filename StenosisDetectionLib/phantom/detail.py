"""Where a scene has fine structure, which needs fine cells: along its thin labeled solids. RAS, mm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import spacing_of, transform_points
from .cells import Painted

DETAIL_TILE = 20
"""Edge in voxels of the tiles that are rendered with fine cells."""

_THIN_MM = 5.0  # radius up to which a labeled tube is fine structure
_AROUND_MM = 1.5  # wall, plaque and calcium around a lumen


@dataclass(frozen=True, eq=False)
class Detail:
    """Where fine structure is: points (N, 3) in RAS, and how far around each it reaches, (N,) in mm.

    `solids` are the numbers in the scene of the fine structure itself, which lies in its reach as a whole.
    """

    points_ras: np.ndarray
    reach_mm: np.ndarray
    solids: frozenset[int] = frozenset()

    def tiles(self, size_ijk: tuple[int, int, int], ijk_to_ras: np.ndarray, margin_mm: float) -> np.ndarray:
        """Return the first voxels (M, 3), k, j, i, of the tiles of a grid that the structure and a margin reach."""
        counts = [-(-n // DETAIL_TILE) for n in size_ijk]
        marked = np.zeros(counts, dtype=bool)
        centers = transform_points(np.linalg.inv(ijk_to_ras), self.points_ras)
        reach = (np.asarray(self.reach_mm)[:, None] + margin_mm) / np.array(spacing_of(ijk_to_ras))
        low = np.floor((centers - reach) / DETAIL_TILE).astype(int)
        high = np.floor((centers + reach) / DETAIL_TILE).astype(int)
        for offset in np.ndindex(*((high - low).max(axis=0, initial=0) + 1)):
            index = np.minimum(low + offset, high)
            inside = ((index >= 0) & (index < counts)).all(axis=1)
            marked[tuple(index[inside].T)] = True
        return np.argwhere(marked.transpose(2, 1, 0)) * DETAIL_TILE


def detail_of(scene: Sequence[Painted]) -> Detail:
    """Return where the thin labeled solids of a scene are: those given by a line and a radius, or by a mesh."""
    points, reach, solids = [np.empty((0, 3))], [np.empty(0)], set()
    for number, painted in enumerate(scene):
        if not painted.label:
            continue
        line, radius = getattr(painted.solid, "points_ras", None), getattr(painted.solid, "radius_mm", None)
        mesh = getattr(painted.solid, "mesh", None)
        if line is not None and radius is not None and float(np.median(radius)) <= _THIN_MM:
            line, radius = _dense(np.asarray(line, dtype=float), np.asarray(radius, dtype=float))
            points.append(line)
            reach.append(radius + _AROUND_MM)
        elif mesh is not None:
            points.append(mesh.points)
            reach.append(np.full(len(mesh.points), _AROUND_MM))
        else:
            continue
        solids.add(number)
    return Detail(np.concatenate(points), np.concatenate(reach), frozenset(solids))


def _dense(line: np.ndarray, radius: np.ndarray, spacing_mm: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a line and its radius with no two neighbors much farther apart than the spacing."""
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    even = np.linspace(0, distance[-1], max(2, int(np.ceil(distance[-1] / spacing_mm)) + 1))
    points = np.stack([np.interp(even, distance, axis) for axis in line.T], axis=1)
    return points, np.interp(even, distance, radius) + spacing_mm / 2
