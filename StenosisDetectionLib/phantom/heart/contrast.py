"""Draws the attenuation of everything in a heart: contrast phase, tube voltage and tissue, in HU before blur and noise.

Ranges are those of the literature (blood pool 250 to 600 HU, coronary veins 0.3 to 0.8 of the aorta, myocardium 80 to
130 HU, epicardial fat -110 to -70 HU), drawn wide so that a network does not learn one scanner.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ContrastLaw:
    """How a family draws its contrast.

    Parameters
    ----------
    aorta_hu : lowest and highest attenuation of the aorta at 120 kV.
    right_share : lowest and highest attenuation of the right heart as a share of the left.
    """

    aorta_hu: tuple[float, float] = (260.0, 560.0)
    right_share: tuple[float, float] = (0.25, 0.95)


def draw_attenuation(generator: np.random.Generator, law: ContrastLaw) -> dict[str, float]:
    """Return attenuations by name, with `kvp` and the fall of contrast along the coronary arteries."""
    draw = generator.uniform
    kvp = float(generator.choice([80.0, 100.0, 120.0, 140.0], p=[0.08, 0.42, 0.45, 0.05]))
    iodine = {80.0: 1.55, 100.0: 1.25, 120.0: 1.0, 140.0: 0.9}[kvp]
    aorta = min(float(draw(*law.aorta_hu)) * iodine, 700.0)
    right = aorta * float(draw(*law.right_share))
    hu = {
        "kvp": kvp,
        "aorta": aorta,
        "descending_aorta": aorta * draw(0.92, 1.06),
        "lumen": aorta * draw(0.85, 1.0),
        "distal_share": draw(0.8, 1.0),
        "refill_share": draw(0.55, 0.9),
        "left_ventricle": aorta * draw(0.88, 1.08),
        "left_atrium": aorta * draw(0.85, 1.12),
        "right_heart": right,
        "right_mixing": draw(5, 60),
        "pulmonary_artery": right * draw(0.85, 1.25),
        "vena_cava": min(right * draw(0.6, 2.2), 900.0),
        "inferior_cava": draw(60, 150),
        "cardiac_vein": aorta * draw(0.3, 0.8),
        "myocardium": draw(80, 130),
        "atrial_wall": draw(50, 100),
        "vessel_wall": draw(40, 110),
        "plaque": draw(20, 120),
        "calcium": draw(500, 1500),
        "pericardium": draw(15, 60),
        "fat": draw(-115, -70),
        "lung": draw(-900, -780),
        "muscle": draw(40, 70),
        "liver": draw(50, 130),
        "marrow": draw(120, 320),
        "cortical_bone": draw(500, 1100),
    }
    return {name: float(value) for name, value in hu.items()}
