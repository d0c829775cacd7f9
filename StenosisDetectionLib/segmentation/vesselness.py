"""The model `vesselness`: coronary lumen without learned weights.

In: a CT volume in HU and its aorta. Out: masks of lumen and aorta on an isotropic RAS grid around the heart.
Attenuation is normalized by the aorta, tubes are found by a multi-scale Hessian filter (`tubes`), trees are grown
from the aortic root (`grow`), chambers are kept out (`tissue`), and veins, leaks and spurs are cut (`branches`).
The mask ends at half of the contrast between the lumen and what surrounds it; calcified plaque stays in it, because
it is for topology: diameters are measured on the original voxels.
"""

import numpy as np

from ..options import AnalysisOptions
from ..progress import StageReport, part_of
from ..study import CTVolume, LumenSegmentation, ModelInfo
from .aorta import Aorta
from .branches import pruned
from .grid import RasGrid, resample_mask, resample_to_ras
from .grow import grow_trees
from .outline import lumen_mask
from .region import cropped, heart_box
from .seeds import root_shell
from .tissue import chambers, distance_mm, myocardium_level, normalized
from .tubes import gaussian, tube_response

NAME = "vesselness"
VERSION = "1.0"

WEAK_RESPONSE = 0.2
STRONG_RESPONSE = 0.4
"""Tube response, in units of the contrast between blood and fat, of a voxel and of the best voxel of a piece."""


def segment_vesselness(
    volume: CTVolume, aorta: Aorta, options: AnalysisOptions, device: str, report: StageReport
) -> LumenSegmentation:
    """Segment the coronary lumen; without an aorta, or without any artery on it, the lumen is empty and flagged."""
    model = ModelInfo(NAME, VERSION)
    if not aorta.found:
        empty = np.zeros((1, 1, 1), dtype=bool)
        return LumenSegmentation(empty, empty, aorta.ijk_to_ras, model, aorta.flags)
    report(0.0, "preparing the heart region")
    grid = heart_region(volume, aorta, options)
    spacing = grid.spacing_mm
    intensity = normalized(grid.voxels, aorta.attenuation_hu)
    myocardium = myocardium_level(aorta.attenuation_hu)
    aorta_mask = resample_mask(aorta.mask, aorta.ijk_to_ras, grid.voxels.shape, grid.ijk_to_ras)
    report(0.05, "finding the chambers")
    thick = chambers(intensity, spacing, 0.5 * (1.0 + myocardium))
    report(0.1, "finding the chambers")
    contrast = np.clip(intensity, 0.2, 1.15)
    candidates = (intensity > max(0.4, myocardium)) & ~thick & ~aorta_mask
    response, _ = tube_response(contrast, (spacing,) * 3, candidates, device, part_of(report, 0.15, 0.6))
    del contrast
    report(0.6, "growing from the aortic root")
    smooth = _smoothed(intensity, spacing, device, part_of(report, 0.6, 0.63))
    tubular = candidates & (response > WEAK_RESPONSE) & (smooth > max(0.5, 0.9 * myocardium + 0.1))
    seeds = root_shell(aorta, aorta_mask, grid) & tubular
    grown = grow_trees(
        tubular, tubular & (response > STRONG_RESPONSE), seeds, smooth, spacing, part_of(report, 0.63, 0.8)
    )
    report(0.8, "cutting veins and leaks")
    tree = pruned(grown, seeds, smooth, spacing, _near(thick & ~aorta_mask, grown, spacing))
    lumen = lumen_mask(
        tree,
        intensity,
        smooth,
        thick | aorta_mask,
        spacing,
        part_of(report, 0.88, 1.0),
    )
    flags = aorta.flags if lumen.any() else (*aorta.flags, "no_coronary_artery")
    box, small = cropped(lumen | aorta_mask, grid)
    return LumenSegmentation(lumen[box].copy(), (aorta_mask & ~lumen)[box], small.ijk_to_ras, model, flags)


def heart_region(volume: CTVolume, aorta: Aorta, options: AnalysisOptions) -> RasGrid:
    """Return the box around the aortic root in which coronary arteries can lie, at 0.5 mm (0.75 mm when coarse)."""
    spacing = float(np.clip(0.5 * max(volume.spacing_mm), 0.5, 0.75))
    return resample_to_ras(volume, spacing, *heart_box(volume, aorta, options.roi))


def _near(thick: np.ndarray, grown: np.ndarray, spacing: float) -> np.ndarray:
    """Return the voxels within 1 mm of a chamber, where something has grown."""
    result = np.zeros(grown.shape, dtype=bool)
    where = np.argwhere(grown)
    if len(where):
        box = tuple(slice(max(a - 3, 0), b + 4) for a, b in zip(where.min(axis=0), where.max(axis=0), strict=True))
        if thick[box].any():
            result[box] = distance_mm(thick[box], spacing) <= 1.0
    return result


def _smoothed(image: np.ndarray, spacing: float, device: str, report: StageReport) -> np.ndarray:
    import torch

    def step(fraction: float) -> None:
        report(fraction, "growing from the aortic root")

    return gaussian(torch.from_numpy(image).to(device), 0.4, (spacing,) * 3, step).cpu().numpy()
