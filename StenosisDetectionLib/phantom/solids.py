"""The solids of a scene: half space, ellipsoid, tube and closed surface, and fields of attenuation.

Lengths are mm, points RAS. Analytic solids fill a cell by `0.5 - distance / cell`, clipped to 0 and 1, where the
distance to the surface is negative inside and the cell is as wide as a cube of its volume (which puts a surface at
most 0.01 mm off where cells are not cubes); the closed surface counts sub-cells inside it (VTK's image stencil).
"""

import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ..geometry import transform_points
from .mesh import TriangleMesh
from .render import Box, Cells, Solid

_SUBCELLS = (1, 2, 2)  # samples of a closed surface per cell along k, j, i

# VTK's pipeline objects are not made for several threads.
_VTK_LOCK = threading.Lock()


def filled_fraction(distance: np.ndarray, cell_mm: float) -> np.ndarray:
    """Return the filled fraction of cells at a signed distance (overwritten) from a surface."""
    distance *= -1 / cell_mm
    distance += 0.5
    return np.clip(distance, 0, 1, out=distance)


@dataclass(frozen=True, eq=False)
class HalfSpace:
    """Everything on the far side of a plane: `normal` (unit vector) points out of the solid."""

    point_ras: np.ndarray
    normal: np.ndarray

    def _distance(self, tile: Cells) -> float:
        return float(np.dot(self.normal, tile.center_ras - self.point_ras))

    def within(self, slab: Cells) -> tuple[Solid, Box] | None:
        """Return the part in a slab (see `render.Solid`)."""
        return None if self._distance(slab) > slab.reach_mm else (self, slab.whole())

    def covers(self, tile: Cells) -> bool:
        """Return whether it fills the tile (see `render.Solid`)."""
        return self._distance(tile) < -tile.reach_mm

    def fraction(self, tile: Cells) -> tuple[Box, np.ndarray] | None:
        """Return the filled fractions (see `render.Solid`)."""
        if self._distance(tile) > tile.reach_mm:
            return None
        distance = tile.linear(self.normal, -float(np.dot(self.normal, self.point_ras)), tile.whole())
        width = float(np.linalg.norm(self.normal @ tile.ijk_to_ras[:3, :3]))  # of a cell along the normal
        return tile.whole(), filled_fraction(distance, width)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid: center, semi-axes (3,) and their unit vectors as the columns of a 3 x 3 matrix.

    The distance is that of first order, k0 (k0 - 1) / k1 with k0 = |p / r| and k1 = |p / r^2|: exact for a sphere,
    and at the surface of any ellipsoid.
    """

    center_ras: np.ndarray
    semi_axes_mm: np.ndarray
    axes: np.ndarray

    def _box(self, cells: Cells) -> Box | None:
        reach = np.sqrt(((self.axes * self.semi_axes_mm) ** 2).sum(axis=1))
        signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
        return cells.box(self.center_ras + signs * reach)

    def within(self, slab: Cells) -> tuple[Solid, Box] | None:
        """Return the part in a slab (see `render.Solid`)."""
        box = self._box(slab)
        return None if box is None else (self, box)

    def _scaled_distance(self, tile: Cells) -> tuple[float, float]:
        """Return |p / r| of the tile's center and the most by which it differs inside the tile."""
        scaled = (tile.center_ras - self.center_ras) @ self.axes / self.semi_axes_mm
        return float(np.linalg.norm(scaled)), (tile.reach_mm + tile.cell_mm) / float(np.min(self.semi_axes_mm))

    def covers(self, tile: Cells) -> bool:
        """Return whether it fills the tile (see `render.Solid`)."""
        center, reach = self._scaled_distance(tile)
        return center + reach < 1

    def fraction(self, tile: Cells) -> tuple[Box, np.ndarray] | None:
        """Return the filled fractions (see `render.Solid`)."""
        center, reach = self._scaled_distance(tile)
        box = self._box(tile)
        if box is None or center - reach > 1:
            return None
        k0 = np.zeros([s.stop - s.start for s in box], dtype=np.float32)
        k1 = np.zeros_like(k0)
        for axis, semi_axis in zip(self.axes.T, self.semi_axes_mm, strict=True):
            scaled = tile.linear(axis / semi_axis, -float(axis @ self.center_ras) / semi_axis, box)
            scaled *= scaled
            k0 += scaled
            scaled /= semi_axis**2
            k1 += scaled
        np.sqrt(k0, out=k0)
        np.sqrt(k1, out=k1)
        np.maximum(k1, 1e-6, out=k1)
        distance = k0 - 1
        distance *= k0
        distance /= k1
        # At the very center the first-order distance vanishes although the point is deep inside.
        distance[k0 < 0.5] = -tile.cell_mm
        return box, filled_fraction(distance, tile.cell_mm)


