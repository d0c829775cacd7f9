"""A network on a grid: its tiles, its loading and what its heads say. Shared by the coarse and the fine pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..models.loaded import loaded_network
from ..models.network import DISTANCE_LIMIT_MM, NetworkConfiguration, activate
from .inference import LoadNetwork, Prediction

BLOCK_VOXELS = 4
"""Zones are told in blocks of this many voxels."""


def loader(weights: Path) -> LoadNetwork:
    """Return what gives the network of a file for a device and a precision."""
    return lambda device, precision: loaded_network(weights, device, precision).network


def head_maps(prediction: Prediction, configuration: NetworkConfiguration) -> dict[str, np.ndarray]:
    """Return what each head says as float16 [k, j, i], by name: chances 0 to 1 and distances in mm.

    Where no tile lay, nothing is there: a chance of 0, and the largest distance.
    """
    import torch

    heads = {}
    for index, name in enumerate(configuration.heads):
        alone = replace(configuration, heads=(name,))
        values = activate(torch.from_numpy(prediction.outputs[index][None, None]), alone)[0, 0].numpy()
        nothing = DISTANCE_LIMIT_MM if name == "centerline_distance" else 0.0
        heads[name] = np.where(prediction.covered, values, np.float32(nothing)).astype(np.float16)
    return heads
