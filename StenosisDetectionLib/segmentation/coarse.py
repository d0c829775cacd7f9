"""The coarse pass: a volume comes in, where its aorta is and where coronary arteries can be go out, at 2 mm."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..models.inputs import network_input
from ..models.weights import read_header
from ..progress import StageReport
from ..study import CTVolume
from .execution import Execution
from .grid import RasGrid, resample_to_ras
from .heads import BLOCK_VOXELS, head_maps, loader
from .inference import predict_tiles
from .region import padded
from .tiles import cover

TILE_VOXELS = {"batch": 160, "instance": 64}
"""Size of the tiles by the normalization of the network: that by instances depends on how much it sees at once, and
networks are trained on 64 voxels."""

MARGIN_VOXELS = 8

ZONE_LEVEL = 0.1
"""Coronary arteries are looked for where the network gives them at least this chance."""

SMALLEST_AORTA_ML = 5.0


@dataclass(frozen=True, eq=False)
class Coarse:
    """What the coarse pass finds, as masks on its grid, and how it was computed."""

    grid: RasGrid
    zone: np.ndarray
    aorta: np.ndarray
    execution: Execution


def coarse_pass(weights: Path, volume: CTVolume, device: str, report: StageReport) -> Coarse:
    """Return where the coarse network sees the aorta and the zone of the coronary arteries in the whole volume.

    It is trained to do without the attenuation of the aorta, which may be that of another vessel or unknown. It is so
    small that half precision would gain nothing.
    """
    configuration, _ = read_header(weights)
    spacing, divisor = configuration.spacing_mm, configuration.divisor
    grid = resample_to_ras(volume, spacing)
    shape = grid.voxels.shape
    block = max(BLOCK_VOXELS, divisor)
    full = padded(grid, 0, block)
    largest = max(TILE_VOXELS[configuration.normalization] // block, 1) * block
    tile = tuple(min(n, largest) for n in full.voxels.shape)
    margin = tuple(0 if t == n else MARGIN_VOXELS for t, n in zip(tile, full.voxels.shape, strict=True))
    everything = np.ones([n // block for n in full.voxels.shape], dtype=bool)
    unit = 0 if configuration.normalization == "instance" else block
    prediction = predict_tiles(
        loader(weights),
        Execution(device, "fp32"),
        full.voxels,
        lambda hu: network_input(hu, None, configuration),
        cover(everything, block, tile, margin, unit),
        report,
        "finding the heart",
    )
    heads = head_maps(prediction, configuration)
    inside = tuple(slice(0, n) for n in shape)
    seen = heads["aorta"][inside] > 0.5
    if seen.sum() * spacing**3 < 1000.0 * SMALLEST_AORTA_ML:
        seen[:] = False
    return Coarse(grid, heads["coronary_zone"][inside] > ZONE_LEVEL, seen, prediction.execution)
