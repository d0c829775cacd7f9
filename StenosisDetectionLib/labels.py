"""The label map of a study: a label per vessel, then calcified plaque and aorta, on the grid of the segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .anatomy import AORTA, CALCIFIED_PLAQUE
from .centerline import label_vessels
from .geometry import spacing_of, transform_points
from .lumen.attenuation import calcium_threshold_hu
from .progress import no_report
from .study import LabelMap

if TYPE_CHECKING:
    from .lumen import VolumeSampler
    from .progress import StageReport
    from .study import LumenSegmentation, VesselTree

PLAQUE_REACH_MM = 2.0
"""How far from the lumen calcium still belongs to the vessel's wall."""


def label_study(
    segmentation: LumenSegmentation,
    tree: VesselTree,
    sampler: VolumeSampler,
    aorta_hu: float,
    noise_hu: float,
    report: StageReport = no_report,
) -> LabelMap:
    """Return the labels 1 to n for the vessels in the order of the tree, n + 1 calcified plaque, n + 2 aorta."""
    report(0.3, "labeling the vessels")
    vessels = label_vessels(segmentation, tree)
    report(0.6, "labeling calcified plaque")
    labels, names = vessels.labels.copy(), dict(vessels.names)
    count = len(tree.vessels)
    plaque = _calcified_plaque(labels > 0, segmentation, sampler, float(calcium_threshold_hu(aorta_hu, noise_hu)))
    labels[plaque] = count + 1
    labels[segmentation.aorta & (labels == 0)] = count + 2
    names |= {count + 1: CALCIFIED_PLAQUE.name, count + 2: AORTA.name}
    return LabelMap(labels, vessels.ijk_to_ras, names)


def _calcified_plaque(
    vessels: np.ndarray, segmentation: LumenSegmentation, sampler: VolumeSampler, threshold_hu: float
) -> np.ndarray:
    """Return the voxels above the threshold of calcium within `PLAQUE_REACH_MM` of a vessel, outside the aorta."""
    import torch
    from scipy import ndimage

    plaque = np.zeros_like(vessels)
    if not vessels.any():
        return plaque
    spacing = spacing_of(segmentation.ijk_to_ras)
    margin = [int(np.ceil(PLAQUE_REACH_MM / step)) + 1 for step in spacing[::-1]]
    box = tuple(
        slice(max(s.start - m, 0), s.stop + m)
        for s, m in zip(ndimage.find_objects(vessels.astype(np.uint8))[0], margin, strict=True)
    )
    near = ndimage.distance_transform_edt(~vessels[box], sampling=spacing[::-1]) <= PLAQUE_REACH_MM
    kji = np.argwhere(near & ~segmentation.aorta[box]) + [s.start for s in box]
    points = transform_points(segmentation.ijk_to_ras, kji[:, ::-1])
    values = sampler(torch.from_numpy(points))[0].cpu().numpy()
    plaque[tuple(kji[values > threshold_hu].T)] = True
    return plaque