@dataclass(frozen=True, eq=False)
class Tube:
    """A tube around a polyline: the distance to the nearest point of the line minus the radius there.

    The radius is thereby that of the section normal to the line, and linear between the points. An end is a plane
    normal to the line where it is `flat`, otherwise round.

    With `wide_side` (N, 3), unit vectors normal to the line, sections are ellipses of the same area that are widest
    along it: `ratio` is their short over their long axis. Their distance is of first order, as that of an ellipsoid.
    """

    points_ras: np.ndarray
    radius_mm: np.ndarray
    flat_start: bool = False
    flat_end: bool = False
    wide_side: np.ndarray | None = None
    ratio: float = 1.0

    def within(self, slab: Cells) -> tuple[Solid, Box] | None:
        """Return the part in a slab (see `render.Solid`)."""
        box = slab.box(np.asarray(self.points_ras), self._widest_mm + 2 * slab.cell_mm)
        return None if box is None else (self, box)

    @cached_property
    def _widest_mm(self) -> float:
        return float(np.max(self.radius_mm)) / self.ratio**0.5

    @cached_property
    def _segments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start (N, 3), vector (N, 3) and squared length (N,) of the segments."""
        points = np.asarray(self.points_ras, dtype=np.float64)
        along = np.diff(points, axis=0)
        return points[:-1], along, (along**2).sum(axis=1)

    def _segment_distances(self, point: np.ndarray) -> np.ndarray:
        """Return the distances of a point to the segments."""
        start, along, squared_length = self._segments
        t = np.clip(((point - start) * along).sum(axis=1) / squared_length, 0, 1)
        return np.sqrt(((start + t[:, None] * along - point) ** 2).sum(axis=1))

    def covers(self, tile: Cells) -> bool:
        """Return whether it fills the tile (see `render.Solid`)."""
        if self.flat_start or self.flat_end:
            return False
        smallest = float(np.min(self.radius_mm)) * self.ratio**0.5
        reach = tile.reach_mm + tile.cell_mm
        # With the smallest radius the tile is inside whichever segment is nearest.
        return smallest > reach and bool(self._segment_distances(tile.center_ras).min() < smallest - reach)

    def fraction(self, tile: Cells) -> tuple[Box, np.ndarray] | None:
        """Return the filled fractions (see `render.Solid`)."""
        points = np.asarray(self.points_ras, dtype=np.float64)
        radius = np.asarray(self.radius_mm, dtype=np.float64)
        cell = tile.cell_mm
        reach = np.maximum(radius[:-1], radius[1:]) / self.ratio**0.5 + 2 * cell
        near_tile = np.flatnonzero(self._segment_distances(tile.center_ras) < reach + tile.reach_mm)
        if len(near_tile) == 0:
            return None
        ends = np.unique(np.concatenate([near_tile, near_tile + 1]))
        outer = tile.box(points[ends], float(reach[near_tile].max()))
        if outer is None:
            return None
        nearest = np.full([s.stop - s.start for s in outer], np.inf, dtype=np.float32)
        distance = np.full_like(nearest, np.inf)
        found = False
        for n in near_tile:
            # A segment reaches beyond its own tube, so that its neighbor's nearest points are compared.
            box = tile.box(points[n : n + 2], float(reach[n]))
            if box is None:
                continue
            found = True
            part = tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))
            side = None if self.wide_side is None else (self.wide_side[n] + self.wide_side[n + 1], self.ratio)
            _nearer_segment(tile, box, points[n : n + 2], radius[n : n + 2], side, nearest[part], distance[part])
        if not found:
            return None
        for flat, end, other in ((self.flat_start, 0, 1), (self.flat_end, -1, -2)):
            if flat:
                outward = points[end] - points[other]
                outward /= np.linalg.norm(outward)
                beyond = tile.linear(outward, -float(outward @ points[end]), outer)
                # Only near this end: the plane may cut another part of a curved tube.
                near = tile.box(points[end : len(points) if end else 1], float(radius[end]) + 2 * cell)
                if near is not None:
                    part = tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(near, outer, strict=True))
                    np.maximum(distance[part], beyond[part], out=distance[part])
        return outer, filled_fraction(distance, cell)


def _nearer_segment(
    tile: Cells,
    box: Box,
    ends: np.ndarray,
    radius: np.ndarray,
    wide_side: tuple[np.ndarray, float] | None,
    nearest: np.ndarray,
    distance: np.ndarray,
) -> None:
    """Update the squared distance to the line and the signed distance to the tube where this segment is nearer."""
    along = ends[1] - ends[0]
    length = float(np.linalg.norm(along))
    direction = along / length
    t = tile.linear(direction / length, -float(direction @ ends[0]) / length, box)
    np.clip(t, 0, 1, out=t)
    squared = np.zeros_like(t)
    for axis in range(3):
        unit = np.eye(3)[axis]
        component = tile.linear(unit, -float(ends[0][axis]), box)
        component -= np.float32(along[axis]) * t
        component *= component
        squared += component
    nearer = squared < nearest
    nearest[nearer] = squared[nearer]
    r = np.float32(radius[0]) + np.float32(radius[1] - radius[0]) * t[nearer]
    if wide_side is None:
        distance[nearer] = np.sqrt(squared[nearer]) - r
        return
    side, ratio = wide_side
    side = side - (side @ direction) * direction
    side /= np.linalg.norm(side)
    along_side = tile.linear(side, -float(side @ ends[0]), box)[nearer] ** 2
    along_side /= r * r / np.float32(ratio)  # in units of the long semi-axis
    across = np.maximum(squared[nearer] - along_side * (r * r / np.float32(ratio)), 0) / (r * r * np.float32(ratio))
    scaled = along_side + across
    slope = np.sqrt(along_side * np.float32(ratio) + across / np.float32(ratio)) / r
    size = np.sqrt(scaled)
    distance[nearer] = np.where(size < 0.3, -r, (size - 1) * size / np.maximum(slope, 1e-6))


@dataclass(frozen=True, eq=False)
class ClosedSurface:
    """The inside of a closed triangle mesh in RAS; with `bounds_ras` (2, 3) only the part in that box."""

    mesh: TriangleMesh
    bounds_ras: np.ndarray | None = None

    def within(self, slab: Cells) -> tuple[Solid, Box] | None:
        """Return the part in a slab (see `render.Solid`), sampled there at once."""
        bounds = self.bounds_ras if self.bounds_ras is not None else self.mesh.bounds()
        corners = np.array(np.meshgrid(*bounds.T)).reshape(3, -1).T
        box = slab.box(corners)
        if box is None:
            return None
        with _VTK_LOCK:
            inside = _stencil(self.mesh.transformed(np.linalg.inv(slab.ijk_to_ras)), box)
        filled = np.zeros([s.stop - s.start for s in box], dtype=np.uint8)
        for k, j, i in np.ndindex(*_SUBCELLS):
            filled += inside[k :: _SUBCELLS[0], j :: _SUBCELLS[1], i :: _SUBCELLS[2]]
        return _Sampled(box, filled), box

    def covers(self, tile: Cells) -> bool:
        """Return whether it fills the tile; not known before it is sampled in a slab."""
        return False

    def fraction(self, tile: Cells) -> tuple[Box, np.ndarray] | None:
        """Return the filled fractions (see `render.Solid`)."""
        part = self.within(tile)
        return None if part is None else part[0].fraction(tile)


@dataclass(frozen=True, eq=False)
class _Sampled:
    """A solid sampled in a box of a slab: `filled` counts the sub-cells inside it, uint8 [k, j, i]."""

    box: Box
    filled: np.ndarray

    def within(self, slab: Cells) -> tuple[Solid, Box] | None:
        """Return itself (see `render.Solid`)."""
        return self, self.box

    def covers(self, tile: Cells) -> bool:
        """Return whether it fills the tile (see `render.Solid`)."""
        ends = zip(tile.start, tile.shape, self.box, strict=True)
        if any(start < s.start or start + n > s.stop for start, n, s in ends):
            return False
        part = tuple(
            slice(start - s.start, start - s.start + n)
            for start, n, s in zip(tile.start, tile.shape, self.box, strict=True)
        )
        return bool((self.filled[part] == np.prod(_SUBCELLS)).all())

    def fraction(self, tile: Cells) -> tuple[Box, np.ndarray] | None:
        """Return the filled fractions (see `render.Solid`)."""
        low = [max(s.start, start) for s, start in zip(self.box, tile.start, strict=True)]
        high = [min(s.stop, start + n) for s, start, n in zip(self.box, tile.start, tile.shape, strict=True)]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return None
        own = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, self.box, strict=True))
        part = self.filled[own]
        if not part.any():
            return None
        box = [slice(a - start, b - start) for a, b, start in zip(low, high, tile.start, strict=True)]
        return (box[0], box[1], box[2]), part * np.float32(1 / np.prod(_SUBCELLS))


def _stencil(mesh: TriangleMesh, box: Box) -> np.ndarray:
    """Return 1 for the sub-cells of a box that are inside a mesh given in cell indices, uint8 [k, j, i]."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    size = [(s.stop - s.start) * m for s, m in zip(box, _SUBCELLS, strict=True)]
    stencil = vtk.vtkPolyDataToImageStencil()
    stencil.SetInputData(mesh.to_vtk())
    stencil.SetOutputSpacing(*[1 / m for m in reversed(_SUBCELLS)])
    stencil.SetOutputOrigin(*[s.start - 0.5 + 0.5 / m for s, m in zip(reversed(box), reversed(_SUBCELLS), strict=True)])
    stencil.SetOutputWholeExtent(0, size[2] - 1, 0, size[1] - 1, 0, size[0] - 1)
    stencil.SetTolerance(0)
    image = vtk.vtkImageStencilToImage()
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    return vtk_to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape(size)


