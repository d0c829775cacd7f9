"""Draws a coronary tree on a heart: which vessels there are, where they run, how wide they are, their SCCT segments.

Diameters, lengths and tapers follow Dodge et al. 1992 and later CT series (mean and standard deviation in
`DIAMETER_MM`); bifurcations follow Finet or Huo-Kassab or independent draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...geometry import arc_length
from ..curves import resampled, tangents
from ..truth import VesselTruth
from .courses import STEP_MM, Condition, Courses, settled
from .implicit import gradient, grown
from .shape import HeartShape
from .tortuosity import TortuosityLaw, wound

DIAMETER_MM = {
    "LM": (4.7, 0.6), "LAD": (3.7, 0.4), "LCX": (3.5, 0.5), "RCA": (3.9, 0.6), "RI": (2.1, 0.5), "D1": (2.1, 0.4),
    "D2": (1.8, 0.35), "D3": (1.5, 0.25), "OM1": (2.2, 0.5), "OM2": (1.9, 0.4), "PDA": (2.1, 0.4), "PLB": (2.0, 0.4),
    "AM1": (1.7, 0.3), "AM2": (1.5, 0.25),
}  # fmt: skip
"""Diameter at the beginning of a vessel in men, right dominance: mean and standard deviation."""

LEFT_DOMINANT_MM = {"LM": (5.2, 0.6), "LCX": (4.2, 0.5), "RCA": (2.9, 0.45)}
WOMEN = 0.91
"""Diameters of women over those of men."""

DOMINANCE = {"right": 0.85, "left": 0.10, "balanced": 0.05}
LAWS = ("independent", "finet", "huo-kassab")
SMALLEST_MM = 1.0
_MOTION = {"RCA": "rca", "AM1": "rca", "AM2": "rca", "LCX": "lcx", "OM1": "lcx", "OM2": "lcx", "RI": "lcx"}


TRUNKS = ("LM", "LAD", "LCX", "RCA")
SHARPEST_COSINE = 0.1
"""Of the turn between two neighboring chords of 2 mm."""

ATTEMPTS = 12


class _Misfit(Exception):
    """A vessel that every tree has does not fit this heart."""


@dataclass(frozen=True, eq=False)
class Tree:
    """A healthy tree: named vessels, small branches, ostia, dominance, anomalies, bifurcation law."""

    vessels: tuple[VesselTruth, ...]
    side_branches: tuple[VesselTruth, ...]
    ostia_ras: dict[str, np.ndarray]
    dominance: str
    anomalies: tuple[str, ...]
    law: str


def ostium(shape: HeartShape, direction: np.ndarray, height_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where a ray from the axis of the root leaves its lumen, and the ray's direction (unit)."""
    axis = shape.root_axis
    outward = direction - (direction @ axis) * axis
    outward /= np.linalg.norm(outward)
    start = shape.root_center + height_mm * axis
    distance = np.linspace(0, 40, 801)
    inside = shape.aorta(start + distance[:, None] * outward) < 0
    return start + distance[int(np.argmin(inside))] * outward, outward


