"""The point spread: a separable Gaussian over the cells, sampled at the voxel centers."""

import numpy as np

_TAIL = 4.0  # the kernel ends at this many sigma, where the Gaussian is below 0.04 % of its peak


def gaussian_kernel(sigma_mm: float, spacing_mm: float, factor: int) -> np.ndarray:
    """Return the weights (float32) of the cells around a voxel center, which lies in the middle of the array.

    The variance that the cells themselves add (h^2 / 12) is taken off.
    """
    from scipy.special import ive

    cell = spacing_mm / factor
    variance = sigma_mm**2 - cell**2 / 12
    half = int(np.ceil(_TAIL * sigma_mm / cell - (factor % 2) / 2)) + (factor % 2 == 0)
    count = 2 * half + factor % 2
    offsets = np.arange(count) - (count - 1) / 2
    if factor == 1:
        # The Gaussian of a lattice (Lindeberg 1990): it has its variance even where it is narrower than a cell.
        weights = ive(offsets, variance / cell**2)
    else:
        weights = np.exp(-0.5 * (offsets * cell) ** 2 / variance)
    return (weights / weights.sum()).astype(np.float32)


def margin_of(kernel: np.ndarray, factor: int) -> int:
    """Return how many voxels a kernel reaches beyond the voxel at its center."""
    return int(np.ceil((len(kernel) - factor) / 2 / factor))


def blur_axis(
    cells: np.ndarray, axis: int, kernel: np.ndarray, factor: int, margin: int, size: int, first_voxel: int = 0
) -> np.ndarray:
    """Return cells blurred along one axis and sampled at `size` voxel centers of it.

    The first cell of the array begins `margin` voxels before voxel 0; the first voxel returned is `first_voxel`. The
    terms are added in one order, so the result does not depend on threads.
    """
    first = (first_voxel + margin) * factor + factor // 2 - len(kernel) // 2  # first cell under the kernel
    index: list[slice] = [slice(None)] * cells.ndim
    shape = list(cells.shape)
    shape[axis] = size
    total = np.zeros(shape, dtype=np.float32)
    product = np.empty_like(total)
    for tap, weight in enumerate(kernel):
        index[axis] = slice(first + tap, first + tap + (size - 1) * factor + 1, factor)
        np.multiply(cells[tuple(index)], weight, out=product)
        total += product
    return total


def spread_axis(cells: np.ndarray, axis: int, kernel: np.ndarray, factor: int) -> np.ndarray:
    """Return the voxels that cells of whole voxels reach along one axis when blurred: `margin_of` more at each end."""
    margin, count = margin_of(kernel, factor), cells.shape[axis]
    shape = list(cells.shape)
    shape[axis] = count // factor + 2 * margin
    total = np.zeros(shape, dtype=np.float32)
    source: list[slice] = [slice(None)] * cells.ndim
    target: list[slice] = [slice(None)] * cells.ndim
    for tap, weight in enumerate(kernel):
        # Voxel v, counted from the first that is reached, has this tap on cell (v - margin) * factor + offset.
        offset = factor // 2 - len(kernel) // 2 + tap
        first = max(0, margin - offset // factor)
        last = min(shape[axis], margin + (count - 1 - offset) // factor + 1)
        start = (first - margin) * factor + offset
        source[axis] = slice(start, start + (last - first - 1) * factor + 1, factor)
        target[axis] = slice(first, last)
        total[tuple(target)] += weight * cells[tuple(source)]
    return total
