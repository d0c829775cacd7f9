"""From a seed to a heart: the order in which its parts are drawn."""

import zlib

import numpy as np

from ...errors import InputError
from ..truth import AORTA_LABEL
from .chest import aortic_root, chest, heart, lungs
from .contrast import draw_attenuation
from .coronaries import draw_rarities, draw_tree
from .courses import draw_courses
from .disease import draw_lesions, draw_stents
from .families import FAMILIES, TRAINING_FAMILIES, family_of
from .implicit import Joined, grown
from .plan import HeartPlan
from .plaque import lesion_geometry
from .shape import draw_shape
from .veins import draw_veins
from .vessels import Contents, vessel_solids


def plan_heart(seed: int, family: str = "training") -> HeartPlan:
    """Return the heart of a seed.

    Parameters
    ----------
    seed : the same seed and family give the same heart on every machine.
    family : one of `FAMILIES`, or `training`: the seed draws one of `TRAINING_FAMILIES`.

    Raises
    ------
    InputError : there is no such family.
    """
    if family == "training":
        family = TRAINING_FAMILIES[seed % len(TRAINING_FAMILIES)]
    if family not in FAMILIES:
        raise InputError(f"there is no family of hearts '{family}': choose one of training, {', '.join(FAMILIES)}")
    laws = family_of(family)
    generator = np.random.default_rng([seed, zlib.crc32(family.encode())])
    women = bool(generator.random() < 0.45)
    scale = float(generator.uniform(0.92, 1.06)) * (0.92 if women else 1.0)
    hu = draw_attenuation(generator, laws.contrast)
    dominance, anomaly = draw_rarities(generator)
    tree = None
    while tree is None:
        shape = draw_shape(generator, laws.shape, scale)
        courses = draw_courses(shape, generator)
        tree = draw_tree(courses, women, dominance, anomaly, laws.tortuosity, laws.branching, generator)
    lesions = draw_lesions(tree.vessels, laws.lesions, generator)
    stents = draw_stents(tree.vessels, lesions, generator)
    veins = draw_veins(courses, {v.name: v for v in tree.vessels}, generator)
    wall_mm = float(generator.uniform(0.3, 0.8))
    by_name = {v.name: v for v in tree.vessels}
    plaques = [lesion_geometry(lesion, by_name[lesion.vessel], wall_mm, generator) for lesion in lesions]
    scene = chest(shape, hu, generator) + heart(shape, hu, generator)
    root = aortic_root(shape, hu, AORTA_LABEL)
    scene += root[:-1]
    ratios = {v.name: float(generator.uniform(0.85, 1.0)) for v in tree.vessels}
    contents = Contents(veins, plaques, stents, hu, shape.root_center, wall_mm, ratios)
    behind = len(scene)
    scene += vessel_solids(tree.vessels, tree.side_branches, contents)
    vessel_part = (behind, len(scene))
    scene.append(root[-1])
    walls = [shape.walls[name] for name in ("lv", "rv", "la", "ra")]
    bounds = grown(Joined(walls), 10.0).bounds()
    bounds[1, 2] = max(bounds[1, 2], 45.0 * scale)
    background = lungs(hu, int(generator.integers(0, 2**31)))
    return HeartPlan(
        seed, family, tuple(scene), background, tree.vessels, tree.side_branches, lesions, tree.ostia_ras,
        tree.dominance, tree.anomalies, hu, bounds, tuple(plaques), stents, contents, vessel_part,
    )  # fmt: skip
