"""The veins of the heart beside its arteries: great cardiac vein, coronary sinus, middle and small cardiac veins."""

import numpy as np

from ..curves import resampled, tangents
from ..solids import Tube
from ..truth import VesselTruth
from .courses import STEP_MM, Condition, Courses, settled
from .implicit import Limb, gradient, grown


def draw_veins(courses: Courses, arteries: dict[str, VesselTruth], generator: np.random.Generator) -> dict[str, Tube]:
    """Return the veins by name: about the caliber of the artery or wider, a little fat between them."""
    draw = generator.uniform
    lines: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    # Great cardiac vein: up beside the LAD, then around the left side, widening into the coronary sinus.
    anterior = courses.anterior
    low, high = int(draw(0.55, 0.85) * len(anterior)), int(draw(0.12, 0.22) * len(anterior))
    ring = courses.left_ring
    first = int(np.argmax(np.linalg.norm(ring - anterior[high], axis=1) > 12))
    first = max(first, int(0.12 * len(ring)))
    upward = _beside(anterior[high:low][::-1], courses, draw(3.2, 5.5) * generator.choice([-1, 1], p=[0.3, 0.7]))
    way = resampled(np.concatenate([upward, _atrial(ring[first:], courses, draw(1.0, 3.0))]), STEP_MM, smoothing_mm=5.0)
    end_radius = draw(2.6, 5.0)
    growth = np.linspace(0, 1, len(way))
    radius = (
        draw(0.7, 1.1) + draw(0.4, 0.9) * growth + (end_radius - 1.5) * np.clip((growth - 0.55) / 0.45, 0, 1) ** 1.5
    )
    lines["great"] = (way, radius)

    inferior = courses.inferior
    part = inferior[: int(draw(0.5, 0.85) * len(inferior))][::-1]
    middle = _beside(part, courses, draw(3.2, 5.5) * generator.choice([-1, 1]))
    lines["middle"] = (middle, np.linspace(draw(0.6, 0.9), draw(1.3, 2.2), len(middle)))
    if generator.random() < 0.5:
        right = courses.right_ring[int(draw(0.3, 0.6) * len(courses.right_ring)) :]
        small = _atrial(right, courses, draw(2.0, 4.0))
        lines["small"] = (small, np.linspace(0.5, draw(0.8, 1.3), len(small)))
    if generator.random() < 0.7:
        side = courses.on_ventricle(ring[int(draw(0.45, 0.7) * len(ring))], draw(3.0, 3.9), draw(0.3, 0.7), 2.0, 0.0)
        lines["posterior"] = (side[::-1], np.linspace(0.5, draw(0.9, 1.4), len(side)))

    veins = {}
    for name, (line, radius) in lines.items():
        line = _kept_off(line, radius, courses, arteries)
        radius = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(radius)), radius)
        veins[name] = Tube(line, radius)
    return veins


def _beside(way: np.ndarray, courses: Courses, by_mm: float) -> np.ndarray:
    """Return a way moved sideways on the ventricles."""
    out = gradient(courses.shape.ventricles, way)
    across = np.cross(tangents(way), out)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return settled(way + by_mm * across, [Condition(courses.shape.ventricles, courses.depth_mm)], rounds=5)


def _atrial(ring: np.ndarray, courses: Courses, by_mm: float) -> np.ndarray:
    """Return a ring moved toward the atria."""
    out = gradient(courses.shape.ventricles, ring)
    inward = -gradient(courses.shape.atria, ring)
    return ring + by_mm * (0.6 * inward + 0.8 * out)


def _kept_off(line: np.ndarray, radius: np.ndarray, courses: Courses, arteries: dict[str, VesselTruth]) -> np.ndarray:
    """Return a vein moved away from arteries and heart muscle."""
    walls = courses.shape.walls
    near = [
        Limb(v.points_ras[::12], 0.5 * v.healthy_diameter_mm[::12]) for v in arteries.values() if len(v.points_ras) > 24
    ]
    conditions = [Condition(walls[n], 0.7 * radius, above_only=True) for n in ("lv", "rv")]
    conditions += [Condition(walls["aorta"], radius + 1, above_only=True)]
    conditions += [Condition(grown(limb, 0.0), radius + 0.9, 2.0, above_only=True) for limb in near]
    for _ in range(2):
        line = settled(line, conditions, rounds=3)
        line[1:-1] = 0.25 * line[:-2] + 0.5 * line[1:-1] + 0.25 * line[2:]
    return settled(line, conditions, rounds=3)
