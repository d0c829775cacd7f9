"""Calcium as a source of its own in a cross-section: an arc in the wall, seen through the point spread.

An arc has five parameters: inner radius and thickness in mm, direction and half of its angle in radians, and its
attenuation above that of the wall in HU. Its image is the sum over small cells of the arc, each a Gaussian of the
point spread widened by the cell: blooming is thereby part of the model instead of being taken for calcium or lumen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PARAMETERS = 5
"""Inner radius, thickness, direction, half angle, attenuation above the wall."""

MOST_ARCS = 2
"""Arcs that one cross-section can have."""

PRIOR_SD = (0.5, 0.5, 0.35, 0.45, 350.0)
"""Standard deviations of the priors around the first guess, in the units of the parameters."""

SIDES = 8
"""Directions in which hidden calcium is looked for: from a start farther off the fit ends beside it."""

TYPICAL_EXCESS_HU = 750.0
"""Calcium above the wall: calcified plaque has 500 to 1500 HU."""

GAP_MM, GAP_SD_MM = 0.1, 0.3
"""Prior of the distance from the lumen to the calcium beside it in mm."""

LEAST_EXCESS_HU, BRIGHTER = 350.0, 1.15
"""Calcium is at least this much above the wall in HU, and brighter than the lumen by this factor of its contrast."""

_LOWEST = (0.2, 0.1, -1e3, 0.1, 0.0)
_HIGHEST = (8.0, 3.0, 1e3, 2.6, 2500.0)
_RING_HALF_ANGLE = 2.2
_RADIAL, _ANGULAR = 3, 11


@dataclass(frozen=True)
class Calcium:
    """First guess of the arcs of sections: tensors.

    `parameters` (S, C, 5); `present` (S, C) bool.
    """

    parameters: torch.Tensor
    present: torch.Tensor


def least_excess_hu(contrast_hu: torch.Tensor) -> torch.Tensor:
    """Return how much brighter than the wall calcium is at least in HU, for a lumen that much brighter than the wall.

    Without that bound a wide lumen is as well explained by a narrow one with calcium as dim as blood beside it.
    """
    return (BRIGHTER * contrast_hu).clamp(min=LEAST_EXCESS_HU)


def clamped(parameters: torch.Tensor, least_excess: torch.Tensor | None = None) -> torch.Tensor:
    """Return parameters (S, C, 5) within what an arc can be; `least_excess` (S,) HU above the wall."""
    low, high = parameters.new_tensor(_LOWEST), parameters.new_tensor(_HIGHEST)
    result = parameters.clamp(low, high)
    if least_excess is not None:
        result[..., 4] = result[..., 4].maximum(least_excess[:, None])
    return result


def arc_area(parameters: torch.Tensor) -> torch.Tensor:
    """Return the area (...,) in mm2 of arcs (..., 5): without blooming."""
    inner, thickness, half = parameters[..., 0], parameters[..., 1], parameters[..., 3]
    return half * ((inner + thickness) ** 2 - inner**2)


@lru_cache(maxsize=4)
def _cells(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the middle of the cells across the arc, 0 to 1, and along it, -1 to 1, (Q,) each."""
    import torch

    across = (torch.arange(_RADIAL, device=device) + 0.5) / _RADIAL
    along = (torch.arange(_ANGULAR, device=device) + 0.5) * (2.0 / _ANGULAR) - 1.0
    return across.repeat_interleave(_ANGULAR), along.repeat(_RADIAL)


