"""The image of a disc through a Gaussian point spread: what a round lumen looks like in a cross-section.

A disc of radius r blurred by a Gaussian of standard deviation sigma has at the distance rho from its center

    F(rho; r) = integral from 0 to r of (u / sigma^2) exp(-(rho^2 + u^2) / (2 sigma^2)) I0(rho u / sigma^2) du

which has no closed form; it is tabulated once in units of sigma. Its derivative by r is the integrand.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_STEP = 0.05
_LIMIT = 24.0


@lru_cache(maxsize=4)
def _table(device: str) -> torch.Tensor:
    """Return F and its slope in units of sigma, (2, distance, radius), each axis 0 to `_LIMIT` in steps of `_STEP`."""
    import torch
    from scipy.special import i0e

    fine = 5
    distance = np.arange(0.0, _LIMIT + _STEP / 2, _STEP)
    radius = np.arange(0.0, _LIMIT + _STEP / 2 / fine, _STEP / fine)
    x, u = distance[:, None], radius[None, :]
    slope = u * np.exp(-0.5 * (x - u) ** 2) * i0e(x * u)
    steps = 0.5 * (slope[:, 1:] + slope[:, :-1]) * (_STEP / fine)
    disc = np.concatenate([np.zeros((len(distance), 1)), np.cumsum(steps, axis=1)], axis=1)
    return torch.tensor(np.stack([disc[:, ::fine], slope[:, ::fine]]), dtype=torch.float32, device=device)[None]


def blurred_disc(
    distance: torch.Tensor, radius: torch.Tensor, sigma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return F(distance; radius), between 0 and 1, and its derivative by the radius in 1/mm.

    The arguments are in mm and broadcast against each other; the error of F is below 0.001.
    """
    import torch

    x, y = torch.broadcast_tensors(distance / sigma, radius / sigma)
    grid = torch.stack([y, x], dim=-1).reshape(1, 1, -1, 2) * (2.0 / _LIMIT) - 1.0
    table = _table(str(distance.device))
    values = torch.nn.functional.grid_sample(table, grid, mode="bilinear", padding_mode="border", align_corners=True)
    disc, slope = values.reshape(2, *x.shape)
    return disc, slope / sigma
