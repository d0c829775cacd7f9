"""Boxes on RAS grids: where the heart lies around the aortic root, what a mask takes up, where a network looks.

Lengths in mm, positions in RAS, arrays [k, j, i].
"""

import numpy as np

from ..study import CTVolume
from .aorta import Aorta
from .grid import OUTSIDE_HU, RasGrid, ras_bounds, resample_mask

REACH_LOW_MM = (110.0, 75.0, 125.0)
REACH_HIGH_MM = (75.0, 90.0, 35.0)
"""How far the heart reaches from the aortic root towards -R, -A, -S and R, A, S."""

_MARGIN_MM = 5.0


def heart_box(
    volume: CTVolume, aorta: Aorta, roi: tuple[float, float, float, float, float, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest RAS coordinates (3,) between which coronary arteries can lie.

    They are those of the volume, of the heart around the aortic root where that is known, and of the region asked for.
    """
    low, high = ras_bounds(volume)
    root = aorta.root_ras
    if root is not None:
        low, high = np.maximum(low, root - REACH_LOW_MM), np.minimum(high, root + REACH_HIGH_MM)
    if roi is not None:
        low, high = np.maximum(low, roi[0::2]), np.minimum(high, roi[1::2])
    return low, np.maximum(low, high)


def mask_box(mask: np.ndarray, grid: RasGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest RAS coordinates (3,) of the voxels of a mask that is not empty."""
    where = np.argwhere(mask)
    half = 0.5 * grid.spacing_mm
    return grid.to_ras(where.min(axis=0)) - half, grid.to_ras(where.max(axis=0)) + half


def padded(grid: RasGrid, smallest: int, multiple: int) -> RasGrid:
    """Return a grid in HU with air added at its far ends, so that each axis has such a number of voxels."""
    more = [(0, max(smallest, -(-n // multiple) * multiple) - n) for n in grid.voxels.shape]
    if not any(n for _, n in more):
        return grid
    return RasGrid(np.pad(grid.voxels, more, constant_values=OUTSIDE_HU), grid.spacing_mm, grid.origin_ras)


def blocks_of(zone: np.ndarray, zone_grid: RasGrid, grid: RasGrid, block: int) -> np.ndarray:
    """Return a mask on blocks of voxels of a grid: those whose centers lie in a zone on another grid."""
    shape = tuple(n // block for n in grid.voxels.shape)
    origin = grid.origin_ras + 0.5 * (block - 1) * grid.spacing_mm
    blocks = RasGrid(np.zeros(shape, dtype=bool), block * grid.spacing_mm, origin)
    return resample_mask(zone, zone_grid.ijk_to_ras, shape, blocks.ijk_to_ras)


def cropped(mask: np.ndarray, grid: RasGrid) -> tuple[tuple[slice, ...], RasGrid]:
    """Return the box of a mask with a margin of 5 mm, as slices and as a grid that holds this part of the mask."""
    where = np.argwhere(mask)
    if not len(where):
        where = np.zeros((1, 3), dtype=int)
    margin = int(np.ceil(_MARGIN_MM / grid.spacing_mm))
    low = np.maximum(where.min(axis=0) - margin, 0)
    box = tuple(slice(int(a), int(b) + margin + 1) for a, b in zip(low, where.max(axis=0), strict=True))
    return box, RasGrid(mask[box], grid.spacing_mm, grid.to_ras(low))
