"""What a network takes in: attenuation in HU becomes channels from 0 to 1, the same in training and in use.

Attenuation is first told in units of the contrast between fat and the blood of the aorta, (HU - fat) / (aorta - fat),
which removes most of what contrast agent and tube voltage change; each window of the configuration then makes a
channel. Source: engineering brief of the project, section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .network import NetworkConfiguration

if TYPE_CHECKING:
    import numpy as np
    import torch

FAT_HU = -90.0
"""Attenuation of epicardial fat."""

TYPICAL_AORTA_HU = 400.0
"""Attenuation of the aorta where it could not be measured."""

_AORTA_RANGE_HU = (150.0, 900.0)
"""A measured aorta outside this range is clipped: dividing by the contrast of a study without any makes noise."""


def contrast_scale(aorta_hu: float | None) -> float:
    """Return the contrast between fat and the blood of the aorta in HU."""
    low, high = _AORTA_RANGE_HU
    return min(max(TYPICAL_AORTA_HU if aorta_hu is None else float(aorta_hu), low), high) - FAT_HU


def network_input(
    hu: np.ndarray | torch.Tensor, aorta_hu: float | None, configuration: NetworkConfiguration
) -> torch.Tensor:
    """Return the input channels of a volume or a batch of volumes.

    Parameters
    ----------
    hu : attenuation (k, j, i) or (B, k, j, i) in HU, on any device.
    aorta_hu : mean attenuation of the blood in the aorta; None when it is unknown.
    configuration : of the network.

    Returns
    -------
    float32 tensor (C, k, j, i) or (B, C, k, j, i) on the device of `hu`.
    """
    import torch

    blood = (torch.as_tensor(hu).float() - FAT_HU) / contrast_scale(aorta_hu)
    channels = [(blood - low).div_(high - low).clamp_(0.0, 1.0) for low, high in configuration.windows]
    return torch.stack(channels, dim=-4)
