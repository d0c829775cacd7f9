"""The lumen of cross-sections whose fit is of no use, from the segmentation.

In: sections, their fit and the segmentation the tree was made from. Out: a `SegmentedLumen`: in which sections the fit
failed, and there the lumen as the summed lumen fraction of the segmentation in the plane of the section, in mm. The
fraction is that of the network where it gives one (`LumenSegmentation.probability`), else the mask itself.

A fit has failed where its misfit or its own standard error is none of a vessel, and where it leaves the vessel: beside
a chamber, a vein, or muscle as bright as a thin lumen it swells over them, or moves there, and fits well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .rays import ANGLES, ray_directions

if TYPE_CHECKING:
    from ..study import LumenSegmentation
    from .sections import Sections

UNRELIABLE_MM = 1.0
"""A diameter with a larger standard error says nothing of a coronary artery."""

LARGEST_MISFIT = 3.5
"""A section whose misfit is this many times that of noise is none of a vessel. What lies around a vessel is no smooth
function of the angle: with little noise sections of healthy vessels reach 3, and are measured as well as others."""

WIDER, THAN_USUAL, USUAL_MM, USUAL_PERCENTILE = 2.0, 1.5, 10.0, 75.0
"""A fit leaves the vessel where its diameter is this many times that of the segmentation there, and this many times
that percentile of the segmentation over this length to both sides: a network that loses the vessel for a while leaves
the fit right, which is not wider then than the vessel before and behind."""

ALSO_WIDER = 1.3
"""Next to such a fit so does one from this many times the diameter of the segmentation on."""

AWAY = 1.0
"""A fit leaves the vessel where its center lies more than this many radii of the segmentation beside the path."""

SEGMENTED_ERROR_MM, DISTURBED_ERROR_MM = 0.3, 0.9
"""Standard error of the diameter by the segmentation, and where the misfit is large: what disturbs the fit disturbs the
segmentation as well (measured on whole hearts)."""

SMALLEST_MM = 0.3
"""Less lumen than this diameter is none: there the segmentation knows no more than the fit."""

EMPTY_FRACTION = 0.1
"""Outside of the vessel's radius a ray ends where the lumen fraction falls below this."""

_STEP_MM = 0.1
_REACH, _REACH_MM = 1.5, 0.4
_SECTIONS_A_BATCH = 512


@dataclass(frozen=True, eq=False)
class SegmentedLumen:
    """The lumen by the segmentation in the sections (S,) whose fit failed, NaN in the others.

    `failed` (S,) bool; of these `lost` (S,) have no lumen in the segmentation either; `radius_mm` (S, A) from the path
    along the rays; `diameter_mm` (S,) of the circle of the same area, and its standard error `error_mm` (S,).
    """

    failed: np.ndarray
    lost: np.ndarray
    radius_mm: np.ndarray
    diameter_mm: np.ndarray
    error_mm: np.ndarray


def segmented_lumen(
    segmentation: LumenSegmentation | None,
    sections: Sections,
    own: np.ndarray,
    diameter_mm: np.ndarray,
    error_mm: np.ndarray,
    misfit: np.ndarray,
    centers_ras: np.ndarray,
    clear: np.ndarray,
) -> SegmentedLumen:
    """Return the lumen by the segmentation where the fit of a section failed; nowhere without a segmentation.

    Parameters
    ----------
    sections : all of the tree.
    own : (S,) index of the sections that were fitted; the others are neighbors only.
    diameter_mm, error_mm, misfit, centers_ras : (S,), (S, 3) of their fits.
    clear : (S,) bool, sections that neither cut another vessel nor are hidden by calcium: there the segmentation knows
        no better.
    """
    count = len(own)
    contour = np.full((count, ANGLES), np.nan)
    radius = sections.radius_mm[own]
    useless = (misfit > LARGEST_MISFIT) | (error_mm > UNRELIABLE_MM)
    away = np.linalg.norm(centers_ras - sections.centers[own], axis=1) > AWAY * radius
    doubtful = np.flatnonzero(clear & (useless | away | (diameter_mm > ALSO_WIDER * 2.0 * radius)))
    for start in range(0, len(doubtful), _SECTIONS_A_BATCH):
        if segmentation is None:
            break
        rows = doubtful[start : start + _SECTIONS_A_BATCH]
        contour[rows] = summed_radius(segmentation, sections, own[rows])
    diameter = 2.0 * np.sqrt((contour**2).mean(axis=1))
    with np.errstate(invalid="ignore"):
        wider = diameter_mm > ALSO_WIDER * diameter
        seeds = diameter_mm > np.maximum(WIDER * diameter, THAN_USUAL * _usual_diameter(sections)[own])
        failed = (np.isfinite(diameter) & (useless | away)) | _joined_to(seeds, wider, sections.vessel_index[own])
        lost = failed & (diameter < SMALLEST_MM)
    unknown = ~failed | lost
    contour[unknown], diameter[unknown] = np.nan, np.nan
    error = np.where(unknown, np.nan, np.where(useless, DISTURBED_ERROR_MM, SEGMENTED_ERROR_MM))
    return SegmentedLumen(failed, lost, contour, diameter, error)


