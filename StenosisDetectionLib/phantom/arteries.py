"""The coronary arteries of the demo study as solids: fat, a vein beside them, wall, plaque and lumen."""

from collections.abc import Sequence

import numpy as np

from .chest import ATTENUATION_HU, LEFT_ATRIUM_RAS, LEFT_VENTRICLE_RAS, RIGHT_VENTRICLE_RAS
from .curves import resampled, side_direction, tangents
from .mesh import TriangleMesh
from .render import Painted
from .solids import ClosedSurface, Falling, Tube
from .truth import LUMEN_LABEL, LesionShape, VesselTruth, complete_diameter
from .walls import WALL_MM, around, calcium_rods

FAT_MM = 2.5
"""Fat between the vessel wall and the heart muscle."""

VEIN_DIAMETER_MM = 2.5
VEIN_GAP_MM = 2.3
"""Fat between the lumens of artery and vein."""

_FALL_LENGTH_MM = 130.0  # distance from the ostia over which the contrast falls to its distal value


def artery_solids(
    healthy: TriangleMesh, lumen: TriangleMesh, vessels: Sequence[VesselTruth], lesions: Sequence[LesionShape]
) -> list[Painted]:
    """Return the solids, back to front, of the healthy surface with a lumen pressed into it."""
    hu = ATTENUATION_HU
    by_name = {vessel.name: vessel for vessel in vessels}
    veins = cardiac_veins(by_name["LAD"], by_name["LCX"])
    scene = [Painted(around(vessel, WALL_MM + FAT_MM, spacing_mm=1.0), hu["fat"]) for vessel in vessels]
    scene += [Painted(Tube(vein.points_ras, vein.radius_mm + 1.5), hu["fat"]) for vein in veins]
    scene += [Painted(vein, hu["cardiac_vein"]) for vein in veins]
    scene += [Painted(around(vessel, WALL_MM, spacing_mm=0.5), hu["vessel_wall"]) for vessel in vessels]
    for lesion in lesions:
        vessel = by_name[lesion.vessel]
        inside = (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
        points = vessel.points_ras[inside]
        reach = float(np.nanmax(vessel.healthy_diameter_mm[inside]))
        bounds = np.stack([points.min(axis=0) - reach, points.max(axis=0) + reach])
        # The healthy lumen becomes plaque; the narrowed lumen, painted last, takes back what is left of it.
        scene.append(Painted(ClosedSurface(healthy, bounds), hu["plaque"]))
        scene += [Painted(tube, hu["calcium"]) for tube in calcium_rods(lesion, vessel, LEFT_VENTRICLE_RAS)]
    start = np.mean([vessel.points_ras[0] for vessel in vessels if vessel.parent is None], axis=0)
    contrast = Falling(start, hu["aorta"], hu["coronary_distal"], _FALL_LENGTH_MM)
    scene.append(Painted(ClosedSurface(lumen), contrast, LUMEN_LABEL))
    return scene


def cardiac_veins(lad: VesselTruth, lcx: VesselTruth) -> list[Tube]:
    """Return the great cardiac vein: a part on the right of the mid LAD and one on the atrial side of the LCX."""
    right_of_lad = _beside(lad, 48.0, 105.0, RIGHT_VENTRICLE_RAS)
    return [right_of_lad, _beside(lcx, 10.0, 62.0, LEFT_ATRIUM_RAS)]


def _beside(vessel: VesselTruth, start_mm: float, end_mm: float, toward_ras: np.ndarray) -> Tube:
    """Return a vein along part of a vessel, on the side of its epicardial course that faces a point."""
    part = slice(int(start_mm / 0.25), int(end_mm / 0.25), 4)
    points = vessel.points_ras[part]
    along = tangents(points)
    across = np.cross(along, points - LEFT_VENTRICLE_RAS)
    across *= np.sign((across * (toward_ras - points)).sum())  # one side all along
    side = side_direction(along, across)
    gap = complete_diameter(vessel)[part] / 2 + VEIN_GAP_MM + VEIN_DIAMETER_MM / 2
    line = resampled(points + gap[:, None] * side, spacing_mm=1.0, smoothing_mm=2.0)
    radius = np.full(len(line), VEIN_DIAMETER_MM / 2)
    # Thin ends stand for the small veins that the vessel goes on in.
    taper = np.linspace(0.4, 1.0, 8)
    radius[:8] *= taper
    radius[-8:] *= taper[::-1]
    return Tube(line, radius)
