"""Measure a vessel again where its course was corrected, and carry over what was measured where it was not.

In: the study's volume and tree with the corrected vessel, its profile before, what changed. Out: its `LumenProfile`.
Sections whose plane stays have their lumen already; only the directions in that plane turn with the path before them.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..centerline.frames import rotation_minimizing_frames
from ..progress import no_report
from ..study import CENTERLINE_SPACING_MM, LumenProfile
from .measure import END_MM, measure_lumen

if TYPE_CHECKING:
    from ..centerline.corrected_course import CorrectedCourse
    from ..progress import StageReport
    from ..study import CTVolume, LumenSegmentation, VesselTree
    from .point_spread import PointSpread
    from .sampling import VolumeSampler

CONTEXT_MM = 3.0
"""Beyond what is taken, this much more is measured: sections are smoothed and judged with their neighbors."""

# Planes are fitted to 1 mm of path on each side, and the last millimeters of a vessel are told as its end.
_TAKEN = round((END_MM + 0.25) / CENTERLINE_SPACING_MM)
_MEASURED = _TAKEN + round(CONTEXT_MM / CENTERLINE_SPACING_MM)


def measure_correction(
    volume: CTVolume,
    tree: VesselTree,
    aorta_hu: float,
    noise_hu: float,
    point_spread: PointSpread,
    sampler: VolumeSampler,
    before: LumenProfile,
    course: CorrectedCourse,
    report: StageReport = no_report,
    segmentation: LumenSegmentation | None = None,
) -> LumenProfile:
    """Return the profile of a vessel of the tree whose course was corrected.

    Parameters
    ----------
    before : the profile of the vessel along its course before.
    course : what changed.
    aorta_hu, noise_hu, point_spread, sampler, segmentation : as in `measure_lumen`.
    """
    points = course.points_ras
    stretch = _widened(course, _MEASURED, len(points))
    if "stent" in before.quality[stretch.start : course.old_last + _MEASURED]:
        stretch = slice(0, len(points))  # a stent is told by its length
    only = frozenset({before.vessel})
    (new,) = measure_lumen(volume, tree, aorta_hu, noise_hu, point_spread, sampler, report, only, segmentation, stretch)
    taken = stretch if "stent" in new.quality else _widened(course, _TAKEN, len(points))
    old_last = course.old_last + taken.stop - course.last
    old_end = old_last + len(points) - taken.stop

    def joined(old: np.ndarray | None, part: np.ndarray) -> np.ndarray:
        if old is None:  # a study of an earlier version
            old = np.full((len(before.diameter_mm), *part.shape[1:]), np.nan)
        changed = part[taken.start - stretch.start : taken.stop - stretch.start]
        return np.concatenate([old[: taken.start], changed, old[old_last:old_end]])

    parts: dict[str, Any] = {
        field.name: joined(getattr(before, field.name), part)
        for field in fields(LumenProfile)
        if isinstance(part := getattr(new, field.name), np.ndarray)
    }
    quality = joined(np.array(before.quality, dtype=object), np.array(new.quality, dtype=object))
    frames = rotation_minimizing_frames(points)
    behind = slice(taken.stop, None)
    parts["contour_radius_mm"][behind] = _turned(
        parts["contour_radius_mm"][behind], before.frames[old_last:old_end], frames[behind]
    )
    return replace(new, **(parts | {"frames": frames, "quality": tuple(str(word) for word in quality)}))


def _widened(course: CorrectedCourse, more: int, count: int) -> slice:
    """Return the changed points of a course with so many more on each side."""
    return slice(max(course.first - more, 0), min(course.last + more, count))


def _turned(radius_mm: np.ndarray, before: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return contours (S, R), radii in directions of frames (S, 3, 3), in those of other frames of the same plane."""
    cosine = (frames[:, 1] * before[:, 1]).sum(axis=1)
    sine = (frames[:, 1] * before[:, 2]).sum(axis=1)
    count = radius_mm.shape[1]
    turn = np.exp(1j * np.arange(count // 2 + 1) * np.arctan2(sine, cosine)[:, None])
    return np.fft.irfft(np.fft.rfft(radius_mm, axis=1) * turn, count, axis=1)
