"""Paints arteries and veins: fat around them, wall, plaque, calcium, lumen."""

from collections.abc import Sequence

import numpy as np

from ..render import Painted
from ..solids import Falling, Tube
from ..truth import LUMEN_LABEL, SIDE_BRANCH_LABEL, VEIN_LABEL, LesionShape, VesselTruth, lumen_factor
from ..walls import calcium_rods

_COARSE = 3  # of the points every 0.25 mm


def vessel_solids(
    vessels: Sequence[VesselTruth],
    side_branches: Sequence[VesselTruth],
    veins: dict[str, Tube],
    lesions: Sequence[LesionShape],
    hu: dict[str, float],
    origin_ras: np.ndarray,
    wall_mm: float,
) -> list[Painted]:
    """Return the solids of all vessels of the heart, back to front."""
    contrast = Falling(origin_ras, hu["lumen"], hu["lumen"] * hu["distal_share"], 120.0)
    scene = []
    for vein in veins.values():
        scene.append(Painted(Tube(vein.points_ras, vein.radius_mm + 1.2), hu["fat"]))
    for vessel in vessels:
        sleeve = Tube(vessel.points_ras[::8], vessel.healthy_diameter_mm[::8] / 2 + wall_mm + 0.9)
        scene.append(Painted(sleeve, hu["fat"], motion=vessel.motion))
    for name, vein in veins.items():
        scene.append(Painted(vein, hu["cardiac_vein"], VEIN_LABEL, "lcx" if name == "great" else "rca"))
    for branch in side_branches:
        tube = Tube(branch.points_ras, branch.diameter_mm / 2)
        scene.append(Painted(tube, contrast, SIDE_BRANCH_LABEL, branch.motion))
    for vessel in vessels:
        tube = Tube(vessel.points_ras[::_COARSE], vessel.healthy_diameter_mm[::_COARSE] / 2 + wall_mm)
        scene.append(Painted(tube, hu["vessel_wall"], motion=vessel.motion))
    by_name = {v.name: v for v in vessels}
    for lesion in lesions:
        vessel = by_name[lesion.vessel]
        inside = (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
        plaque = Tube(vessel.points_ras[inside], vessel.healthy_diameter_mm[inside] / 2, True, True)
        scene.append(Painted(plaque, hu["plaque"], motion=vessel.motion))
        rods = calcium_rods(lesion, vessel, np.array([0.0, 0.0, 0.0]))
        scene += [Painted(rod, hu["calcium"], motion=vessel.motion) for rod in rods]
    for vessel in vessels:
        radius = 0.5 * vessel.healthy_diameter_mm * lumen_factor(vessel, lesions)
        own = [lesion for lesion in lesions if lesion.vessel == vessel.name]
        keep = np.arange(len(radius)) % _COARSE == 0
        keep[-1] = True
        for lesion in own:
            keep |= (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
        scene.append(Painted(Tube(vessel.points_ras[keep], radius[keep]), contrast, LUMEN_LABEL, vessel.motion))
    return scene
