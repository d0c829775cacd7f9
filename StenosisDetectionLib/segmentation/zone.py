"""Where the fine network looks: the zone of the coarse pass, the aortic root, and wherever arteries lead out of both.

Zones are bool arrays [k, j, i] on blocks of `BLOCK_VOXELS` voxels of the fine grid.
"""

import numpy as np

from ..study import CTVolume
from .aorta import Aorta
from .coarse import Coarse
from .grid import RasGrid, resample_to_ras
from .heads import BLOCK_VOXELS
from .region import blocks_of, heart_box, mask_box, padded
from .tissue import widened

ROOT_REACH_MM = 18.0
"""The fine network always looks this far around the aortic root, where the coronary arteries begin."""

MARGIN_MM = 15.0
"""How far arteries may lead out of the zone."""

FOLLOWED_LEVEL = 0.5
_SMALLEST_PIECE = 150  # voxels: 6 mm of a vessel of 2 mm
_NEAR_BLOCKS = 2
_ONWARD_BLOCKS = 5


def fine_region(
    volume: CTVolume,
    aorta: Aorta,
    roi: tuple[float, float, float, float, float, float] | None,
    coarse: Coarse | None,
    spacing_mm: float,
    tile: int,
) -> tuple[RasGrid, np.ndarray] | None:
    """Return the grid of the fine network in HU, and the zone to run on; None when there is none.

    Parameters
    ----------
    coarse : what the coarse pass found; None looks everywhere around the heart.
    spacing_mm, tile : of the fine network.
    """
    low, high = heart_box(volume, aorta, roi)
    root = aorta.root_ras
    if coarse is not None:
        boxes = [mask_box(coarse.zone, coarse.grid)] if coarse.zone.any() else []
        if root is not None:
            boxes.append((root - ROOT_REACH_MM, root + ROOT_REACH_MM))
        if not boxes:
            return None
        low = np.maximum(low, np.min([box[0] for box in boxes], axis=0) - MARGIN_MM)
        high = np.minimum(high, np.max([box[1] for box in boxes], axis=0) + MARGIN_MM)
    if (high - low < spacing_mm).any():
        return None
    grid = padded(resample_to_ras(volume, spacing_mm, low, high), tile, BLOCK_VOXELS)
    if coarse is None:
        return grid, np.ones([n // BLOCK_VOXELS for n in grid.voxels.shape], dtype=bool)
    zone = blocks_of(coarse.zone, coarse.grid, grid, BLOCK_VOXELS)
    if root is not None:
        centers = np.indices(zone.shape).transpose(1, 2, 3, 0) * BLOCK_VOXELS + 0.5 * (BLOCK_VOXELS - 1)
        zone |= np.linalg.norm(grid.to_ras(centers) - root, axis=-1) <= ROOT_REACH_MM
    return (grid, zone) if zone.any() else None


def onward(fraction: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the blocks to run on next: those not yet seen that lie near lumen which reaches the border of the seen.

    Parameters
    ----------
    fraction : lumen fraction [k, j, i] where the network has been; 0 elsewhere.
    seen : bool array of blocks, where it has been.
    """
    from scipy import ndimage

    voxels = np.flatnonzero(fraction > FOLLOWED_LEVEL)
    blocks = [index // BLOCK_VOXELS for index in np.unravel_index(voxels, fraction.shape)]
    count = np.bincount(np.ravel_multi_index(blocks, seen.shape), minlength=seen.size).reshape(seen.shape)
    labels, pieces = ndimage.label(count, structure=np.ones((3, 3, 3)))
    large = np.bincount(labels.ravel(), count.ravel(), minlength=pieces + 1) >= _SMALLEST_PIECE
    large[0] = False
    ahead = widened(large[labels], _NEAR_BLOCKS) & ~seen
    return widened(ahead, _ONWARD_BLOCKS) & ~seen if ahead.any() else ahead
