"""What speaks for calcium beside a lumen: chi-squared, the vessel around a section and what must shine.

In: the contours of sections without and with calcium, radii in mm, what the section network says. Out: the evidence for
calcium in units of chi-squared, averaged along the vessel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .fit import excess_width

if TYPE_CHECKING:
    from .contours import Contours

EVIDENCE, NARROW_EVIDENCE, EVIDENCE_MM = 2.0, 0.5, 1.0
"""Calcium is believed where it lowers chi-squared by this much, averaged over this length to both sides; where the
vessel is narrow, plaque and so calcium are likelier. The priors of its arcs already cost what noise would gain."""

PATH_SD_MM = 0.5
"""How far the path lies from the middle of the lumen."""

MOST_UNSEEN = 2.0
"""Calcium of this area in units of 2 pi sigma^2 keeps 1 - exp(-2) of its attenuation through the point spread: what is
larger and nowhere brighter than the lumen is a lumen."""

MOST_BY_NETWORK = 6.0
"""The most that the section network's probability counts, as chi-squared: 0.05 against 0.95. Where it saw none of what
the fit took for calcium, the network was nearer to the true lumen of whole hearts; but it has learned from phantoms
only."""

MOST_BY_PATH = 2.0
"""The most that the distances from the path count: a path can be off itself, where its segmentation is."""

_NARROW, _SURROUNDINGS_MM = 0.85, 10.0
_FEWEST_QUIET = 20
_HEALTHY_MM, _HEALTHY_PERCENTILE = 15.0, 75.0


def narrow_sections(contours: Contours, vessel: np.ndarray) -> np.ndarray:
    """Return which sections (S,) away from other vessels are narrower than their surroundings along the vessel."""
    from scipy.ndimage import percentile_filter

    radius = contours.fit.radius_coefficients[:, 0].cpu().numpy()
    usual = np.empty(len(radius))
    width = 2 * round(_SURROUNDINGS_MM / CENTERLINE_SPACING_MM) + 1
    for number in np.unique(vessel):
        own = vessel == number
        usual[own] = percentile_filter(radius[own], 75, size=width, mode="nearest")
    return (radius < _NARROW * usual) & np.isinf(contours.neighbor).all(axis=1)


def healthy_radius(contours: Contours, vessel: np.ndarray, index: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """Return the radius (S,) in mm of the quiet sections around each section; infinite where there are too few.

    That percentile of those within `_HEALTHY_MM` along the vessel: farther ones lie beyond branches.
    """
    radius = contours.fit.radius_coefficients[:, 0].cpu().numpy().astype(np.float64)
    quiet = quiet & np.isinf(contours.neighbor).all(axis=1)
    healthy = np.full(len(radius), np.inf)
    half = round(_HEALTHY_MM / CENTERLINE_SPACING_MM)
    for number in np.unique(vessel):
        own = np.flatnonzero(vessel == number)
        good = own[quiet[own]]
        first = np.searchsorted(index[good], index[own] - half)
        last = np.searchsorted(index[good], index[own] + half, side="right")
        for i, a, b in zip(own, first, last, strict=True):
            if b - a >= _FEWEST_QUIET:
                healthy[i] = np.percentile(radius[good[a:b]], _HEALTHY_PERCENTILE)
    return healthy


def usual_misfit(contours: Contours, vessel: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """Return the median chi-squared over independent samples of a vessel's quiet sections, for all (S,); 1 or more."""
    square = contours.fit.residual.cpu().numpy().astype(np.float64) ** 2
    alone = quiet & np.isinf(contours.neighbor).all(axis=1)
    usual = np.ones(len(square))
    for number in np.unique(vessel):
        own = vessel == number
        typical = own & alone if (own & alone).sum() >= _FEWEST_QUIET else own
        usual[own] = max(1.0, float(np.median(square[typical])))
    return usual


def evidence_for_calcium(
    plain: Contours,
    other: Contours,
    rows: np.ndarray,
    path: np.ndarray,
    index: np.ndarray,
    vessel: np.ndarray,
    usual: np.ndarray,
    healthy: np.ndarray,
    narrow: np.ndarray,
    variance_mm2: float,
    probability: np.ndarray,
) -> np.ndarray:
    """Return the evidence (M,) for calcium in the rows (M,): it is believed where that is positive.

    Parameters
    ----------
    plain, other : contours without calcium (S,) and with it (M,).
    path, index, vessel : (M, 3) points of the path, (M,) numbers along the vessels, and of the vessels.
    usual : (M,) chi-squared over the independent samples that a section there has anyway.
    healthy : (M,) mm of the healthy radius there, which the fit with calcium knows as well.
    narrow : (M,) whether the vessel is narrow there.
    variance_mm2 : of the point spread.
    probability : (M,) of calcium, as the section network reads it.
    """
    import torch
    from scipy.special import logit

    too_wide = excess_width(plain.fit.radius_coefficients[rows, 0].cpu(), torch.from_numpy(healthy).float())
    cost = plain.fit.cost.cpu()[rows] + too_wide**2
    gain = (cost.numpy() - other.fit.cost.cpu().numpy()) / usual
    # The path was drawn through the lumen: the farther from it, the less an explanation is believed.
    away = [((one - path) ** 2).sum(axis=1) for one in (plain.centers[rows], other.centers)]
    by_path = np.clip((away[0] - away[1]) / PATH_SD_MM**2, -MOST_BY_PATH, MOST_BY_PATH)
    by_network = np.clip(2.0 * logit(probability), -MOST_BY_NETWORK, MOST_BY_NETWORK)
    evidence = _averaged(gain + by_path + by_network, index, vessel) - np.where(narrow, NARROW_EVIDENCE, EVIDENCE)
    evidence[_unseen(other, variance_mm2)] = -np.inf
    return evidence


def _unseen(calcified: Contours, variance_mm2: float) -> np.ndarray:
    """Return which sections (S,) have more calcium than can stay as dim as the lumen through the point spread."""
    area = calcified.fit.calcium_area.cpu().numpy()
    return ~calcified.shines & (area > MOST_UNSEEN * 2.0 * np.pi * variance_mm2)


def _averaged(gain: np.ndarray, index: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    """Return the gains (M,) averaged over the neighbors of the same vessel within `EVIDENCE_MM`."""
    half = round(EVIDENCE_MM / CENTERLINE_SPACING_MM)
    near = (np.abs(index[:, None] - index[None]) <= half) & (vessel[:, None] == vessel[None])
    return (near * np.clip(gain, -50.0, 50.0)[None]).sum(axis=1) / near.sum(axis=1)