def arc_image(
    parameters: torch.Tensor, x: torch.Tensor, y: torch.Tensor, sigma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the image (S, P) in HU of arcs and its derivatives (S, P, 5 C).

    Parameters
    ----------
    parameters : (S, C, 5).
    x, y : (S, P) positions in the plane in mm.
    sigma : (S,) point spread in mm.
    """
    import torch

    sections, arcs, _ = parameters.shape
    across, along = _cells(str(parameters.device))
    inner, thickness, middle, half, excess = (parameters[..., n, None] for n in range(PARAMETERS))
    radius = inner + thickness * across
    angle = middle + half * along
    cosine, sine = torch.cos(angle), torch.sin(angle)
    u, v = radius * cosine, radius * sine
    size = thickness * 2.0 * half / (_RADIAL * _ANGULAR)
    # Attenuation times area of each cell, (S, C, Q).
    mass = excess * size * radius
    variance = (sigma**2)[:, None, None] + size * radius / 12.0
    # Derivatives of mass and position by the five parameters, (S, C, Q, 5).
    zero = torch.zeros_like(mass)
    d_mass = torch.stack(
        [
            excess * size + zero,
            mass / thickness + excess * size * across,
            zero,
            mass / half,
            size * radius,
        ],
        dim=-1,
    )
    d_u = torch.stack([cosine, cosine * across, -v, -v * along, zero], dim=-1)
    d_v = torch.stack([sine, sine * across, u, u * along, zero], dim=-1)

    flat = arcs * across.shape[0]
    u_, v_, var, m = (t.reshape(sections, flat) for t in (u, v, variance, mass))
    # The kernel exp(-|x - u|^2 / 2 var) / (2 pi var) as the exponential of one matrix product.
    powers = torch.stack([x**2 + y**2, x, y, torch.ones_like(x)], dim=-1)
    level = -0.5 * (u_**2 + v_**2) / var - torch.log(2.0 * math.pi * var)
    kernel = (powers @ torch.stack([-0.5 / var, u_ / var, v_ / var, level], dim=1)).exp_()
    image = (kernel @ m[..., None])[..., 0]

    scaled = mass / variance
    constant = d_mass - scaled[..., None] * (u[..., None] * d_u + v[..., None] * d_v)
    columns = torch.stack([constant, scaled[..., None] * d_u, scaled[..., None] * d_v], dim=-1)
    # Block-diagonal over the arcs: the cells of one arc depend on its own parameters only.
    blocks = columns.new_zeros(sections, arcs, across.shape[0], arcs, PARAMETERS, 3)
    for c in range(arcs):
        blocks[:, c, :, c] = columns[:, c]
    products = kernel @ blocks.reshape(sections, flat, arcs * PARAMETERS * 3)
    products = products.reshape(sections, x.shape[1], arcs * PARAMETERS, 3)
    derivatives = products[..., 0] + x[..., None] * products[..., 1] + y[..., None] * products[..., 2]
    return image, derivatives


def guess_arcs(calcium: torch.Tensor, distance: torch.Tensor) -> Calcium:
    """Return the first guess of the arcs from a mask of calcium on the rays.

    Parameters
    ----------
    calcium : (S, A, P) bool, samples above the threshold of calcium.
    distance : (S, P) mm.
    """
    import torch

    sections, angles, _ = calcium.shape
    rays = calcium.any(dim=2)
    # Close gaps of one ray, so that noise does not split an arc.
    rays = rays | (torch.roll(rays, 1, 1) & torch.roll(rays, -1, 1))
    parameters = distance.new_zeros(sections, MOST_ARCS, PARAMETERS)
    parameters[..., 0], parameters[..., 1], parameters[..., 3] = 1.5, 0.6, 0.4
    present = torch.zeros(sections, MOST_ARCS, dtype=torch.bool, device=calcium.device)
    left = rays
    step = 2.0 * math.pi / angles
    for arc in range(MOST_ARCS):
        first, length = _longest_run(left)
        found = length > 0
        own = ((torch.arange(angles, device=calcium.device) - first[:, None]) % angles) < length[:, None]
        mask = calcium & own[:, :, None]
        count = mask.sum((1, 2)).clamp(min=1)
        place = distance[:, None, :].expand_as(mask)
        nearest = torch.where(mask, place, place.new_tensor(1e3)).amin((1, 2))
        farthest = torch.where(mask, place, place.new_tensor(0.0)).amax((1, 2))
        mean = torch.where(mask, place, place.new_tensor(0.0)).sum((1, 2)) / count
        thickness = (farthest - nearest).clamp(0.3, 2.0)
        parameters[:, arc, 0] = torch.where(found, mean - 0.5 * thickness, parameters[:, arc, 0])
        parameters[:, arc, 1] = torch.where(found, thickness, parameters[:, arc, 1])
        parameters[:, arc, 2] = (first + 0.5 * (length - 1).clamp(min=0)) * step
        parameters[:, arc, 3] = torch.where(found, (0.5 * length * step).clamp(0.2, 2.6), parameters[:, arc, 3])
        parameters[:, arc, 4] = torch.where(found, TYPICAL_EXCESS_HU, 0.0)
        present[:, arc] = found
        left = left & ~own
    return Calcium(clamped(parameters), present)


def guess_side(radius: torch.Tensor, side: torch.Tensor) -> Calcium:
    """Return one arc that touches a lumen on one of its sides, for sections whose shape speaks for hidden calcium.

    Parameters
    ----------
    radius : (S,) of the lumen in mm.
    side : (S,) which of the `SIDES`; `SIDES` itself stands for nearly all around.
    """
    import torch

    parameters = radius.new_zeros(len(radius), MOST_ARCS, PARAMETERS)
    parameters[..., 0], parameters[..., 1], parameters[..., 3] = 1.5, 0.6, 0.4
    parameters[:, 0, 0] = radius
    parameters[:, 0, 1] = 0.8
    parameters[:, 0, 2] = side * (2.0 * math.pi / SIDES)
    parameters[:, 0, 3] = torch.where(side < SIDES, 0.5, _RING_HALF_ANGLE)
    parameters[:, 0, 4] = TYPICAL_EXCESS_HU
    present = torch.zeros(len(radius), MOST_ARCS, dtype=torch.bool, device=radius.device)
    present[:, 0] = True
    return Calcium(clamped(parameters), present)


def _longest_run(rays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return first ray and length (S,) of the longest run of True around the circle; length 0 where there is none."""
    import torch

    angles = rays.shape[1]
    twice = torch.cat([rays, rays], dim=1)
    length = torch.zeros(rays.shape[0], angles, dtype=torch.long, device=rays.device)
    going = torch.ones_like(rays)
    for n in range(angles):
        going = going & twice[:, n : n + angles]
        length += going
    best = length.argmax(dim=1)
    return best, length.gather(1, best[:, None])[:, 0]
