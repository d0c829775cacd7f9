"""How wide healthy coronary arteries are: priors, taper, and steps at bifurcations by Finet, Huo-Kassab or Murray. mm.

Means and standard deviations follow Dodge et al. 1992 (Circulation 86: 232) and later CT series.
"""

import numpy as np

from .routes import Routes

DIAMETER_MM = {
    "LM": (4.7, 0.6), "LAD": (3.7, 0.4), "LCX": (3.5, 0.5), "RCA": (3.9, 0.6), "RI": (2.1, 0.5), "D1": (2.1, 0.4),
    "D2": (1.8, 0.35), "D3": (1.5, 0.25), "OM1": (2.2, 0.5), "OM2": (1.9, 0.4), "PDA": (2.1, 0.4), "PLB": (2.0, 0.4),
    "AM1": (1.7, 0.3), "AM2": (1.5, 0.25),
}  # fmt: skip
"""Diameter at the beginning of a vessel in men, right dominance: mean and standard deviation."""

LEFT_DOMINANT_MM = {"LM": (5.2, 0.6), "LCX": (4.2, 0.5), "RCA": (2.9, 0.45)}
WOMEN = 0.91
"""Diameters of women over those of men."""

SMALLEST_MM = 1.0
BIFURCATION_LAWS = ("independent", "finet", "huo-kassab", "murray")

_STEP_MM = 3.0  # length of the step at a bifurcation
_TAIL_MM = 12.0  # over which a vessel thins at its end


def draw_diameters(
    routes: Routes, dominance: str, law: str, women: bool, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the healthy diameter along every vessel, every 0.25 mm."""
    priors = DIAMETER_MM | (LEFT_DOMINANT_MM if dominance == "left" else {})
    scale = (WOMEN if women else 1.0) * float(np.exp(generator.normal(0, 0.05)))
    begin = {}
    for name in routes.lines:
        mean, sd = priors[name]
        begin[name] = scale * float(np.clip(generator.normal(mean, 0.8 * sd), mean - 2 * sd, mean + 2 * sd))
    widths: dict[str, np.ndarray] = {}
    for name, line in routes.lines.items():
        parent = routes.parents[name]
        distance = 0.25 * np.arange(len(line))
        if parent == "LM":
            begin[name] = min(begin[name], 0.92 * widths["LM"][-1])
        elif parent is not None:
            here = min(round(_leaves(routes, name) / 0.25), len(widths[parent]) - 1)
            begin[name] = min(begin[name], 0.85 * widths[parent][max(here - 12, 0)])
        begin[name] = max(begin[name], 1.2)
        taper = float(generator.uniform(0.008, 0.02)) * (0.6 if name in ("LM", "RCA") else 1.0)
        diameter = begin[name] - taper * distance
        for child in routes.lines:
            if routes.parents[child] != name or _leaves(routes, child) > distance[-1] - _STEP_MM:
                continue
            leaves = _leaves(routes, child)
            before = float(np.interp(leaves, distance, diameter))
            begin[child] = min(begin[child], 0.8 * before)
            after = behind_bifurcation(before, begin[child], law, generator)
            ramp = np.clip((distance - leaves + 1.0) / _STEP_MM, 0, 1)
            diameter = diameter - (before - after) * (0.5 - 0.5 * np.cos(np.pi * ramp))
        floor = min(begin[name], scale * generator.uniform(1.1, 1.7))
        diameter = np.minimum(floor + np.logaddexp(0, (diameter - floor) * 6) / 6, begin[name])  # a soft maximum
        if not any(routes.parents[child] == name and _ends_with(routes, name, child) for child in routes.lines):
            diameter = diameter * (0.7 + 0.3 * np.clip((distance[-1] - distance) / _TAIL_MM, 0, 1))
        widths[name] = np.maximum(diameter, SMALLEST_MM)
    return widths


def behind_bifurcation(before: float, side: float, law: str, generator: np.random.Generator) -> float:
    """Return the diameter behind a bifurcation from those before it and of the branch, kept in 78 to 98 % of before."""
    if law == "finet":
        after = before / 0.678 - side
    elif law == "murray":
        after = max(before**3 - side**3, 0.1) ** (1 / 3)
    elif law == "huo-kassab":
        # along a long thin vessel the taper can reach zero before `SMALLEST_MM` ends it
        after = max(max(before, 0.0) ** (7 / 3) - max(side, 0.0) ** (7 / 3), 0.1) ** (3 / 7)
    else:
        after = before * float(generator.uniform(0.84, 0.97))
    return float(np.clip(after, 0.78 * before, 0.98 * before))


def _leaves(routes: Routes, child: str) -> float:
    """Return the distance along its parent at which a vessel leaves."""
    line = routes.lines[routes.parents[child] or child]
    return 0.25 * int(np.argmin(np.linalg.norm(line - routes.lines[child][0], axis=1)))


def _ends_with(routes: Routes, name: str, child: str) -> bool:
    return _leaves(routes, child) > routes.length(name) - _STEP_MM
