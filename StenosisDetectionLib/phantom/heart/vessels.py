"""Paints arteries and veins: fat around them, wall, plaque, calcium, stents, lumen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..curves import tangents, transported_side
from ..render import Field, Painted
from ..solids import Falling, Tube
from ..truth import LUMEN_LABEL, SIDE_BRANCH_LABEL, VEIN_LABEL, VesselTruth
from .disease import Stent
from .plaque import PlaqueGeometry

_COARSE = 3  # of the points every 0.25 mm
_FALL_LENGTH_MM = 120.0
_CLOSED_MM = 0.03  # radius below which there is no lumen
_STENT_MM = 0.12


@dataclass(frozen=True, eq=False)
class Contents:
    """What the vessels of a heart are painted with: veins, lesions, stents, attenuations, thickness of the wall.

    `ratios` are short over long axis of the lumen sections, by vessel; the equivalent diameter does not depend on it.
    """

    veins: dict[str, Tube]
    plaques: Sequence[PlaqueGeometry]
    stents: Sequence[Stent]
    hu: dict[str, float]
    origin_ras: np.ndarray
    wall_mm: float
    ratios: dict[str, float]


def vessel_solids(
    vessels: Sequence[VesselTruth], side_branches: Sequence[VesselTruth], contents: Contents
) -> list[Painted]:
    """Return the solids of all vessels of the heart, back to front."""
    hu, wall_mm = contents.hu, contents.wall_mm
    shares = _refill(vessels, contents)
    scene = []
    for vein in contents.veins.values():
        scene.append(Painted(Tube(vein.points_ras, vein.radius_mm + 1.2), hu["fat"]))
    for vessel in vessels:
        sleeve = Tube(vessel.points_ras[::8], vessel.healthy_diameter_mm[::8] / 2 + wall_mm + 0.9)
        scene.append(Painted(sleeve, hu["fat"], motion=vessel.motion))
    for name, vein in contents.veins.items():
        motion = "rca" if name in ("middle", "small") else "lcx"
        scene.append(Painted(vein, hu["cardiac_vein"], VEIN_LABEL, motion))
    for branch in side_branches:
        tube = Tube(branch.points_ras, branch.diameter_mm / 2)
        share = _share_at(shares[branch.parent or ""], branch.parent_distance_mm or 0.0)
        scene.append(Painted(tube, _contrast(contents, share), SIDE_BRANCH_LABEL, branch.motion))
    for vessel in vessels:
        tube = Tube(vessel.points_ras[::_COARSE], vessel.healthy_diameter_mm[::_COARSE] / 2 + wall_mm)
        scene.append(Painted(tube, hu["vessel_wall"], motion=vessel.motion))
    by_name = {v.name: v for v in vessels}
    for plaque in contents.plaques:
        scene += _plaque_solids(plaque, by_name[plaque.lesion.vessel].motion, hu)
    for stent in contents.stents:
        vessel = by_name[stent.vessel]
        inside = (vessel.distance_mm >= stent.start_mm) & (vessel.distance_mm <= stent.end_mm)
        radius = vessel.healthy_diameter_mm[inside] / 2 + _STENT_MM
        scene.append(Painted(Tube(vessel.points_ras[inside], radius, True, True), stent.hu, motion=vessel.motion))
    for vessel in vessels:
        scene += _lumen(vessel, contents, shares[vessel.name])
    return scene


def _plaque_solids(plaque: PlaqueGeometry, motion: str, hu: dict[str, float]) -> list[Painted]:
    line = plaque.center_ras
    plaque_hu = plaque.lesion.plaque_hu
    scene = [
        Painted(Tube(line, plaque.wall_radius_mm, True, True), hu["vessel_wall"], motion=motion),
        Painted(
            Tube(line, plaque.plaque_radius_mm, True, True),
            hu["plaque"] if plaque_hu is None else plaque_hu,
            motion=motion,
        ),
    ]
    return scene + [Painted(tube, hu["calcium"], motion=motion) for tube in plaque.calcium]


def _lumen(vessel: VesselTruth, contents: Contents, shares: list[tuple[float, float]]) -> list[Painted]:
    """Return the lumen of a vessel: one tube, or several where it is occluded."""
    radius = vessel.healthy_diameter_mm / 2
    points = vessel.points_ras.copy()
    keep = np.arange(len(radius)) % _COARSE == 0
    keep[-1] = True
    for plaque in contents.plaques:
        if plaque.lesion.vessel == vessel.name:
            first = int(np.searchsorted(vessel.distance_mm, plaque.distance_mm[0]))
            part = slice(first, first + len(plaque.distance_mm))
            radius[part], points[part], keep[part] = plaque.lumen_radius_mm, plaque.lumen_center_ras, True
    open_parts = np.flatnonzero(radius >= _CLOSED_MM)
    scene = []
    for run in np.split(open_parts, np.flatnonzero(np.diff(open_parts) > 1) + 1):
        chosen = run[keep[run]]
        if len(chosen) > 1:
            share = _share_at(shares, float(vessel.distance_mm[run[0]]))
            line = points[chosen]
            side = transported_side(tangents(line))
            tube = Tube(line, radius[chosen], wide_side=side, ratio=contents.ratios[vessel.name])
            scene.append(Painted(tube, _contrast(contents, share), LUMEN_LABEL, vessel.motion))
    return scene


def _contrast(contents: Contents, share: float) -> Field:
    start = contents.hu["lumen"] * share
    return Falling(contents.origin_ras, start, start * contents.hu["distal_share"], _FALL_LENGTH_MM)


def _refill(vessels: Sequence[VesselTruth], contents: Contents) -> dict[str, list[tuple[float, float]]]:
    """Return, by vessel, from which distance on its contrast has which share: less behind an occlusion."""
    shares: dict[str, list[tuple[float, float]]] = {}
    for vessel in vessels:
        start = 1.0
        if vessel.parent is not None:
            start = _share_at(shares[vessel.parent], vessel.parent_distance_mm or 0.0)
        shares[vessel.name] = [(0.0, start)]
        for plaque in contents.plaques:
            if plaque.lesion.vessel == vessel.name and plaque.lesion.shape == "occlusion":
                start *= contents.hu["refill_share"]
                shares[vessel.name].append((plaque.lesion.throat_mm, start))
    return shares


def _share_at(shares: list[tuple[float, float]], distance_mm: float) -> float:
    return [share for start, share in shares if start <= distance_mm][-1]
