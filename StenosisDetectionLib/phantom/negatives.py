"""Hearts in which there is no coronary artery to find: without arteries, or without contrast."""

from dataclasses import replace

from .cells import Painted
from .detail import detail_of
from .heart import HeartPlan
from .truth import VEIN_LABEL

_BLOOD_HU = 45.0
_BLOOD = (
    "aorta",
    "descending_aorta",
    "lumen",
    "left_ventricle",
    "left_atrium",
    "right_heart",
    "pulmonary_artery",
    "vena_cava",
    "inferior_cava",
    "cardiac_vein",
)
"""Names in `HeartPlan.attenuation_hu` of what contrast fills."""


def without_arteries(plan: HeartPlan) -> HeartPlan:
    """Return a heart whose vessels are its veins only: no lumen, wall, plaque or small branch of an artery."""
    detail = detail_of(plan.scene)
    kept = [
        painted
        for number, painted in enumerate(plan.scene)
        if number not in detail.solids or painted.label == VEIN_LABEL
    ]
    return _emptied(replace(plan, scene=tuple(kept)))


def without_contrast(plan: HeartPlan) -> HeartPlan:
    """Return a heart as before contrast was given: all blood is alike, and no artery is told from its wall."""
    values = [plan.attenuation_hu[name] for name in _BLOOD if name in plan.attenuation_hu]
    scene = [
        replace(painted, hu=_BLOOD_HU, label=0) if _is_blood(painted, values) else painted for painted in plan.scene
    ]
    hu = plan.attenuation_hu | dict.fromkeys((name for name in _BLOOD if name in plan.attenuation_hu), _BLOOD_HU)
    return _emptied(replace(plan, scene=tuple(scene), attenuation_hu=hu))


def _emptied(plan: HeartPlan) -> HeartPlan:
    """Return the heart with no artery in its truth."""
    return replace(plan, vessels=(), side_branches=(), lesions=(), plaques=(), stents=(), ostia_ras={})


def _is_blood(painted: Painted, values: list[float]) -> bool:
    if painted.label:
        return True
    hu = painted.hu
    level = hu if not callable(hu) else getattr(hu, "mean_hu", getattr(hu, "start_hu", None))
    return level is not None and any(abs(float(level) - value) < 0.5 for value in values)
