"""The label map of a study: a label per vessel, then calcified plaque and aorta.

The lumen is drawn as it was measured, on the voxels of the CT; one that the user gave stays as it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .anatomy import AORTA, CALCIFIED_PLAQUE
from .centerline import label_vessels
from .geometry import grid_corners_ras, transform_points
from .lumen.attenuation import calcium_threshold_hu
from .lumen.drawing import contour_distance, draw_vessels, voxels_within
from .progress import no_report
from .segmentation.given import MODEL as GIVEN
from .segmentation.grid import resample_mask
from .study import LabelMap

if TYPE_CHECKING:
    from .lumen import VolumeSampler
    from .progress import StageReport
    from .study import CTVolume, LumenProfile, LumenSegmentation, VesselTree

PLAQUE_REACH_MM = 2.0
"""How far from the lumen calcium still belongs to the vessel's wall."""

LARGEST_SPACING_MM = 0.6
"""Along axes on which the voxels of the CT are larger, each is divided evenly into smaller ones."""

_MARGIN_MM = 5.0
_FARTHEST_MM = 8.0  # of a vessel's wall from its centerline, even in an aneurysm


def label_study(
    volume: CTVolume,
    segmentation: LumenSegmentation,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    sampler: VolumeSampler,
    blood_hu: float,
    noise_hu: float,
    report: StageReport = no_report,
) -> LabelMap:
    """Return the labels 1 to n for the vessels in the order of the tree, n + 1 calcified plaque, n + 2 aorta.

    A given lumen has the grid of its segmentation. Any other has that of the CT around the vessels, with its voxels
    divided where they are larger than `LARGEST_SPACING_MM`.
    """
    report(0.3, "labeling the vessels")
    shape, matrix = segmentation.lumen.shape, segmentation.ijk_to_ras
    if not _given(segmentation):
        shape, matrix = _grid(volume, segmentation, tree)
    labels = _vessels(segmentation, tree, profiles, shape, matrix)
    aorta = segmentation.aorta
    if not _given(segmentation):
        aorta = resample_mask(aorta, segmentation.ijk_to_ras, shape, matrix)
        labels[aorta] = 0
    report(0.6, "labeling calcified plaque")
    free = (labels == 0) & ~aorta
    threshold = float(calcium_threshold_hu(blood_hu, noise_hu))
    plaque = _calcified_plaque(free, matrix, volume, segmentation, tree, profiles, sampler, threshold)
    count = len(tree.vessels)
    labels.reshape(-1)[plaque] = count + 1
    labels[aorta & (labels == 0)] = count + 2
    names = dict(enumerate([vessel.name for vessel in tree.vessels], start=1))
    return LabelMap(labels, matrix, names | {count + 1: CALCIFIED_PLAQUE.name, count + 2: AORTA.name})


def relabeled(
    labels: LabelMap, segmentation: LumenSegmentation, tree: VesselTree, profiles: tuple[LumenProfile, ...]
) -> LabelMap | None:
    """Return a label map with its vessels drawn again, plaque and aorta as they were; None if they leave its grid."""
    points = np.concatenate([vessel.points_ras for vessel in tree.vessels] or [np.zeros((0, 3))])
    kji = transform_points(np.linalg.inv(labels.ijk_to_ras), points)[:, ::-1]
    if (kji < 0).any() or (kji > np.array(labels.labels.shape) - 1).any():
        return None
    vessels = _vessels(segmentation, tree, profiles, labels.labels.shape, labels.ijk_to_ras)
    names = [vessel.name for vessel in tree.vessels]
    for name in (CALCIFIED_PLAQUE.name, AORTA.name):
        names.append(name)
        number = next((n for n, text in labels.names.items() if text == name), None)
        if number is not None:
            kept = labels.labels == number
            # what was lumen under the aorta stays aorta, as in `label_study`; plaque gives way to a lumen drawn anew
            vessels[kept if name == AORTA.name else kept & (vessels == 0)] = len(names)
    return LabelMap(vessels, labels.ijk_to_ras, dict(enumerate(names, start=1)))


def _given(segmentation: LumenSegmentation) -> bool:
    return segmentation.model == GIVEN


