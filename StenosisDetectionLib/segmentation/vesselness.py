"""The model `vesselness`: coronary lumen without learned weights.

In: a CT volume in HU and its aorta. Out: masks of lumen and aorta on an isotropic RAS grid around the heart.
Attenuation is normalized by the aorta, tubes are found by a multi-scale Hessian filter (`tubes`), trees are grown
from the aortic root (`grow`), chambers are kept out (`tissue`), and veins, leaks and spurs are cut (`branches`).
The mask ends at half of the contrast between the lumen and what surrounds it; calcified plaque stays in it, because
it is for topology: diameters are measured on the original voxels.
"""

import numpy as np

from ..geometry import arc_length
from ..options import AnalysisOptions
from ..progress import StageReport, part_of
from ..study import CTVolume, LumenSegmentation, ModelInfo
from .aorta import Aorta
from .branches import SLICE_MM, arteries, node_tree
from .grid import RasGrid, resample_mask, resample_to_ras
from .grow import grow_trees
from .outline import lumen_mask
from .tissue import chambers, distance_mm, myocardium_level, normalized
from .tubes import gaussian, tube_response

NAME = "vesselness"
VERSION = "1.0"

REACH_LOW_MM = (110.0, 75.0, 125.0)
REACH_HIGH_MM = (75.0, 90.0, 35.0)
"""How far the heart reaches from the aortic root towards -R, -A, -S and R, A, S."""

WEAK_RESPONSE = 0.2
STRONG_RESPONSE = 0.4
"""Tube response, in units of the contrast between blood and fat, of a voxel and of the best voxel of a piece."""

SEED_DISTANCE_MM = 2.5
"""Coronary arteries begin within this distance of the surface of the aortic root."""

SEED_HEIGHT_MM = (3.0, 50.0)
"""... and at this height above the annulus."""

SHORTEST_TREE_MM = 12.0


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
    seeds = seed_zone(aorta, aorta_mask, grid) & tubular
    grown = grow_trees(
        tubular, tubular & (response > STRONG_RESPONSE), seeds, smooth, spacing, part_of(report, 0.63, 0.8)
    )
    report(0.8, "cutting veins and leaks")
    tree = _pruned(grown, seeds, smooth, thick & ~aorta_mask, spacing)
    lumen = lumen_mask(
        tree,
        intensity,
        smooth,
        thick | aorta_mask,
        spacing,
        part_of(report, 0.88, 1.0),
    )
    flags = aorta.flags if lumen.any() else (*aorta.flags, "no_coronary_artery")
    return _cropped(lumen, aorta_mask, grid, model, flags)


def heart_region(volume: CTVolume, aorta: Aorta, options: AnalysisOptions) -> RasGrid:
    """Return the box around the aortic root in which coronary arteries can lie, at 0.5 mm (0.75 mm when coarse)."""
    root = aorta.root_ras
    assert root is not None
    low, high = root - REACH_LOW_MM, root + REACH_HIGH_MM
    if options.roi is not None:
        low, high = np.maximum(low, options.roi[0::2]), np.minimum(high, options.roi[1::2])
    spacing = float(np.clip(0.5 * max(volume.spacing_mm), 0.5, 0.75))
    return resample_to_ras(volume, spacing, low, high)


def seed_zone(aorta: Aorta, aorta_mask: np.ndarray, grid: RasGrid) -> np.ndarray:
    """Return the voxels just outside the aortic root and the lower ascending aorta, its two cut ends left out."""
    from scipy.spatial import cKDTree

    distance = distance_mm(aorta_mask, grid.spacing_mm)
    shell = (distance > 0.0) & (distance <= SEED_DISTANCE_MM)
    where = np.argwhere(shell)
    points = grid.to_ras(where)
    _, nearest = cKDTree(aorta.centerline_ras).query(points)
    along = arc_length(aorta.centerline_ras)
    height = along[nearest]
    height = height + ((points - aorta.centerline_ras[nearest]) * aorta.directions[nearest]).sum(axis=1)
    low, high = SEED_HEIGHT_MM
    top = float(along[-1]) - 1.0
    shell[tuple(where[(height < low) | (height > min(high, top))].T)] = False
    return shell


def _pruned(grown: np.ndarray, seeds: np.ndarray, smooth: np.ndarray, thick: np.ndarray, spacing: float) -> np.ndarray:
    """Return the grown voxels without veins, leaks, spurs and trees too short to be coronary arteries."""
    result = np.zeros(grown.shape, dtype=bool)
    voxels = np.argwhere(grown)
    if not len(voxels):
        return result
    box = tuple(slice(max(a - 3, 0), b + 4) for a, b in zip(voxels.min(axis=0), voxels.max(axis=0), strict=True))
    low = np.array([s.start for s in box])
    at = tuple(voxels.T)
    contact = (distance_mm(thick[box], spacing) <= 1.0)[tuple((voxels - low).T)] if thick[box].any() else False
    contact = np.broadcast_to(contact, len(voxels))
    shape = tuple(s.stop - s.start for s in box)
    tree = node_tree(voxels - low, shape, spacing, seeds[at], np.minimum(smooth[at], 1.2), contact)
    keep = arteries(tree)
    top = np.zeros(len(keep), dtype=np.int64)  # the farthest kept level of every node's descendants
    root = np.arange(len(keep))
    for node in range(len(keep)):
        if tree.parent[node] >= 0:
            root[node] = root[tree.parent[node]]
    np.maximum.at(top, root[keep], tree.level[keep])
    keep &= top[root] * SLICE_MM >= SHORTEST_TREE_MM
    reached = tree.node_of_voxel >= 0
    kept = voxels[reached][keep[tree.node_of_voxel[reached]]]
    result[tuple(kept.T)] = True
    return result


def _smoothed(image: np.ndarray, spacing: float, device: str, report: StageReport) -> np.ndarray:
    import torch

    def step(fraction: float) -> None:
        report(fraction, "growing from the aortic root")

    return gaussian(torch.from_numpy(image).to(device), 0.4, (spacing,) * 3, step).cpu().numpy()


def _cropped(
    lumen: np.ndarray, aorta_mask: np.ndarray, grid: RasGrid, model: ModelInfo, flags: tuple[str, ...]
) -> LumenSegmentation:
    """Return the masks cut to what they contain, with a margin of 5 mm."""
    where = np.argwhere(lumen | aorta_mask)
    margin = int(np.ceil(5.0 / grid.spacing_mm))
    low = np.maximum(where.min(axis=0) - margin, 0)
    box = tuple(slice(a, b + margin + 1) for a, b in zip(low, where.max(axis=0), strict=True))
    small = RasGrid(lumen[box].copy(), grid.spacing_mm, grid.to_ras(low))
    return LumenSegmentation(small.voxels, aorta_mask[box] & ~small.voxels, small.ijk_to_ras, model, flags)
