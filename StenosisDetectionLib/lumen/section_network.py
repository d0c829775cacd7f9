"""The small network that reads the lumen from a stack of cross-sections where calcium lies beside it.

In: HU on square grids normal to the path, one grid every `STEP_MM` along it, with the attenuation of the lumen, noise
and point spread. Out: for every section the median and the ends of the 90 % interval of the lumen's diameter in mm,
where its center lies, how likely there is calcium, and its area. Calcium and lumen run into one through the point
spread: many pairs of both give the same image, and least squares answers with one of them and an error that knows
nothing of the others. A network that has seen sections of known lumen answers with their distribution (quantile
regression, Koenker and Bassett 1978). Convolutions in three dimensions on the stack, then along the vessel alone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..models.weights import write_tensors
from .fit import WALL_HU

if TYPE_CHECKING:
    import torch

PIXELS, PIXEL_MM, STEP_MM = 24, 0.3, 0.5
"""Grid of a section, its spacing, and the distance of sections along the vessel."""

FORMAT = "stenosis-detection/sections/1"

QUANTILES = (0.05, 0.5, 0.95)

CHANNELS = 4
"""Normalized image, contrast of the lumen, noise and point spread."""

_OUTPUTS = 7
_CONTRAST_HU, _NOISE_SHARE, _SIGMA_MM = 400.0, 0.125, 0.45
_LOWEST, _HIGHEST = -1.5, 4.0


def build_section_network() -> torch.nn.Module:
    """Return the network with random weights: (B, CHANNELS, L, PIXELS, PIXELS) to (B, 7, L, 1, 1)."""
    from monai.networks.blocks import Convolution, ResidualUnit
    from torch import nn

    def shrinking(inside: int, outside: int, stride: int) -> nn.Module:
        strides = (1, stride, stride)
        return Convolution(
            3, inside, outside, strides=strides, kernel_size=3, adn_ordering="NA", act="GELU", norm="BATCH"
        )

    def along(dilation: int) -> nn.Module:
        return ResidualUnit(
            3, 64, 64, kernel_size=(5, 1, 1), subunits=2, dilation=(dilation, 1, 1), adn_ordering="A", act="GELU"
        )

    return nn.Sequential(
        shrinking(CHANNELS, 16, 1),
        shrinking(16, 32, 2),
        shrinking(32, 48, 2),
        shrinking(48, 48, 2),
        nn.Conv3d(48, 64, (1, 3, 3)),
        nn.GELU(),
        along(1),
        along(2),
        along(4),
        nn.Conv3d(64, _OUTPUTS, 1),
    )


def section_grid(centers: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the points (L, PIXELS, PIXELS, 3) in RAS of sections with `centers` (L, 3) and `frames` (L, 3, 3)."""
    along = (np.arange(PIXELS) - 0.5 * (PIXELS - 1)) * PIXEL_MM
    first, second = frames[:, None, None, 1], frames[:, None, None, 2]
    return centers[:, None, None] + along[:, None, None] * first + along[None, :, None] * second


def plane_sigma_mm(frames: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the mean point spread (L,) in mm in the planes of frames (L, 3, 3) from its covariance in RAS, mm2."""
    return np.sqrt(np.einsum("spi,ij,spj->s", frames[:, 1:], covariance, frames[:, 1:]) / 2.0)


def section_input(values: np.ndarray, lumen_hu: np.ndarray, noise_hu: float, sigma_mm: np.ndarray) -> np.ndarray:
    """Return the input (CHANNELS, L, PIXELS, PIXELS) of a stack, float32.

    Parameters
    ----------
    values : (L, PIXELS, PIXELS) HU.
    lumen_hu : (L,) attenuation of undisturbed lumen.
    noise_hu : SD of the noise.
    sigma_mm : (L,) point spread in the plane of the section.
    """
    contrast = np.maximum(lumen_hu - WALL_HU, 50.0)[:, None, None]
    image = np.clip((values - WALL_HU) / contrast, _LOWEST, _HIGHEST)
    known = (contrast / _CONTRAST_HU, noise_hu / contrast / _NOISE_SHARE, sigma_mm[:, None, None] / _SIGMA_MM)
    return np.stack([image, *(np.broadcast_to(one, image.shape) for one in known)]).astype(np.float32)


def decoded(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return quantiles (B, L, 3) of the diameter, center (B, L, 2), logit and area (B, L) of calcium; mm and mm2."""
    import torch
    from torch.nn.functional import softplus

    raw = output[..., 0, 0].transpose(1, 2)
    middle = softplus(raw[..., 0] + 1.5)
    # The ends are distances from the median, so that they never cross it.
    low, high = middle - softplus(raw[..., 1] - 1.5), middle + softplus(raw[..., 2] - 1.5)
    return torch.stack([low, middle, high], dim=-1), raw[..., 3:5], raw[..., 5], softplus(raw[..., 6])


def save_section_network(path: Path, network: torch.nn.Module, metadata: dict[str, Any]) -> str:
    """Write the weights and what is known of their training, plain JSON values; return the SHA-256 of the file."""
    return write_tensors(path, network, {"format": FORMAT, "metadata": json.dumps(metadata)})


def load_section_network(path: Path, sha256: str | None = None) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return the network of a file of weights in evaluation mode, and what the file tells of its training.

    Raises
    ------
    ModelError : a package is missing, the file is damaged or of another kind, or it has another checksum than asked.
    """
    try:
        network = build_section_network()
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ModelError(
            f"measuring the lumen needs the package {error.name}: press Install packages in Slicer, or "
            f"'pip install {error.name}'"
        ) from None
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ModelError(f"{path.name} is damaged: install StenosisDetection again")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header.get("format") != FORMAT:
            raise ModelError(f"{path.name} holds no section network (format {FORMAT}): choose another file")
        network.load_state_dict(tensors)
        metadata = json.loads(header["metadata"])
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError):
        raise ModelError(f"{path.name} is no complete file of this network: copy it again") from None
    return network.eval().requires_grad_(False), metadata
