"""What surrounds a lumen: the vessel wall and the calcium in a plaque, as tubes."""

import numpy as np

from ..study import CENTERLINE_SPACING_MM
from .curves import side_direction, tangents
from .solids import Tube
from .truth import LesionShape, VesselTruth, complete_diameter

WALL_MM = 0.5

_CALCIUM_ARC_DEGREES = {"noncalcified": (), "mixed": (0.0,), "calcified": (-50.0, -25.0, 0.0, 25.0, 50.0)}
_CALCIUM_LENGTH = 0.6  # part of the lesion's length
_CALCIUM_INTO_WALL_MM = 0.3


def around(vessel: VesselTruth, margin_mm: float, spacing_mm: float) -> Tube:
    """Return the tube that a healthy vessel of round section, widened by a margin, would fill."""
    step = int(spacing_mm / CENTERLINE_SPACING_MM)
    return Tube(vessel.points_ras[::step], complete_diameter(vessel)[::step] / 2 + margin_mm)


def calcium_rods(lesion: LesionShape, vessel: VesselTruth, away_from_ras: np.ndarray) -> list[Tube]:
    """Return the calcium of a lesion: rods in the plaque, side by side on an arc, from the lumen into the wall.

    The arc lies on the side that faces away from a point.
    """
    half = _CALCIUM_LENGTH * lesion.length_mm / 2
    distance = np.arange(lesion.throat_mm - half, lesion.throat_mm + half + 1e-9, 0.5)
    line = np.stack([np.interp(distance, vessel.distance_mm, axis) for axis in vessel.points_ras.T], axis=1)
    along = tangents(line)
    first = side_direction(along, line - away_from_ras)
    second = np.cross(along, first)
    outer = np.interp(distance, vessel.distance_mm, complete_diameter(vessel)) / 2
    inner = outer * lesion.factor(distance)
    outer = outer + _CALCIUM_INTO_WALL_MM
    rods = []
    for degrees in _CALCIUM_ARC_DEGREES[lesion.plaque]:
        direction = np.cos(np.radians(degrees)) * first + np.sin(np.radians(degrees)) * second
        rods.append(Tube(line + (0.5 * (inner + outer))[:, None] * direction, 0.5 * (outer - inner)))
    return rods