def _vessels(
    segmentation: LumenSegmentation,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    shape: tuple[int, ...],
    matrix: np.ndarray,
) -> np.ndarray:
    """Return the labels of the vessels alone."""
    if _given(segmentation):
        return label_vessels(segmentation, tree).labels
    return draw_vessels(segmentation, tree, profiles, (shape[0], shape[1], shape[2]), matrix)


def _grid(
    volume: CTVolume, segmentation: LumenSegmentation, tree: VesselTree
) -> tuple[tuple[int, int, int], np.ndarray]:
    """Return shape and matrix of the part of the CT's grid around a segmentation and its tree, divided where coarse."""
    corners = grid_corners_ras(segmentation.lumen.shape, segmentation.ijk_to_ras)
    points = np.concatenate([corners, *[vessel.points_ras for vessel in tree.vessels]])
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), points)
    spacing = np.array(volume.spacing_mm)
    last = np.array(volume.size_ijk) - 1
    low = np.clip(np.floor(ijk.min(axis=0) - _MARGIN_MM / spacing), 0, last).astype(int)
    high = np.clip(np.ceil(ijk.max(axis=0) + _MARGIN_MM / spacing), low, last).astype(int)
    parts = np.maximum(np.ceil(spacing / LARGEST_SPACING_MM - 1e-6), 1).astype(int)
    matrix = np.array(volume.ijk_to_ras, dtype=np.float64)
    # the first of the parts of a voxel lies before its center by half of what the others take
    matrix[:3, 3] = transform_points(matrix, low - 0.5 + 0.5 / parts)
    matrix[:3, :3] /= parts
    size = (high - low + 1) * parts
    return (int(size[2]), int(size[1]), int(size[0])), matrix


def _calcified_plaque(
    free: np.ndarray,
    ijk_to_ras: np.ndarray,
    volume: CTVolume,
    segmentation: LumenSegmentation,
    tree: VesselTree,
    profiles: tuple[LumenProfile, ...],
    sampler: VolumeSampler,
    threshold_hu: float,
) -> np.ndarray:
    """Return the flat indices of the free voxels above the threshold of calcium beside a lumen."""
    import torch

    bright = _bright(volume, tree, threshold_hu)
    if not len(bright):
        return np.zeros(0, dtype=np.intp)
    half = np.full(len(bright), 0.5 * float(np.linalg.norm(volume.spacing_mm)))
    voxels = voxels_within(bright, half, free.shape, ijk_to_ras)
    voxels = voxels[free.reshape(-1)[voxels]]
    points = transform_points(ijk_to_ras, np.stack(np.unravel_index(voxels, free.shape)[::-1], axis=1))
    near = np.zeros(len(voxels), dtype=bool)
    for vessel, profile in zip(tree.vessels, profiles, strict=True):
        distance, _ = contour_distance(points, vessel, profile, segmentation, _FARTHEST_MM)
        near |= distance <= PLAQUE_REACH_MM
    voxels, points = voxels[near], points[near]
    values = sampler(torch.from_numpy(points))[0].cpu().numpy()
    return np.asarray(voxels[values > threshold_hu])


def _bright(volume: CTVolume, tree: VesselTree, threshold_hu: float) -> np.ndarray:
    """Return the centers (N, 3) in RAS of the voxels of the CT near the vessels that are above a threshold."""
    from scipy.spatial import cKDTree

    points = np.concatenate([vessel.points_ras for vessel in tree.vessels] or [np.zeros((0, 3))])
    if not len(points):
        return points
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), points)
    margin = _FARTHEST_MM / np.array(volume.spacing_mm)
    low = np.clip(np.floor(ijk.min(axis=0) - margin), 0, volume.size_ijk).astype(int)
    high = np.clip(np.ceil(ijk.max(axis=0) + margin) + 1, low, volume.size_ijk).astype(int)
    box = volume.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    centers = transform_points(volume.ijk_to_ras, np.argwhere(box > threshold_hu)[:, ::-1] + low)
    distance, _ = cKDTree(points).query(centers, distance_upper_bound=_FARTHEST_MM)
    return np.asarray(centers[np.isfinite(distance)])
