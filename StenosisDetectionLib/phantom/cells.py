"""What a scene is made of, and the cells it is painted on. RAS, mm, HU.

A scene is a list of `Painted` solids, back to front. A solid knows which fraction of each cell of a block it fills.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ..geometry import shifted, spacing_of, transform_points

Box = tuple[slice, slice, slice]
"""Part of a block of cells, slices in the order k, j, i."""

Field = Callable[[np.ndarray, tuple[int, int, int]], np.ndarray]
"""An attenuation that varies in space: given an affine ijk to RAS and a shape [k, j, i], it returns HU on that grid.

It must be smooth on the scale of `FIELD_SPACING_MM`."""

FIELD_SPACING_MM = 1.0
"""A field is evaluated about this often, and linear between."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A block of cells of the fine grid: a slab of planes, or a tile of it.

    Parameters
    ----------
    shape : number of cells along k, j, i.
    ijk_to_ras : affine of the cells, whose index (0, 0, 0) is the first cell of the block.
    factors : cells per voxel along i, j, k; the block begins and ends at voxel borders.
    start : index k, j, i of its first cell in the slab.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    factors: tuple[int, int, int]
    start: tuple[int, int, int] = (0, 0, 0)

    @cached_property
    def cell_mm(self) -> float:
        """Edge of a cell in mm (geometric mean)."""
        return float(np.prod(self._spacing) ** (1 / 3))

    @cached_property
    def center_ras(self) -> np.ndarray:
        """Center of the block."""
        return transform_points(self.ijk_to_ras, (np.array(self.shape[::-1]) - 1) / 2)

    @cached_property
    def reach_mm(self) -> float:
        """Distance from the center to the farthest corner of the block."""
        corner = self.ijk_to_ras[:3, :3] * (np.array(self.shape[::-1]) / 2)
        signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
        return float(np.linalg.norm(signs @ corner.T, axis=1).max())

    @cached_property
    def _spacing(self) -> np.ndarray:
        return np.array(spacing_of(self.ijk_to_ras))

    @cached_property
    def _ras_to_ijk(self) -> np.ndarray:
        return np.linalg.inv(self.ijk_to_ras)

    def box(self, corners_ras: np.ndarray, margin_mm: float = 0.0) -> Box | None:
        """Return the part of the block that holds the points (N, 3) widened by a margin; None when there is none."""
        indices = corners_ras @ self._ras_to_ijk[:3, :3].T + self._ras_to_ijk[:3, 3]
        margin = margin_mm / self._spacing + 1
        low = np.floor(indices.min(axis=0) - margin).astype(int).tolist()
        high = np.ceil(indices.max(axis=0) + margin).astype(int).tolist()
        slices = [slice(max(a, 0), min(b + 1, n)) for a, b, n in zip(low, high, self.shape[::-1], strict=True)]
        if any(s.start >= s.stop for s in slices):
            return None
        return slices[2], slices[1], slices[0]

    def tile(self, box: Box) -> "Cells":
        """Return a part of the slab, which begins and ends at voxel borders."""
        first = (box[0].start, box[1].start, box[2].start)
        shape = tuple(s.stop - s.start for s in box)
        matrix = shifted(self.ijk_to_ras, first[::-1])
        return Cells((shape[0], shape[1], shape[2]), matrix, self.factors, first)

    def whole(self) -> Box:
        """Return the box of the whole block."""
        k, j, i = self.shape
        return slice(0, k), slice(0, j), slice(0, i)

    def linear(self, vector: np.ndarray, offset: float, box: Box) -> np.ndarray:
        """Return `vector . x + offset` at the cells x (RAS) of a box, a float32 array [k, j, i]."""
        gradient = np.asarray(vector) @ self.ijk_to_ras[:3, :3]
        constant = float(np.asarray(vector) @ self.ijk_to_ras[:3, 3]) + offset
        k, j, i = (np.arange(s.start, s.stop) for s in box)
        plane = (gradient[1] * j)[:, None] + (gradient[0] * i + constant)[None, :]
        along_k = (gradient[2] * k).astype(np.float32)
        return along_k[:, None, None] + plane.astype(np.float32)[None]

    def sampled(self, field: Field, box: Box) -> np.ndarray:
        """Return a field at the cells of a box, linear between its values every `FIELD_SPACING_MM`."""
        counts = [s.stop - s.start for s in box]
        steps = [max(1, int(FIELD_SPACING_MM / s)) for s in self._spacing[::-1]]
        matrix = shifted(self.ijk_to_ras, (box[2].start, box[1].start, box[0].start))
        matrix[:3, :3] *= steps[::-1]
        nodes = [(n - 1) // step + 2 for n, step in zip(counts, steps, strict=True)]
        values = field(matrix, (nodes[0], nodes[1], nodes[2])).astype(np.float32, copy=False)
        return upsampled(values, counts, steps)


def upsampled(nodes: np.ndarray, shape: Sequence[int], steps: Sequence[int]) -> np.ndarray:
    """Return values on a grid of a shape, linear between nodes every `steps` voxels of it, the first at voxel 0.

    Along each axis there are `(n - 1) // step + 2` nodes for n voxels.
    """
    values = nodes
    for axis, (count, step) in enumerate(zip(shape, steps, strict=True)):
        number = np.arange(count)
        if step == 1:
            values = np.take(values, number, axis=axis)
            continue
        weight = ((number % step) / step).astype(np.float32).reshape([-1] + [1] * (len(steps) - 1 - axis))
        rise = np.take(np.diff(values, axis=axis), number // step, axis=axis)
        rise *= weight
        rise += np.take(values, number // step, axis=axis)
        values = rise
    return values


class Solid(Protocol):
    """A body that knows which fraction of each cell it fills."""

    def within(self, slab: Cells) -> "tuple[Solid, Box] | None":
        """Return what is left of the solid in a slab and the box that holds it; None where it fills nothing."""

    def covers(self, tile: Cells) -> bool:
        """Return True only when the solid fills every cell of a tile."""

    def fraction(self, tile: Cells) -> tuple[Box, np.ndarray] | None:
        """Return a box of the tile and the filled fractions (float32, 0 to 1) in it; None where it fills nothing."""


@dataclass(frozen=True, eq=False)
class Painted:
    """A solid with its attenuation (HU, or a field of HU) and the label it gives to the truth (0: none).

    `motion` names the group of solids it moves with between heartbeats; rendering itself ignores it.
    """

    solid: Solid
    hu: float | Field
    label: int = 0
    motion: str = "still"
