"""Fit the lumen contour of many cross-sections at once, with the point spread in the model.

In: attenuation sampled on rays around a center, (S sections, A angles, P samples). Out: the lumen radius in every
direction and its covariance. The model of a section is a lumen of attenuation L and radius r(angle), an annulus (wall
or plaque) of attenuation w out to R(angle) = r + t, and surroundings b(angle), seen through a Gaussian point spread:

    I(rho, angle) = b + (w - b) F(rho; R) + (L - w) F(rho; r)

with F the blurred disc of `disc.py`. r, t and b are Fourier series in the angle. Damped Gauss-Newton with an analytic
Jacobian, all sections in one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .disc import blurred_disc

if TYPE_CHECKING:
    import torch

RADIUS_ORDER, ANNULUS_ORDER, SURROUNDINGS_ORDER = 2, 1, 2
"""Orders of the Fourier series of the lumen radius, the annulus thickness and the surroundings."""

WALL_HU, WALL_HU_SD = 80.0, 35.0
"""Prior of the attenuation of wall and non-calcified plaque in HU: soft plaque shows 20 to 120."""

WALL_MM, WALL_MM_SD = 0.8, 0.6
"""Prior of the thickness of wall and plaque in mm."""

CALCIUM_EDGE_SD_MM = 0.3
"""How well the inner edge of calcium tells the lumen's edge, in mm: calcium blooms, and need not touch the lumen."""

_SMALLEST_RADIUS_MM, _SMALLEST_ANNULUS_MM = 0.15, 0.15
_ITERATIONS = 14
_CONVERGED = 1e-4
_CHUNK = 256


@dataclass(frozen=True)
class SectionData:
    """What is fitted: tensors on one device.

    `values` and `weights` are (S, A, P): HU and the information of each sample in 1/HU^2 (0 leaves it out);
    `distance` (S, P) mm from the center; `sigma` (S, A) point spread in mm along each ray; `lumen_hu`, `lumen_hu_sd`
    and `radius` (S,) the prior of the lumen's attenuation and a first guess of its radius; `edge` (S, A) mm where the
    lumen ends at calcium on rays that meet it, NaN elsewhere.
    """

    values: torch.Tensor
    weights: torch.Tensor
    distance: torch.Tensor
    sigma: torch.Tensor
    lumen_hu: torch.Tensor
    lumen_hu_sd: torch.Tensor
    radius: torch.Tensor
    edge: torch.Tensor


@dataclass(frozen=True)
class SectionFit:
    """The fitted sections: tensors.

    `radius` and `outer_radius` (S, A) mm; `radius_coefficients` (S, 5) Fourier series (mean, cos, sin, cos 2, sin 2)
    of the lumen radius; `radius_covariance` (S, 5, 5); `lumen_hu`, `plaque_hu` (S,); `residual` (S,) root of the mean
    weighted squared residual, about 1 for a good fit; `surroundings_hu` (S, A).
    """

    radius: torch.Tensor
    outer_radius: torch.Tensor
    radius_coefficients: torch.Tensor
    radius_covariance: torch.Tensor
    lumen_hu: torch.Tensor
    plaque_hu: torch.Tensor
    surroundings_hu: torch.Tensor
    residual: torch.Tensor


def fourier_basis(angles: int, order: int, like: torch.Tensor) -> torch.Tensor:
    """Return the (angles, 2 order + 1) basis 1, cos, sin, cos 2, sin 2 ... at equally spaced angles from 0."""
    import torch

    theta = torch.arange(angles, device=like.device, dtype=like.dtype) * (2 * math.pi / angles)
    columns = [torch.ones_like(theta)]
    for n in range(1, order + 1):
        columns += [torch.cos(n * theta), torch.sin(n * theta)]
    return torch.stack(columns, dim=1)


def fit_sections(data: SectionData) -> SectionFit:
    """Fit all sections; chunks keep the memory below about 0.3 GB."""
    import torch

    count = data.values.shape[0]
    parts = [
        _fit_chunk(SectionData(*(getattr(data, name)[start : start + _CHUNK] for name in SectionData.__annotations__)))
        for start in range(0, count, _CHUNK)
    ]
    return SectionFit(*(torch.cat([getattr(part, name) for part in parts]) for name in SectionFit.__annotations__))


