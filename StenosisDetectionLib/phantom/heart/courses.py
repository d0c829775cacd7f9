"""Where the vessels of the heart run: ways in the grooves and on the ventricles, from shape alone. RAS mm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..curves import resampled
from .implicit import Body, Distance, Joined, valued
from .shape import HeartShape

STEP_MM = 2.0

_LONGEST_MOVE_MM = 3.0
_FARTHEST_MM = 25.0
_ROUNDS = 14


@dataclass(frozen=True, eq=False)
class Condition:
    """A distance (mm) that points should have from a body; `above_only` lets them be farther."""

    body: Distance
    distance_mm: np.ndarray | float
    weight: np.ndarray | float = 1.0
    above_only: bool = False


def settled(points: np.ndarray, conditions: Sequence[Condition], rounds: int = _ROUNDS) -> np.ndarray:
    """Return points (N, 3) moved as little as possible so that they meet the conditions (damped Gauss-Newton)."""
    start = points
    points = points.copy()
    for _ in range(rounds):
        rows, residuals = [], []
        for condition in conditions:
            values, slopes = valued(condition.body, points)
            away = values - condition.distance_mm
            weight = condition.weight * np.ones(len(points))
            if condition.above_only:
                weight = np.where(away < 0, weight, 0.0)
            residuals.append(weight * away)
            rows.append(weight[:, None] * slopes)
        jacobian, residual = np.stack(rows, axis=1), np.stack(residuals, axis=1)
        normal = jacobian @ jacobian.transpose(0, 2, 1) + 0.05 * np.eye(len(conditions))
        move = -(jacobian.transpose(0, 2, 1) @ np.linalg.solve(normal, residual[..., None]))[..., 0]
        length = np.linalg.norm(move, axis=1, keepdims=True)
        points += move * np.minimum(1, _LONGEST_MOVE_MM / np.maximum(length, 1e-9))
        moved = points - start
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        points = start + moved * np.minimum(1, _FARTHEST_MM / np.maximum(length, 1e-9))
    return points


def without_folds(points: np.ndarray, progress: np.ndarray) -> np.ndarray:
    """Return the points at which a measure of progress is larger than at all before."""
    before = np.concatenate([[-np.inf], np.maximum.accumulate(progress)[:-1]])
    return points[progress > before]


@dataclass(frozen=True, eq=False)
class Courses:
    """The ways of the grooves of one heart, every `STEP_MM`.

    Parameters
    ----------
    right_ring : right atrioventricular groove from the front of the aortic root to the crux.
    left_ring : left atrioventricular groove from below the left appendage around the side to the crux.
    anterior, inferior : interventricular grooves from the base to the apex.
    """

    shape: HeartShape
    depth_mm: float
    right_ring: np.ndarray
    left_ring: np.ndarray
    anterior: np.ndarray
    inferior: np.ndarray

    def on_ventricle(self, start: np.ndarray, angle: float, reach: float, depth_mm: float, bend: float) -> np.ndarray:
        """Return a way over the ventricles from a point to an angle about the long axis and a height along it.

        Parameters
        ----------
        angle : radians, 0 toward the right ventricle, pi / 2 toward the anterior side, pi toward the left side.
        reach : of the end along the long axis, 1 at the apex of the left cavity.
        bend : above 0 the way turns first and descends later.
        """
        s = self.shape
        center, semi = s.left_ventricle.center_ras, s.left_ventricle.semi_axes_mm
        offset = start - center
        first = float(offset @ s.long)
        begin = float(np.arctan2(-offset @ s.down, offset @ s.right))
        turn = (angle - begin + np.pi) % (2 * np.pi) - np.pi
        t = np.linspace(0, 1, 60)
        height = first + (reach * semi[0] - first) * t
        angles = begin + turn * (t + bend * t * (1 - t))
        side = np.cos(angles)[:, None] * s.right - np.sin(angles)[:, None] * s.down
        radius = (semi[2] + s.left_wall_mm) * np.sqrt(np.maximum(1 - (0.85 * height / semi[0]) ** 2, 0.05))
        guide = center + height[:, None] * s.long + radius[:, None] * side
        ramp = np.minimum(1, t * 6)[:, None]
        guide = start + (guide - guide[0]) * (1 - ramp) + ramp * (guide - start)
        way = settled(guide, [Condition(s.ventricles, depth_mm)])
        return _from_start(start, way[4:])

    def on_right_ventricle(self, start: np.ndarray, side: float, reach: float, depth_mm: float) -> np.ndarray:
        """Return a way over the free wall of the right ventricle from a point of its groove toward the apex.

        Parameters
        ----------
        side : of the end, radians from the right border, above 0 toward the inferior side.
        reach : of the end along the long axis, 1 at the apex of the right cavity.
        """
        s = self.shape
        center, semi = s.right_ventricle.center_ras, s.right_ventricle.semi_axes_mm
        outward = np.cos(side) * s.right + np.sin(side) * s.down
        end = center + reach * semi[0] * s.long + 0.9 * np.sqrt(1 - 0.8 * reach**2) * semi[2] * outward
        t = np.linspace(0, 1, 40)[:, None]
        guide = start + t * (end - start) + 25 * t * (1 - t) * s.right
        way = settled(guide, [Condition(s.ventricles, depth_mm)])
        return _from_start(start, way[4:])


def _from_start(start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Return a smooth way that begins exactly at a point."""
    way = resampled(np.concatenate([start[None], way]), STEP_MM, smoothing_mm=3.0)
    return np.concatenate([start[None], way[1:]])


