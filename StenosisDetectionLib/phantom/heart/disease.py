"""Draws the disease of a coronary tree: which lesions, where, how narrow, of what plaque, and stents. mm, HU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..truth import LesionShape, VesselTruth

OCCLUSION_SHARE = 0.04
STENT_SHARE = 0.06
"""Share of the lesions that are occlusions, and of the studies that hold a stent."""

_GAP_MM = 1.5  # between lesions of one vessel
_SMALLEST_MM = 1.4  # healthy diameter that may be diseased


@dataclass(frozen=True)
class LesionLaw:
    """How a family narrows its vessels.

    Parameters
    ----------
    shapes : shapes of focal lesions, drawn evenly.
    length_mm : range.
    skew : largest asymmetry.
    """

    shapes: tuple[str, ...] = ("cosine", "plateau")
    length_mm: tuple[float, float] = (4.0, 25.0)
    skew: float = 0.4


@dataclass(frozen=True)
class Stent:
    """A stent: vessel, start and end along it in mm, attenuation of its mesh in HU."""

    vessel: str
    start_mm: float
    end_mm: float
    hu: float


class _Draft:
    """The lesions drawn so far, which keep apart from each other."""

    def __init__(self, vessels: Sequence[VesselTruth], law: LesionLaw, generator: np.random.Generator) -> None:
        self.by_name = {v.name: v for v in vessels}
        self.law = law
        self.generator = generator
        self.lesions: list[LesionShape] = []

    def add(self, lesion: LesionShape) -> bool:
        """Add a lesion where it fits."""
        vessel = self.by_name[lesion.vessel]
        wide = vessel.distance_mm[vessel.healthy_diameter_mm >= _SMALLEST_MM]
        last = float(wide[-1]) if len(wide) else 0.0
        if (
            lesion.throat_mm < self.hidden_mm(vessel)
            or lesion.start_mm < 0
            or lesion.end_mm > min(last, float(vessel.distance_mm[-1]) - 2.0)
        ):
            return False
        for other in self.lesions:
            if other.vessel == lesion.vessel and (
                lesion.start_mm < other.end_mm + _GAP_MM and other.start_mm < lesion.end_mm + _GAP_MM
            ):
                return False
        self.lesions.append(lesion)
        return True

    def hidden_mm(self, vessel: VesselTruth) -> float:
        """Return how far a vessel runs inside its parent's lumen, where no narrowing can be seen."""
        if vessel.parent is None or vessel.parent_distance_mm is None:
            return 0.0
        parent = self.by_name[vessel.parent]
        return float(np.interp(vessel.parent_distance_mm, parent.distance_mm, parent.healthy_diameter_mm)) / 2 + 0.5

    def made(
        self, vessel: str, throat_mm: float, length_mm: float, stenosis: float, kind: str, **more: float | str
    ) -> LesionShape:
        """Return a lesion with plaque, remodeling, eccentricity and shape drawn unless given."""
        draw = self.generator.uniform
        plaque = str(self.generator.choice(["noncalcified", "mixed", "calcified"], p=[0.45, 0.3, 0.25]))
        plaque_hu = float(draw(-10, 30)) if self.generator.random() < 0.15 else float(draw(30, 120))
        values: dict[str, Any] = {
            "shape": str(self.generator.choice(list(self.law.shapes))),
            "skew": float(draw(-self.law.skew, self.law.skew)),
            "eccentricity": float(draw(0, 1)) if self.generator.random() < 0.7 else 0.0,
            "remodeling_index": float(draw(0.92, 1.3)),
            "plaque_hu": plaque_hu,
        }
        return LesionShape(vessel, throat_mm, length_mm, stenosis, plaque, kind=kind, **(values | more))


def draw_lesions(
    vessels: Sequence[VesselTruth], law: LesionLaw, generator: np.random.Generator, load: float | None = None
) -> tuple[LesionShape, ...]:
    """Return the lesions of a tree of every kind, in a part `load` of its segments: by default none to many."""
    draft = _Draft(vessels, law, generator)
    if load is None:
        load = float(generator.choice([0.0, 0.15, 0.35, 0.6], p=[0.2, 0.25, 0.35, 0.2]))
    for vessel in vessels:
        for _, start, end in vessel.segments:
            if generator.random() < load:
                _one(draft, vessel, start, end)
    return tuple(sorted(draft.lesions, key=lambda x: (list(draft.by_name).index(x.vessel), x.start_mm)))


