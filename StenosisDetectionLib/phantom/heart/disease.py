"""Draws the disease of a coronary tree: how many lesions, where, how narrow, of what plaque."""

from collections.abc import Sequence

import numpy as np

from ..truth import PLAQUE_TYPES, SHAPES, LesionShape, VesselTruth

HEALTHY_SHARE = 0.4
"""Share of the drawn sites that stay healthy."""


def draw_lesions(vessels: Sequence[VesselTruth], generator: np.random.Generator) -> tuple[LesionShape, ...]:
    """Return lesions away from the ends of the vessels and from each other."""
    draw = generator.uniform
    lesions: list[LesionShape] = []
    for vessel in vessels:
        usable = vessel.distance_mm[vessel.healthy_diameter_mm > 1.5]
        if len(usable) < 60:
            continue
        for _ in range(int(generator.integers(1, 4))):
            if generator.random() < HEALTHY_SHARE:
                continue
            length = float(draw(4, 25))
            low, high = 2.0 + length / 2, float(usable[-1]) - 3 - length / 2
            if high <= low:
                continue
            throat = float(draw(low, high))
            own = [x for x in lesions if x.vessel == vessel.name]
            if any(abs(x.throat_mm - throat) < (x.length_mm + length) / 2 + 1 for x in own):
                continue
            plaque, shape = str(generator.choice(PLAQUE_TYPES)), str(generator.choice(SHAPES))
            lesions.append(
                LesionShape(vessel.name, throat, length, float(draw(10, 95)), plaque, shape, float(draw(0, 1)) ** 2)
            )
    return tuple(lesions)