def _fit_chunk(data: SectionData) -> SectionFit:
    import torch

    sections, angles, _ = data.values.shape
    like = data.values
    radius_basis = fourier_basis(angles, RADIUS_ORDER, like)
    annulus_basis = fourier_basis(angles, ANNULUS_ORDER, like)
    outside_basis = fourier_basis(angles, SURROUNDINGS_ORDER, like)
    nr, nt, nb = radius_basis.shape[1], annulus_basis.shape[1], outside_basis.shape[1]
    radius_slice, annulus_slice = slice(0, nr), slice(nr, nr + nt)
    wall, lumen = nr + nt, nr + nt + 1
    outside_slice = slice(nr + nt + 2, nr + nt + 2 + nb)
    width = nr + nt + 2 + nb

    start, precision = like.new_zeros(sections, width), like.new_zeros(sections, width)
    start[:, 0] = data.radius
    start[:, nr] = WALL_MM
    start[:, wall] = WALL_HU
    start[:, lumen] = data.lumen_hu
    start[:, nr + nt + 2] = _outer_level(data)
    # Shapes far from round are rare: the higher orders are held to a fraction of the radius.
    shape_sd = (0.25 * data.radius).clamp(min=0.15)
    precision[:, 1:nr] = (1.0 / shape_sd**2)[:, None]
    precision[:, 0] = 1e-4
    precision[:, annulus_slice] = 1.0 / WALL_MM_SD**2
    precision[:, wall] = 1.0 / WALL_HU_SD**2
    precision[:, lumen] = 1.0 / data.lumen_hu_sd**2
    precision[:, outside_slice] = 1.0 / 150.0**2
    prior = start.clone()
    met = torch.isfinite(data.edge)
    edge_precision = met / CALCIUM_EDGE_SD_MM**2
    edge = torch.where(met, data.edge, 0.0)
    edge_normal = torch.einsum("sa,ai,aj->sij", edge_precision, radius_basis, radius_basis)

    def edge_miss(parameters: torch.Tensor) -> torch.Tensor:
        return edge - parameters[:, radius_slice] @ radius_basis.T

    distance, sigma = data.distance[:, None, :], data.sigma[:, :, None]
    # A derivative is one of five shapes over the samples times a function of the angle: basis[angle, shape, parameter].
    basis = like.new_zeros(angles, 5, width)
    basis[:, 0, radius_slice] = radius_basis
    basis[:, 1, annulus_slice] = annulus_basis
    basis[:, 2, wall] = 1.0
    basis[:, 3, lumen] = 1.0
    basis[:, 4, outside_slice] = outside_basis

    def shapes(parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        radius = (parameters[:, radius_slice] @ radius_basis.T).clamp(min=_SMALLEST_RADIUS_MM)
        annulus = (parameters[:, annulus_slice] @ annulus_basis.T).clamp(min=_SMALLEST_ANNULUS_MM)
        return radius, radius + annulus, parameters[:, outside_slice] @ outside_basis.T

    def evaluate(parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the residual (S, A, P), its derivatives by the five shapes (S, A, P, 5), and the cost (S,)."""
        radius, outer, outside = shapes(parameters)
        inner_disc, inner_slope = blurred_disc(distance, radius[:, :, None], sigma)
        outer_disc, outer_slope = blurred_disc(distance, outer[:, :, None], sigma)
        w, level, b = parameters[:, wall, None, None], parameters[:, lumen, None, None], outside[:, :, None]
        residual = data.values - (b + (w - b) * outer_disc + (level - w) * inner_disc)
        by_outer = (w - b) * outer_slope
        by_radius = (level - w) * inner_slope + by_outer
        derivatives = torch.stack([by_radius, by_outer, outer_disc - inner_disc, inner_disc, 1.0 - outer_disc], dim=-1)
        cost = (data.weights * residual**2).sum((1, 2)) + (precision * (parameters - prior) ** 2).sum(1)
        return residual, derivatives, cost + (edge_precision * edge_miss(parameters) ** 2).sum(1)

    parameters = start
    damping = like.new_full((sections,), 1e-2)
    residual, derivatives, current = evaluate(parameters)
    normal = like.new_zeros(sections, width, width)
    for _ in range(_ITERATIONS):
        weighted = derivatives * data.weights[..., None]
        products = weighted.transpose(2, 3) @ derivatives
        normal = torch.einsum("aui,sauv,avj->sij", basis, products, basis) + torch.diag_embed(precision)
        normal[:, radius_slice, radius_slice] += edge_normal
        sums = (weighted * residual[..., None]).sum(2)
        gradient = torch.einsum("aui,sau->si", basis, sums) + precision * (prior - parameters)
        gradient[:, radius_slice] += (edge_precision * edge_miss(parameters)) @ radius_basis
        damped = normal + torch.diag_embed(damping[:, None] * torch.diagonal(normal, dim1=1, dim2=2))
        step = torch.linalg.solve(damped, gradient)
        step[:, radius_slice] = step[:, radius_slice].clamp(-0.3, 0.3)
        step[:, annulus_slice] = step[:, annulus_slice].clamp(-0.3, 0.3)
        trial = parameters + step
        trial[:, 0] = trial[:, 0].clamp(min=_SMALLEST_RADIUS_MM)
        trial_residual, trial_derivatives, trial_cost = evaluate(trial)
        better = trial_cost < current
        gain = ((current - trial_cost) / current.clamp(min=1e-12)).where(better, trial_cost.new_zeros(()))
        damping = torch.where(better, damping * 0.3, damping * 4.0).clamp(1e-6, 1e4)
        parameters = torch.where(better[:, None], trial, parameters)
        current = torch.where(better, trial_cost, current)
        residual = torch.where(better[:, None, None], trial_residual, residual)
        derivatives = torch.where(better[:, None, None, None], trial_derivatives, derivatives)
        if float(gain.max()) < _CONVERGED:
            break

    radius, outer, outside = shapes(parameters)
    total = data.weights.sum((1, 2)).clamp(min=1e-12)
    # Weights are information, so that their sum counts independent samples times their weight.
    mean_square = (data.weights * residual**2).sum((1, 2)) / total
    unit = total / (data.weights > 0).sum((1, 2)).clamp(min=1)
    covariance = torch.linalg.inv(normal)[:, radius_slice, radius_slice]
    return SectionFit(
        radius,
        outer,
        parameters[:, radius_slice],
        covariance,
        parameters[:, lumen],
        parameters[:, wall],
        outside,
        (mean_square * unit).sqrt(),
    )


def _outer_level(data: SectionData) -> torch.Tensor:
    """Return a first guess of the surroundings: the lower fifth of the samples beyond the lumen."""
    import torch

    beyond = (data.distance[:, None, :] > (data.radius + 1.0)[:, None, None]) & (data.weights > 0)
    values = torch.where(beyond, data.values, data.values.new_tensor(float("nan")))
    level = torch.nanquantile(values.flatten(1), 0.2, dim=1)
    return torch.nan_to_num(level, nan=0.0)
