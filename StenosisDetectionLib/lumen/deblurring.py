"""A profile of diameters without the blur along its vessel.

In: diameters along one vessel in mm and how far the image is blurred along it. Out: sharper diameters and what is to be
doubted of the change. Sections are fitted as if their vessel were a tube, so the area at a throat is the mean over what
the point spread brings together along the vessel, and the throat looks wider than it is. One step of van Cittert's
iteration (1931) adds to each area what blurring it once more takes away: cosine stenoses in a tube have hardly any bias
then. More steps gain little, and add noise.
"""

from __future__ import annotations

import math

import numpy as np

from ..study import CENTERLINE_SPACING_MM

DOUBT = 0.5
"""Standard error of the change, as its part: sharp throats need more than one step, even ones less."""

LEAST_AREA = 0.25
"""No area falls below this part of itself: of the narrowest throats too little is left to be told."""

_REACH = 3.0


def deblurred(diameter_mm: np.ndarray, sigma_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return diameters (N,) without the blur along the vessel, and the standard error (N,) of the change, in mm.

    Parameters
    ----------
    diameter_mm : (N,) every `CENTERLINE_SPACING_MM`; NaN where nothing is known or neighbors say nothing of each other.
    sigma_mm : (N,) point spread along the vessel.
    """
    area = np.asarray(diameter_mm, dtype=np.float64) ** 2
    with np.errstate(invalid="ignore"):
        sharp = np.maximum(2.0 * area - _blurred(area, sigma_mm), LEAST_AREA * area)
        diameter = np.sqrt(sharp)
        return diameter, DOUBT * np.abs(diameter - diameter_mm)


def _blurred(values: np.ndarray, sigma_mm: np.ndarray) -> np.ndarray:
    """Return values (N,) blurred by Gaussians of (N,) mm; neighbors count in pairs, so that a slope alone stays."""
    total, weights = values.copy(), np.ones(len(values))
    for step in range(1, math.ceil(_REACH * float(sigma_mm.max(initial=0.0)) / CENTERLINE_SPACING_MM) + 1):
        if len(values) <= 2 * step:
            break
        weight = 2.0 * np.exp(-0.5 * (step * CENTERLINE_SPACING_MM / sigma_mm) ** 2)
        pair = np.full(len(values), np.nan)
        pair[step:-step] = 0.5 * (values[2 * step :] + values[: -2 * step])
        known = np.isfinite(pair)
        total += np.where(known, weight * pair, 0.0)
        weights += np.where(known, weight, 0.0)
    return np.asarray(total / weights)
