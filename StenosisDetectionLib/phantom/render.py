"""Renders a scene of solids as a CT volume: super-sampled partial volume, Gaussian point spread, sampling to voxels.

A scene is a list of `Painted` solids, back to front. Each solid gives the fraction of every cell of a fine grid that
it fills (cells of at most `MAXIMUM_CELL_MM`), and covers what was painted before by that fraction. The fine grid is
blurred with a separable Gaussian along the voxel axes and sampled at the voxel centers; there is no further averaging
over the voxel, so the sigma given is that of the whole imaging chain. The variance that the cells themselves add
(h^2 / 12) is taken off the kernel.

Work runs through the volume in slabs of fine planes, each painted in tiles that fit the processor's cache: memory does
not grow with the number of fine cells, a tile that lies wholly inside a solid is filled at once, and the result does
not depend on the number of threads, because the blurred planes are added in order.
"""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..geometry import shifted, spacing_of, transform_points
from ..progress import StageReport, no_report

MAXIMUM_CELL_MM = 0.2
"""Largest spacing of the fine grid."""

Box = tuple[slice, slice, slice]
"""Part of a block of cells, slices in the order k, j, i."""

Field = Callable[[np.ndarray, tuple[int, int, int]], np.ndarray]
"""An attenuation that varies in space: given an affine ijk to RAS and a shape [k, j, i], it returns HU on that grid.

It must be smooth on the scale of a voxel."""

