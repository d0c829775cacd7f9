"""From a seed to a heart: the order in which its parts are drawn."""

import numpy as np

from ..render import Painted
from ..solids import Ellipsoid, Tube
from ..toy import TOY_LESIONS, toy_vessels
from ..tree import tree_solids
from ..truth import AORTA_LABEL
from .plan import HeartPlan

TRAINING_FAMILIES = ("ellipsoid", "harmonic", "measured")
HELD_OUT_FAMILIES = ("superellipsoid", "blended")
FAMILIES = TRAINING_FAMILIES + HELD_OUT_FAMILIES


def plan_heart(seed: int, family: str = "training") -> HeartPlan:
    """Return the heart of a seed; the family `training` draws one of `TRAINING_FAMILIES` by the seed."""
    if family == "training":
        family = TRAINING_FAMILIES[seed % len(TRAINING_FAMILIES)]
    vessels = toy_vessels()
    scene = [
        Painted(Ellipsoid(np.array([-12.0, 8.0, -14.0]), np.array([52.0, 44.0, 50.0]), np.eye(3)), -90.0),
        Painted(Ellipsoid(np.array([-20.0, 14.0, -24.0]), np.array([25.0, 28.0, 30.0]), np.eye(3)), 110.0),
    ]
    scene += tree_solids(vessels, TOY_LESIONS, away_from_ras=np.array([-20.0, 14.0, -24.0]))
    aorta = Tube(np.array([[0.0, 0.0, -4.0], [1.0, 0.0, 12.0], [6.0, 1.0, 60.0]]), np.array([11.0, 12.0, 12.5]))
    scene.append(Painted(aorta, 400.0, AORTA_LABEL))
    return HeartPlan(
        seed,
        family,
        tuple(scene),
        -850.0,
        vessels,
        (),
        TOY_LESIONS,
        {v.name: v.points_ras[0] for v in vessels if v.parent is None},
        "right",
        (),
        {"aorta": 400.0, "kvp": 120.0},
        np.array([[-62.0, -34.0, -62.0], [40.0, 56.0, 38.0]]),
    )
