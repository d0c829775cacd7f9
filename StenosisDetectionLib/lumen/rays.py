"""Prepare cross-sections for the fit: rays from the centerline, what each ray may see, and first guesses.

In: sections (center, frame) and the CT. Out: attenuation on rays with the information of every sample. A ray stops
where it leaves the vessel's own surroundings: at another vessel of the tree, at a bright neighbor such as a chamber or
a vein, and at calcium, whose blooming hides what is behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .calcium import guess_arcs

if TYPE_CHECKING:
    import torch

    from .calcium import Calcium
    from .sampling import VolumeSampler

ANGLES = 24
SAMPLES = 32

FAT_HU = -90.0
"""Typical attenuation of epicardial fat: the far end of the contrast between lumen and surroundings."""


CALCIUM_MODEL_ERROR = 0.1
"""How well the arcs of calcium describe it, as a part of its attenuation above the lumen."""

CANDIDATE_HU, CANDIDATE_NOISE = 35.0, 1.5
"""What may be calcium is, averaged over its surroundings, this much brighter than the lumen in HU, and this many SD of
the noise."""


@dataclass(frozen=True)
class Rays:
    """Sampled rays: tensors on the sampler's device.

    `values` (S, A, P) HU; `distance` (S, P) mm; `sigma` (S, A) mm; `border` (S, A) number of the first
    sample outside of the volume, `SAMPLES` where there is none.
    """

    values: torch.Tensor
    distance: torch.Tensor
    sigma: torch.Tensor
    border: np.ndarray


@dataclass(frozen=True)
class RayView:
    """What the rays may see.

    `weights` (S, A, P) information of the samples in 1/HU^2; `radius` (S,) a first guess in mm; `calcified` (S, A) rays
    that meet calcium; `calcium` the first guess of its arcs, among them some that only noise makes; `neighbor` (S, A)
    mm where another vessel begins, infinite where none does; `ring` (S,) share of the rays on which something is
    brighter than both lumen and core.
    """

    weights: torch.Tensor
    radius: torch.Tensor
    calcified: torch.Tensor
    calcium: Calcium
    neighbor: torch.Tensor
    ring: torch.Tensor


def ray_directions(frames: np.ndarray) -> np.ndarray:
    """Return the unit vectors (S, ANGLES, 3) of the rays in RAS for frames (S, 3, 3) of tangent and plane vectors."""
    theta = np.arange(ANGLES) * (2 * math.pi / ANGLES)
    return np.cos(theta)[None, :, None] * frames[:, None, 1] + np.sin(theta)[None, :, None] * frames[:, None, 2]


def ray_extent(radius_mm: np.ndarray) -> np.ndarray:
    """Return how far rays must reach in mm to see the surroundings of a vessel of that radius."""
    return np.clip(1.3 * radius_mm + 2.3, 3.2, 7.5)


def sample_rays(
    sampler: VolumeSampler,
    centers: np.ndarray,
    frames: np.ndarray,
    extent_mm: np.ndarray,
    psf_covariance_ras: np.ndarray,
) -> Rays:
    """Sample HU on the rays of sections with `centers` (S, 3), `frames` (S, 3, 3) and reach `extent_mm` (S,)."""
    import torch

    directions = ray_directions(frames)
    # Samples lie in the middle of equal rings, so that each stands for the area of its ring.
    fraction = (np.arange(SAMPLES) + 0.5) / SAMPLES
    distance = extent_mm[:, None] * fraction
    points = centers[:, None, None] + distance[:, None, :, None] * directions[:, :, None]
    values, inside = sampler(torch.from_numpy(points))
    sigma = np.sqrt(np.einsum("sai,ij,saj->sa", directions, psf_covariance_ras, directions))

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=sampler.device)

    border = first_below(~inside).cpu().numpy()
    return Rays(values, tensor(distance), tensor(sigma), border)


def first_below(below: torch.Tensor) -> torch.Tensor:
    """Return the index of the first True along the last axis, or its length where there is none."""
    import torch

    count = below.shape[-1]
    index = torch.arange(count, device=below.device).expand_as(below)
    return torch.where(below, index, count).amin(dim=-1)


def candidate_excess_hu(noise_hu: float) -> float:
    """Return how much brighter than the lumen something must be in HU to be a candidate of calcium."""
    return max(CANDIDATE_NOISE * noise_hu, CANDIDATE_HU)


def _evened(values: torch.Tensor) -> torch.Tensor:
    """Return values (S, A, P) averaged over three sections, five rays and three samples: calcium reaches that far."""
    import torch
    from torch.nn.functional import avg_pool3d, pad

    around = torch.cat([values[:, -2:], values, values[:, :2]], dim=1)
    padded = pad(around[None, None], (1, 1, 0, 0, 1, 1), mode="replicate")
    return avg_pool3d(padded, (3, 5, 3), stride=1)[0, 0]


def view_rays(
    rays: Rays, lumen_hu: torch.Tensor, noise_hu: float, calcium_hu: torch.Tensor, neighbor_sample: torch.Tensor
) -> RayView:
    """Find what each ray may see.

    Parameters
    ----------
    lumen_hu, calcium_hu : (S,) attenuation of the lumen and the threshold of calcium.
    noise_hu : SD of the noise.
    neighbor_sample : (S, A) index of the first sample that belongs to another vessel, SAMPLES where there is none.
    """
    import torch
    from torch.nn.functional import avg_pool1d, avg_pool2d, max_pool2d, pad

    values, distance = rays.values, rays.distance
    _, angles, samples = values.shape
    index = torch.arange(samples, device=values.device)
    step = distance[:, 1] - distance[:, 0]
    sigma = rays.sigma.mean()

    smooth = avg_pool1d(pad(values, (1, 1), mode="replicate"), 3, stride=1)
    around = torch.cat([values[:, -1:], values, values[:, :1]], dim=1)
    even = avg_pool2d(pad(around, (1, 1, 0, 0), mode="replicate")[:, None], 3, stride=1)[:, 0]
    bright = (even > calcium_hu[:, None, None]) & (index < neighbor_sample[..., None])
    # Blooming: calcium is widened by half the width at half maximum of the point spread.
    reach = 1.18 * sigma
    radial = int(torch.ceil(reach / step.min()).item())
    wrapped = torch.cat([bright[:, -2:], bright, bright[:, :2]], dim=1).float()
    bloom = max_pool2d(wrapped[:, None], (5, 2 * radial + 1), stride=1, padding=(0, radial))[:, 0] > 0

    # Calcium beside the lumen is no other vessel: a rise counts only outside of it.
    lowest = torch.cummin(torch.where(bloom, values.new_tensor(1e4), smooth), dim=-1)
    contrast = (lumen_hu - FAT_HU)[:, None, None]
    rising = (smooth - lowest.values > torch.clamp(0.35 * contrast, min=5 * noise_hu)) & ~bloom
    rise = first_below(rising)
    # A ray ends at its lowest point before the rise: what follows belongs to the neighbor.
    end = torch.where(rise < samples, lowest.indices.gather(-1, (rise - 1).clamp(min=0)[..., None])[..., 0], samples)
    end = torch.minimum(end, neighbor_sample)
    calcium = bright & (index < end[..., None])
    calcium_start = first_below(bloom & (index < end[..., None]))

    visible = index < end[..., None]
    floor = torch.where(visible, smooth, lumen_hu[:, None, None]).amin(dim=-1)
    half = 0.5 * (lumen_hu[:, None] + floor)
    crossing = first_below(smooth < half[..., None])
    ray_radius = (crossing.float() + 0.5) * step[:, None]
    open_ray = crossing >= torch.minimum(end, calcium_start)
    ray_radius = torch.where(open_ray, ray_radius.new_tensor(float("nan")), ray_radius)
    radius = torch.nanmedian(ray_radius, dim=1).values
    radius = torch.where(torch.isnan(radius), distance[:, -1] * 0.5, radius).clamp(0.3, 5.0)

    # Noise is correlated over about the width of the point spread: a sample's information is its share of the
    # correlation area, 4 pi sigma^2 for Gaussian correlation.
    ring = distance * step[:, None] * (2 * math.pi / angles)
    information = ring / (4 * math.pi * sigma**2 * noise_hu**2)
    # Where calcium shines the model is only good to a part of its brightness.
    excess = CALCIUM_MODEL_ERROR * torch.where(bloom, (even - lumen_hu[:, None, None]).clamp(min=0.0), 0.0)
    weights = visible * information[:, None] / (1.0 + (excess / noise_hu) ** 2)
    neighbor = distance.gather(-1, neighbor_sample.clamp(max=samples - 1))
    neighbor = torch.where(neighbor_sample < samples, neighbor, neighbor.new_tensor(float("inf")))
    # Little calcium is dimmed by the point spread to about the lumen's attenuation: every excess is a candidate.
    level = (lumen_hu + candidate_excess_hu(noise_hu))[:, None, None]
    evened = torch.where(visible, _evened(values), values.new_tensor(-1e4))
    candidate = evened > level
    # The mesh of a stent is a bright ring around a darker core.
    off_center = torch.where(distance[:, None] > 0.5, evened, evened.new_tensor(-1e4)).amax(dim=-1)
    core = evened[:, :, 0].mean(dim=1) + candidate_excess_hu(noise_hu)
    ring = (off_center > torch.maximum(core, level[:, 0, 0])[:, None]).float().mean(dim=1)
    arcs = guess_arcs(candidate | calcium, distance)
    return RayView(weights, radius, calcium.any(dim=-1), arcs, neighbor, ring)