class _Planner:
    """Builds the lines of one tree; kept together because every vessel needs shape, courses and generator."""

    def __init__(self, courses: Courses, tortuosity: TortuosityLaw, generator: np.random.Generator) -> None:
        self.courses = courses
        self.shape = courses.shape
        self.generator = generator
        self.tortuosity = tortuosity
        self.lines: dict[str, np.ndarray] = {}
        self.parents: dict[str, str | None] = {}

    def add(self, name: str, way: np.ndarray, parent: str | None, length_mm: float | None = None) -> bool:
        """Add a vessel along a way, kept out of everything else, wound, at even steps; False where that fails."""
        line = resampled(way, STEP_MM, smoothing_mm=2.5) if arc_length(way)[-1] > 3 * STEP_MM else way
        if len(line) < 3:
            raise _Misfit(name)
        if length_mm is not None:
            line = line[: max(int(length_mm / STEP_MM), 4)]
        line = wound(line, self.shape.ventricles, self.tortuosity, self.generator)
        line = self._kept_off(line, ostial=parent is None)
        line[0] = way[0]
        fine = resampled(_spline(line))
        if not self._is_valid(fine, parent):
            if name in TRUNKS:
                raise _Misfit(name)
            return False
        self.lines[name] = fine
        self.parents[name] = parent
        return True

    def _is_valid(self, line: np.ndarray, parent: str | None) -> bool:
        """Return whether a line bends like a vessel and keeps clear of the others and of the chambers."""
        from scipy.spatial import cKDTree

        if len(line) < 14:
            return False
        chord = line[16::8] - line[8:-8:8]
        before = line[8:-8:8] - line[:-16:8]
        cosine = (chord * before).sum(axis=1) / (np.linalg.norm(chord, axis=1) * np.linalg.norm(before, axis=1))
        if len(cosine) and cosine.min() < SHARPEST_COSINE:
            return False
        beyond = line[40::4] if parent is None else line[12::4]
        if any(len(beyond) and self.shape.walls[n](beyond).min() < 1.0 for n in ("lv", "rv", "la", "ra", "pa")):
            return False
        for other_name, other in self.lines.items():
            own = line
            related = other_name == parent or self.parents[other_name] == parent
            if related:  # both begin near each other
                away = np.linalg.norm(line - line[0], axis=1)
                own = line[np.argmax(away > 9.0) :] if away.max() > 9.0 else line[:0]
            if len(own) and cKDTree(other).query(own[::4])[0].min() < (2.6 if related else 3.2):
                return False
        return True

    def _kept_off(self, line: np.ndarray, ostial: bool) -> np.ndarray:
        walls = self.shape.walls
        s = np.arange(len(line)) * STEP_MM
        free = np.clip((s - 4) / 6, 0, 1) if ostial else np.ones(len(line))
        room = 2.4
        conditions = [Condition(walls[n], room, above_only=True) for n in ("lv", "rv", "la", "ra", "pa")]
        conditions.append(Condition(walls["laa"], room, 0.3, above_only=True))  # it may lie on the circumflex artery
        conditions.append(Condition(walls["aorta"], 2.6 * free, free, above_only=True))
        for _ in range(3):
            line = settled(line, conditions, rounds=4)
            line[1:-1] = 0.25 * line[:-2] + 0.5 * line[1:-1] + 0.25 * line[2:]
        return settled(line, conditions, rounds=3)

    def at(self, name: str, distance_mm: float) -> np.ndarray:
        """Return the point of a vessel at a distance."""
        line = self.lines[name]
        return line[min(int(distance_mm / 0.25), len(line) - 1)]

    def length(self, name: str) -> float:
        """Return the length of a vessel."""
        return 0.25 * (len(self.lines[name]) - 1)


def _spline(line: np.ndarray) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    distance = arc_length(line)
    return CubicSpline(distance, line)(np.linspace(0, distance[-1], int(8 * distance[-1])))


def draw_tree(
    courses: Courses, women: bool, tortuosity: TortuosityLaw, laws: Sequence[str], generator: np.random.Generator
) -> Tree | None:
    """Return the healthy coronary tree of a heart; None where none fits."""
    dominance = str(generator.choice(list(DOMINANCE), p=list(DOMINANCE.values())))
    law = str(generator.choice(list(laws)))
    for attempt in range(ATTEMPTS):
        plan = _Planner(courses, tortuosity.calmer(attempt / ATTEMPTS), generator)
        try:
            ostia = _left(plan, dominance) | _right(plan, dominance)
            break
        except _Misfit:
            continue
    else:
        return None
    widths = _diameters(plan, dominance, law, women, generator)
    vessels = []
    for name, line in plan.lines.items():
        parent = plan.parents[name]
        distance = 0.25 * np.arange(len(line))
        parent_distance = None
        if parent is not None:
            parent_distance = 0.25 * int(np.argmin(np.linalg.norm(plan.lines[parent] - line[0], axis=1)))
        vessels.append(
            VesselTruth(
                name,
                parent,
                parent_distance,
                line,
                distance,
                widths[name],
                widths[name].copy(),
                motion=_MOTION.get(name, "lad"),
            )
        )
    by_name = {v.name: v for v in vessels}
    vessels = [replace(v, segments=_segments(v, by_name, courses), motion=_motion(v, by_name)) for v in vessels]
    twigs = _twigs(vessels, courses, generator, scale=0.91 if women else 1.0)
    return Tree(tuple(vessels), tuple(twigs), ostia, dominance, (), law)


def _motion(vessel: VesselTruth, by_name: dict[str, VesselTruth]) -> str:
    if vessel.name in ("PDA", "PLB"):
        return "rca" if vessel.parent == "RCA" else "lcx"
    return vessel.motion


