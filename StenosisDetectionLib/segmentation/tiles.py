"""Where the fine network looks: tiles that cover a zone, and the weights with which their results are blended.

In: the zone as a mask on blocks of voxels. Out: the first voxels of equal tiles whose cores hold the whole zone.
MONAI's `sliding_window_inference` walks over the whole volume, and its `SlidingWindowSplitter` filters the windows of
one fixed lattice; tiles that are laid along the zone itself are a third fewer.
"""

from itertools import permutations

import numpy as np


def cover(zone: np.ndarray, block: int, tile: tuple[int, ...], margin: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return the first voxels (k, j, i) of tiles that cover a zone, in the order of the array.

    Parameters
    ----------
    zone : bool array [k, j, i] of blocks; the array of voxels has `block` times its shape.
    block : voxels of a block along each axis.
    tile : voxels of a tile along each axis, none larger than the array of voxels.
    margin : voxels at each face of a tile that only give context. The core inside them holds the zone, except where
        a tile lies at the border of the array, where there is no more context to be had.
    """
    shape = np.array(zone.shape) * block
    if (np.array(tile) > shape).any():
        raise ValueError(f"tiles of {tile} voxels do not fit into {tuple(shape)}")
    core = [max((t - 2 * m) // block, 1) for t, m in zip(tile, margin, strict=True)]
    best: list[tuple[int, ...]] | None = None
    for order in permutations(range(3)):
        starts = _cover(zone.transpose(order), [core[axis] for axis in order])
        if best is None or len(starts) < len(best):
            back = np.argsort(order)
            best = [tuple(start[axis] for axis in back) for start in starts]
    first = np.array(best, dtype=int).reshape(-1, 3) * block - np.array(margin)
    unique = np.unique(np.clip(first, 0, shape - np.array(tile)), axis=0)
    return [(int(k), int(j), int(i)) for k, j, i in unique]


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


def blending_weights(tile: tuple[int, ...], sigma: float = 0.125) -> np.ndarray:
    """Return the Gaussian weights float32 [k, j, i] of a tile, `sigma` in units of its size, as MONAI blends windows.

    The weights at the corners are kept above a thousandth of the largest, so that a voxel that only one tile covers
    is not lost to rounding.
    """
    axes = [np.exp(-0.5 * ((np.arange(n) - 0.5 * (n - 1)) / (sigma * n)) ** 2) for n in tile]
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return np.maximum(weights, 1e-3 * weights.max()).astype(np.float32)
