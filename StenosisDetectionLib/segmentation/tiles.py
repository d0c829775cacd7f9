"""Where the fine network looks: boxes that cover a zone, and the weights with which their results are blended.

In: the zone as a mask on blocks of voxels. Out: boxes of voxels whose cores hold the whole zone.
MONAI's `sliding_window_inference` walks over the whole volume, and its `SlidingWindowSplitter` filters the windows of
one fixed lattice. Boxes that are laid along the zone itself, each no larger than the part of the zone it is there for,
hold about half the voxels of those.
"""

from itertools import permutations

import numpy as np

Box = tuple[slice, slice, slice]
"""Voxels of an array [k, j, i]."""


def cover(
    zone: np.ndarray,
    block: int,
    largest: tuple[int, ...],
    margin: tuple[int, ...],
    unit: int = 0,
    smallest: tuple[int, ...] | None = None,
) -> list[Box]:
    """Return boxes that cover a zone, the largest first.

    Parameters
    ----------
    zone : bool array [k, j, i] of blocks; the array of voxels has `block` times its shape.
    block : voxels of a block along each axis.
    largest : voxels of the largest boxes along each axis, none larger than the array of voxels.
    margin : voxels at each face of a box that only give context. The core inside them holds the zone, except where
        a box lies at the border of the array, where there is no more context to be had.
    unit : sizes that differ from the largest are multiples of this; 0 makes all boxes equal.
    smallest : voxels of the smallest boxes; None allows any.
    """
    shape = np.array(zone.shape) * block
    most, context = np.array(largest), np.array(margin)
    if (most > shape).any():
        raise ValueError(f"tiles of {largest} voxels do not fit into {tuple(shape)}")
    core = [max((t - 2 * m) // block, 1) for t, m in zip(largest, margin, strict=True)]
    best: list[tuple[int, ...]] | None = None
    for order in permutations(range(3)):
        starts = _cover(zone.transpose(order), [core[axis] for axis in order])
        if best is None or len(starts) < len(best):
            back = np.argsort(order)
            best = [tuple(start[axis] for axis in back) for start in starts]
    least = most if unit == 0 else np.zeros(3, dtype=int) if smallest is None else np.array(smallest)
    boxes = []
    for low, high in _shared(zone, best or [], core):
        needed = (high - low) * block + 2 * context
        size = np.minimum(np.maximum(-(-needed // unit) * unit if unit else needed, least), most)
        spare = (size - needed) // (2 * block) * block
        boxes.append((np.clip(low * block - context - spare, 0, shape - size), size))
    boxes.sort(key=lambda box: (-int(np.prod(box[1])), *box[1], *box[0]))
    return [_box(first, size) for first, size in boxes]


def _cover(mask: np.ndarray, size: list[int]) -> list[tuple[int, ...]]:
    """Return the starts of boxes that cover a mask: slabs of the first axis, each covered along the next axes."""
    occupied = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    starts: list[tuple[int, ...]] = []
    while len(occupied):
        start = int(occupied[0])
        slab = mask[start : start + size[0]]
        rest = _cover(np.asarray(slab.any(axis=0)), size[1:]) if mask.ndim > 1 else [()]
        starts += [(start, *others) for others in rest]
        occupied = occupied[occupied >= start + size[0]]
    return starts


def _shared(zone: np.ndarray, starts: list[tuple[int, ...]], size: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the first block of each box and that behind its last, after the fullest boxes took what they hold."""
    left = zone.copy()
    cores = [_box(np.array(start), np.array(size)) for start in starts]
    filled = [int(zone[core].sum()) for core in cores]
    shares = []
    for index in sorted(range(len(cores)), key=lambda n: -filled[n]):
        where = np.argwhere(left[cores[index]])
        if len(where):
            shares.append((where.min(axis=0) + starts[index], where.max(axis=0) + 1 + starts[index]))
            left[cores[index]] = False
    return shares


def _box(first: np.ndarray, size: np.ndarray) -> Box:
    k, j, i = (slice(int(a), int(a + n)) for a, n in zip(first, size, strict=True))
    return k, j, i


def size_of(box: Box) -> tuple[int, int, int]:
    """Return the voxels of a box along k, j, i."""
    k, j, i = (side.stop - side.start for side in box)
    return k, j, i


def blending_weights(tile: tuple[int, ...], sigma: float = 0.125) -> np.ndarray:
    """Return the Gaussian weights float32 [k, j, i] of a tile, `sigma` in units of its size, as MONAI blends windows.

    The weights at the corners are kept above a thousandth of the largest, so that a voxel that only one tile covers
    is not lost to rounding.
    """
    axes = [np.exp(-0.5 * ((np.arange(n) - 0.5 * (n - 1)) / (sigma * n)) ** 2) for n in tile]
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return np.maximum(weights, 1e-3 * weights.max()).astype(np.float32)