def _left(plan: _Planner, dominance: str) -> dict[str, np.ndarray]:
    """Add the left coronary artery."""
    shape, courses, draw = plan.shape, plan.courses, plan.generator.uniform
    s = shape.scale
    start, outward = ostium(shape, shape.sinuses["left"] + plan.generator.normal(0, 0.15, 3), draw(0.0, 6.0) * s)
    length = float(np.clip(plan.generator.normal(10.5, 4.0), 4.0, 20.0))
    heading = outward + np.array([-0.2, draw(0.0, 0.35), draw(-0.15, 0.25)])
    heading /= np.linalg.norm(heading)
    bend = start + 4.0 * outward
    fork = settled((bend + max(length - 4.0, 1.0) * heading)[None], [
        Condition(shape.walls["pa"], 4.0, above_only=True),
        Condition(shape.walls["lv"], 4.0, above_only=True),
        Condition(shape.walls["laa"], 3.0, 0.3, above_only=True),
        Condition(shape.walls["aorta"], 2.5, above_only=True),
    ])[0]  # fmt: skip
    plan.add("LM", _bent(np.stack([start, bend, fork])), None)
    fork = plan.lines["LM"][-1]

    anterior = courses.anterior
    clear = (shape.walls["aorta"](anterior) > 7) & (shape.walls["pa"](anterior) > 2)
    clear &= (np.linalg.norm(anterior - fork, axis=1) > 9) & ((anterior - fork) @ np.array([-1.0, 0.3, 0.0]) > 4)
    blocked = np.flatnonzero(~clear[: len(clear) // 2])
    first = int(blocked[-1]) + 1 if len(blocked) else 0
    heading = plan.lines["LM"][-1] - plan.lines["LM"][-9]
    heading /= np.linalg.norm(heading)
    way = _bent(np.concatenate([fork[None], _first_step(fork, heading, anterior[first])[None], anterior[first:]]))
    plan.add("LAD", way, "LM", arc_length(way)[-1] - draw(0, 18))

    ring = courses.left_ring
    clear = (np.linalg.norm(ring - fork, axis=1) > 9) & (shape.walls["aorta"](ring) > 4)
    ahead = (ring - fork) @ np.array([-1.0, -0.4, 0.0]) > 0
    first = int(np.argmax(clear & ahead))
    way = _bent(np.concatenate([fork[None], _first_step(fork, heading, ring[first])[None], ring[first:]]))
    whole = arc_length(way)[-1]
    length = {"right": draw(0.45, 0.8), "left": 1.0, "balanced": draw(0.8, 0.95)}[dominance] * whole
    plan.add("LCX", way, "LM", length)

    at = draw(14, 32)
    for name, angle, reach, chance in (
        ("D1", (1.9, 2.4), (0.35, 0.8), 0.95), ("D2", (1.6, 2.0), (0.6, 0.95), 0.75),
        ("D3", (1.3, 1.7), (0.8, 1.0), 0.3),
    ):  # fmt: skip
        if plan.generator.random() > chance or at > 0.75 * plan.length("LAD"):
            break
        _branch(plan, name, "LAD", at, draw(*angle), draw(*reach), bend=0.3)
        at += draw(14, 28)
    if plan.generator.random() < 0.25:
        _branch(plan, "RI", "LM", plan.length("LM"), draw(2.3, 2.8), draw(0.3, 0.75))
    at = draw(10, 26)
    for name, angle, reach, chance in (("OM1", (2.7, 3.5), (0.35, 0.8), 0.97), ("OM2", (3.4, 4.2), (0.3, 0.75), 0.7)):
        if plan.generator.random() > chance or at > 0.85 * plan.length("LCX"):
            break
        _branch(plan, name, "LCX", at, draw(*angle), draw(*reach), bend=-0.6)
        at += draw(14, 28)
    if dominance == "left":
        _crux(plan, "LCX", ("PDA", "PLB"))
    elif dominance == "balanced":
        _crux(plan, "LCX", ("PLB",))
    return {"LM": start}


def _first_step(start: np.ndarray, heading: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return a point 3 mm from a fork, between the heading of the trunk and the way to a target."""
    onward = target - start
    onward = heading + 1.2 * onward / np.linalg.norm(onward)
    return start + 3.0 * onward / np.linalg.norm(onward)


def _right(plan: _Planner, dominance: str) -> dict[str, np.ndarray]:
    """Add the right coronary artery."""
    shape, courses, draw = plan.shape, plan.courses, plan.generator.uniform
    start, outward = ostium(
        shape, shape.sinuses["right"] + plan.generator.normal(0, 0.12, 3), draw(0.0, 5.0) * shape.scale
    )
    ring = courses.right_ring
    clear = (np.linalg.norm(ring - start, axis=1) > 13) & (shape.walls["aorta"](ring) > 4)
    clear &= (ring - start) @ (outward + np.array([0.4, 0.0, -0.4])) > 5
    first = int(np.argmax(clear))
    way = _bent(np.concatenate([start[None], (start + 5 * outward)[None], ring[first:]]))
    length = {"right": None, "left": draw(45, 70), "balanced": None}[dominance]
    plan.add("RCA", way, None, length)
    if dominance == "right":
        _crux(plan, "RCA", ("PDA", "PLB"))
    elif dominance == "balanced":
        _crux(plan, "RCA", ("PDA",))
    at = draw(28, 45)
    for name, chance in (("AM1", 0.9), ("AM2", 0.45)):
        if plan.generator.random() > chance or at > plan.length("RCA") - 10:
            break
        start = plan.at("RCA", at)
        depth = courses.depth_mm * draw(0.8, 1.0)
        plan.add(name, courses.on_right_ventricle(start, draw(-0.9, 0.6), draw(0.1, 0.7), depth), "RCA")
        at += draw(16, 30)
    return {"RCA": start}


def _crux(plan: _Planner, parent: str, names: Sequence[str]) -> None:
    """Add the vessels of the inferior wall where their parent ends."""
    courses, draw = plan.courses, plan.generator.uniform
    end = plan.length(parent)
    if "PDA" in names:
        inferior = courses.inferior
        start = plan.at(parent, end)
        first = int(np.argmin(np.linalg.norm(inferior - start, axis=1))) + 4
        plan.add("PDA", _bent(np.concatenate([start[None], inferior[first:]])), parent, draw(35, 75))
    if "PLB" in names:
        if parent == "RCA":
            # The artery goes on in the left groove before it turns down.
            start, ring = plan.at(parent, end), courses.left_ring[::-1]
            first = int(np.argmax(np.linalg.norm(ring - start, axis=1) > 7))
            onward = ring[first : first + int(draw(3, 10))]
            down = courses.on_ventricle(onward[-1], draw(3.9, 4.4), draw(0.1, 0.6), courses.depth_mm, -0.5)
            plan.add("PLB", _bent(np.concatenate([start[None], onward, down[3:]])), parent)
        else:
            at = end if len(names) == 1 else end - draw(10, 20)
            _branch(plan, "PLB", parent, at, draw(3.8, 4.3), draw(0.2, 0.6), bend=-0.5)


def _branch(
    plan: _Planner, name: str, parent: str, at_mm: float, angle: float, reach: float, bend: float = 0.0
) -> None:
    depth = plan.courses.depth_mm * float(plan.generator.uniform(0.8, 1.0))
    start = plan.at(parent, at_mm)
    plan.add(name, plan.courses.on_ventricle(start, angle, reach, depth, bend), parent)


def _bent(way: np.ndarray) -> np.ndarray:
    """Return a smooth curve through the points of a way, whose first steps may be long."""
    from scipy.interpolate import PchipInterpolator

    distance = arc_length(way)
    return resampled(PchipInterpolator(distance, way)(np.linspace(0, distance[-1], int(2 * distance[-1]) + 2)), 1.0)


def _diameters(
    plan: _Planner, dominance: str, law: str, women: bool, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the healthy diameter along every vessel: taper between branches and steps at them."""
    priors = DIAMETER_MM | (LEFT_DOMINANT_MM if dominance == "left" else {})
    scale = WOMEN if women else 1.0
    body = float(np.exp(generator.normal(0, 0.06)))  # large and small hearts have large and small arteries
    begin = {}
    for name in plan.lines:
        mean, sd = priors[name]
        begin[name] = scale * body * float(np.clip(generator.normal(mean, 0.8 * sd), mean - 2 * sd, mean + 2 * sd))
    widths: dict[str, np.ndarray] = {}
    for name in plan.lines:
        line = plan.lines[name]
        parent = plan.parents[name]
        distance = 0.25 * np.arange(len(line))
        if name in ("LAD", "LCX") and parent == "LM":
            begin[name] = min(begin[name], 0.92 * widths["LM"][-1])
        elif parent is not None:
            here = min(round(_leaves(plan, name) / 0.25), len(widths[parent]) - 1)
            begin[name] = min(begin[name], 0.85 * widths[parent][max(here - 12, 0)])
        begin[name] = max(begin[name], 1.2)
        taper = float(generator.uniform(0.008, 0.02))
        if name in ("LM", "RCA"):
            taper *= 0.6
        diameter = begin[name] - taper * distance
        for child in plan.lines:
            if plan.parents[child] == name:
                leaves = _leaves(plan, child)
                if leaves > distance[-1] - 3:
                    continue
                before = float(np.interp(leaves, distance, diameter))
                side = min(begin[child], 0.8 * before)
                begin[child] = side
                after = _after(before, side, law, generator)
                ramp = np.clip((distance - leaves + 1.0) / 3.0, 0, 1)
                diameter = diameter - (before - after) * (0.5 - 0.5 * np.cos(np.pi * ramp))
        floor = min(begin[name], scale * generator.uniform(1.1, 1.7))
        diameter = floor + np.logaddexp(0, (diameter - floor) * 6) / 6  # a soft maximum
        widths[name] = np.minimum(diameter, begin[name] + 0.05)
        if name not in ("LM", "RCA") or dominance == "left":
            tail = np.clip((distance[-1] - distance) / 12.0, 0, 1)
            widths[name] = widths[name] * (0.7 + 0.3 * tail)
        widths[name] = np.maximum(widths[name], SMALLEST_MM)
    return widths


def _leaves(plan: _Planner, child: str) -> float:
    parent = plan.parents[child]
    assert parent is not None
    return 0.25 * int(np.argmin(np.linalg.norm(plan.lines[parent] - plan.lines[child][0], axis=1)))


def _after(before: float, side: float, law: str, generator: np.random.Generator) -> float:
    """Return the diameter behind a bifurcation."""
    if law == "finet":
        after = before / 0.678 - side
    elif law == "murray":
        after = max(before**3 - side**3, 0.1) ** (1 / 3)
    elif law == "huo-kassab":
        after = max(before ** (7 / 3) - side ** (7 / 3), 0.1) ** (3 / 7)
    else:
        after = before * float(generator.uniform(0.84, 0.97))
    return float(np.clip(after, 0.78 * before, 0.98 * before))


def _segments(
    vessel: VesselTruth, by_name: dict[str, VesselTruth], courses: Courses
) -> tuple[tuple[int, float, float], ...]:
    """Return the SCCT segments of a vessel by the rules of Leipsic et al. 2014."""
    end = float(vessel.distance_mm[-1])
    whole = {"LM": 5, "D1": 9, "D2": 10, "OM1": 12, "OM2": 14, "RI": 17}
    if vessel.name in whole:
        return ((whole[vessel.name], 0.0, end),)
    if vessel.name in ("PDA", "PLB"):
        left = vessel.parent == "LCX"
        return (({"PDA": 15 if left else 4, "PLB": 18 if left else 16}[vessel.name], 0.0, end),)

    def leaves(name: str, otherwise: float) -> float:
        child = by_name.get(name)
        return otherwise if child is None or child.parent_distance_mm is None else child.parent_distance_mm

    if vessel.name == "LAD":
        first = leaves("D1", 0.25 * end)
        return (6, 0.0, first), (7, first, (first + end) / 2), (8, (first + end) / 2, end)
    if vessel.name == "LCX":
        first = leaves("OM1", 0.4 * end)
        return (11, 0.0, first), (13, first, end)
    if vessel.name == "RCA":
        shape = courses.shape
        edge = (vessel.points_ras - shape.tricuspid) @ (shape.right + 0.8 * shape.down)
        margin = float(vessel.distance_mm[int(np.argmax(edge))])
        margin = min(max(margin, 0.2 * end), 0.9 * end)
        return (1, 0.0, margin / 2), (2, margin / 2, margin), (3, margin, end)
    return ()


def _twigs(
    vessels: Sequence[VesselTruth], courses: Courses, generator: np.random.Generator, scale: float
) -> list[VesselTruth]:
    """Return small branches without a name along all vessels, septal ones included."""
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
                    Condition(grown(shape.ventricles, 0.0), depth, np.minimum(np.arange(steps) / 4, 1.0)),
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
