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
from .blurring import blur_axis, gaussian_kernel, margin_of
from .cells import Box, Cells, Field, Painted, Solid
from .detail import DETAIL_TILE, Detail
from .painting import Slab, voxel_means

__all__ = ["MAXIMUM_CELL_MM", "Box", "Cells", "Detail", "Field", "Painted", "Rendering", "Solid", "render", "rendered"]

MAXIMUM_CELL_MM = 0.2
"""Largest spacing of the cells where there is fine structure."""

_COARSE_SIGMA = 1.7  # a coarse cell is at most this many sigma wide, so that the rest of the kernel is well sampled
_SLAB_CELLS = 32
_TILE_CELLS = 64
_THREADS = 2

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
    if detail is None:
        return work.everywhere(scene, fine, report)
    rough = [scene[n] for n in range(len(scene)) if n not in detail.solids]
    result = work.everywhere(rough, [_COARSE_SIGMA * sigma for sigma in psf_sigma_mm], part_of(report, 0.0, 0.5))
    work.in_detail(result, detail, fine, part_of(report, 0.5, 1.0))
    return result


@dataclass(frozen=True, eq=False)
class _Work:
    """One scene on one grid."""

    scene: Sequence[Painted]
    size_ijk: tuple[int, int, int]
    ijk_to_ras: np.ndarray
    psf_sigma_mm: tuple[float, float, float]
    background_hu: float | Field
    fraction_labels: tuple[int, ...]

    def everywhere(self, scene: Sequence[Painted], cells_mm: Sequence[float], report: StageReport) -> Rendering:
        """Return the image of a scene on cells of at most these spacings along i, j, k, slab by slab."""
        factors, kernels, margin = self._sampling(cells_mm)
        size = self.size_ijk
        result = self._empty()
        slices = max(1, _SLAB_CELLS // factors[2])
        starts = list(range(-margin[2], size[2] + margin[2], slices))

        def work(first_slice: int) -> tuple[int, np.ndarray, dict[int, np.ndarray]]:
            count = min(slices, size[2] + margin[2] - first_slice)
            cells = self._block(
                (-margin[0], -margin[1], first_slice),
                (size[0] + 2 * margin[0], size[1] + 2 * margin[1], count),
                factors,
            )
            image, layers = _painted_in_tiles(Slab(scene, cells, self.background_hu))
            blurred = np.empty((len(image), size[1], size[0]), dtype=np.float32)
            for plane, out in zip(image, blurred, strict=True):
                rows = blur_axis(plane, 0, kernels[1], factors[1], margin[1], size[1])
                out[:] = blur_axis(rows.T, 0, kernels[0], factors[0], margin[0], size[0]).T
            inside = np.s_[:, margin[1] : margin[1] + size[1], margin[0] : margin[0] + size[0]]
            return first_slice, blurred, {label: layer[inside] for label, layer in layers.items()}

        with closing(_in_order(work, starts)) as results:
            for number, (first_slice, planes, layers) in enumerate(results):
                report(number / len(starts), f"rendering slab {number + 1} of {len(starts)}")
                _add_planes(result.image, planes, first_slice, kernels[2], factors[2])
                last = min(first_slice + len(planes) // factors[2], size[2])
                first = max(first_slice, 0)
                if first < last:
                    part = slice(first - first_slice, last - first_slice)
                    _put_layers(
                        result,
                        (slice(first, last), slice(0, size[1]), slice(0, size[0])),
                        {label: layer[part] for label, layer in layers.items()},
                    )
        return result

    def in_detail(self, result: Rendering, detail: Detail, cells_mm: Sequence[float], report: StageReport) -> None:
        """Replace the image by one on fine cells in the tiles where there is fine structure."""
        factors, kernels, margin = self._sampling(cells_mm)
        size = self.size_ijk
        tail = max(m * s for m, s in zip(margin, spacing_of(self.ijk_to_ras), strict=True))
        tiles = detail.tiles(size, self.ijk_to_ras, tail)
        rows = [(int(k), tiles[tiles[:, 0] == k, 1:]) for k in np.unique(tiles[:, 0])]

        def work(row: tuple[int, np.ndarray]) -> list[tuple[Box, np.ndarray, dict[int, np.ndarray]]]:
            k, starts = row
            count = min(DETAIL_TILE, size[2] - k)
            voxels = (size[0] + 2 * margin[0], size[1] + 2 * margin[1], count + 2 * margin[2])
            cells = self._block((-margin[0], -margin[1], k - margin[2]), voxels, factors)
            slab = Slab(self.scene, cells, self.background_hu)
            done = []
            for j, i in starts:
                counts = (count, min(DETAIL_TILE, size[1] - int(j)), min(DETAIL_TILE, size[0] - int(i)))
                box = tuple(
                    slice(start * f, (start + n + 2 * m) * f)
                    for start, n, f, m in zip((0, int(j), int(i)), counts, factors[::-1], margin[::-1], strict=True)
                )
                image, layers = slab.paint((box[0], box[1], box[2]))
                for axis in range(3):
                    a = 2 - axis
                    image = blur_axis(image, axis, kernels[a], factors[a], margin[a], counts[axis])
                inside = tuple(
                    slice(m * f, (m + n) * f) for m, f, n in zip(margin[::-1], factors[::-1], counts, strict=True)
                )
                means = {label: voxel_means(layer[inside], factors) for label, layer in layers.items()}
                place = (slice(k, k + count), slice(int(j), int(j) + counts[1]), slice(int(i), int(i) + counts[2]))
                done.append((place, image, means))
            return done

        with closing(_in_order(work, rows)) as results:
            for number, done in enumerate(results):
                report(number / len(rows), f"rendering fine structure, part {number + 1} of {len(rows)}")
                for place, image, means in done:
                    result.image[place] = image
                    result.labels[place] = 0
                    for fraction in result.fractions.values():
                        fraction[place] = 0
                    _put_layers(result, place, means)

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


def _painted_in_tiles(slab: Slab) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return the painted slab (float32) and by label the filled part of its voxels."""
    shape, factors = slab.cells.shape, slab.cells.factors
    image = np.empty(shape, dtype=np.float32)
    fractions: dict[int, np.ndarray] = {}
    voxels = [n // f for n, f in zip(shape, factors[::-1], strict=True)]
    step_i, step_j = (max(1, _TILE_CELLS // f) * f for f in factors[:2])
    for j in range(0, shape[1], step_j):
        for i in range(0, shape[2], step_i):
            box = (slice(0, shape[0]), slice(j, min(j + step_j, shape[1])), slice(i, min(i + step_i, shape[2])))
            image[box], layers = slab.paint(box)
            place = tuple(slice(s.start // f, s.stop // f) for s, f in zip(box, factors[::-1], strict=True))
            for label, layer in layers.items():
                if label not in fractions:
                    fractions[label] = np.zeros(voxels, dtype=np.float32)
                fractions[label][place] = voxel_means(layer, factors)
    return image, fractions


def _put_layers(result: Rendering, place: Box, layers: dict[int, np.ndarray]) -> None:
    """Write the fractions and the labels of a part of the volume."""
    for label, layer in layers.items():
        result.labels[place][layer >= 0.5] = label
        if label in result.fractions:
            result.fractions[label][place] = layer


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