def _one(draft: _Draft, vessel: VesselTruth, start: float, end: float) -> None:
    """Add a lesion, or a group of them, of a drawn kind to a segment."""
    draw, law = draft.generator.uniform, draft.law
    stenosis = float(draw(10, 95))
    length = float(draw(*law.length_mm))
    kinds = ["focal", "ostial", "bifurcation", "tandem", "diffuse", "occlusion"]
    kind = str(draft.generator.choice(kinds, p=[0.50, 0.10, 0.16, 0.10, 0.10, OCCLUSION_SHARE]))
    middle = float(draw(start, end))
    if kind == "ostial":
        length = float(draw(4, 12))
        throat = draft.hidden_mm(vessel) + float(draw(1.0, 3.0))
        skew = 2 * min(throat / length, 0.5) - 1 - 1e-6
        draft.add(draft.made(vessel.name, throat, length, stenosis, kind, skew=max(skew, -0.85)))
    elif kind == "bifurcation":
        _bifurcation(draft, vessel)
    elif kind == "tandem":
        first = float(draw(4, 12))
        second = float(draw(4, 12))
        apart = (first + second) / 2 + float(draw(3, 12))
        a = draft.made(vessel.name, middle, first, stenosis, kind, skew=0.0)
        b = draft.made(vessel.name, middle + apart, second, float(draw(10, 90)), kind, skew=0.0)
        if draft.add(a):
            draft.add(b)
    elif kind == "diffuse":
        draft.add(draft.made(vessel.name, middle, float(draw(30, 60)), float(draw(20, 40)), kind, shape="plateau"))
    elif kind == "occlusion":
        gap = float(draw(2, 20))
        draft.add(draft.made(vessel.name, middle, 2 * gap, 100.0, kind, shape="occlusion", skew=0.0, eccentricity=0.0))
    else:
        draft.add(draft.made(vessel.name, middle, length, stenosis, kind))


def _bifurcation(draft: _Draft, vessel: VesselTruth) -> None:
    """Add the lesions of a bifurcation of a vessel, by Medina's three places."""
    generator, draw = draft.generator, draft.generator.uniform
    children = [v for v in draft.by_name.values() if v.parent == vessel.name and v.parent_distance_mm is not None]
    if not children:
        return
    child = children[int(generator.integers(len(children)))]
    at = float(child.parent_distance_mm or 0.0)
    places = [bool(generator.random() < 0.6) for _ in range(3)]
    if not any(places):
        places[0] = True
    text = ",".join(str(int(place)) for place in places)
    stenosis = [float(draw(20, 90)) for _ in range(3)]
    before, behind = float(draw(5, 10)), float(draw(5, 10))
    if places[0]:
        draft.add(draft.made(vessel.name, at - before / 2, before, stenosis[0], "bifurcation", skew=0.0, medina=text))
    if places[1]:
        onward, begin = vessel.name, at
        if at > vessel.distance_mm[-1] - 3:  # the trunk ends here and its larger branch goes on
            others = [v for v in children if v is not child]
            onward, begin = (others[0].name, 0.0) if others else ("", 0.0)
        if onward:
            throat = begin + 2.0 + behind / 2
            draft.add(draft.made(onward, throat, behind, stenosis[1], "bifurcation", skew=0.0, medina=text))
    if places[2]:
        radius = float(np.interp(at, vessel.distance_mm, vessel.healthy_diameter_mm)) / 2
        length = float(draw(4, 9))
        throat = radius + length / 2
        draft.add(draft.made(child.name, throat, length, stenosis[2], "bifurcation", skew=0.0, medina=text))


def draw_stents(
    vessels: Sequence[VesselTruth], lesions: Sequence[LesionShape], generator: np.random.Generator
) -> tuple[Stent, ...]:
    """Return stents of 8 to 40 mm in wide vessels, away from lesions; rarely any."""
    if generator.random() > STENT_SHARE:
        return ()
    for _ in range(8):
        vessel = vessels[int(generator.integers(len(vessels)))]
        length = float(generator.uniform(8, 40))
        start = float(generator.uniform(2, 60))
        inside = (vessel.distance_mm >= start) & (vessel.distance_mm <= start + length)
        if vessel.distance_mm[-1] < start + length + 5 or vessel.healthy_diameter_mm[inside].min() < 2.2:
            continue
        own = [x for x in lesions if x.vessel == vessel.name]
        if any(x.start_mm < start + length + 2 and start < x.end_mm + 2 for x in own):
            continue
        return (Stent(vessel.name, start, start + length, float(generator.uniform(1500, 3000))),)
    return ()
