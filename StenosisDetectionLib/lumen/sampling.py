"""Sample a volume at points in RAS on any torch device.

In: a `CTVolume` and points in mm RAS. Out: HU by trilinear interpolation. Trilinear interpolation widens the point
spread a little; the point spread is estimated with the same sampler, so it is accounted for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from ..study import CTVolume


class VolumeSampler:
    """Holds the voxels on a device and samples them: make one per study.

    Parameters
    ----------
    volume : the CT.
    device : torch device name, as `devices.resolve_device` gives it.
    """

    def __init__(self, volume: CTVolume, device: str) -> None:
        import torch

        self.device = torch.device(device)
        self._voxels = torch.from_numpy(np.ascontiguousarray(volume.voxels)).to(self.device)[None, None]
        ras_to_ijk = np.linalg.inv(volume.ijk_to_ras)
        # grid_sample counts from -1 (center of the first voxel) to 1 (center of the last).
        scale = 2.0 / np.maximum(np.array(volume.size_ijk) - 1, 1)
        self._matrix = torch.tensor(ras_to_ijk[:3, :3] * scale[:, None], dtype=torch.float64)
        self._offset = torch.tensor(ras_to_ijk[:3, 3] * scale - 1.0, dtype=torch.float64)

    def __call__(self, points_ras: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return HU (float32) and whether each point lies inside the volume, for points (..., 3) in RAS (float64)."""
        import torch

        shape = points_ras.shape[:-1]
        normalized = points_ras.reshape(-1, 3).cpu().double() @ self._matrix.T + self._offset
        grid = normalized.to(self.device, torch.float32)
        values = torch.nn.functional.grid_sample(
            self._voxels, grid[None, None, None], mode="bilinear", padding_mode="border", align_corners=True
        )
        inside = (grid.abs() <= 1.0).all(dim=-1)
        return values.reshape(shape), inside.reshape(shape)
