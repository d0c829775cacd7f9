"""Renders a scene of solids as a CT volume: partial volume, Gaussian point spread, sampling to voxels.

A scene is a list of `Painted` solids, back to front. Each solid gives the fraction of every cell of a grid that it
fills, and covers what was painted before by that fraction. The cells are blurred with a separable Gaussian along the
voxel axes and sampled at the voxel centers; there is no further averaging over the voxel, so the sigma given is that
of the whole imaging chain.

Cells are at most `MAXIMUM_CELL_MM` wide where there is fine structure: everywhere, or, when the caller says where the
fine structure is (`Detail`), in the tiles within reach of it; elsewhere they are as wide as a voxel, which the smooth
borders of large organs do not notice. Work runs through the volume in slabs, each painted in tiles that fit the
processor's cache: a tile that lies wholly inside a solid is filled at once, and the result does not depend on the
number of threads, because every sum is added in one order.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ..errors import InputError
from ..geometry import shifted, spacing_of
from ..progress import StageReport, no_report, part_of
from .blurring import blur_axis, gaussian_kernel, margin_of, spread_axis
from .cells import Box, Cells, Field, Painted, Solid
from .detail import DETAIL_TILE, Detail
from .painting import BEHIND, Layers, Slab, paint_over, voxel_means

__all__ = ["MAXIMUM_CELL_MM", "Box", "Cells", "Detail", "Field", "Painted", "Rendering", "Solid", "render", "rendered"]

MAXIMUM_CELL_MM = 0.2
"""Largest spacing of the cells where there is fine structure."""

_COARSE_SIGMA = 2.4  # a coarse cell is at most this many sigma wide: of their variance it then adds half itself
_SLAB_CELLS = 32
_TILE_CELLS = 64
_THREADS = 2
_LAYERS_LOCK = threading.Lock()

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Rendering:
    """A noise-free image.

    Parameters
    ----------
    image : float32 array [k, j, i] in HU.
    labels : uint8 array [k, j, i], the label that fills at least half of the voxel, 0 where none does.
    fractions : by label the filled part of each voxel before blur, float32 arrays [k, j, i], 0 to 1.
    """

    image: np.ndarray
    labels: np.ndarray
    fractions: dict[int, np.ndarray] = field(default_factory=dict)


def render(
    scene: Sequence[Painted],
    size_ijk: tuple[int, int, int],
    ijk_to_ras: np.ndarray,
    psf_sigma_mm: tuple[float, float, float],
    background_hu: float | Field,
    report: StageReport = no_report,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image and the labels of a scene that is fine everywhere (see `rendered`)."""
    result = rendered(scene, size_ijk, ijk_to_ras, psf_sigma_mm, background_hu, report)
    return result.image, result.labels


def rendered(
    scene: Sequence[Painted],
    size_ijk: tuple[int, int, int],
    ijk_to_ras: np.ndarray,
    psf_sigma_mm: tuple[float, float, float],
    background_hu: float | Field,
    report: StageReport = no_report,
    *,
    detail: Detail | None = None,
    cell_mm: float = MAXIMUM_CELL_MM,
    cells_per_sigma: float = 1.5,
    fraction_labels: Sequence[int] = (),
) -> Rendering:
    """Return the noise-free image of a scene.

    Parameters
    ----------
    scene : solids, back to front.
    size_ijk, ijk_to_ras : voxel grid; any spacing and direction.
    psf_sigma_mm : sigma of the Gaussian point spread along the voxel axes i, j, k.
    background_hu : attenuation where nothing is painted.
    detail : where there is fine structure; everywhere when it is None.
    cell_mm : largest spacing of the fine cells.
    cells_per_sigma : the least number of fine cells in a sigma of the point spread.
    fraction_labels : labels whose fractions are wanted.

    Raises
    ------
    InputError : a point spread of no width.
    """
    if min(psf_sigma_mm) < 0.05:
        raise InputError("the sigma of the point spread must be at least 0.05 mm along each axis")
    work = _Work(scene, size_ijk, ijk_to_ras, psf_sigma_mm, background_hu, tuple(fraction_labels))
    fine = [min(cell_mm, sigma / cells_per_sigma) for sigma in psf_sigma_mm]
    if detail is None or not detail.solids:
        return work.everywhere(scene, fine, report)
    return work.in_detail(detail, fine, report)


