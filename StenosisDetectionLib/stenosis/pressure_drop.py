"""The modeled pressure drop of a lesion: a research index, off by default, and no measurement of blood flow.

In: tree, lumen profiles and lesions. Out: a `PressureDrop` per lesion, in mmHg, ml/s and as the ratio of distal to
aortic pressure. Method: Young and Tsai 1973 (J Biomech 6:395) for a steady flow Q through a constriction,

    drop = f Q + s Q^2,   f = 8 pi mu (0.83 F + 1.64 D1 / A1^2),   s = 1.52 (rho / 2) (1 / A1 - 1 / A0)^2,

where A1 and D1 are area and diameter at the throat, A0 is the healthy area there and F is the integral of ds / A^2
along the lesion (L / A1^2 for a cylinder of length L, which is the case the formula was found for). The flow is coupled
to the bed behind the lesion: (aortic - drop - venous pressure) = R Q, where R lets blood flow at `VELOCITY_M_S` through
the healthy vessel. With a fixed flow the formula gives negative pressures from 60 % on.

Limits: algebraic formulas differ widely from each other and from computed flow; the drop grows with 1 / D1^4, so that
0.1 mm of a throat of 1.2 mm change it by a third; other lesions of the vessel, side branches, collaterals and the
patient's own pressure and flow are not in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..findings import PressureDrop
from ..study import CENTERLINE_SPACING_MM

if TYPE_CHECKING:
    from ..study import Lesion, LumenProfile, VesselTree

VISCOSITY_PA_S, DENSITY_KG_M3 = 0.0035, 1060.0
"""Of blood."""

AORTIC_MMHG, VENOUS_MMHG = 90.0, 5.0
"""Assumed pressures at the ostium and behind the bed."""

VELOCITY_M_S = 0.35
"""Assumed mean velocity at hyperemia in the healthy vessel."""

TURBULENCE = 1.52
LENGTH_FACTOR, ENTRANCE_FACTOR = 0.83, 1.64
"""Coefficients of Young and Tsai."""

MMHG_PA = 133.322
"""Pascals in a mmHg."""


def pressure_drops(
    tree: VesselTree, profiles: tuple[LumenProfile, ...], lesions: tuple[Lesion, ...]
) -> tuple[PressureDrop, ...]:
    """Return the pressure drop of each lesion, in their order, each as if it were the only one of its vessel."""
    by_vessel = {vessel.name: (vessel, profile) for vessel, profile in zip(tree.vessels, profiles, strict=True)}
    result = []
    for lesion in lesions:
        vessel, profile = by_vessel[lesion.vessel]
        inside = (vessel.distance_mm >= lesion.start_mm - 1e-6) & (vessel.distance_mm <= lesion.end_mm + 1e-6)
        result.append(_of_lesion(lesion, profile.diameter_mm[inside]))
    return tuple(result)


def modeled_flow(area_integral: float, throat_mm: float, healthy_mm: float) -> tuple[float, float]:
    """Return flow (m3/s) and pressure drop (Pa) of one constriction coupled to its bed.

    Parameters
    ----------
    area_integral : integral of ds / A^2 along the constriction in mm^-3.
    throat_mm, healthy_mm : diameter at the throat and of the healthy vessel.
    """
    healthy, throat = _area_m2(healthy_mm), _area_m2(throat_mm)
    friction = LENGTH_FACTOR * area_integral * 1e9 + ENTRANCE_FACTOR * throat_mm * 1e-3 / throat**2
    linear = 8.0 * math.pi * VISCOSITY_PA_S * friction
    square = TURBULENCE * DENSITY_KG_M3 / 2.0 * (1.0 / throat - 1.0 / healthy) ** 2
    available = (AORTIC_MMHG - VENOUS_MMHG) * MMHG_PA
    resistance = available / (VELOCITY_M_S * healthy)
    # The positive root of square q^2 + (linear + resistance) q - available, in the form that holds for square = 0.
    total = linear + resistance
    flow = 2.0 * available / (total + math.sqrt(total**2 + 4.0 * square * available))
    return flow, linear * flow + square * flow**2


def _of_lesion(lesion: Lesion, diameter_mm: np.ndarray) -> PressureDrop:
    healthy, stenosis = lesion.reference_diameter_mm, lesion.diameter_stenosis_percent
    known = diameter_mm[np.isfinite(diameter_mm)]
    # What was not measured for a large part, an occlusion, and a throat wider than the vessel have no model.
    if len(known) < max(0.5 * len(diameter_mm), 1.0) or not 0.0 < stenosis < 100.0:
        return PressureDrop(lesion.id, None, None, None, None)
    flow, drop = _with_stenosis(known, len(diameter_mm), lesion.minimal_lumen_diameter_mm, healthy)
    ratios = []
    for percent in lesion.diameter_stenosis_interval_90:
        throat = healthy * (1.0 - min(max(percent, 0.0), 99.0) / 100.0)
        # The whole narrowing grows or shrinks with its throat.
        scaled = healthy - (healthy - known) * percent / stenosis
        _, there = _with_stenosis(np.maximum(scaled, throat), len(diameter_mm), throat, healthy)
        ratios.append(_ratio(there))
    return PressureDrop(lesion.id, flow * 1e6, drop / MMHG_PA, _ratio(drop), (min(ratios), max(ratios)))


def _with_stenosis(diameter_mm: np.ndarray, points: int, throat_mm: float, healthy_mm: float) -> tuple[float, float]:
    """Return flow and drop from the known diameters of a lesion of so many points; the unknown are as the known."""
    inverse = float(np.mean(1.0 / np.square(np.pi * np.maximum(diameter_mm, throat_mm) ** 2 / 4.0)))
    length = max(points - 1, 1) * CENTERLINE_SPACING_MM
    return modeled_flow(inverse * length, throat_mm, healthy_mm)


def _ratio(drop_pa: float) -> float:
    return 1.0 - drop_pa / (AORTIC_MMHG * MMHG_PA)


def _area_m2(diameter_mm: float) -> float:
    return math.pi * (diameter_mm * 1e-3) ** 2 / 4.0
