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
from ..models.loaded import choose_precision
from ..models.network import NetworkConfiguration
from ..models.weights import read_header
from ..options import AnalysisOptions
from ..progress import StageReport, part_of
from ..study import CTVolume, LumenSegmentation, ModelInfo
from .aorta import CONTRAST_HU, Aorta, trimmed
from .coarse import Coarse, coarse_pass
from .execution import Execution, half_precision, planned_execution
from .grid import RasGrid, resample_mask
from .heads import BLOCK_VOXELS, head_maps, loader, update_head
from .inference import Prediction, predict_tiles
from .region import cropped
from .seeds import ostium_candidates, root_shell, shell, with_ostia
from .selection import select_trees
from .tiles import cover
from .tissue import myocardium_level, normalized
from .zone import fine_region, onward

TILE_VOXELS = 96
SMALLEST_TILE_VOXELS = 48
"""Sides of the largest and the smallest tiles of the fine network."""

MARGIN_VOXELS = 8
"""The part at each face of a tile that only gives context, besides that of the zone around the vessels."""

MOST_ROUNDS = 3
"""How often arteries may lead out of what the fine network has seen."""

_EDGE_MM = 1.0


@dataclass(frozen=True)
class NetworkFiles:
    """The weights of a model: the fine network, and the coarse one that tells it where to look, None without."""

    fine: Path
    coarse: Path | None = None


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
    half = half_precision(device)
    execution = planned_execution(device, choose_precision(files.fine, device, options.precision, half), half)
    aorta_hu = aorta.attenuation_hu if np.isfinite(aorta.attenuation_hu) else None
    coarse = None
    if files.coarse is not None:
        coarse = coarse_pass(files.coarse, volume, device, part_of(report, 0.05, 0.12))
        if coarse.execution.steps:
            execution = replace(coarse.execution, batch=1, steps=(*execution.steps, *coarse.execution.steps))
    seen = coarse is not None and bool(coarse.aorta.any())
    if coarse is not None and seen:
        aorta = trimmed(aorta, coarse.aorta, coarse.grid.ijk_to_ras)
    if not aorta.found and coarse is not None and seen:
        aorta_hu = float(np.median(coarse.grid.voxels[coarse.aorta]))
    if not aorta.found and (aorta_hu is None or aorta_hu < CONTRAST_HU):
        return _nothing(aorta, model, ("no_contrast",), execution)
    report(0.12, "preparing the heart region")
    configuration, _ = read_header(files.fine)
    region = fine_region(volume, aorta, options.roi, coarse, configuration.spacing_mm, _tile(configuration))
    if region is None:
        return _nothing(aorta, model, ("no_coronary_artery",), execution)
    grid, zone = region
    prediction = _predict(files.fine, grid, zone, aorta_hu, execution, part_of(report, 0.18, 0.85))
    rest = (aorta_hu, volume, model, part_of(report, 0.85, 1.0))
    result = trees_of(prediction, configuration, grid, aorta, _aorta_on(grid, aorta, coarse), *rest)
    if not result.lumen.any() and aorta.found and seen:
        # no artery begins at the aorta that was found by its shape: perhaps it is another vessel
        other = replace(aorta, found=False, flags=(*aorta.flags, "aorta_doubtful"))
        again = trees_of(prediction, configuration, grid, other, _aorta_on(grid, other, coarse), *rest)
        result = again if again.lumen.any() else result
    return result


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
    report(0.0, "growing from the aortic root")
    heads = head_maps(prediction, configuration)
    report(0.0, "finding the ostia")
    execution = prediction.execution
    ostia, scores = np.zeros((0, 3)), np.zeros(0)
    if "ostium" in heads:
        ostia, scores = ostium_candidates(heads["ostium"], aorta_mask, grid)
        if not aorta.found and not len(ostia):
            # an aorta that only the coarse network sees, without an ostium, is a vessel of the neck or the abdomen
            return _nothing(aorta, model, ("no_coronary_artery",), execution)
    around = root_shell(aorta, aorta_mask, grid) if aorta.found else shell(aorta_mask, grid.spacing_mm)
    intensity = normalized(grid.voxels, aorta_hu or TYPICAL_AORTA_HU)
    trees = select_trees(
        heads["lumen"],
        intensity,
        aorta_mask,
        with_ostia(around, ostia, grid),
        heads.get("vein"),
        myocardium_level(aorta_hu or TYPICAL_AORTA_HU),
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


def _predict(
    weights: Path, grid: RasGrid, zone: np.ndarray, aorta_hu: float | None, execution: Execution, report: StageReport
) -> Prediction:
    """Return the outputs of the fine network in the zone, and wherever arteries lead out of it."""
    configuration, _ = read_header(weights)
    tile, unit = _tile(configuration), max(configuration.divisor, BLOCK_VOXELS)
    # what a network that normalizes by instances sees depends on how much it sees at once
    smallest = tile if configuration.normalization == "instance" else min(SMALLEST_TILE_VOXELS, tile)
    lumen = np.zeros(grid.voxels.shape, dtype=np.float16)
    seen = np.zeros(zone.shape, dtype=bool)
    result: Prediction | None = None
    for number in range(1 + MOST_ROUNDS):
        start, end = (0.0, 0.85) if number == 0 else (0.8 + 0.05 * number, 0.85 + 0.05 * number)
        boxes = cover(zone, BLOCK_VOXELS, (tile,) * 3, (MARGIN_VOXELS,) * 3, unit, (smallest,) * 3)
        result = predict_tiles(
            loader(weights),
            execution if result is None else result.execution,
            grid.voxels,
            lambda hu: network_input(hu, aorta_hu, configuration),
            boxes,
            part_of(report, start, end),
            "outlining the arteries",
            result,
        )
        update_head(lumen, "lumen", result, configuration, boxes)
        for box in boxes:
            seen[tuple(slice(side.start // BLOCK_VOXELS, side.stop // BLOCK_VOXELS) for side in box)] = True
        zone = onward(lumen, seen)
        if not zone.any():
            break
    assert result is not None
    return result


def _tile(configuration: NetworkConfiguration) -> int:
    """Return the voxels of a tile along each axis, which the network and the blocks can divide."""
    unit = max(configuration.divisor, BLOCK_VOXELS)
    return max(TILE_VOXELS // unit, 1) * unit


def _aorta_on(grid: RasGrid, aorta: Aorta, coarse: Coarse | None) -> np.ndarray:
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
