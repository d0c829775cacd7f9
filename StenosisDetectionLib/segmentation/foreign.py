"""The lumen that a model of another program gives, made into coronary trees.

In: a CT volume, its aorta and such a model. Out: a `LumenSegmentation` on an isotropic RAS grid around the heart, after
the same selection of trees as with the networks of this program.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..models.foreign import ForeignNetwork
from ..models.inputs import TYPICAL_AORTA_HU
from ..options import AnalysisOptions
from ..progress import StageReport, part_of
from ..study import CTVolume, LumenSegmentation, ModelInfo
from .aorta import Aorta
from .execution import Execution
from .grid import RasGrid, as_image, resample_mask, resample_to_ras
from .inference import predict_tiles
from .region import cropped, heart_box, padded
from .seeds import root_shell
from .selection import select_trees
from .tiles import cover
from .tissue import myocardium_level, normalized

SPACING_MM = 0.5
_BLOCK = 4

Fraction = tuple[np.ndarray, np.ndarray, Execution]
"""Lumen fraction [k, j, i], the 4 x 4 matrix of its grid, and how it was computed."""


def segment_with_foreign(
    fraction_of: Callable[[CTVolume, tuple[np.ndarray, np.ndarray], str, StageReport], Fraction],
    model: ModelInfo,
    volume: CTVolume,
    aorta: Aorta,
    options: AnalysisOptions,
    device: str,
    report: StageReport,
) -> LumenSegmentation:
    """Segment the coronary lumen with what `fraction_of` gives for (volume, box in RAS, device, report)."""
    box = heart_box(volume, aorta, options.roi)
    fraction, matrix, execution = fraction_of(volume, box, device, part_of(report, 0.0, 0.85))
    report(0.85, "growing from the aortic root")
    grid = resample_to_ras(volume, SPACING_MM, *box)
    seen = _resampled(fraction, matrix, grid)
    aorta_mask = resample_mask(aorta.mask, aorta.ijk_to_ras, grid.voxels.shape, grid.ijk_to_ras)
    seeds = root_shell(aorta, aorta_mask, grid) if aorta.found else aorta_mask
    aorta_hu = aorta.attenuation_hu if np.isfinite(aorta.attenuation_hu) else TYPICAL_AORTA_HU
    intensity, myocardium = normalized(grid.voxels, aorta_hu), myocardium_level(aorta_hu)
    rest = (grid.spacing_mm, part_of(report, 0.85, 1.0))
    trees = select_trees(seen, intensity, aorta_mask, seeds, None, myocardium, *rest)
    cut, small = cropped(trees.lumen | aorta_mask, grid)
    return LumenSegmentation(
        trees.lumen[cut].copy(),
        (aorta_mask & ~trees.lumen)[cut],
        small.ijk_to_ras,
        model,
        (*aorta.flags, *trees.flags),
        probability=seen[cut].astype(np.float16),
        bridged=trees.bridged[cut].copy(),
        device=execution.device,
        precision=execution.precision,
        warnings=execution.steps,
    )


def network_fraction(
    network: ForeignNetwork,
    volume: CTVolume,
    box: tuple[np.ndarray, np.ndarray],
    device: str,
    report: StageReport,
) -> Fraction:
    """Return the lumen fraction that a network of another program gives on its own grid."""
    import torch

    spacing = network.spacing_mm or float(min(volume.spacing_mm))
    grid = padded(resample_to_ras(volume, spacing, *box), max(network.tile), _BLOCK)
    order, flips = array_order(network.axes)
    low, high, to_low, to_high = network.scale
    loaded: dict[str, Any] = {}

    def prepare(hu: np.ndarray) -> Any:
        image = (torch.as_tensor(hu) - low) / (high - low)
        return ((image.clamp(0.0, 1.0) if network.clip else image) * (to_high - to_low) + to_low)[None]

    def load(where: str, _precision: str) -> Any:
        if where not in loaded:
            loaded.clear()
            loaded[where] = network.load(where)
        return lambda image: _lumen(loaded[where](turned(image, order, flips)), network, order, flips)

    everything = np.ones([n // _BLOCK for n in grid.voxels.shape], dtype=bool)
    tiles = cover(everything, _BLOCK, network.tile, tuple(t // 8 for t in network.tile))
    prediction = predict_tiles(
        load, Execution(device, "fp32"), grid.voxels, prepare, tiles, report, "outlining the arteries"
    )
    whole = (slice(None), slice(None), slice(None))
    return prediction.blended(whole)[0], grid.ijk_to_ras, prediction.execution


def array_order(axes: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how arrays [k, j, i] of a RAS grid become arrays whose axes point to `axes`: axes in order, then flips."""
    order = tuple(2 - "RLAPSI".index(code) // 2 for code in axes)
    return order, tuple(axis for axis, code in enumerate(axes) if code in "LPI")


def turned(image: Any, order: tuple[int, ...], flips: tuple[int, ...]) -> Any:
    """Return a batch (B, C, k, j, i) in the order and direction of a network's axes."""
    return image.permute(0, 1, *(2 + axis for axis in order)).flip([2 + axis for axis in flips]).contiguous()


def turned_back(image: Any, order: tuple[int, ...], flips: tuple[int, ...]) -> Any:
    """Return a batch of a network as (B, C, k, j, i)."""
    return image.flip([2 + axis for axis in flips]).permute(0, 1, *(2 + int(axis) for axis in np.argsort(order)))


def _lumen(output: Any, network: ForeignNetwork, order: tuple[int, ...], flips: tuple[int, ...]) -> Any:
    """Return the chance of lumen (B, 1, k, j, i) from the raw outputs; of several resolutions the first counts."""
    import torch

    if isinstance(output, list | tuple):
        output = output[0]
    chances = torch.softmax(output, dim=1) if network.softmax else torch.sigmoid(output)
    return turned_back(chances[:, network.channel : network.channel + 1], order, flips)


def _resampled(fraction: np.ndarray, ijk_to_ras: np.ndarray, grid: RasGrid) -> np.ndarray:
    """Return an image resampled linearly to a RAS grid; 0 outside of it."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(as_image(np.zeros(grid.voxels.shape, dtype=np.uint8), grid.ijk_to_ras))
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(0.0)
    return sitk.GetArrayFromImage(resampler.Execute(as_image(fraction.astype(np.float32), ijk_to_ras)))


def whole_volume(
    maker: Callable[[CTVolume, str], np.ndarray],
) -> Callable[[CTVolume, tuple[np.ndarray, np.ndarray], str, StageReport], Fraction]:
    """Return a maker of lumen fractions from one that takes a whole volume and tells nothing of its progress."""

    def fraction_of(
        volume: CTVolume, _box: tuple[np.ndarray, np.ndarray], device: str, report: StageReport
    ) -> Fraction:
        report(0.0, "waiting for another program")
        return maker(volume, device), volume.ijk_to_ras, replace(Execution(device, "fp32"))

    return fraction_of