_SLAB_CELLS = 32
_TILE_CELLS = 64
_TAIL = 4.0  # the kernel ends at this many sigma, where the Gaussian is below 0.04 % of its peak
_THREADS = 2


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
        """Return a field at the cells of a box, constant within each voxel."""
        n = self.factors[::-1]
        first = [s.start // f for s, f in zip(box, n, strict=True)]
        shape = [(s.stop - 1) // f + 1 - start for s, f, start in zip(box, n, first, strict=True)]
        middle = np.array(first) * n + (np.array(n) - 1) / 2  # of the first voxel, in cells
        matrix = shifted(self.ijk_to_ras, (middle[2], middle[1], middle[0]))
        matrix[:3, :3] *= self.factors
        values = field(matrix, (shape[0], shape[1], shape[2])).astype(np.float32, copy=False)
        for axis, (part, factor) in enumerate(zip(box, n, strict=True)):
            start = part.start % factor
            values = np.repeat(values, factor, axis=axis)
            values = np.take(values, np.arange(start, start + part.stop - part.start), axis=axis)
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


def render(
    scene: Sequence[Painted],
    size_ijk: tuple[int, int, int],
    ijk_to_ras: np.ndarray,
    psf_sigma_mm: tuple[float, float, float],
    background_hu: float | Field,
    report: StageReport = no_report,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise-free volume and its label map.

    Parameters
    ----------
    scene : solids, back to front.
    size_ijk, ijk_to_ras : voxel grid; any spacing and direction.
    psf_sigma_mm : sigma of the Gaussian point spread along the voxel axes i, j, k.
    background_hu : attenuation where nothing is painted.

    Returns
    -------
    float32 array [k, j, i] in HU, and uint8 array [k, j, i]: the label that fills at least half of the voxel.

    Raises
    ------
    InputError : a point spread of no width.
    """
    if min(psf_sigma_mm) < 0.05:
        raise InputError("the sigma of the point spread must be at least 0.05 mm along each axis")
    spacing = spacing_of(ijk_to_ras)
    cells = [min(MAXIMUM_CELL_MM, sigma / 1.5) for sigma in psf_sigma_mm]
    factors = tuple(int(np.ceil(s / c - 1e-9)) for s, c in zip(spacing, cells, strict=True))
    kernels = [_kernel(sigma, s, n) for sigma, s, n in zip(psf_sigma_mm, spacing, factors, strict=True)]
    margin = tuple(kernel.shape[0] // n // 2 + 1 for kernel, n in zip(kernels, factors, strict=True))

    volume = np.zeros(size_ijk[::-1], dtype=np.float32)
    labels = np.zeros(size_ijk[::-1], dtype=np.uint8)
    slices = max(1, _SLAB_CELLS // factors[2])
    starts = list(range(-margin[2], size_ijk[2] + margin[2], slices))

    def work(first_slice: int) -> tuple[int, np.ndarray, np.ndarray]:
        count = min(slices, size_ijk[2] + margin[2] - first_slice)
        slab = _slab(first_slice, count, size_ijk, ijk_to_ras, factors, margin)
        image, slab_labels = _paint(scene, slab, background_hu)
        blurred = np.empty((len(image), size_ijk[1], size_ijk[0]), dtype=np.float32)
        for plane, out in zip(image, blurred, strict=True):
            rows = _blur_rows(plane, kernels[1], factors[1], margin[1], size_ijk[1])
            out[:] = _blur_rows(rows.T, kernels[0], factors[0], margin[0], size_ijk[0]).T
        inside = slab_labels[:, margin[1] : margin[1] + size_ijk[1], margin[0] : margin[0] + size_ijk[0]]
        return first_slice, blurred, inside

    with closing(_in_order(work, starts)) as results:
        for number, (first_slice, planes, slab_labels) in enumerate(results):
            report(number / len(starts), f"rendering slab {number + 1} of {len(starts)}")
            _add_planes(volume, planes, first_slice, kernels[2], factors[2])
            first, last = max(first_slice, 0), min(first_slice + slab_labels.shape[0], size_ijk[2])
            if first < last:
                labels[first:last] = slab_labels[first - first_slice : last - first_slice]
    return volume, labels


def _kernel(sigma_mm: float, spacing_mm: float, factor: int) -> np.ndarray:
    """Return the Gaussian at the fine cells around a voxel center, which lies in the middle of the array."""
    cell = spacing_mm / factor
    sigma = np.sqrt(sigma_mm**2 - cell**2 / 12)
    half = int(np.ceil(_TAIL * sigma_mm / cell - (factor % 2) / 2)) + (factor % 2 == 0)
    count = 2 * half + factor % 2
    offsets = (np.arange(count) - (count - 1) / 2) * cell
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _slab(
    first_slice: int,
    count: int,
    size_ijk: tuple[int, int, int],
    ijk_to_ras: np.ndarray,
    factors: tuple[int, ...],
    margin: tuple[int, ...],
) -> Cells:
    """Return the fine planes of some voxel slices, with the margin around them in the plane."""
    n = np.array(factors)
    first_voxel = np.array([-margin[0], -margin[1], first_slice])
    matrix = shifted(ijk_to_ras, tuple(first_voxel - 0.5 + 0.5 / n))
    matrix[:3, :3] = ijk_to_ras[:3, :3] / n
    shape = (count * factors[2], (size_ijk[1] + 2 * margin[1]) * factors[1], (size_ijk[0] + 2 * margin[0]) * factors[0])
    return Cells(shape, matrix, (factors[0], factors[1], factors[2]))


def _paint(scene: Sequence[Painted], slab: Cells, background_hu: float | Field) -> tuple[np.ndarray, np.ndarray]:
    """Return the painted slab (float32) and the labels of its voxels (uint8)."""
    image = np.empty(slab.shape, dtype=np.float32)
    factors = slab.factors[::-1]
    labels = np.zeros([n // f for n, f in zip(slab.shape, factors, strict=True)], dtype=np.uint8)
    present: list[Painted] = []
    boxes: list[list[int]] = []
    for painted in scene:
        part = painted.solid.within(slab)
        if part is not None:
            present.append(Painted(part[0], painted.hu, painted.label))
            boxes.append([part[1][1].start, part[1][2].start, part[1][1].stop, part[1][2].stop])
    borders = np.array(boxes).reshape(-1, 4)
    step_j, step_i = (max(1, _TILE_CELLS // f) * f for f in factors[1:])
    for j in range(0, slab.shape[1], step_j):
        for i in range(0, slab.shape[2], step_i):
            stop_j, stop_i = min(j + step_j, slab.shape[1]), min(i + step_i, slab.shape[2])
            meets = (borders[:, :2] < [stop_j, stop_i]).all(axis=1) & (borders[:, 2:] > [j, i]).all(axis=1)
            box = (slice(0, slab.shape[0]), slice(j, stop_j), slice(i, stop_i))
            voxels = tuple(slice(s.start // f, s.stop // f) for s, f in zip(box, factors, strict=True))
            in_tile = [present[n] for n in np.flatnonzero(meets)]
            _paint_tile(in_tile, slab.tile(box), background_hu, image[box], labels[voxels])
    return image, labels


def _paint_tile(
    scene: Sequence[Painted], tile: Cells, background_hu: float | Field, image: np.ndarray, labels: np.ndarray
) -> None:
    """Paint one tile into its part of the image and of the voxel labels."""
    first = 0
    bottom = background_hu
    for number in range(len(scene) - 1, -1, -1):
        if scene[number].solid.covers(tile):
            first, bottom = number + 1, scene[number].hu
            labels[:] = scene[number].label
            break
    image[:] = tile.sampled(bottom, tile.whole()) if callable(bottom) else np.float32(bottom)
    for painted in scene[first:]:
        filled = painted.solid.fraction(tile)
        if filled is None:
            continue
        box, fraction = filled
        hu = tile.sampled(painted.hu, box) if callable(painted.hu) else np.float32(painted.hu)
        part = image[box]
        part += fraction * (hu - part)
        if painted.label:
            labels[_voxel_fractions(fraction, box, labels.shape, tile.factors[::-1]) >= 0.5] = painted.label


def _voxel_fractions(fraction: np.ndarray, box: Box, shape: tuple[int, ...], factors: tuple[int, ...]) -> np.ndarray:
    """Return the mean fraction of the cells of each voxel of a tile."""
    sums = np.zeros(shape, dtype=np.float32)
    index = [np.arange(s.start, s.stop) // f for s, f in zip(box, factors, strict=True)]
    part = fraction
    for axis, voxels in enumerate(index):
        starts = np.flatnonzero(np.diff(voxels, prepend=-1))
        part = np.add.reduceat(part, starts, axis=axis)
    sums[tuple(slice(v[0], v[-1] + 1) for v in index)] = part
    return sums / float(np.prod(factors))


def _blur_rows(plane: np.ndarray, kernel: np.ndarray, factor: int, margin: int, size: int) -> np.ndarray:
    """Return a fine plane blurred along its first axis and sampled at the voxel centers of that axis."""
    first = margin * factor + factor // 2 - len(kernel) // 2  # first cell under the kernel of voxel 0
    total = np.zeros((size, plane.shape[1]), dtype=np.float32)
    product = np.empty_like(total)
    for tap, weight in enumerate(kernel):
        start = first + tap
        np.multiply(plane[start : start + (size - 1) * factor + 1 : factor], weight, out=product)
        total += product
    return total


def _add_planes(volume: np.ndarray, planes: np.ndarray, first_slice: int, kernel: np.ndarray, factor: int) -> None:
    """Add blurred fine planes, the first of which begins voxel slice `first_slice`, to the slices they reach."""
    half = len(kernel) // 2
    for number, plane in enumerate(planes):
        cell = first_slice * factor + number
        # Tap t of voxel slice v lies on the fine plane v * factor + factor // 2 - half + t.
        for v in range((cell - len(kernel)) // factor - 1, (cell + len(kernel)) // factor + 2):
            tap = cell - (v * factor + factor // 2 - half)
            if 0 <= tap < len(kernel) and 0 <= v < volume.shape[0]:
                volume[v] += kernel[tap] * plane


def _in_order(
    work: Callable[[int], tuple[int, np.ndarray, np.ndarray]], starts: Sequence[int]
) -> Generator[tuple[int, np.ndarray, np.ndarray], None, None]:
    """Run the work in a few threads and give its results in order, never far ahead of the reader."""
    waiting = iter(starts)
    with ThreadPoolExecutor(_THREADS) as pool:
        pending = deque(pool.submit(work, start) for start in itertools.islice(waiting, _THREADS + 1))
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(work, start) for start in itertools.islice(waiting, 1))
        finally:
            pool.shutdown(cancel_futures=True)
