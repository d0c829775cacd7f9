"""What the segmentation of a reader says of the lumen where calcium hides it.

In: sections, their fit and the segmentation the tree was made from. Out: the diameter in mm, joined by their
variances. Beside calcium the image alone cannot tell lumen from calcium, so that there, and only there, a label
map a reader gave or corrected counts. It does not where it holds the calcium itself, as the label maps of many data
sets do, and the lumen of a network does not: its error beside calcium is as large as the stenosis.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..segmentation.given import MODEL as GIVEN
from ..study import CENTERLINE_SPACING_MM
from .fallback import SEGMENTED_ERROR_MM, lumen_on_rays, ring_areas

if TYPE_CHECKING:
    from ..study import LumenSegmentation
    from .sampling import VolumeSampler
    from .sections import Sections

MOST_CALCIUM = 0.3
"""A section of a label map of which a larger part is as bright as calcium holds the calcium. Blooming makes that of 3 %
of the sections of a true lumen beside calcium; of labels widened by the calcium nearly all are found."""

ALIKE_MM = 3.0
"""Who drew calcium as lumen in one section did so in its neighbors, where the point spread dims it."""

_SECTIONS_A_BATCH = 512


def joined_with_given(
    segmentation: LumenSegmentation | None,
    sections: Sections,
    own: np.ndarray,
    beside_calcium: np.ndarray,
    diameter_mm: np.ndarray,
    error_mm: np.ndarray,
    calcium_hu: np.ndarray,
    sampler: VolumeSampler,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the diameter (S,) by fit and segmentation of a reader, and the weight (S,) of the latter.

    It is 0 but beside calcium; the variance of the fit falls by it.

    Parameters
    ----------
    sections : all of the tree.
    own : (S,) index of the sections that were fitted.
    beside_calcium : (S,) bool.
    diameter_mm, error_mm : (S,) of the fit, the error with all that calcium adds.
    calcium_hu : (S,) threshold of calcium.
    """
    weight, known = np.zeros(len(own)), diameter_mm.copy()
    rows = np.flatnonzero(beside_calcium)
    if segmentation is not None and segmentation.model == GIVEN and len(rows):
        parts = [
            _given_diameter(segmentation, sections, own[some], calcium_hu[some], sampler)
            for some in np.array_split(rows, math.ceil(len(rows) / _SECTIONS_A_BATCH))
        ]
        diameter, holds = (np.concatenate(values) for values in zip(*parts, strict=True))
        use = (diameter > 0.0) & ~_near(holds, own[rows], sections.vessel_index[own[rows]])
        variance = error_mm[rows] ** 2
        weight[rows] = np.where(use, variance / (variance + SEGMENTED_ERROR_MM**2), 0.0)
        known[rows] = diameter
    return diameter_mm + weight * (known - diameter_mm), weight


def _near(chosen: np.ndarray, index: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    """Return which of some sections (M,) of a tree lie within `ALIKE_MM` of chosen ones of the same vessel."""
    some = np.flatnonzero(chosen)
    apart = np.abs(index[:, None] - index[None, some]) * CENTERLINE_SPACING_MM
    return ((apart <= ALIKE_MM) & (vessel[:, None] == vessel[None, some])).any(axis=1)


def _given_diameter(
    segmentation: LumenSegmentation,
    sections: Sections,
    rows: np.ndarray,
    calcium_hu: np.ndarray,
    sampler: VolumeSampler,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the diameter (M,) by the segmentation, 0 where it is empty, and whether (M,) it holds calcium."""
    import torch

    fraction, points, along = lumen_on_rays(segmentation, sections, rows)
    areas = ring_areas(fraction, along)
    area = areas.sum(axis=(1, 2))
    values = sampler(torch.from_numpy(points))[0].cpu().numpy()
    bright = (areas * (values > calcium_hu[:, None, None])).sum(axis=(1, 2))
    return 2.0 * np.sqrt(area / np.pi), bright > MOST_CALCIUM * area
