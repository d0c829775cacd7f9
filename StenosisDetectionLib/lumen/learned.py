"""The lumen, and calcium beside it, as the section network reads them.

In: sampler, sections, attenuation of the lumen, noise and point spread. Out: `LearnedLumen`, one entry per section:
diameter with its 90 % interval in mm, center, and the calcium beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from ..resources import resource_path
from ..study import CENTERLINE_SPACING_MM
from .section_network import STEP_MM, decoded, load_section_network, plane_sigma_mm, section_grid, section_input

if TYPE_CHECKING:
    import torch

    from .sampling import VolumeSampler
    from .sections import Sections

BELIEVED = 0.5
"""The network sees calcium where it gives it at least this probability."""

SHA256 = "e7231e62307a120cf939e8dbbf5ca5c24b9a6905dde78b767fcaa4cb4c31f4c2"
"""Of the shipped weights."""

_STRIDE = round(STEP_MM / CENTERLINE_SPACING_MM)


@dataclass(frozen=True, eq=False)
class LearnedLumen:
    """What the network reads in sections (S,).

    `quantiles_mm` (S, 3) 5 %, median and 95 % of the lumen's diameter; `centers` (S, 3) RAS; `calcium` (S,) probability
    that calcium lies beside the lumen; `calcium_mm2` (S,) its area.
    """

    quantiles_mm: np.ndarray
    centers: np.ndarray
    calcium: np.ndarray
    calcium_mm2: np.ndarray

    @property
    def sees_calcium(self) -> np.ndarray:
        """In which sections (S,) the network sees calcium."""
        return self.calcium >= BELIEVED

    def chosen(self, rows: slice) -> LearnedLumen:
        """Return the given sections."""
        return LearnedLumen(self.quantiles_mm[rows], self.centers[rows], self.calcium[rows], self.calcium_mm2[rows])


def learned_lumen(
    sampler: VolumeSampler, sections: Sections, lumen_hu: np.ndarray, noise_hu: float, covariance: np.ndarray
) -> LearnedLumen:
    """Read the lumen of sections, vessel by vessel.

    Parameters
    ----------
    sections : those to read (S,); those of one vessel follow one another.
    lumen_hu : (S,) attenuation of undisturbed lumen.
    noise_hu : SD of the noise.
    covariance : (3, 3) of the point spread in RAS, mm2.

    Raises
    ------
    ModelError : the file of the weights is missing or damaged.
    """
    import torch

    network, factor = section_network(str(sampler.device))
    count = len(sections.centers)
    quantiles, offset = np.empty((count, 3)), np.empty((count, 2))
    calcium, area = np.empty(count), np.empty(count)
    sigma_mm = plane_sigma_mm(sections.frames, covariance)
    for number in np.unique(sections.vessel_index):
        own = np.flatnonzero(sections.vessel_index == number)
        some = own[::_STRIDE]
        points = section_grid(sections.centers[some], sections.frames[some])
        values = sampler(torch.from_numpy(points))[0].cpu().numpy()
        stack = section_input(
            values,
            lumen_hu[some],
            noise_hu,
            sigma_mm[some],
        )
        read = [one.astype(np.float64) for one in _read(network, stack, sampler)]
        place = np.arange(len(own)) / _STRIDE
        known = np.arange(len(some))
        for result, values in zip((quantiles, offset, calcium, area), read, strict=True):
            columns = values.reshape(len(some), -1).T
            result[own] = np.stack([np.interp(place, known, c) for c in columns], axis=1).reshape(result[own].shape)
    quantiles = quantiles[:, 1:2] + factor * (quantiles - quantiles[:, 1:2])
    centers = sections.centers + offset[:, :1] * sections.frames[:, 1] + offset[:, 1:] * sections.frames[:, 2]
    return LearnedLumen(quantiles, centers, calcium, area)


def _read(network: torch.nn.Module, stack: np.ndarray, sampler: VolumeSampler) -> tuple[np.ndarray, ...]:
    """Return quantiles (L, 3), offsets (L, 2), probability and area (L,) of calcium of a stack."""
    import torch

    with torch.inference_mode():
        output = network(torch.from_numpy(stack)[None].to(sampler.device))
        quantiles, offset, logit, area = decoded(output)
    return tuple(one[0].cpu().numpy() for one in (quantiles, offset, torch.sigmoid(logit), area))


@lru_cache(maxsize=2)
def section_network(device: str) -> tuple[torch.nn.Module, float]:
    """Return the shipped network on a device, ready to run, and the factor that calibrates its intervals.

    Raises
    ------
    ModelError : a package or the file of the weights is missing, or the file is damaged.
    """
    try:
        path = resource_path("models", "lumen", "sections.safetensors")
    except FileNotFoundError as error:
        raise ModelError(str(error)) from None
    network, metadata = load_section_network(path, SHA256)
    return network.to(device), float(metadata["interval_factor"])