def draw_courses(shape: HeartShape, generator: np.random.Generator) -> Courses:
    """Return the grooves of a heart, with the arteries' depth of fat drawn."""
    depth = float(generator.uniform(2.5, 4.5))
    ventricles, atria = shape.ventricles, shape.atria
    right, down, long = shape.right, shape.down, shape.long

    def ring(center: np.ndarray, radius: float, degrees: np.ndarray, body: Body) -> np.ndarray:
        angle = np.radians(degrees)
        guide = center + radius * (np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * down)
        points = settled(guide, [Condition(ventricles, depth), Condition(body, depth)])
        turn = np.unwrap(np.arctan2((points - center) @ down, (points - center) @ right))
        return without_folds(points, turn * np.sign(angle[-1] - angle[0]))

    right_ring = ring(shape.tricuspid, 31 * shape.scale, np.linspace(-75, 130, 70), atria)
    between = shape.walls["lv"](right_ring) - shape.walls["rv"](right_ring)
    beyond = np.flatnonzero((between < 1.0) & (np.arange(len(between)) > len(between) // 2))
    right_ring = right_ring[: (int(beyond[0]) if len(beyond) else int(0.85 * len(between))) + 1]
    crux = right_ring[-1]

    left_ring = ring(shape.mitral, 30 * shape.scale, np.linspace(-85, -275, 70), Joined((atria, shape.walls["laa"]), 4))
    away = np.linalg.norm(left_ring - crux, axis=1)
    nearest = int(np.argmin(away))
    left_ring = left_ring[: nearest + 1] if away[nearest] < 15 else left_ring

    center, semi = shape.left_ventricle.center_ras, shape.left_ventricle.semi_axes_mm
    height = np.linspace(-0.75, 1.3, 80) * semi[0]
    middle = center + 0.72 * (semi[2] + shape.left_wall_mm) * right

    def groove(sign: float, start: float) -> np.ndarray:
        guide = middle + height[:, None] * long + sign * 0.8 * (semi[2] + shape.left_wall_mm) * down
        # Toward the apex the way bends to the middle of the left ventricle.
        apex = center + (semi[0] + shape.left_wall_mm + depth) * long
        bend = np.clip((height / semi[0] - 0.3) / 0.9, 0, 1)[:, None] ** 2
        guide = guide + bend * (apex - guide)
        sheet = np.clip(1 - (height / semi[0] - 0.35) / 0.3, 0, 1)
        split = _Difference(shape.walls["lv"], shape.walls["rv"])
        way = settled(guide, [Condition(ventricles, depth), Condition(split, 0.0, 0.7 * sheet)])
        past = (way - center) @ long
        way = way[height > start]
        return without_folds(way, past[height > start])

    inferior = groove(1.0, float((crux - center) @ long) + 4)
    anterior = groove(-1.0, -0.55 * semi[0])
    # The grooves meet at the crux, where the inferior interventricular one is nearest to the left ring.
    meeting = int(np.argmin(np.linalg.norm(inferior - left_ring[-1], axis=1)[: len(inferior) // 2]))
    bridge = np.linspace(left_ring[-1], inferior[meeting], 10)[1:-1]
    bridge = settled(bridge, [Condition(ventricles, depth), Condition(atria, 1.5, above_only=True)])
    right_ring = np.concatenate([right_ring, inferior[: meeting + 1]])
    left_ring = np.concatenate([left_ring, bridge, inferior[meeting : meeting + 1]])
    ways = (right_ring, left_ring, anterior, inferior[meeting:])
    return Courses(shape, depth, *(resampled(way, STEP_MM, smoothing_mm=5.0) for way in ways))


@dataclass(frozen=True, eq=False)
class _Difference:
    """By how much farther a point is from the first body than from the second."""

    first: Body
    second: Body

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.first(points) - self.second(points)
