"""A network on a grid: its tiles, its loading and what its heads say. Shared by the coarse and the fine pass."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..models.loaded import loaded_network
from ..models.network import DISTANCE_LIMIT_MM, NetworkConfiguration, activate
from .inference import LoadNetwork, Prediction
from .tiles import Box

BLOCK_VOXELS = 4
"""Zones are told in blocks of this many voxels."""


def loader(weights: Path) -> LoadNetwork:
    """Return what gives the network of a file for a device and a precision."""
    return lambda device, precision: loaded_network(weights, device, precision).network


def head_maps(prediction: Prediction, configuration: NetworkConfiguration) -> dict[str, np.ndarray]:
    """Return what each head says as float16 [k, j, i], by name: chances 0 to 1 and distances in mm.

    Where no tile lay, nothing is there: a chance of 0, and the largest distance.
    """
    shape = prediction.weights.shape
    heads = {
        name: np.full(shape, DISTANCE_LIMIT_MM, np.float16)
        if name == "centerline_distance"
        else np.zeros(shape, np.float16)
        for name in configuration.heads
    }
    for box in prediction.boxes:
        for name, values in zip(heads, _activated(prediction, configuration, box), strict=True):
            heads[name][box] = values
    return heads


def update_head(
    values: np.ndarray, name: str, prediction: Prediction, configuration: NetworkConfiguration, boxes: Sequence[Box]
) -> None:
    """Write what one head says into its map, float16 [k, j, i], in some boxes of a prediction."""
    index = configuration.heads.index(name)
    alone = replace(configuration, heads=(name,))
    only = replace(prediction, sums=prediction.sums[index : index + 1])
    for box in boxes:
        values[box] = _activated(only, alone, box)[0]


def _activated(prediction: Prediction, configuration: NetworkConfiguration, box: Box) -> np.ndarray:
    """Return what all heads say in a box, float16 [head, k, j, i]."""
    import torch

    return activate(torch.from_numpy(prediction.blended(box))[None], configuration)[0].half().numpy()
