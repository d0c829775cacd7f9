"""The point spread: a separable Gaussian over the cells, sampled at the voxel centers."""

import numpy as np

_TAIL = 4.0  # the kernel ends at this many sigma, where the Gaussian is below 0.04 % of its peak


def gaussian_kernel(sigma_mm: float, spacing_mm: float, factor: int) -> np.ndarray:
    """Return the weights (float32) of the cells around a voxel center, which lies in the middle of the array.

    The variance that the cells themselves add (h^2 / 12) is taken off.
    """
    cell = spacing_mm / factor
    sigma = np.sqrt(sigma_mm**2 - cell**2 / 12)
    half = int(np.ceil(_TAIL * sigma_mm / cell - (factor % 2) / 2)) + (factor % 2 == 0)
    count = 2 * half + factor % 2
    offsets = (np.arange(count) - (count - 1) / 2) * cell
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
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