def _usual_diameter(sections: Sections) -> np.ndarray:
    """Return the diameter (S,) that the segmentation has around each section of a tree, along its vessel."""
    from scipy.ndimage import percentile_filter

    usual = np.empty(len(sections.centers))
    width = 2 * round(USUAL_MM / CENTERLINE_SPACING_MM) + 1
    for number in np.unique(sections.vessel_index):
        own = sections.vessel_index == number
        usual[own] = percentile_filter(2.0 * sections.radius_mm[own], USUAL_PERCENTILE, size=width, mode="nearest")
    return usual


def _joined_to(seeds: np.ndarray, near: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    """Return the runs (S,) of `near` along each vessel that hold a seed."""
    part = np.cumsum(np.concatenate([[True], (np.diff(near.astype(int)) != 0) | (np.diff(vessel) != 0)]))
    return near & np.isin(part, part[seeds])


def summed_radius(segmentation: LumenSegmentation, sections: Sections, rows: np.ndarray) -> np.ndarray:
    """Return the radius (M, A) of the lumen along each ray that has the area of the fractions summed along it."""
    fraction, _, along = lumen_on_rays(segmentation, sections, rows)
    return np.sqrt(ring_areas(fraction, along).sum(axis=2) * ANGLES / math.pi)


def ring_areas(fraction: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the area (M, A, P) in mm2 of the lumen at samples of rays."""
    return fraction * along * (_STEP_MM * 2.0 * math.pi / ANGLES)


def lumen_on_rays(
    segmentation: LumenSegmentation, sections: Sections, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lumen fraction (M, A, P) of the segmentation on rays from the path, their points and distances (P,).

    A ray ends where the lumen of the vessel does, and where it is nearer to another vessel; the fraction is 0 beyond.
    """
    from scipy.ndimage import map_coordinates

    fraction = segmentation.lumen if segmentation.probability is None else segmentation.probability
    box = _box(fraction.shape, segmentation.ijk_to_ras, sections.centers[rows])
    part = fraction[box].astype(np.float32)
    first = np.array([axis.start for axis in box[::-1]])
    radius = sections.radius_mm[rows, None, None]
    along = (np.arange(math.ceil(_reach(float(radius.max())) / _STEP_MM)) + 0.5) * _STEP_MM
    directions = ray_directions(sections.frames[rows])
    points = sections.centers[rows, None, None] + along[:, None] * directions[:, :, None]
    to_ijk = np.linalg.inv(segmentation.ijk_to_ras)
    i, j, k = np.moveaxis(points @ to_ijk[:3, :3].T + to_ijk[:3, 3] - first, -1, 0)
    lumen = np.clip(map_coordinates(part, [k, j, i], order=1, mode="constant"), 0.0, 1.0)
    ended = ((lumen < EMPTY_FRACTION) & (along > radius)) | (along > _reach(radius))
    ended |= _nearer_to_others(sections, rows, points, along)
    seen = ~np.logical_or.accumulate(ended, axis=2)
    return lumen * seen, points, along


def _reach(radius_mm):  # type: ignore[no-untyped-def]
    return _REACH * radius_mm + _REACH_MM


def _box(shape: tuple[int, ...], ijk_to_ras: np.ndarray, centers_ras: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the part [k, j, i] of a grid that rays around some centers reach."""
    to_ijk = np.linalg.inv(ijk_to_ras)
    kji = (centers_ras @ to_ijk[:3, :3].T + to_ijk[:3, 3])[:, ::-1]
    margin = np.ceil(_reach(4.0) * np.linalg.norm(to_ijk[:3, :3], axis=1))[::-1] + 1
    low = np.clip(np.floor(kji.min(axis=0) - margin), 0, np.array(shape) - 1).astype(int)
    high = np.clip(np.ceil(kji.max(axis=0) + margin) + 1, low + 1, shape).astype(int)
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _nearer_to_others(sections: Sections, rows: np.ndarray, points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return which points (M, A, P) are nearer to another vessel than to their own, in units of the radii."""
    from scipy.spatial import cKDTree

    result = np.zeros(points.shape[:3], dtype=bool)
    for number in np.unique(sections.vessel_index[rows]):
        others = sections.vessel_index != number
        own = np.flatnonzero(sections.vessel_index[rows] == number)
        if not others.any():
            continue
        tree, radius = cKDTree(sections.centers[others]), sections.radius_mm[others]
        gap, _ = tree.query(sections.centers[rows[own]])
        near = own[gap < along[-1] + radius.max()]
        distance, index = tree.query(points[near])
        result[near] = distance / radius[index] < along / sections.radius_mm[rows[near], None, None]
    return result
