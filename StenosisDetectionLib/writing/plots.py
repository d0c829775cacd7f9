"""The diameter plot of a vessel as coordinates for the report template, which draws them as SVG.

Comes in: a vessel with its profile, reference and lesions (mm). Goes out: a `DiameterPlot` in the units of its
viewBox: x grows along the vessel from its ostium, y grows downward, as SVG wants it.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..study import Lesion, LumenProfile, ReferenceProfile, StudyResult, Vessel

WIDTH, HEIGHT = 720.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 16.0, 30.0, 40.0

SHORTEST_AXIS_MM = 40.0
"""A shorter vessel is drawn on an axis of this length, so that short lesions do not look long."""

NORMAL_90 = 1.645
"""Half width of a 90 % interval in standard errors."""


@dataclass(frozen=True)
class Tick:
    """A tick of an axis: its place and its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Band:
    """A part of the vessel from `x` over `width`: a lesion (with throat and grade), a segment or an unsure stretch."""

    x: float
    width: float
    text: str
    grade: str = ""
    throat_x: float | None = None


@dataclass(frozen=True)
class DiameterPlot:
    """Lines as SVG paths, bands and ticks of the diameter plot of one vessel."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    lumen_path: str
    interval_path: str
    reference_path: str
    lesions: tuple[Band, ...]
    segments: tuple[Band, ...]
    unsure: tuple[Band, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def diameter_plot(study: StudyResult, index: int) -> DiameterPlot:
    """Return the plot of vessel number `index` of the tree."""
    vessel, profile, reference = study.tree.vessels[index], study.profiles[index], study.references[index]
    lesions = [lesion for lesion in study.lesions if lesion.vessel == vessel.name]
    x_end = 10.0 * math.ceil(max(vessel.length_mm, SHORTEST_AXIS_MM) / 10.0)
    x_step = _step(x_end, 10)
    high = _highest(profile, reference)
    y_step = _step(high, 5)
    y_end = y_step * math.ceil(high / y_step)
    x_scale = (WIDTH - LEFT - RIGHT) / x_end
    y_scale = (HEIGHT - TOP - BOTTOM) / y_end
    x = LEFT + x_scale * vessel.distance_mm
    base = HEIGHT - BOTTOM

    def y(diameter_mm: np.ndarray) -> np.ndarray:
        return base - y_scale * diameter_mm

    half = NORMAL_90 * profile.diameter_error_mm
    return DiameterPlot(
        WIDTH,
        HEIGHT,
        LEFT,
        WIDTH - RIGHT,
        TOP,
        base,
        lumen_path=_line(x, y(profile.diameter_mm)),
        interval_path=_ribbon(x, y(profile.diameter_mm - half), y(profile.diameter_mm + half)),
        reference_path=_line(x, y(reference.diameter_mm)),
        lesions=tuple(_lesion_band(lesion, x_scale) for lesion in lesions),
        segments=tuple(
            Band(LEFT + x_scale * s.start_mm, x_scale * (s.end_mm - s.start_mm), str(s.number)) for s in vessel.segments
        ),
        unsure=_unsure(vessel, profile, x_scale),
        x_ticks=tuple(Tick(LEFT + x_scale * v, f"{v:g}") for v in _multiples(x_step, x_end)),
        y_ticks=tuple(Tick(base - y_scale * v, f"{v:g}") for v in _multiples(y_step, y_end)),
    )


def _highest(profile: LumenProfile, reference: ReferenceProfile) -> float:
    """Return the largest diameter to show; the flare at an ostium or a bifurcation may be cut off."""
    sure = np.array([word == "ok" for word in profile.quality])
    for diameter in (profile.diameter_mm[sure], profile.diameter_mm):
        known = np.concatenate([diameter, reference.diameter_mm])
        known = known[np.isfinite(known)]
        if known.size:
            return max(2.0, 1.15 * float(known.max()))
    return 2.0


def _lesion_band(lesion: Lesion, x_scale: float) -> Band:
    return Band(
        LEFT + x_scale * lesion.start_mm,
        max(x_scale * (lesion.end_mm - lesion.start_mm), 1.0),
        lesion.id,
        lesion.grade,
        LEFT + x_scale * lesion.throat_mm,
    )


def _unsure(vessel: Vessel, profile: LumenProfile, x_scale: float) -> tuple[Band, ...]:
    """Return the stretches whose quality is not `ok`, with the word that says why."""
    bands, start = [], 0
    words = profile.quality
    for end in range(1, len(words) + 1):
        if end < len(words) and words[end] == words[start]:
            continue
        if words[start] != "ok":
            last = vessel.distance_mm[min(end, len(words) - 1)]
            first = vessel.distance_mm[start]
            bands.append(
                Band(LEFT + x_scale * first, max(x_scale * (last - first), 1.0), words[start].replace("_", " "))
            )
        start = end
    return tuple(bands)


def _line(x: np.ndarray, y: np.ndarray) -> str:
    """Return an SVG path through the known points, broken where a value is unknown."""
    commands = []
    pen_down = False
    for px, py in zip(x, y, strict=True):
        if not math.isfinite(py):
            pen_down = False
            continue
        commands.append(f"{'L' if pen_down else 'M'}{px:.1f} {py:.1f}")
        pen_down = True
    return " ".join(commands)


def _ribbon(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Return an SVG path around the area between two curves, one closed piece per known stretch."""
    known = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    pieces = []
    for start, end in edges.reshape(-1, 2):
        there = [f"{px:.1f} {py:.1f}" for px, py in zip(x[start:end], high[start:end], strict=True)]
        back = [f"{px:.1f} {py:.1f}" for px, py in zip(x[start:end], low[start:end], strict=True)]
        pieces.append("M" + " L".join(there + back[::-1]) + " Z")
    return " ".join(pieces)


def _step(end: float, count: int) -> float:
    """Return a round tick distance (1, 2 or 5 times a power of ten) that gives at most about `count` ticks."""
    rough = end / count
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= rough:
            return factor * power
    return 10.0 * power


def _multiples(step: float, end: float) -> list[float]:
    return [round(i * step, 6) for i in range(int(end / step + 1e-6) + 1)]
