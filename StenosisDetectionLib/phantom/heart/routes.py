"""Which coronary arteries a heart has and where they run: lines every 0.25 mm, clear of chambers and of each other."""

from collections.abc import Sequence

import numpy as np

from ...geometry import arc_length
from ..curves import resampled
from .courses import STEP_MM, Condition, Courses, settled
from .shape import HeartShape
from .tortuosity import TortuosityLaw, wound

ANOMALIES = ("separate ostia", "circumflex from the right", "right from the left sinus", "high take-off")

TRUNKS = ("LM", "LAD", "LCX", "RCA")
REQUIRED = (*TRUNKS, "PDA")
SHARPEST_COSINE = 0.1
"""Of the turn between two neighboring chords of 2 mm."""

_CHAMBERS = ("lv", "rv", "la", "ra", "pa")
_ROOM_MM = 2.4  # from a centerline to muscle: the radius of a large artery, its wall and a little fat
_LEAST_ROOM_MM = {True: 1.6, False: 1.0}  # for trunks, for branches
_TRIES = 4  # for a branch that most hearts have
_APART_MM, _SIBLINGS_APART_MM = 3.2, 2.6
_FORK_MM = 9.0  # so near to a common beginning two vessels need not be apart


class MisfitError(Exception):
    """A vessel that every tree has does not fit this heart."""


class Routes:
    """The lines of one tree, added one by one; each is kept clear of those before.

    Attributes
    ----------
    lines, parents : by name, in the order added.
    ostia_ras : where a vessel leaves the aorta, by its name.
    """

    def __init__(self, courses: Courses, tortuosity: TortuosityLaw, generator: np.random.Generator) -> None:
        self.courses = courses
        self.shape = courses.shape
        self.generator = generator
        self.tortuosity = tortuosity
        self.lines: dict[str, np.ndarray] = {}
        self.parents: dict[str, str | None] = {}
        self.ostia_ras: dict[str, np.ndarray] = {}

    def add(
        self,
        name: str,
        way: np.ndarray,
        parent: str | None,
        length_mm: float | None = None,
        near: Sequence[str] = (),
    ) -> bool:
        """Add a vessel along a way; False where it does not fit.

        Parameters
        ----------
        length_mm : where it ends; None for the end of the way.
        near : chambers it may lie on.

        Raises
        ------
        MisfitError : a vessel of `REQUIRED` does not fit.
        """
        line = resampled(way, STEP_MM, smoothing_mm=2.5) if arc_length(way)[-1] > 3 * STEP_MM else way
        if length_mm is not None:
            line = line[: max(int(length_mm / STEP_MM), 4)]
        for calm in (0.0, 0.6, 1.0) if len(line) >= 3 else ():
            wavy = wound(line, self.shape.ventricles, self.tortuosity.calmer(calm), self.generator)
            wavy = self._kept_off(wavy, parent is None, near)
            wavy[0] = way[0]
            wavy[1] = (wavy[0] + wavy[2]) / 2
            fine = resampled(_spline(wavy))
            if self._fits(fine, name, parent, near):
                self.lines[name] = fine
                self.parents[name] = parent
                if parent is None:
                    self.ostia_ras[name] = fine[0]
                return True
        if name in REQUIRED:
            raise MisfitError(name)
        return False

    def _fits(self, line: np.ndarray, name: str, parent: str | None, near: Sequence[str]) -> bool:
        """Return whether a line bends like a vessel and keeps clear of the others and of the chambers."""
        from scipy.spatial import cKDTree

        if len(line) < (14 if name == "LM" else 40):
            return False
        chord, before = line[16::8] - line[8:-8:8], line[8:-8:8] - line[:-16:8]
        cosine = (chord * before).sum(axis=1) / (np.linalg.norm(chord, axis=1) * np.linalg.norm(before, axis=1))
        if len(cosine) and cosine.min() < SHARPEST_COSINE:
            return False
        beyond = line[40::4] if parent is None else line[12::4]
        least = _LEAST_ROOM_MM[name in TRUNKS]
        walls = [self.shape.walls[n] for n in _CHAMBERS if n not in near]
        if len(beyond) and any(wall(beyond).min() < least for wall in walls):
            return False
        if len(beyond) and self.shape.aorta(beyond).min() < 2.0:
            return False
        for other_name, other in self.lines.items():
            own = line
            related = other_name == parent or self.parents[other_name] == parent
            if related:
                away = np.linalg.norm(line - line[0], axis=1)
                own = line[np.argmax(away > _FORK_MM) :] if away.max() > _FORK_MM else line[:0]
            if len(own) and cKDTree(other).query(own[::4])[0].min() < (_SIBLINGS_APART_MM if related else _APART_MM):
                return False
        return True

    def _kept_off(self, line: np.ndarray, ostial: bool, near: Sequence[str]) -> np.ndarray:
        walls = self.shape.walls
        s = np.arange(len(line)) * STEP_MM
        free = np.clip((s - 4) / 6, 0, 1) if ostial else np.ones(len(line))
        conditions = [Condition(walls[n], _ROOM_MM, above_only=True) for n in _CHAMBERS if n not in near]
        # The left appendage may lie on the circumflex artery.
        conditions.append(Condition(walls["laa"], _ROOM_MM, 0.3, above_only=True))
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

    def branch(self, name: str, parent: str, at_mm: float, angle: float, reach: float, bend: float = 0.0) -> bool:
        """Add a branch over the ventricles (see `Courses.on_ventricle`); False where it does not fit."""
        depth = self.courses.depth_mm * float(self.generator.uniform(0.8, 1.0))
        return self.add(name, self.courses.on_ventricle(self.at(parent, at_mm), angle, reach, depth, bend), parent)


