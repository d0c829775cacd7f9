"""Grids of the segmentation: CT volumes resampled to boxes whose axes are R, A and S.

On such a grid index i runs to the right, j to the front and k to the head of the patient, whatever the direction
of the input was.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..geometry import affine, grid_corners_ras, spacing_of, transform_points
from ..study import CTVolume

OUTSIDE_HU = -1024.0
"""Value of voxels of a grid that lie outside the CT volume: air."""


@dataclass(frozen=True, eq=False)
class RasGrid:
    """An isotropic image whose axes are R, A and S.

    Parameters
    ----------
    voxels : array [k, j, i].
    spacing_mm : the one spacing of all axes.
    origin_ras : (3,) RAS position of the center of voxel (0, 0, 0).
    """

    voxels: np.ndarray
    spacing_mm: float
    origin_ras: np.ndarray

    @property
    def ijk_to_ras(self) -> np.ndarray:
        """The 4 x 4 matrix from (i, j, k) to RAS."""
        return affine(np.full(3, self.spacing_mm), np.eye(3), self.origin_ras)

    def to_kji(self, points_ras: np.ndarray) -> np.ndarray:
        """Return continuous array coordinates (..., 3) in the order k, j, i of RAS points (..., 3)."""
        return ((np.asarray(points_ras, dtype=np.float64) - self.origin_ras) / self.spacing_mm)[..., ::-1]

    def to_ras(self, kji: np.ndarray) -> np.ndarray:
        """Return the RAS points (..., 3) of array coordinates (..., 3) in the order k, j, i."""
        return np.asarray(kji, dtype=np.float64)[..., ::-1] * self.spacing_mm + self.origin_ras


def as_image(voxels: np.ndarray, ijk_to_ras: np.ndarray) -> sitk.Image:
    """Return a SimpleITK image whose physical space is RAS (not LPS): it is only used to resample."""
    image = sitk.GetImageFromArray(voxels)
    spacing = np.array(spacing_of(ijk_to_ras))
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(d) for d in (np.asarray(ijk_to_ras)[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(o) for o in np.asarray(ijk_to_ras)[:3, 3]])
    return image


def ras_bounds(volume: CTVolume) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest RAS coordinates (3,) of the voxel centers of a volume."""
    corners = grid_corners_ras(volume.voxels.shape, volume.ijk_to_ras)
    return corners.min(axis=0), corners.max(axis=0)


def resample_to_ras(
    volume: CTVolume,
    spacing_mm: float,
    low_ras: np.ndarray | None = None,
    high_ras: np.ndarray | None = None,
) -> RasGrid:
    """Resample a box of a volume to an isotropic RAS grid, averaging voxels where the grid is coarser than they are.

    Parameters
    ----------
    spacing_mm : spacing of the result.
    low_ras, high_ras : corners (3,) of the box, cut to the volume; None takes the whole volume.

    Voxels outside the volume get `OUTSIDE_HU`. Coarse volumes are interpolated with cubic B-splines, others linearly.
    """
    bounds = ras_bounds(volume)
    low = bounds[0] if low_ras is None else np.maximum(bounds[0], low_ras)
    high = bounds[1] if high_ras is None else np.minimum(bounds[1], high_ras)
    size = np.maximum(np.floor((high - low) / spacing_mm + 1e-6).astype(int) + 1, 1)

    # only the voxels of the box are copied
    shape = (int(size[2]), int(size[1]), int(size[0]))
    corners = grid_corners_ras(shape, affine(np.full(3, spacing_mm), np.eye(3), low))
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), corners)
    shape_ijk = np.array(volume.voxels.shape[::-1])
    first = np.clip(np.floor(ijk.min(axis=0)).astype(int) - 3, 0, shape_ijk - 1)
    last = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 4, 1, shape_ijk)
    box = volume.voxels[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    matrix = np.array(volume.ijk_to_ras, dtype=np.float64)
    matrix[:3, 3] = transform_points(matrix, first)
    image = as_image(np.ascontiguousarray(box, dtype=np.float32), matrix)

    factors = [max(int(spacing_mm / s + 0.01), 1) for s in spacing_of(matrix)]
    if max(factors) > 1:
        factors = [min(f, n) for f, n in zip(factors, image.GetSize(), strict=True)]
        image = sitk.BinShrink(image, factors)
    coarse = min(spacing_of(matrix)) > 1.5 * spacing_mm
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in size])
    resampler.SetOutputSpacing([spacing_mm] * 3)
    resampler.SetOutputOrigin([float(x) for x in low])
    resampler.SetOutputDirection([1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0])
    resampler.SetInterpolator(sitk.sitkBSpline if coarse else sitk.sitkLinear)
    resampler.SetDefaultPixelValue(OUTSIDE_HU)
    resampler.SetUseNearestNeighborExtrapolator(False)
    return RasGrid(sitk.GetArrayFromImage(resampler.Execute(image)), spacing_mm, low)


def resample_mask(
    mask: np.ndarray, ijk_to_ras: np.ndarray, shape_kji: tuple[int, ...], to_ijk_to_ras: np.ndarray
) -> np.ndarray:
    """Return a bool mask resampled to another grid, its surface interpolated linearly."""
    image = sitk.Cast(as_image(mask.astype(np.uint8), ijk_to_ras), sitk.sitkFloat32)
    spacing = np.array(spacing_of(to_ijk_to_ras))
    result = sitk.Resample(
        image,
        [int(n) for n in shape_kji[::-1]],
        sitk.Transform(),
        sitk.sitkLinear,
        [float(x) for x in np.asarray(to_ijk_to_ras)[:3, 3]],
        [float(s) for s in spacing],
        [float(d) for d in (np.asarray(to_ijk_to_ras)[:3, :3] / spacing).ravel()],
        0.0,
        sitk.sitkFloat32,
    )
    return np.asarray(sitk.GetArrayFromImage(result) >= 0.5)
