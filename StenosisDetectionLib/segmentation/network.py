"""Coronary lumen by learned networks, from coarse to fine.

In: a CT volume in HU, its aorta and the files of the weights. Out: masks of lumen and aorta on an isotropic RAS grid,
with the lumen fraction, the distance to the centerline and the ostia that the network sees. A coarse network on the
whole volume at 2 mm finds the aorta and where coronary arteries can be; the fine network at 0.5 mm runs only on tiles
there; `selection` keeps the trees that begin at the aorta.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..geometry import transform_points
from ..models.inputs import TYPICAL_AORTA_HU, network_input
from ..models.loaded import choose_precision, loaded_network
from ..models.network import DISTANCE_LIMIT_MM, NetworkConfiguration, activate
from ..models.weights import read_header
from ..options import AnalysisOptions
from ..progress import StageReport, part_of
from ..study import CTVolume, LumenSegmentation, ModelInfo
from .aorta import CONTRAST_HU, Aorta
from .execution import Execution, half_precision
from .grid import RasGrid, resample_mask, resample_to_ras
from .inference import LoadNetwork, Prediction, predict_tiles
from .region import blocks_of, cropped, heart_box, mask_box, padded
from .seeds import ostium_candidates, root_shell, shell, with_ostia
from .selection import select_trees
from .tiles import cover
from .tissue import normalized

TILE_VOXELS = 96
MARGIN_VOXELS = 12
"""Size of the tiles of the fine network, and the part at each face that only gives context."""

COARSE_TILE_VOXELS = 64
"""The size of the patches that the coarse network is trained on, which its instance normalization remembers."""

BLOCK_VOXELS = 4

ZONE_LEVEL = 0.3
"""Coronary arteries are looked for where the coarse network gives them at least this chance."""

ROOT_REACH_MM = 25.0
SMALLEST_AORTA_ML = 5.0
LEAST_AGREEMENT = 0.3
"""An aorta of which the coarse network sees less than this part is not believed."""

_EDGE_MM = 1.0


@dataclass(frozen=True)
class NetworkFiles:
    """The weights of a model: the fine network, and the coarse one that tells it where to look, None without."""

    fine: Path
    coarse: Path | None = None


@dataclass(frozen=True, eq=False)
class _Coarse:
    """What the coarse pass finds, as masks on its grid, and how it was computed."""

    grid: RasGrid
    zone: np.ndarray
    aorta: np.ndarray
    execution: Execution


def segment_with_networks(
    files: NetworkFiles,
    model: ModelInfo,
    volume: CTVolume,
    aorta: Aorta,
    options: AnalysisOptions,
    device: str,
    report: StageReport,
) -> LumenSegmentation:
    """Segment the coronary lumen; without contrast or without any artery the lumen is empty and flagged.

    Raises
    ------
    ModelError : the weights cannot be used, or there is too little memory.
    """
    report(0.0, "loading the network")
    precision = choose_precision(files.fine, device, options.precision, half_precision(device))
    execution = Execution(device, precision)
    aorta_hu = aorta.attenuation_hu if np.isfinite(aorta.attenuation_hu) else None
    coarse = None
    if files.coarse is not None:
        coarse = _coarse_pass(files.coarse, volume, device, part_of(report, 0.05, 0.12))
        if coarse.execution.steps:
            execution = replace(coarse.execution, batch=1)
    aorta = _believed(aorta, coarse)
    if not aorta.found and coarse is not None and coarse.aorta.any():
        aorta_hu = float(np.median(coarse.grid.voxels[coarse.aorta]))
    if not aorta.found and (aorta_hu is None or aorta_hu < CONTRAST_HU):
        return _nothing(aorta, model, ("no_contrast",), execution)
    report(0.12, "preparing the heart region")
    region = _fine_region(files.fine, volume, aorta, options, coarse)
    if region is None:
        return _nothing(aorta, model, ("no_coronary_artery",), execution)
    grid, zone = region
    prediction, configuration = _predict(files.fine, grid, zone, aorta_hu, execution, part_of(report, 0.18, 0.85))
    report(0.85, "growing from the aortic root")
    aorta_mask = _aorta_on(grid, aorta, coarse)
    return trees_of(
        prediction, configuration, grid, aorta, aorta_mask, aorta_hu, volume, model, part_of(report, 0.85, 1.0)
    )


def trees_of(
    prediction: Prediction,
    configuration: NetworkConfiguration,
    grid: RasGrid,
    aorta: Aorta,
    aorta_mask: np.ndarray,
    aorta_hu: float | None,
    volume: CTVolume,
    model: ModelInfo,
    report: StageReport,
) -> LumenSegmentation:
    """Return the coronary trees in the outputs of a fine network.

    Parameters
    ----------
    grid : in HU, the grid of the outputs.
    aorta, aorta_mask : where trees begin: the axis of the aorta, if it was found, and its mask on the grid.
    aorta_hu : attenuation of arterial blood.
    volume : the CT, whose borders may cut vessels.
    """
    heads = _heads(prediction, configuration)
    execution = prediction.execution
    ostia, scores = ostium_candidates(heads["ostium"], grid) if "ostium" in heads else (np.zeros((0, 3)), np.zeros(0))
    around = root_shell(aorta, aorta_mask, grid) if aorta.found else shell(aorta_mask, grid.spacing_mm)
    intensity = normalized(grid.voxels, aorta_hu or TYPICAL_AORTA_HU)
    trees = select_trees(
        heads["lumen"],
        intensity,
        aorta_mask,
        with_ostia(around, ostia, grid),
        heads.get("vein"),
        grid.spacing_mm,
        report,
    )
    flags = [*aorta.flags, *trees.flags]
    if trees.lumen.any() and _leaves(trees.lumen, grid, volume):
        flags.append("vessels_leave_the_image")
    box, small = cropped(trees.lumen | aorta_mask, grid)
    distance = heads.get("centerline_distance")
    return LumenSegmentation(
        trees.lumen[box].copy(),
        (aorta_mask & ~trees.lumen)[box],
        small.ijk_to_ras,
        model,
        tuple(flags),
        probability=heads["lumen"][box].copy(),
        centerline_distance_mm=None if distance is None else distance[box].copy(),
        ostia_ras=ostia if "ostium" in heads else None,
        ostia_scores=scores if "ostium" in heads else None,
        bridged=trees.bridged[box].copy(),
        device=execution.device,
        precision=execution.precision,
        warnings=execution.steps,
    )


def _coarse_pass(weights: Path, volume: CTVolume, device: str, report: StageReport) -> _Coarse:
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
    tile = tuple(min(n, max(COARSE_TILE_VOXELS // block, 1) * block) for n in full.voxels.shape)
    margin = tuple(0 if t == n else block for t, n in zip(tile, full.voxels.shape, strict=True))
    everything = np.ones([n // block for n in full.voxels.shape], dtype=bool)
    prediction = predict_tiles(
        _loader(weights),
        Execution(device, "fp32"),
        full.voxels,
        lambda hu: network_input(hu, None, configuration),
        cover(everything, block, tile, margin),
        tile,
        report,
        "finding the heart",
    )
    heads = _heads(prediction, configuration)
    inside = tuple(slice(0, n) for n in shape)
    seen = heads["aorta"][inside] > 0.5
    if seen.sum() * spacing**3 < 1000.0 * SMALLEST_AORTA_ML:
        seen[:] = False
    return _Coarse(grid, heads["coronary_zone"][inside] > ZONE_LEVEL, seen, prediction.execution)


def _believed(aorta: Aorta, coarse: _Coarse | None) -> Aorta:
    """Return the aorta, as not found where the coarse network sees an aorta, but another one."""
    if coarse is None or not aorta.found or not coarse.aorta.any():
        return aorta
    mask = resample_mask(aorta.mask, aorta.ijk_to_ras, coarse.grid.voxels.shape, coarse.grid.ijk_to_ras)
    if (mask & coarse.aorta).sum() >= LEAST_AGREEMENT * mask.sum():
        return aorta
    return replace(aorta, found=False, flags=(*aorta.flags, "aorta_doubtful"))


def _fine_region(
    weights: Path, volume: CTVolume, aorta: Aorta, options: AnalysisOptions, coarse: _Coarse | None
) -> tuple[RasGrid, np.ndarray] | None:
    """Return the grid of the fine network in HU, and on its blocks the zone to run on; None when there is none."""
    configuration, _ = read_header(weights)
    spacing = configuration.spacing_mm
    low, high = heart_box(volume, aorta, options.roi)
    if coarse is not None:
        if not coarse.zone.any():
            return None
        zone_low, zone_high = mask_box(coarse.zone, coarse.grid)
        if aorta.root_ras is not None:  # the result shows the root with its sinuses, wherever the zone ends
            zone_low = np.minimum(zone_low, aorta.root_ras - ROOT_REACH_MM)
            zone_high = np.maximum(zone_high, aorta.root_ras + ROOT_REACH_MM)
        context = MARGIN_VOXELS * spacing
        low, high = np.maximum(low, zone_low - context), np.minimum(high, zone_high + context)
    if (high - low < spacing).any():
        return None
    grid = padded(resample_to_ras(volume, spacing, low, high), _tile(configuration), BLOCK_VOXELS)
    if coarse is None:
        return grid, np.ones([n // BLOCK_VOXELS for n in grid.voxels.shape], dtype=bool)
    blocks = blocks_of(coarse.zone, coarse.grid, grid, BLOCK_VOXELS)
    return (grid, blocks) if blocks.any() else None


def _predict(
    weights: Path, grid: RasGrid, zone: np.ndarray, aorta_hu: float | None, execution: Execution, report: StageReport
) -> tuple[Prediction, NetworkConfiguration]:
    configuration, _ = read_header(weights)
    tile = (_tile(configuration),) * 3
    prediction = predict_tiles(
        _loader(weights),
        execution,
        grid.voxels,
        lambda hu: network_input(hu, aorta_hu, configuration),
        cover(zone, BLOCK_VOXELS, tile, (MARGIN_VOXELS,) * 3),
        tile,
        report,
        "outlining the arteries",
    )
    return prediction, configuration


def _tile(configuration: NetworkConfiguration) -> int:
    """Return the voxels of a tile along each axis, which the network and the blocks can divide."""
    unit = max(configuration.divisor, BLOCK_VOXELS)
    return max(TILE_VOXELS // unit, 1) * unit


def _loader(weights: Path) -> LoadNetwork:
    return lambda device, precision: loaded_network(weights, device, precision).network


def _heads(prediction: Prediction, configuration: NetworkConfiguration) -> dict[str, np.ndarray]:
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


def _aorta_on(grid: RasGrid, aorta: Aorta, coarse: _Coarse | None) -> np.ndarray:
    """Return the aorta on the fine grid: the measured one, or else the one that the coarse network sees."""
    shape, matrix = grid.voxels.shape, grid.ijk_to_ras
    if aorta.found:
        return resample_mask(aorta.mask, aorta.ijk_to_ras, shape, matrix)
    if coarse is not None and coarse.aorta.any():
        return resample_mask(coarse.aorta, coarse.grid.ijk_to_ras, shape, matrix)
    return np.zeros(shape, dtype=bool)


def _leaves(lumen: np.ndarray, grid: RasGrid, volume: CTVolume) -> bool:
    """Return whether a vessel touches the border of the image: it may go on where nothing was imaged."""
    points = grid.to_ras(np.argwhere(lumen))
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), points)
    edge = _EDGE_MM / np.array(volume.spacing_mm)
    return bool(((ijk < edge) | (ijk > np.array(volume.size_ijk) - 1 - edge)).any())


def _nothing(aorta: Aorta, model: ModelInfo, flags: tuple[str, ...], execution: Execution) -> LumenSegmentation:
    """Return an empty segmentation with the aorta as it was found."""
    flags = tuple(dict.fromkeys((*aorta.flags, *flags)))
    return LumenSegmentation(
        np.zeros_like(aorta.mask),
        aorta.mask,
        aorta.ijk_to_ras,
        model,
        flags,
        device=execution.device,
        precision=execution.precision,
        warnings=execution.steps,
    )