@dataclass(frozen=True, eq=False)
class _Work:
    """One scene on one grid."""

    scene: Sequence[Painted]
    size_ijk: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    psf_sigma_mm: tuple[float, float, float]
    background_hu: float | Field
    fraction_labels: tuple[int, ...]

    def everywhere(
        self, scene: Sequence[Painted], cells_mm: Sequence[float], report: StageReport, under: "_Under | None" = None
    ) -> Rendering:
        """Return the image of a scene on cells of at most these spacings along i, j, k, slab by slab.

        With `under` the first `under.count` solids are also kept unblurred.
        """
        factors, kernels, margin = self._sampling(cells_mm)
        size = self.size_ijk
        result = self._empty()
        count = len(scene) if under is None else under.count
        slices = max(1, _SLAB_CELLS // factors[2])
        starts = list(range(-margin[2], size[2] + margin[2], slices))

        def work(first_slice: int) -> tuple[int, np.ndarray, Layers]:
            thick = min(slices, size[2] + margin[2] - first_slice)
            voxels = (size[0] + 2 * margin[0], size[1] + 2 * margin[1], thick)
            cells = self._block((-margin[0], -margin[1], first_slice), voxels, factors)
            slab, over = Slab(scene[:count], cells, self.background_hu), Slab(scene[count:], cells, 0.0)
            image, fractions = np.empty(cells.shape, dtype=np.float32), _Fractions(cells)
            for box in _tiles(cells):
                part, layers = slab.paint(box)
                if under is not None:
                    under.keep(first_slice, box, part, layers)
                    paint_over(over.present(box), cells.tile(box), part, layers)
                image[box] = part
                fractions.put(box, layers)
            blurred = np.empty((len(image), size[1], size[0]), dtype=np.float32)
            for plane, out in zip(image, blurred, strict=True):
                rows = blur_axis(plane, 0, kernels[1], factors[1], margin[1], size[1])
                out[:] = blur_axis(rows.T, 0, kernels[0], factors[0], margin[0], size[0]).T
            inside = np.s_[:, margin[1] : margin[1] + size[1], margin[0] : margin[0] + size[0]]
            return first_slice, blurred, {label: layer[inside] for label, layer in fractions.by_label.items()}

        with closing(_in_order(work, starts)) as results:
            for number, (first_slice, planes, layers) in enumerate(results):
                report(number / len(starts), f"rendering slab {number + 1} of {len(starts)}")
                _add_planes(result.image, planes, first_slice, kernels[2], factors[2])
                last = min(first_slice + len(planes) // factors[2], size[2])
                first = max(first_slice, 0)
                if first < last:
                    place = (slice(first, last), slice(0, size[1]), slice(0, size[0]))
                    part = slice(first - first_slice, last - first_slice)
                    _put_layers(result, place, {label: layer[part] for label, layer in layers.items()})
        return result

    def in_detail(self, detail: Detail, fine_mm: Sequence[float], report: StageReport) -> Rendering:
        """Return the image with smooth bodies on coarse cells, and what fine structure changes on fine cells."""
        coarse_mm = [_COARSE_SIGMA * sigma for sigma in self.psf_sigma_mm]
        coarse_factors, _, coarse_margin = self._sampling(coarse_mm)
        under = _Under(detail.first, self.size_ijk, coarse_factors, coarse_margin)
        smooth = [painted for n, painted in enumerate(self.scene) if n not in detail.solids]
        result = self.everywhere(smooth, coarse_mm, part_of(report, 0.0, 0.6), under)
        report = part_of(report, 0.6, 1.0)
        factors, kernels, margin = self._sampling(fine_mm)
        size = self.size_ijk
        # What lies outside is blurred into the image.
        wide = (size[0] + 2 * margin[0], size[1] + 2 * margin[1], size[2] + 2 * margin[2])
        tiles = detail.tiles(wide, shifted(self.ijk_to_ras, (-margin[0], -margin[1], -margin[2])))
        rows = [(int(k), tiles[tiles[:, 0] == k, 1:]) for k in np.unique(tiles[:, 0])]
        fine = self.scene[detail.first :]
        over = [painted for n, painted in enumerate(self.scene) if n >= detail.first and n not in detail.solids]

        def work(row: tuple[int, np.ndarray]) -> list[tuple[Box, np.ndarray, Layers]]:
            k, starts = row
            thick = min(DETAIL_TILE, wide[2] - k)
            cells = self._block((-margin[0], -margin[1], k - margin[2]), (wide[0], wide[1], thick), factors)
            slab, over_slab = Slab(fine, cells, 0.0), Slab(over, cells, 0.0)
            done = []
            for j, i in starts.tolist():
                rows, columns = min(DETAIL_TILE, wide[1] - j), min(DETAIL_TILE, wide[0] - i)
                box = (
                    slice(0, thick * factors[2]),
                    slice(j * factors[1], (j + rows) * factors[1]),
                    slice(i * factors[0], (i + columns) * factors[0]),
                )
                corner = (k - margin[2], j - margin[1], i - margin[0])
                place = tuple(slice(a, a + n) for a, n in zip(corner, (thick, rows, columns), strict=True))
                place = (place[0], place[1], place[2])
                without, tile = under.at(place, factors), cells.tile(box)
                image, layers = without.copy(), {BEHIND: np.ones(without.shape, dtype=np.float32)}
                paint_over(slab.present(box), tile, image, layers)
                paint_over(over_slab.present(box), tile, without, {})
                image -= without
                for axis in range(3):
                    image = spread_axis(image, axis, kernels[2 - axis], factors[2 - axis])
                done.append((place, image, {label: voxel_means(layer, factors) for label, layer in layers.items()}))
            return done

        with closing(_in_order(work, rows)) as results:
            for number, done in enumerate(results):
                report(number / len(rows), f"rendering fine structure, part {number + 1} of {len(rows)}")
                for place, change, means in done:
                    _add_change(result.image, change, place, margin)
                    inside, part = _within(place, result.labels.shape)
                    if inside is None or part is None:
                        continue
                    result.labels[inside] = 0
                    for fraction in result.fractions.values():
                        fraction[inside] = 0
                    cropped = {label: layer[part] for label, layer in means.items()}
                    _put_layers(result, inside, under.with_layers(inside, cropped))
        return result

    def _sampling(
        self, cells_mm: Sequence[float]
    ) -> tuple[tuple[int, int, int], list[np.ndarray], tuple[int, int, int]]:
        """Return the cells per voxel, the kernels and the margins in voxels, along i, j, k."""
        spacing = spacing_of(self.ijk_to_ras)
        factors = [int(np.ceil(s / c - 1e-9)) for s, c in zip(spacing, cells_mm, strict=True)]
        kernels = [
            gaussian_kernel(sigma, s, n) for sigma, s, n in zip(self.psf_sigma_mm, spacing, factors, strict=True)
        ]
        margin = [margin_of(kernel, n) for kernel, n in zip(kernels, factors, strict=True)]
        return (factors[0], factors[1], factors[2]), kernels, (margin[0], margin[1], margin[2])

    def _block(
        self, first_ijk: tuple[int, int, int], count_ijk: tuple[int, int, int], factors: tuple[int, int, int]
    ) -> Cells:
        """Return the cells of a block of voxels."""
        n = np.array(factors)
        matrix = shifted(self.ijk_to_ras, tuple(np.array(first_ijk) - 0.5 + 0.5 / n))
        matrix[:3, :3] = self.ijk_to_ras[:3, :3] / n
        i, j, k = (int(c) for c in np.array(count_ijk) * n)
        return Cells((k, j, i), matrix, factors)

    def _empty(self) -> Rendering:
        shape = self.size_ijk[::-1]
        fractions = {label: np.zeros(shape, dtype=np.float32) for label in self.fraction_labels}
        return Rendering(np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8), fractions)


class _Under:
    """What is painted before the fine structure: attenuation on coarse cells, unblurred, and fractions of labels."""

    def __init__(
        self,
        count: int,
        size_ijk: tuple[int, int, int],
        factors: tuple[int, int, int],
        margin: tuple[int, int, int],
    ) -> None:
        self.count = count
        self._factors = factors[::-1]
        self._margin = margin[::-1]
        shape = [(n + 2 * m) * f for n, m, f in zip(size_ijk[::-1], self._margin, self._factors, strict=True)]
        self._image = np.empty(shape, dtype=np.float32)
        self._layers: Layers = {}

    def keep(self, first_slice: int, box: Box, image: np.ndarray, layers: Layers) -> None:
        """Keep what was painted in a box of cells of the slab that begins at a slice."""
        first_plane = (first_slice + self._margin[0]) * self._factors[0]
        target = (slice(box[0].start + first_plane, box[0].stop + first_plane), box[1], box[2])
        self._image[target] = image
        for label, layer in layers.items():
            with _LAYERS_LOCK:
                if label not in self._layers:
                    self._layers[label] = np.zeros(self._image.shape, dtype=np.float32)
            self._layers[label][target] = layer

    def at(self, place: Box, factors: tuple[int, int, int]) -> np.ndarray:
        """Return the attenuation at the fine cells of a box of voxels, linear between coarse cells."""
        positions, box = [], []
        for voxels, fine, coarse, margin, count in zip(
            place, factors[::-1], self._factors, self._margin, self._image.shape, strict=True
        ):
            cells = np.arange((voxels.start + margin) * fine, (voxels.stop + margin) * fine)
            position = np.clip((cells + 0.5) * coarse / fine - 0.5, 0, count - 1)
            box.append(slice(int(position[0]), int(np.ceil(position[-1])) + 1))
            positions.append(position - int(position[0]))
        values = self._image[tuple(box)]
        for axis, position in enumerate(positions):
            below = np.minimum(position.astype(int), max(values.shape[axis] - 2, 0))
            part = (position - below).astype(np.float32).reshape([-1] + [1] * (2 - axis))
            lower = np.take(values, below, axis=axis)
            rise = np.take(values, np.minimum(below + 1, values.shape[axis] - 1), axis=axis)
            rise -= lower
            rise *= part
            rise += lower
            values = rise
        return values

    def with_layers(self, place: Box, means: Layers) -> Layers:
        """Return the fractions of voxels with those that were there before, as far as nothing was painted over them."""
        behind = means.pop(BEHIND)
        voxels = zip(place, self._margin, self._factors, strict=True)
        box = tuple(slice((s.start + m) * f, (s.stop + m) * f) for s, m, f in voxels)
        for label, layer in self._layers.items():
            k, j, i = self._factors
            means[label] = means.get(label, np.float32(0)) + behind * voxel_means(layer[box], (i, j, k))
        return means


class _Fractions:
    """By label the filled part of the voxels of a slab (float32)."""

    def __init__(self, cells: Cells) -> None:
        self._factors = cells.factors
        self._shape = [n // f for n, f in zip(cells.shape, cells.factors[::-1], strict=True)]
        self.by_label: Layers = {}

    def put(self, box: Box, layers: Layers) -> None:
        """Take the layers of the cells of a box."""
        place = tuple(slice(s.start // f, s.stop // f) for s, f in zip(box, self._factors[::-1], strict=True))
        for label, layer in layers.items():
            if label not in self.by_label:
                self.by_label[label] = np.zeros(self._shape, dtype=np.float32)
            self.by_label[label][place] = voxel_means(layer, self._factors)


def _tiles(cells: Cells) -> list[Box]:
    """Return the tiles of a slab."""
    step_i, step_j = (max(1, _TILE_CELLS // f) * f for f in cells.factors[:2])
    k, j, i = cells.shape
    return [
        (slice(0, k), slice(a, min(a + step_j, j)), slice(b, min(b + step_i, i)))
        for a in range(0, j, step_j)
        for b in range(0, i, step_i)
    ]


def _put_layers(result: Rendering, place: Box, layers: dict[int, np.ndarray]) -> None:
    """Write the fractions and the labels of a part of the volume."""
    for label, layer in layers.items():
        result.labels[place][layer >= 0.5] = label
        if label in result.fractions:
            result.fractions[label][place] = layer


def _within(place: Box, shape: Sequence[int]) -> tuple[Box, Box] | tuple[None, None]:
    """Return the part of a box that lies in an array of a shape, in the array and in the box; None where none does."""
    inside = [slice(max(s.start, 0), min(s.stop, n)) for s, n in zip(place, shape, strict=True)]
    if any(s.start >= s.stop for s in inside):
        return None, None
    part = [slice(a.start - s.start, a.stop - s.start) for a, s in zip(inside, place, strict=True)]
    return (inside[0], inside[1], inside[2]), (part[0], part[1], part[2])


def _add_change(image: np.ndarray, change: np.ndarray, place: Box, margin: Sequence[int]) -> None:
    """Add a change that reaches a margin (i, j, k) beyond its place, as far as the image goes."""
    wide = [slice(s.start - m, s.stop + m) for s, m in zip(place, margin[::-1], strict=True)]
    inside, part = _within((wide[0], wide[1], wide[2]), image.shape)
    if inside is not None and part is not None:
        image[inside] += change[part]


def _add_planes(volume: np.ndarray, planes: np.ndarray, first_slice: int, kernel: np.ndarray, factor: int) -> None:
    """Add blurred planes of cells, the first of which begins voxel slice `first_slice`, to the slices they reach."""
    half = len(kernel) // 2
    for number, plane in enumerate(planes):
        cell = first_slice * factor + number
        # Tap t of voxel slice v lies on the plane v * factor + factor // 2 - half + t.
        for v in range((cell - len(kernel)) // factor - 1, (cell + len(kernel)) // factor + 2):
            tap = cell - (v * factor + factor // 2 - half)
            if 0 <= tap < len(kernel) and 0 <= v < volume.shape[0]:
                volume[v] += kernel[tap] * plane


Item = TypeVar("Item")


def _in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Run the work in a few threads and give its results in order, never far ahead of the reader."""
    waiting = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        pending = deque(pool.submit(work, item) for item in itertools.islice(waiting, _THREADS + 1))
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(pool.submit(work, item) for item in itertools.islice(waiting, 1))
        finally:
            pool.shutdown(cancel_futures=True)
