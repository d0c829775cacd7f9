"""Attenuation in units of the contrast, and the blobs that are too thick to be coronary arteries.

In: a RAS grid in HU and the aorta. Out: normalized intensity (0 = fat, 1 = blood of the aorta) and masks.
"""

import numpy as np
import SimpleITK as sitk

FAT_HU = -90.0
"""Epicardial fat lies at -110 to -70 HU."""

MYOCARDIUM_HU = 110.0
"""Enhanced myocardium lies at 80 to 130 HU."""

CHAMBER_RADIUS_MM = 4.0
"""A blob that holds a ball of this radius is a chamber or a great vessel: coronary arteries reach 3 mm."""

_COARSE_MM = 1.0


def normalized(hu: np.ndarray, aorta_hu: float) -> np.ndarray:
    """Return attenuation as float32 with fat at 0 and the blood of the aorta at 1."""
    return ((hu - FAT_HU) / (aorta_hu - FAT_HU)).astype(np.float32)


def myocardium_level(aorta_hu: float) -> float:
    """Return the normalized intensity of the myocardium."""
    return float(np.clip((MYOCARDIUM_HU - FAT_HU) / (aorta_hu - FAT_HU), 0.0, 0.8))


def chambers(
    intensity: np.ndarray, spacing_mm: float, level: float, radius_mm: float = CHAMBER_RADIUS_MM
) -> np.ndarray:
    """Return the mask of everything above `level` that is thick: the opening with a ball of `radius_mm`.

    It is computed on a grid of about 1 mm, with distance transforms.
    """
    step = max(round(_COARSE_MM / spacing_mm), 1)
    size = step * spacing_mm
    bright = _block_mean(intensity, step) > level
    core = distance_mm(~np.pad(bright, 1), size)[1:-1, 1:-1, 1:-1] > radius_mm
    if not core.any():
        return np.zeros(intensity.shape, dtype=bool)
    # the ball grows back to the threshold surface, not beyond it
    opened = (distance_mm(core, size) <= radius_mm) & bright
    fine = np.repeat(np.repeat(np.repeat(opened, step, 0), step, 1), step, 2)
    return fine[tuple(slice(0, n) for n in intensity.shape)]


def distance_mm(mask: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the distance in mm of every voxel to the nearest voxel of a mask (0 inside it)."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([spacing_mm] * 3)
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0.0)


def widened(mask: np.ndarray, steps: int = 1) -> np.ndarray:
    """Return a mask with the voxels that `steps` steps over faces lead to.

    The same as scipy's `binary_dilation` with that many iterations, in a tenth of its time.
    """
    result = mask.copy()
    for _ in range(steps):
        before = result.copy()
        for axis in range(mask.ndim):
            ahead, behind = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            result[tuple(ahead)] |= before[tuple(behind)]
            result[tuple(behind)] |= before[tuple(ahead)]
    return result


def _block_mean(image: np.ndarray, step: int) -> np.ndarray:
    """Return the means of blocks of `step` voxels along each axis; incomplete blocks at the end repeat the border."""
    padding = [(0, -n % step) for n in image.shape]
    padded = np.pad(image, padding, mode="edge") if any(p for _, p in padding) else image
    k, j, i = (n // step for n in padded.shape)
    return padded.reshape(k, step, j, step, i, step).mean(axis=(1, 3, 5))
