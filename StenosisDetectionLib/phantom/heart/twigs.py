"""Draws the small branches of the coronary arteries that have no name, below 1.2 mm, septal ones included."""

from collections.abc import Sequence

import numpy as np

from ...geometry import arc_length
from ..curves import resampled, tangents
from ..truth import VesselTruth
from .courses import Condition, Courses, settled
from .implicit import gradient


def draw_twigs(
    vessels: Sequence[VesselTruth], courses: Courses, generator: np.random.Generator, scale: float
) -> list[VesselTruth]:
    """Return small branches along all vessels; `scale` is that of their diameters."""
    from scipy.spatial import cKDTree

    shape = courses.shape
    twigs: list[VesselTruth] = []
    trunk = {v.name: v for v in vessels}
    for vessel in vessels:
        if vessel.name == "LM":
            continue
        tree = cKDTree(np.concatenate([v.points_ras for v in vessels if v is not vessel]))
        along = tangents(vessel.points_ras)
        at = float(generator.uniform(8, 16))
        while at < vessel.distance_mm[-1] - 4:
            n = int(at / 0.25)
            start = vessel.points_ras[n]
            at += float(generator.uniform(6, 18))
            septal = vessel.name in ("LAD", "PDA") and generator.random() < 0.45
            width = min(float(generator.uniform(0.5, 1.15)), 0.6 * vessel.healthy_diameter_mm[n]) * scale
            length = float(generator.uniform(8, 28))
            out = gradient(shape.ventricles, start[None])[0]
            out /= np.linalg.norm(out)
            across = np.cross(out, along[n]) * generator.choice([-1, 1])
            heading = across + along[n] * generator.uniform(0.2, 1.0)
            if septal:
                heading = -out + 0.4 * along[n] + generator.normal(0, 0.15, 3)
            steps = int(length / 1.5)
            way = heading / np.linalg.norm(heading) + np.cumsum(generator.normal(0, 0.12, (steps, 3)), axis=0)
            way *= 1.5 / np.linalg.norm(way, axis=1, keepdims=True)
            line = np.concatenate([start[None], start + np.cumsum(way, axis=0)])
            if not septal:
                depth = float(generator.uniform(0.8, 2.5))
                line[1:] = settled(line[1:], [
                    Condition(shape.ventricles, depth, np.minimum(np.arange(steps) / 4, 1.0)),
                    *(Condition(shape.walls[w], 0.8, above_only=True) for w in ("ra", "la", "laa", "pa", "aorta")),
                ], rounds=5)  # fmt: skip
            line = resampled(line, 1.0, smoothing_mm=1.0)
            away = tree.query(line)[0]
            if len(line) < 5 or away.min() < 2.5:
                continue
            distance = arc_length(line)
            diameter = np.linspace(width, 0.5 * width, len(line))
            number = len(twigs) + 1
            twigs.append(
                VesselTruth(
                    f"side{number}",
                    vessel.name,
                    float(vessel.distance_mm[n]),
                    line,
                    distance,
                    diameter,
                    diameter.copy(),
                    motion=trunk[vessel.name].motion,
                )
            )
    return twigs
