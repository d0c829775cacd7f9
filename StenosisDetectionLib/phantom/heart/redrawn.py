"""The same heart with another disease: what training on lesions needs, many of them from one anatomy."""

from dataclasses import replace

import numpy as np

from ...errors import InputError
from .disease import draw_lesions, draw_stents
from .families import family_of
from .plan import HeartPlan
from .plaque import lesion_geometry
from .vessels import vessel_solids

_CALCIUM_HU = (500.0, 1500.0)


def with_other_disease(plan: HeartPlan, number: int, load: float, calcified: float) -> HeartPlan:
    """Return a planned heart with other lesions and another attenuation of their calcium.

    Parameters
    ----------
    plan : of `plan_heart`.
    number : the same plan and number give the same disease.
    load : part of the segments with a lesion.
    calcified : part of the lesions without calcium that get some.

    Raises
    ------
    InputError : the plan has no vessels of its own to paint.
    """
    if plan.contents is None:
        raise InputError("this heart was not planned from a seed: its disease cannot be drawn again")
    generator = np.random.default_rng([plan.seed, 5, number])
    hu = plan.contents.hu | {"calcium": float(generator.uniform(*_CALCIUM_HU))}
    lesions = tuple(
        replace(one, plaque=str(generator.choice(["mixed", "calcified"])))
        if one.plaque == "noncalcified" and generator.random() < calcified
        else one
        for one in draw_lesions(plan.vessels, family_of(plan.family).lesions, generator, load)
    )
    stents = draw_stents(plan.vessels, lesions, generator)
    by_name = {vessel.name: vessel for vessel in plan.vessels}
    plaques = tuple(lesion_geometry(one, by_name[one.vessel], plan.contents.wall_mm, generator) for one in lesions)
    contents = replace(plan.contents, plaques=plaques, stents=stents, hu=hu)
    solids = tuple(vessel_solids(plan.vessels, plan.side_branches, contents))
    begin, end = plan.vessel_part
    return replace(
        plan,
        scene=plan.scene[:begin] + solids + plan.scene[end:],
        lesions=lesions,
        attenuation_hu=hu,
        plaques=plaques,
        stents=stents,
        contents=contents,
        vessel_part=(begin, begin + len(solids)),
    )
