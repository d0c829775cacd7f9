"""Four simple ways to measure a lumen, for comparison: what masks and half-maximum edges make of the same volume.

In: a CT volume, cross-sections of a vessel and the attenuation of lumen and surroundings. Out: a diameter in mm for
every cross-section. None of them knows the point spread.
"""

import numpy as np
import torch
from scipy import ndimage

from StenosisDetectionLib.lumen import VolumeSampler
from StenosisDetectionLib.study import CTVolume

REACH_MM = 4.5
"""How far from the centerline the rays reach."""

_STEP_MM = 0.05
_RAYS = 32


def peer_diameters(
    volume: CTVolume, centers_ras: np.ndarray, frames: np.ndarray, lumen_hu: float, outside_hu: float
) -> dict[str, np.ndarray]:
    """Return the diameters (S,) in mm by the name of the method.

    Parameters
    ----------
    centers_ras, frames : (S, 3) and (S, 3, 3) of the cross-sections, rows tangent and plane vectors.
    lumen_hu, outside_hu : attenuation of the lumen and of the fat around the vessel.
    """
    half = 0.5 * (lumen_hu + outside_hu)
    sampler = VolumeSampler(volume, "cpu")
    theta = np.arange(_RAYS) * (2 * np.pi / _RAYS)
    rays = np.cos(theta)[:, None] * frames[:, None, 1] + np.sin(theta)[:, None] * frames[:, None, 2]
    distance = np.arange(0.0, REACH_MM, _STEP_MM)
    points = centers_ras[:, None, None] + distance[:, None] * rays[:, :, None]
    values = sampler(torch.from_numpy(points))[0].numpy()
    peak = values[:, :, :3].mean(axis=(1, 2))
    return {
        "mask area": _mask_area(volume, points, half),
        "inscribed sphere": _inscribed_sphere(volume, centers_ras, half),
        "local half-maximum": _half_maximum(values, 0.5 * (peak + outside_hu)),
        "global half-maximum": _half_maximum(values, np.full(len(values), half)),
    }


def _mask_area(volume: CTVolume, points: np.ndarray, half_hu: float) -> np.ndarray:
    """Return the equivalent diameter of the connected mask of voxels above half-maximum in the plane."""
    inside = _at(volume, (volume.voxels > half_hu).astype(np.float32), points, order=0) > 0.5
    reached = np.cumprod(inside, axis=2).astype(bool)
    ring = 2 * np.pi / _RAYS * np.arange(points.shape[2]) * _STEP_MM * _STEP_MM
    return 2 * np.sqrt((reached * ring).sum(axis=(1, 2)) / np.pi)


def _inscribed_sphere(volume: CTVolume, centers_ras: np.ndarray, half_hu: float) -> np.ndarray:
    """Return the largest distance to the background near the centerline, twice: the diameter of the largest ball."""
    distance = ndimage.distance_transform_edt(volume.voxels > half_hu, sampling=volume.spacing_mm[::-1])
    return 2 * _at(volume, distance.astype(np.float32), centers_ras, order=1)


def _half_maximum(values: np.ndarray, threshold_hu: np.ndarray) -> np.ndarray:
    """Return the equivalent diameter of the first crossings of a threshold on the rays."""
    below = values < threshold_hu[:, None, None]
    first = np.where(below.any(axis=2), below.argmax(axis=2), values.shape[2] - 1)
    before = np.maximum(first - 1, 0)
    high = np.take_along_axis(values, before[..., None], 2)[..., 0]
    low = np.take_along_axis(values, first[..., None], 2)[..., 0]
    share = np.clip((high - threshold_hu[:, None]) / np.maximum(high - low, 1e-6), 0, 1)
    radius = np.where(first == 0, 0.0, (before + share) * _STEP_MM)
    return 2 * np.sqrt((radius**2).mean(axis=1))


def _at(volume: CTVolume, array: np.ndarray, points_ras: np.ndarray, order: int) -> np.ndarray:
    matrix = np.linalg.inv(volume.ijk_to_ras)
    ijk = points_ras @ matrix[:3, :3].T + matrix[:3, 3]
    kji = np.moveaxis(ijk[..., ::-1], -1, 0)
    return ndimage.map_coordinates(array, kji, order=order, mode="nearest")