@dataclass(frozen=True, eq=False)
class Texture:
    """Smooth random variation around a mean: trilinear between random values every `scale_mm`, SD about `sd_hu` / 2."""

    mean_hu: float
    sd_hu: float
    scale_mm: float
    seed: int

    def __call__(self, ijk_to_ras: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Return HU on a grid (see `render.Field`)."""
        from scipy.ndimage import affine_transform

        # The lattice is indexed by RAS x, y, z; reversed columns take indices in the order k, j, i.
        matrix = ijk_to_ras[:3, 2::-1] / self.scale_mm
        offset = ijk_to_ras[:3, 3] / self.scale_mm
        noise = affine_transform(_lattice(self.seed), matrix, offset, shape, np.float32, order=1, mode="grid-wrap")
        noise *= np.float32(self.sd_hu)
        noise += np.float32(self.mean_hu)
        return noise


@lru_cache
def _lattice(seed: int) -> np.ndarray:
    """Return random values of unit variance, (32, 32, 32)."""
    return np.random.default_rng(seed).normal(size=(32, 32, 32)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Falling:
    """Contrast that falls linearly with the distance from a point, to `end_hu` at `length_mm` and beyond."""

    start_ras: np.ndarray
    start_hu: float
    end_hu: float
    length_mm: float

    def __call__(self, ijk_to_ras: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Return HU on a grid (see `render.Field`)."""
        indices = np.moveaxis(np.indices(shape), 0, -1)[..., ::-1]
        distance = np.linalg.norm(transform_points(ijk_to_ras, indices) - self.start_ras, axis=-1)
        return self.start_hu + (self.end_hu - self.start_hu) * np.clip(distance / self.length_mm, 0, 1)
