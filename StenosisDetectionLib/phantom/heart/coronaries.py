"""Draws the healthy coronary tree of a heart: its vessels with diameters, SCCT segments and small branches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..truth import VesselTruth
from .calibers import WOMEN, draw_diameters
from .courses import Courses
from .routes import ANOMALIES, MisfitError, Routes, draw_routes
from .tortuosity import TortuosityLaw
from .twigs import draw_twigs

DOMINANCE = {"right": 0.85, "left": 0.10, "balanced": 0.05}
ANOMALY_SHARE = 0.02

_ATTEMPTS = 4
_MOTION = {"RCA": "rca", "AM": "rca", "LCX": "lcx", "OM": "lcx", "RI": "lcx"}


@dataclass(frozen=True, eq=False)
class Tree:
    """A healthy tree: named vessels, small branches, ostia, dominance, anomalies, law of its bifurcations."""

    vessels: tuple[VesselTruth, ...]
    side_branches: tuple[VesselTruth, ...]
    ostia_ras: dict[str, np.ndarray]
    dominance: str
    anomalies: tuple[str, ...]
    law: str


def draw_rarities(generator: np.random.Generator) -> tuple[str, str | None]:
    """Return the dominance of a heart and its anomaly, which most have not."""
    dominance = str(generator.choice(list(DOMINANCE), p=list(DOMINANCE.values())))
    anomaly = str(generator.choice(ANOMALIES)) if generator.random() < ANOMALY_SHARE else None
    return dominance, anomaly


def draw_tree(
    courses: Courses,
    women: bool,
    dominance: str,
    anomaly: str | None,
    tortuosity: TortuosityLaw,
    laws: Sequence[str],
    generator: np.random.Generator,
) -> Tree | None:
    """Return the healthy coronary tree of a heart; None where none fits.

    `laws` are the bifurcation laws to draw from.
    """
    for _ in range(_ATTEMPTS):
        try:
            routes = draw_routes(courses, tortuosity, dominance, anomaly, generator)
            break
        except MisfitError:
            continue
    else:
        return None
    law = str(generator.choice(list(laws)))
    widths = draw_diameters(routes, dominance, law, women, generator)
    vessels = tuple(_vessel(name, routes, widths, courses) for name in routes.lines)
    twigs = draw_twigs(vessels, courses, generator, WOMEN if women else 1.0)
    anomalies = (anomaly,) if anomaly else ()
    return Tree(vessels, tuple(twigs), routes.ostia_ras, dominance, anomalies, law)


def _vessel(name: str, routes: Routes, widths: dict[str, np.ndarray], courses: Courses) -> VesselTruth:
    line, parent = routes.lines[name], routes.parents[name]
    leaves = None if parent is None else _leaves(routes, name)
    motion = _MOTION.get(name.rstrip("0123456789"), "lad")
    if name in ("PDA", "PLB"):
        motion = "rca" if parent == "RCA" else "lcx"
    segments = _segments(name, routes, courses)
    distance = 0.25 * np.arange(len(line))
    return VesselTruth(name, parent, leaves, line, distance, widths[name], widths[name].copy(), segments, motion)


def _leaves(routes: Routes, child: str) -> float:
    parent = routes.lines[routes.parents[child] or child]
    return 0.25 * int(np.argmin(np.linalg.norm(parent - routes.lines[child][0], axis=1)))


def _segments(name: str, routes: Routes, courses: Courses) -> tuple[tuple[int, float, float], ...]:
    """Return the SCCT segments of a vessel by the rules of Leipsic et al. 2014."""
    end = routes.length(name)
    whole = {"LM": 5, "D1": 9, "D2": 10, "OM1": 12, "OM2": 14, "RI": 17}
    if name in whole:
        return ((whole[name], 0.0, end),)
    if name in ("PDA", "PLB"):
        left = routes.parents[name] == "LCX"
        return (({"PDA": 15 if left else 4, "PLB": 18 if left else 16}[name], 0.0, end),)
    if name == "LAD":
        first = _leaves(routes, "D1") if "D1" in routes.lines else 0.25 * end
        return (6, 0.0, first), (7, first, (first + end) / 2), (8, (first + end) / 2, end)
    if name == "LCX":
        first = _leaves(routes, "OM1") if "OM1" in routes.lines else 0.4 * end
        return (11, 0.0, first), (13, first, end)
    if name == "RCA":
        edge = (routes.lines[name] - courses.shape.tricuspid) @ (courses.shape.right + 0.8 * courses.shape.down)
        margin = min(max(0.25 * int(np.argmax(edge)), 0.2 * end), 0.9 * end)
        return (1, 0.0, margin / 2), (2, margin / 2, margin), (3, margin, end)
    return ()