def _spline(line: np.ndarray) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    distance = arc_length(line)
    return CubicSpline(distance, line)(np.linspace(0, distance[-1], int(8 * distance[-1])))


def _bent(way: np.ndarray) -> np.ndarray:
    """Return a smooth curve through the points of a way, whose first steps may be long."""
    from scipy.interpolate import PchipInterpolator

    distance = arc_length(way)
    return resampled(PchipInterpolator(distance, way)(np.linspace(0, distance[-1], int(2 * distance[-1]) + 2)), 1.0)


def ostium(shape: HeartShape, direction: np.ndarray, height_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where a ray from the axis of the root leaves its lumen, and the ray's direction (unit)."""
    axis = shape.root_axis
    outward = direction - (direction @ axis) * axis
    outward /= np.linalg.norm(outward)
    start = shape.root_center + height_mm * axis
    distance = np.linspace(0, 40, 801)
    inside = shape.aorta(start + distance[:, None] * outward) < 0
    return start + distance[int(np.argmin(inside))] * outward, outward


def draw_routes(
    courses: Courses, tortuosity: TortuosityLaw, dominance: str, anomaly: str | None, generator: np.random.Generator
) -> Routes:
    """Return the lines of all named vessels.

    Raises
    ------
    MisfitError : a trunk does not fit this heart.
    """
    routes = Routes(courses, tortuosity, generator)
    _left(routes, dominance, anomaly)
    _right(routes, dominance, anomaly)
    return routes


def _around_root(shape: HeartShape, first: float, last: float, room_mm: float, height_mm: float) -> np.ndarray:
    """Return a way around the aortic root; angles from the right sinus, above 0 toward the left one."""
    angle = np.linspace(first, last, 12)[:, None]
    zero = shape.sinuses["right"]
    around = np.cos(angle) * zero + np.sin(angle) * np.cross(shape.root_axis, zero)
    return shape.root_center + height_mm * shape.root_axis + (shape.root_radius + room_mm) * around


def _left(routes: Routes, dominance: str, anomaly: str | None) -> None:
    """Add the left coronary artery."""
    shape, courses, generator = routes.shape, routes.courses, routes.generator
    draw, s = generator.uniform, shape.scale
    height = draw(10, 15) * s if anomaly == "high take-off" and generator.random() < 0.3 else draw(0.0, 6.0) * s
    start, outward = ostium(shape, shape.sinuses["left"] + generator.normal(0, 0.15, 3), height)
    if anomaly == "separate ostia":
        axis = shape.root_axis
        forks, headings, parent = {}, {}, None
        for name, turn in (("LAD", -0.22), ("LCX", 0.22)):
            direction = np.cos(turn) * outward + np.sin(turn) * np.cross(axis, outward)
            forks[name], headings[name] = ostium(shape, direction, height)
    else:
        fork, heading = _left_main(routes, start, outward)
        forks, headings, parent = {"LAD": fork, "LCX": fork}, {"LAD": heading, "LCX": heading}, "LM"

    fork, anterior = forks["LAD"], courses.anterior
    clear = (shape.walls["aorta"](anterior) > 7) & (shape.walls["pa"](anterior) > 2)
    clear &= (np.linalg.norm(anterior - fork, axis=1) > 9) & ((anterior - fork) @ np.array([-1.0, 0.3, 0.0]) > 4)
    blocked = np.flatnonzero(~clear[: len(clear) // 2])
    first = int(blocked[-1]) + 1 if len(blocked) else 0
    way = _joined(fork, headings["LAD"], anterior[first:])
    routes.add("LAD", way, parent, arc_length(way)[-1] - draw(0, 18))

    ring, fork = courses.left_ring, forks["LCX"]
    share = {"right": draw(0.35, 0.65), "left": 1.0, "balanced": draw(0.65, 0.8)}[dominance]
    if anomaly == "circumflex from the right":
        behind = _around_root(shape, -0.75, -3.3, 3.6, draw(-2.0, 3.0))
        start, outward = ostium(shape, behind[0] - shape.root_center, draw(0.0, 3.0))
        first = int(np.argmax((ring - behind[-1]) @ np.array([-1.0, 0.0, 0.0]) > 6))
        way = _bent(np.concatenate([start[None], behind[1:], ring[first:]]))
        routes.add("LCX", way, None, share * arc_length(way)[-1], near=("la", "ra"))
    else:
        clear = (np.linalg.norm(ring - fork, axis=1) > 9) & (shape.walls["aorta"](ring) > 4)
        first = int(np.argmax(clear & ((ring - fork) @ np.array([-1.0, -0.4, 0.0]) > 0)))
        way = _joined(fork, headings["LCX"], ring[first:])
        routes.add("LCX", way, parent, share * arc_length(way)[-1])

    diagonals = (((1.9, 2.4), (0.35, 0.8), 0.95), ((1.6, 2.0), (0.6, 0.95), 0.75), ((1.3, 1.7), (0.8, 1.0), 0.3))
    _series(routes, "D", "LAD", draw(14, 32), diagonals, 0.3)
    if parent == "LM" and generator.random() < 0.25:
        routes.branch("RI", "LM", routes.length("LM"), draw(2.3, 2.8), draw(0.3, 0.75))
    first_marginal = draw(30, 45) if anomaly == "circumflex from the right" else draw(10, 26)
    _series(
        routes, "OM", "LCX", first_marginal, (((2.7, 3.5), (0.35, 0.8), 0.97), ((3.3, 3.85), (0.3, 0.75), 0.7)), -0.6
    )
    if dominance == "left":
        _crux(routes, "LCX", ("PDA", "PLB"))
    elif dominance == "balanced":
        _crux(routes, "LCX", ("PLB",))


def _left_main(routes: Routes, start: np.ndarray, outward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the left main artery; return where it ends and its heading there."""
    shape, draw = routes.shape, routes.generator.uniform
    length = float(np.clip(routes.generator.normal(10.5, 4.0), 4.0, 20.0))
    heading = outward + np.array([-0.2, draw(0.0, 0.35), draw(-0.15, 0.25)])
    heading /= np.linalg.norm(heading)
    bend = start + 4.0 * outward
    room = [Condition(shape.walls[name], 4.0, above_only=True) for name in ("pa", "lv")]
    room.append(Condition(shape.walls["laa"], 3.0, 0.3, above_only=True))
    room.append(Condition(shape.walls["aorta"], 2.5, above_only=True))
    fork = settled((bend + max(length - 4.0, 1.0) * heading)[None], room)[0]
    routes.add("LM", _bent(np.stack([start, bend, fork])), None)
    line = routes.lines["LM"]
    heading = line[-1] - line[-9]
    return line[-1], heading / np.linalg.norm(heading)


def _joined(start: np.ndarray, heading: np.ndarray, groove: np.ndarray) -> np.ndarray:
    """Return the way from a point into a groove; its first 3 mm turn from the heading toward the groove."""
    onward = groove[0] - start
    onward = heading + 1.2 * onward / np.linalg.norm(onward)
    step = start + 3.0 * onward / np.linalg.norm(onward)
    return _bent(np.concatenate([start[None], step[None], groove]))


def _series(
    routes: Routes,
    kind: str,
    parent: str,
    first_mm: float,
    laws: Sequence[tuple[tuple[float, float], tuple[float, float], float]],
    bend: float,
) -> None:
    """Add branches one behind the other; a law is the ranges of angle and reach, and the chance that there is one."""
    draw, at, number = routes.generator.uniform, first_mm, 1
    for angle, reach, chance in laws:
        if routes.generator.random() > chance or at > 0.8 * routes.length(parent):
            break
        number += routes.branch(f"{kind}{number}", parent, at, draw(*angle), draw(*reach), bend)
        at += draw(14, 28)


def _right(routes: Routes, dominance: str, anomaly: str | None) -> None:
    """Add the right coronary artery."""
    shape, courses, generator = routes.shape, routes.courses, routes.generator
    draw, s = generator.uniform, shape.scale
    ring = courses.right_ring
    height = draw(10, 15) * s if anomaly == "high take-off" else draw(0.0, 5.0) * s
    start, outward = ostium(shape, shape.sinuses["right"] + generator.normal(0, 0.12, 3), height)
    clear = (np.linalg.norm(ring - start, axis=1) > 13) & (shape.walls["aorta"](ring) > 5)
    clear &= (ring - start) @ (outward + np.array([0.4, 0.0, -0.4])) > 5
    first = int(np.argmax(clear))
    near: tuple[str, ...] = ()
    if anomaly == "right from the left sinus":  # between aorta and pulmonary trunk
        front = _around_root(shape, 1.35, 0.1, 3.2, draw(3.0, 6.0))
        start, _ = ostium(shape, front[0] - shape.root_center, draw(2.0, 5.0))
        way, near = _bent(np.concatenate([start[None], front[1:], ring[first:]])), ("pa", "rv")
    else:
        way = _bent(np.concatenate([start[None], (start + 5 * outward)[None], ring[first:]]))
    routes.add("RCA", way, None, draw(45, 70) if dominance == "left" else None, near)
    if dominance != "left":
        _crux(routes, "RCA", ("PDA", "PLB") if dominance == "right" else ("PDA",))
    at, number = draw(28, 45), 1
    for chance in (0.9, 0.45):
        if generator.random() > chance or at > routes.length("RCA") - 10:
            break
        depth = courses.depth_mm * draw(0.8, 1.0)
        way = courses.on_right_ventricle(routes.at("RCA", at), draw(-0.9, 0.6), draw(0.1, 0.7), depth)
        number += routes.add(f"AM{number}", way, "RCA")
        at += draw(16, 30)


def _crux(routes: Routes, parent: str, names: Sequence[str]) -> None:
    """Add the vessels of the inferior wall where their parent ends."""
    courses, draw = routes.courses, routes.generator.uniform
    end = routes.length(parent)
    start = routes.at(parent, end)
    if "PDA" in names:
        inferior = courses.inferior
        first = int(np.argmin(np.linalg.norm(inferior - start, axis=1))) + 4
        routes.add("PDA", _bent(np.concatenate([start[None], inferior[first:]])), parent, draw(35, 75))
    if "PLB" not in names:
        return
    if parent == "RCA":
        # The artery goes on in the left groove before it turns down.
        ring = courses.left_ring[::-1]
        first = int(np.argmax(np.linalg.norm(ring - start, axis=1) > 7))
        for _ in range(_TRIES):
            onward = ring[first : first + int(draw(2, 7))]
            down = courses.on_ventricle(onward[-1], draw(3.9, 4.7), draw(0.1, 0.6), courses.depth_mm, -0.5)
            way = _bent(np.concatenate([start[None], onward, down[3:]]))
            if routes.add("PLB", way, parent, min(draw(30, 70), arc_length(way)[-1])):
                return
    else:
        for _ in range(_TRIES):
            at = end if len(names) == 1 else end - draw(10, 25)
            if routes.branch("PLB", parent, at, draw(3.6, 4.5), draw(0.2, 0.6), bend=-0.5):
                return
