"""Fit the lumen contour of many cross-sections at once, with the point spread in the model.

In: attenuation sampled on rays around a center, (S sections, A angles, P samples). Out: the lumen radius in every
direction and its covariance. The model of a section is a lumen of attenuation L and radius r(angle), an annulus (wall
or plaque) of attenuation w out to R(angle) = r + t, and surroundings b(angle), seen through a Gaussian point spread:

    I(rho, angle) = b + (w - b) F(rho; R) + (L - w) F(rho; r) + calcium

with F the blurred disc of `disc.py` and the calcium of `calcium.py`, where there is any. r, t and b are Fourier series
in the angle. Damped Gauss-Newton with an analytic Jacobian, all sections in one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from . import calcium as source
from .calcium import Calcium
from .disc import blurred_disc

if TYPE_CHECKING:
    import torch

RADIUS_ORDER, ANNULUS_ORDER, SURROUNDINGS_ORDER = 2, 1, 2
"""Orders of the Fourier series of the lumen radius, the annulus thickness and the surroundings."""

WALL_HU, WALL_HU_SD = 80.0, 35.0
"""Prior of the attenuation of wall and non-calcified plaque in HU: soft plaque shows 20 to 120."""

WALL_MM, WALL_MM_SD = 0.65, 0.6
"""Prior of the thickness of wall and plaque in mm."""

WIDER_SD = 0.1
"""A lumen beside calcium exceeds the healthy radius by this part of it: calcium narrows, and what shines beyond the
healthy lumen is calcium."""

_SMALLEST_RADIUS_MM, _SMALLEST_ANNULUS_MM = 0.15, 0.15
ITERATIONS = 14
"""Most steps of a fit."""

_CONVERGED = 1e-4
_CHUNK = 256
_SIGMA_STEP = 0.05

_NR, _NT, _NB = 2 * RADIUS_ORDER + 1, 2 * ANNULUS_ORDER + 1, 2 * SURROUNDINGS_ORDER + 1
_RADIUS, _ANNULUS = slice(0, _NR), slice(_NR, _NR + _NT)
_WALL, _LUMEN = _NR + _NT, _NR + _NT + 1
_OUTSIDE = slice(_NR + _NT + 2, _NR + _NT + 2 + _NB)
_WIDTH = _NR + _NT + 2 + _NB
_SHAPES = 5


@dataclass(frozen=True)
class SectionData:
    """What is fitted: tensors on one device.

    `values` and `weights` are (S, A, P): HU and the information of each sample in 1/HU^2 (0 leaves it out);
    `distance` (S, P) mm from the center; `sigma` (S, A) point spread in mm along each ray; `lumen_hu`, `lumen_hu_sd`
    and `radius` (S,) the prior of the lumen's attenuation and a first guess of its radius; `noise_hu` SD of the noise;
    `calcium` the first guess of the arcs of calcium, None to fit none; `healthy_radius` (S,) mm that a lumen beside
    calcium hardly exceeds, infinite where it is not known and None for no such limit.
    """

    values: torch.Tensor
    weights: torch.Tensor
    distance: torch.Tensor
    sigma: torch.Tensor
    lumen_hu: torch.Tensor
    lumen_hu_sd: torch.Tensor
    radius: torch.Tensor
    noise_hu: float
    calcium: Calcium | None = None
    healthy_radius: torch.Tensor | None = None


@dataclass(frozen=True)
class SectionFit:
    """The fitted sections: tensors.

    `radius` and `outer_radius` (S, A) mm; `radius_coefficients` (S, 5) Fourier series (mean, cos, sin, cos 2, sin 2)
    of the lumen radius; `radius_covariance` (S, 5, 5); `radius_by_sigma` (S, 5) change of the coefficients with a
    wider point spread, mm per mm; `lumen_hu`, `plaque_hu` (S,); `surroundings_hu` (S, A); `residual` (S,) root of
    chi-squared over the independent samples, below 1 for a good fit; `calcium_area` (S,) mm2 of the fitted arcs;
    `cost` (S,) chi-squared with the priors.
    """

    radius: torch.Tensor
    outer_radius: torch.Tensor
    radius_coefficients: torch.Tensor
    radius_covariance: torch.Tensor
    radius_by_sigma: torch.Tensor
    lumen_hu: torch.Tensor
    plaque_hu: torch.Tensor
    surroundings_hu: torch.Tensor
    residual: torch.Tensor
    calcium_area: torch.Tensor
    cost: torch.Tensor


def excess_width(radius: torch.Tensor, healthy: torch.Tensor) -> torch.Tensor:
    """Return by how many standard deviations a mean radius exceeds that of the healthy vessel, 0 where it does not."""
    return ((radius - healthy) / (WIDER_SD * healthy)).clamp(min=0.0).nan_to_num(0.0)


def fourier_basis(angles: int, order: int, like: torch.Tensor) -> torch.Tensor:
    """Return the (angles, 2 order + 1) basis 1, cos, sin, cos 2, sin 2 ... at equally spaced angles from 0."""
    import torch

    theta = torch.arange(angles, device=like.device, dtype=like.dtype) * (2 * math.pi / angles)
    return _fourier(theta, order, torch)


def _fourier(theta: torch.Tensor, order: int, torch) -> torch.Tensor:  # type: ignore[no-untyped-def]
    columns = [torch.ones_like(theta)]
    for n in range(1, order + 1):
        columns += [torch.cos(n * theta), torch.sin(n * theta)]
    return torch.stack(columns, dim=-1)


def fit_sections(data: SectionData, iterations: int = ITERATIONS) -> SectionFit:
    """Fit all sections by at most that many steps; chunks keep the memory below about 0.3 GB.

    Sections with the same number of arcs of calcium are fitted together, so that those without pay nothing for it.
    """
    import torch

    count = data.values.shape[0]
    arcs = data.values.new_zeros(count, dtype=torch.long) if data.calcium is None else data.calcium.present.sum(1)
    order, parts = [], []
    for number in range(source.MOST_ARCS + 1):
        index = torch.nonzero(arcs == number)[:, 0]
        for start in range(0, len(index), _CHUNK):
            chosen = index[start : start + _CHUNK]
            order.append(chosen)
            parts.append(_Problem(chosen_sections(data, chosen, number)).solve(iterations))
    back = torch.argsort(torch.cat(order))
    return SectionFit(*(torch.cat([getattr(part, f.name) for part in parts])[back] for f in fields(SectionFit)))


def chosen_sections(data: SectionData, index: torch.Tensor, arcs: int = 0) -> SectionData:
    """Return the sections of an index, with that many arcs of calcium."""
    names = [f.name for f in fields(SectionData) if f.name not in ("noise_hu", "calcium", "healthy_radius")]
    healthy = None if data.healthy_radius is None else data.healthy_radius[index]
    part = replace(data, **{k: getattr(data, k)[index] for k in names}, calcium=None, healthy_radius=healthy)
    if arcs == 0 or data.calcium is None:
        return part
    return replace(part, calcium=Calcium(data.calcium.parameters[index, :arcs], data.calcium.present[index, :arcs]))


class _Problem:
    """The least squares problem of a chunk of sections: parameters, priors, model and its derivatives."""

    def __init__(self, data: SectionData) -> None:
        import torch

        self.data = data
        sections, angles, _ = data.values.shape
        like = data.values
        self.radius_basis = fourier_basis(angles, RADIUS_ORDER, like)
        self.annulus_basis = fourier_basis(angles, ANNULUS_ORDER, like)
        self.outside_basis = fourier_basis(angles, SURROUNDINGS_ORDER, like)
        self.arcs = 0 if data.calcium is None else data.calcium.parameters.shape[1]
        width = _WIDTH + source.PARAMETERS * self.arcs
        self.least_excess = source.least_excess_hu(data.lumen_hu - WALL_HU)

        start, precision = like.new_zeros(sections, width), like.new_zeros(sections, width)
        start[:, 0] = data.radius
        start[:, _NR] = WALL_MM
        start[:, _WALL] = WALL_HU
        start[:, _LUMEN] = data.lumen_hu
        start[:, _OUTSIDE.start] = _outer_level(data)
        # Shapes far from round are rare: the higher orders are held to a fraction of the radius.
        shape_sd = (0.25 * data.radius).clamp(min=0.15)
        precision[:, 1:_NR] = (1.0 / shape_sd**2)[:, None]
        precision[:, 0] = 1e-4
        precision[:, _ANNULUS] = 1.0 / WALL_MM_SD**2
        precision[:, _WALL] = 1.0 / WALL_HU_SD**2
        precision[:, _LUMEN] = 1.0 / data.lumen_hu_sd**2
        precision[:, _OUTSIDE] = 1.0 / 150.0**2
        if data.calcium is not None:
            start[:, _WIDTH:] = source.clamped(data.calcium.parameters, self.least_excess).flatten(1)
            precision[:, _WIDTH:] = 1.0 / like.new_tensor(source.PRIOR_SD * self.arcs) ** 2
        self.start, self.prior, self.precision = start, start.clone(), precision

        # A derivative is one of five shapes over the samples times a function of the angle: basis[angle, shape, ...].
        basis = like.new_zeros(angles, _SHAPES, _WIDTH)
        basis[:, 0, _RADIUS] = self.radius_basis
        basis[:, 1, _ANNULUS] = self.annulus_basis
        basis[:, 2, _WALL] = 1.0
        basis[:, 3, _LUMEN] = 1.0
        basis[:, 4, _OUTSIDE] = self.outside_basis
        self.basis = basis
        theta = torch.arange(angles, device=like.device, dtype=like.dtype) * (2 * math.pi / angles)
        self.x = (data.distance[:, None, :] * torch.cos(theta)[:, None]).flatten(1)
        self.y = (data.distance[:, None, :] * torch.sin(theta)[:, None]).flatten(1)

    def shapes(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return lumen radius, outer radius and surroundings, (S, A) each."""
        radius = (parameters[:, _RADIUS] @ self.radius_basis.T).clamp(min=_SMALLEST_RADIUS_MM)
        annulus = (parameters[:, _ANNULUS] @ self.annulus_basis.T).clamp(min=_SMALLEST_ANNULUS_MM)
        return radius, radius + annulus, parameters[:, _OUTSIDE] @ self.outside_basis.T

    def model(
        self, parameters: torch.Tensor, widening: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the image (S, A, P), its derivatives by the five shapes, and by the parameters of the calcium."""
        import torch

        data = self.data
        distance, sigma = data.distance[:, None, :], widening * data.sigma[:, :, None]
        radius, outer, outside = self.shapes(parameters)
        inner_disc, inner_slope = blurred_disc(distance, radius[:, :, None], sigma)
        outer_disc, outer_slope = blurred_disc(distance, outer[:, :, None], sigma)
        w, level, b = parameters[:, _WALL, None, None], parameters[:, _LUMEN, None, None], outside[:, :, None]
        image = b + (w - b) * outer_disc + (level - w) * inner_disc
        by_outer = (w - b) * outer_slope
        by_radius = (level - w) * inner_slope + by_outer
        derivatives = torch.stack([by_radius, by_outer, outer_disc - inner_disc, inner_disc, 1.0 - outer_disc], dim=-1)
        if not self.arcs:
            return image, derivatives, None
        arcs = parameters[:, _WIDTH:].reshape(len(parameters), self.arcs, source.PARAMETERS)
        added, by_arcs = source.arc_image(arcs, self.x, self.y, widening * data.sigma.mean(dim=1))
        return image + added.reshape(image.shape), derivatives, by_arcs.reshape(*image.shape, -1)

    def gaps(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the misfit of the gaps (S, C) between lumen and calcium, and its derivatives (S, C, width)."""
        import torch

        arcs = parameters[:, _WIDTH:].reshape(len(parameters), self.arcs, source.PARAMETERS)
        toward = _fourier(arcs[..., 2], RADIUS_ORDER, torch)
        misfit = source.GAP_MM - (arcs[..., 0] - (toward * parameters[:, None, _RADIUS]).sum(-1))
        derivatives = parameters.new_zeros(*misfit.shape, parameters.shape[1])
        derivatives[..., _RADIUS] = -toward
        for arc in range(self.arcs):
            derivatives[:, arc, _WIDTH + source.PARAMETERS * arc] = 1.0
        return misfit, derivatives

    def cost(self, parameters: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Return the cost (S,)."""
        total = (self.data.weights * residual**2).sum((1, 2))
        total = total + (self.precision * (parameters - self.prior) ** 2).sum(1)
        if self.arcs:
            total = total + (self.gaps(parameters)[0] ** 2).sum(1) / source.GAP_SD_MM**2
        return total + self.too_wide(parameters)[0] ** 2

    def too_wide(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return by how many SD (S,) the mean radius exceeds that of the healthy vessel, and the slope (S,) of that."""
        healthy = self.data.healthy_radius
        if healthy is None:
            nothing = parameters.new_zeros(len(parameters))
            return nothing, nothing
        wide = excess_width(parameters[:, 0], healthy)
        return wide, (wide > 0.0) / (WIDER_SD * healthy)

    def normal_equations(
        self,
        parameters: torch.Tensor,
        residual: torch.Tensor,
        derivatives: torch.Tensor,
        by_arcs: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the normal matrix (S, width, width) and the gradient (S, width)."""
        import torch

        weighted = derivatives * self.data.weights[..., None]
        products = weighted.transpose(2, 3) @ derivatives
        sums = (weighted * residual[..., None]).sum(2)
        gradient = torch.einsum("aui,sau->si", self.basis, sums)
        normal = torch.einsum("aui,sauv,avj->sij", self.basis, products, self.basis)
        if by_arcs is not None:
            mixed = torch.einsum("aui,sauv->siv", self.basis, weighted.transpose(2, 3) @ by_arcs)
            heavy = (by_arcs * self.data.weights[..., None]).flatten(1, 2)
            own = heavy.transpose(1, 2) @ by_arcs.flatten(1, 2)
            normal = torch.cat([torch.cat([normal, mixed], 2), torch.cat([mixed.transpose(1, 2), own], 2)], 1)
            by_own = (heavy * residual.flatten(1)[..., None]).sum(1)
            gradient = torch.cat([gradient, by_own], 1)
            misfit, slopes = self.gaps(parameters)
            normal = normal + slopes.transpose(1, 2) @ slopes / source.GAP_SD_MM**2
            gradient = gradient + (slopes * misfit[..., None]).sum(1) / source.GAP_SD_MM**2
        normal = normal + torch.diag_embed(self.precision)
        gradient = gradient + self.precision * (self.prior - parameters)
        wide, slope = self.too_wide(parameters)
        normal[:, 0, 0] += slope**2
        gradient[:, 0] -= slope * wide
        return normal, gradient

    def limited(self, parameters: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Return the parameters after a step of limited length, within what is possible."""
        step[:, : _ANNULUS.stop] = step[:, : _ANNULUS.stop].clamp(-0.3, 0.3)
        trial = parameters + step
        trial[:, 0] = trial[:, 0].clamp(min=_SMALLEST_RADIUS_MM)
        if self.arcs:
            arcs = trial[:, _WIDTH:].reshape(len(trial), self.arcs, source.PARAMETERS)
            trial[:, _WIDTH:] = source.clamped(arcs, self.least_excess).flatten(1)
        return trial

    def solve(self, iterations: int) -> SectionFit:
        """Minimize the cost by damped Gauss-Newton steps."""
        import torch

        data, parameters = self.data, self.start
        damping = data.values.new_full((len(parameters),), 1e-2)
        image, derivatives, by_arcs = self.model(parameters)
        residual = data.values - image
        current = self.cost(parameters, residual)
        for _ in range(iterations):
            normal, gradient = self.normal_equations(parameters, residual, derivatives, by_arcs)
            damped = normal + torch.diag_embed(damping[:, None] * torch.diagonal(normal, dim1=1, dim2=2))
            trial = self.limited(parameters, torch.linalg.solve(damped, gradient))
            trial_image, trial_derivatives, trial_by_arcs = self.model(trial)
            trial_cost = self.cost(trial, data.values - trial_image)
            better = trial_cost < current
            gain = ((current - trial_cost) / current.clamp(min=1e-12)).where(better, trial_cost.new_zeros(()))
            damping = torch.where(better, damping * 0.3, damping * 4.0).clamp(1e-6, 1e4)
            parameters = torch.where(better[:, None], trial, parameters)
            current = torch.where(better, trial_cost, current)
            residual = torch.where(better[:, None, None], data.values - trial_image, residual)
            derivatives = torch.where(better[:, None, None, None], trial_derivatives, derivatives)
            if by_arcs is not None and trial_by_arcs is not None:
                by_arcs = torch.where(better[:, None, None, None], trial_by_arcs, by_arcs)
            if float(gain.max()) < _CONVERGED:
                break
        return self._fit(parameters, residual, derivatives, by_arcs)

    def _fit(
        self,
        parameters: torch.Tensor,
        residual: torch.Tensor,
        derivatives: torch.Tensor,
        by_arcs: torch.Tensor | None,
    ) -> SectionFit:
        import torch

        data = self.data
        normal, _ = self.normal_equations(parameters, residual, derivatives, by_arcs)
        covariance = torch.linalg.inv(normal)
        # What a slightly wider point spread would change, by one more step from here.
        wider = self.model(parameters, 1.0 + _SIGMA_STEP)[0]
        narrow = data.values - residual
        prior_only = self.precision * (self.prior - parameters)
        wide, slope = self.too_wide(parameters)
        prior_only[:, 0] -= slope * wide
        _, pull = self.normal_equations(parameters, narrow - wider, derivatives, by_arcs)
        if self.arcs:
            gap, slopes = self.gaps(parameters)
            prior_only = prior_only + (slopes * gap[..., None]).sum(1) / source.GAP_SD_MM**2
        moved = (covariance @ (pull - prior_only)[..., None])[:, _RADIUS, 0]
        by_sigma = moved / (_SIGMA_STEP * data.sigma.mean(dim=1, keepdim=True))

        radius, outer, outside = self.shapes(parameters)
        # Weights are information: times the variance of the noise their sum counts independent samples.
        independent = (data.weights.sum((1, 2)) * data.noise_hu**2).clamp(min=1.0)
        misfit = ((data.weights * residual**2).sum((1, 2)) / independent).sqrt()
        area = radius.new_zeros(len(radius))
        if self.arcs:
            arcs = parameters[:, _WIDTH:].reshape(len(parameters), self.arcs, source.PARAMETERS)
            area = source.arc_area(arcs).sum(dim=1)
        return SectionFit(
            radius,
            outer,
            parameters[:, _RADIUS],
            covariance[:, _RADIUS, _RADIUS],
            by_sigma,
            parameters[:, _LUMEN],
            parameters[:, _WALL],
            outside,
            misfit,
            area,
            self.cost(parameters, residual),
        )


def _outer_level(data: SectionData) -> torch.Tensor:
    """Return a first guess of the surroundings: the lower fifth of the samples beyond the lumen."""
    import torch

    beyond = (data.distance[:, None, :] > (data.radius + 1.0)[:, None, None]) & (data.weights > 0)
    values = torch.where(beyond, data.values, data.values.new_tensor(float("nan")))
    level = torch.nanquantile(values.flatten(1), 0.2, dim=1)
    return torch.nan_to_num(level, nan=0.0)
