"""The coronary arteries of the demo study as solids: fat, a vein beside them, wall, plaque and lumen."""

from collections.abc import Sequence

import numpy as np

from .chest import ATTENUATION_HU, LEFT_ATRIUM_RAS, LEFT_VENTRICLE_RAS
from .curves import resampled, side_direction, tangents
from .mesh import TriangleMesh
from .render import Painted
from .solids import ClosedSurface, Falling, Tube
from .truth import LUMEN_LABEL, LesionShape, VesselTruth

WALL_MM = 0.5
FAT_MM = 2.5
"""Fat between the vessel wall and the heart muscle."""

VEIN_DIAMETER_MM = 2.5
VEIN_GAP_MM = 2.3
"""Fat between the lumens of artery and vein."""

_FALL_LENGTH_MM = 130.0  # distance from the ostia over which the contrast falls to its distal value

_CALCIUM_ARC_DEGREES = {"noncalcified": (), "mixed": (0.0,), "calcified": (-50.0, -25.0, 0.0, 25.0, 50.0)}
_CALCIUM_LENGTH = 0.6  # part of the lesion's length
_CALCIUM_INTO_WALL_MM = 0.3


def artery_solids(
    healthy: TriangleMesh, lumen: TriangleMesh, vessels: Sequence[VesselTruth], lesions: Sequence[LesionShape]
) -> list[Painted]:
    """Return the solids, back to front, of the healthy surface with a lumen pressed into it."""
    hu = ATTENUATION_HU
    by_name = {vessel.name: vessel for vessel in vessels}
    veins = cardiac_veins(by_name["LAD"], by_name["LCX"])
    scene = [Painted(_around(vessel, WALL_MM + FAT_MM, spacing_mm=1.0), hu["fat"]) for vessel in vessels]
    scene += [Painted(Tube(vein.points_ras, vein.radius_mm + 1.5), hu["fat"]) for vein in veins]
    scene += [Painted(vein, hu["cardiac_vein"]) for vein in veins]
    scene += [Painted(_around(vessel, WALL_MM, spacing_mm=0.5), hu["vessel_wall"]) for vessel in vessels]
    for lesion in lesions:
        vessel = by_name[lesion.vessel]
        inside = (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
        points = vessel.points_ras[inside]
        reach = float(np.nanmax(vessel.healthy_diameter_mm[inside]))
        bounds = np.stack([points.min(axis=0) - reach, points.max(axis=0) + reach])
        # The healthy lumen becomes plaque; the narrowed lumen, painted last, takes back what is left of it.
        scene.append(Painted(ClosedSurface(healthy, bounds), hu["plaque"]))
        scene += [Painted(tube, hu["calcium"]) for tube in _calcium(lesion, vessel)]
    start = np.mean([vessel.points_ras[0] for vessel in vessels if vessel.parent is None], axis=0)
    contrast = Falling(start, hu["aorta"], hu["coronary_distal"], _FALL_LENGTH_MM)
    scene.append(Painted(ClosedSurface(lumen), contrast, LUMEN_LABEL))
    return scene


def complete_diameter(vessel: VesselTruth) -> np.ndarray:
    """Return the healthy diameter of a vessel with the gaps at bifurcations filled linearly, (N,)."""
    known = np.isfinite(vessel.healthy_diameter_mm)
    return np.interp(vessel.distance_mm, vessel.distance_mm[known], vessel.healthy_diameter_mm[known])


def cardiac_veins(lad: VesselTruth, lcx: VesselTruth) -> list[Tube]:
    """Return the great cardiac vein: a part on the right of the mid LAD and one on the atrial side of the LCX."""
    right_of_lad = _beside(lad, 46.0, 105.0, np.array([100.0, 0.0, 0.0]))
    return [right_of_lad, _beside(lcx, 10.0, 62.0, LEFT_ATRIUM_RAS)]


def _beside(vessel: VesselTruth, start_mm: float, end_mm: float, toward_ras: np.ndarray) -> Tube:
    """Return a vein along part of a vessel, on the side of its epicardial course that faces a point."""
    part = slice(int(start_mm / 0.25), int(end_mm / 0.25), 4)
    points = vessel.points_ras[part]
    along = tangents(points)
    across = np.cross(along, points - LEFT_VENTRICLE_RAS)
    across *= np.sign((across * (toward_ras - points)).sum(axis=1))[:, None]
    side = side_direction(along, across)
    gap = complete_diameter(vessel)[part] / 2 + VEIN_GAP_MM + VEIN_DIAMETER_MM / 2
    line = resampled(points + gap[:, None] * side, spacing_mm=1.0, smoothing_mm=2.0)
    radius = np.full(len(line), VEIN_DIAMETER_MM / 2)
    # Thin ends stand for the small veins that the vessel goes on in.
    taper = np.linspace(0.4, 1.0, 8)
    radius[:8] *= taper
    radius[-8:] *= taper[::-1]
    return Tube(line, radius)


def _around(vessel: VesselTruth, margin_mm: float, spacing_mm: float) -> Tube:
    """Return the tube that a vessel of round section, widened by a margin, would fill."""
    step = int(spacing_mm / 0.25)
    return Tube(vessel.points_ras[::step], complete_diameter(vessel)[::step] / 2 + margin_mm)


def _calcium(lesion: LesionShape, vessel: VesselTruth) -> list[Tube]:
    """Return the calcium of a lesion: rods in the plaque, side by side on an arc, from the lumen into the wall."""
    half = _CALCIUM_LENGTH * lesion.length_mm / 2
    distance = np.arange(lesion.throat_mm - half, lesion.throat_mm + half + 1e-9, 0.5)
    line = np.stack([np.interp(distance, vessel.distance_mm, axis) for axis in vessel.points_ras.T], axis=1)
    along = tangents(line)
    first = side_direction(along, line - LEFT_VENTRICLE_RAS)
    second = np.cross(along, first)
    outer = np.interp(distance, vessel.distance_mm, complete_diameter(vessel)) / 2
    inner = outer * lesion.factor(distance)
    outer = outer + _CALCIUM_INTO_WALL_MM
    rods = []
    for degrees in _CALCIUM_ARC_DEGREES[lesion.plaque]:
        direction = np.cos(np.radians(degrees)) * first + np.sin(np.radians(degrees)) * second
        rods.append(Tube(line + (0.5 * (inner + outer))[:, None] * direction, 0.5 * (outer - inner)))
    return rods
