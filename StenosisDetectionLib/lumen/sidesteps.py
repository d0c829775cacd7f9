"""Where a path steps sideways out of its lumen: no narrowing of the vessel, but a place where it cannot be measured.

In: the path of one vessel in RAS mm and the lumen diameters measured along it. Out: a mask of its points. At the border
of two slabs of the scan the vessel goes on one or two millimeters beside where it ended, and a path that bridges a gap
of the segmentation may enter the vessel beside its own. On the way across the fit finds hardly a lumen, as in a tight
stenosis; but through a stenosis a path goes on in the direction of its vessel, while here it goes across, between two
parts that have the same direction. Method after the step artifact of `method` 3.9 (a jump of the centerline of 1 mm).
"""

from __future__ import annotations

import numpy as np

from ..study import CENTERLINE_SPACING_MM

HALF_MM = 1.25
"""The direction of the path at a point is that of the chord over this length to both sides."""

NEAR_MM, FAR_MM = 1.5, 4.5
"""The direction of the vessel before and behind a point is that of the path between these distances from it."""

ACROSS_MM, ACROSS_SHARE, SAME_COSINE = 0.9, 0.45, 0.7
"""A path steps sideways where a chord goes this far across the vessel, and this part of its length (27 degrees), and
the directions before and behind are the same within 45 degrees. True narrowings reach a third of its length."""

ORIGIN_SHARE = 0.7
"""The same where a vessel begins and has only a direction behind (45 degrees): branches bend at their origin."""

EMPTIER, EMPTIER_BESIDE, BESIDE_MM = 0.8, 0.9, 1.5
"""It matters where the diameter falls below this part of that before and behind; the step then reaches as far as the
diameter stays below the second part of it, at most this far."""


def sidesteps(points_ras: np.ndarray, diameter_mm: np.ndarray) -> np.ndarray:
    """Return the points (N,) of a path (N, 3) that lie in a step sideways, given the diameters (N,), NaN if unknown."""
    from scipy import ndimage

    count = len(points_ras)
    half, near, far, beside = (round(mm / CENTERLINE_SPACING_MM) for mm in (HALF_MM, NEAR_MM, FAR_MM, BESIDE_MM))
    result = np.zeros(count, dtype=bool)
    if count <= 2 * far:
        return result
    middle = np.arange(half, count - far)
    origin = middle < far
    behind = _unit(points_ras[middle + far] - points_ras[middle + near])
    before = _unit(points_ras[np.maximum(middle - near, 0)] - points_ras[np.maximum(middle - far, 0)])
    before[origin] = behind[origin]
    chord = points_ras[middle + half] - points_ras[middle - half]
    # Across both: where the path only bends, it goes on in one of them.
    across = np.minimum(_across(chord, before), _across(chord, behind))
    steps = np.zeros(count, dtype=bool)
    steps[middle] = (
        (across > ACROSS_MM)
        & (across > np.where(origin, ORIGIN_SHARE, ACROSS_SHARE) * np.linalg.norm(chord, axis=1))
        & ((before * behind).sum(axis=1) > SAME_COSINE)
    )
    labels, number = ndimage.label(steps)
    for one in range(1, number + 1):
        first, last = np.flatnonzero(labels == one)[[0, -1]]
        # Before its origin a branch is its parent, which is wider.
        ahead = diameter_mm[first - far : first] if first >= far else diameter_mm[:0]
        around = np.concatenate([ahead, diameter_mm[last + 1 : last + 1 + far]])
        if not np.isfinite(around).any():
            continue
        usual = float(np.nanmedian(around))
        with np.errstate(invalid="ignore"):
            if not (diameter_mm[first : last + 1] < EMPTIER * usual).any():
                continue
            narrow = diameter_mm < EMPTIER_BESIDE * usual
        start, stop = first, last
        while start > max(first - beside, 0) and narrow[start - 1]:
            start -= 1
        while stop < min(last + beside, count - 1) and narrow[stop + 1]:
            stop += 1
        result[start : stop + 1] = True
    return result


def _across(chord: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return how far chords (N, 3) go across directions (N, 3), in the unit of the chords."""
    return np.asarray(np.linalg.norm(chord - (chord * direction).sum(axis=1)[:, None] * direction, axis=1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
