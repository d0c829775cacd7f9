"""Where a scene has fine structure, which needs fine cells: its vessels, from the first labeled one on. RAS, mm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import spacing_of, transform_points
from .cells import Painted, Solid

DETAIL_TILE = 20
"""Edge in voxels of the tiles that are rendered with fine cells."""

_THIN_MM = 5.0  # radius up to which a tube is fine structure


@dataclass(frozen=True, eq=False)
class Detail:
    """Which solids of a scene are fine structure, and where.

    Parameters
    ----------
    first : number of the first solid that is not painted before the fine structure.
    solids : numbers of the solids that are fine structure.
    points_ras, reach_mm : points (N, 3) along it, and how far around each it reaches, (N,).
    """

    first: int
    solids: frozenset[int]
    points_ras: np.ndarray
    reach_mm: np.ndarray

    def tiles(self, size_ijk: tuple[int, int, int], ijk_to_ras: np.ndarray) -> np.ndarray:
        """Return the first voxels (M, 3), k, j, i, of the tiles of a grid in which there is fine structure."""
        counts = [-(-n // DETAIL_TILE) for n in size_ijk]
        marked = np.zeros(counts, dtype=bool)
        centers = transform_points(np.linalg.inv(ijk_to_ras), self.points_ras) + 0.5
        reach = np.asarray(self.reach_mm)[:, None] / np.array(spacing_of(ijk_to_ras)) + 0.5
        low = np.floor((centers - reach) / DETAIL_TILE).astype(int)
        high = np.floor((centers + reach) / DETAIL_TILE).astype(int)
        near = ((high >= 0) & (low < counts)).all(axis=1)
        low, high = low[near], high[near]
        for offset in np.ndindex(*((high - low).max(axis=0, initial=0) + 1)):
            index = np.minimum(low + offset, high)
            inside = ((index >= 0) & (index < counts)).all(axis=1)
            marked[tuple(index[inside].T)] = True
        return np.argwhere(marked.transpose(2, 1, 0)) * DETAIL_TILE


def detail_of(scene: Sequence[Painted]) -> Detail:
    """Return the fine structure of a scene: the tubes and closed surfaces from its first labeled one on.

    What lies before them in the scene is painted before them; anything else that follows, such as the aorta over the
    ends of the arteries, is painted over them.
    """
    first = next((n for n, painted in enumerate(scene) if painted.label and _line(painted.solid)), len(scene))
    points, reach, solids = [np.empty((0, 3))], [np.empty(0)], set()
    for number in range(first, len(scene)):
        line = _line(scene[number].solid)
        if line is not None:
            points.append(line[0])
            reach.append(line[1])
            solids.add(number)
    return Detail(first, frozenset(solids), np.concatenate(points), np.concatenate(reach))


def _line(solid: Solid) -> tuple[np.ndarray, np.ndarray] | None:
    """Return points (N, 3) along a thin solid and how far it reaches around them (N,); None where it is not thin."""
    points, radius = getattr(solid, "points_ras", None), getattr(solid, "radius_mm", None)
    mesh = getattr(solid, "mesh", None)
    if mesh is not None:
        return mesh.points, np.zeros(len(mesh.points))
    if points is None or radius is None or float(np.median(radius)) > _THIN_MM:
        return None
    return _dense(np.asarray(points, dtype=float), np.asarray(radius, dtype=float))


def _dense(line: np.ndarray, radius: np.ndarray, spacing_mm: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a line with no two neighbors farther apart than the spacing, and radii that hold what lies between."""
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    even = np.linspace(0, distance[-1], max(2, int(np.ceil(distance[-1] / spacing_mm)) + 1))
    points = np.stack([np.interp(even, distance, axis) for axis in line.T], axis=1)
    return points, np.interp(even, distance, radius) + spacing_mm
