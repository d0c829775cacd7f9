"""The plaque of a lesion as solids: outer wall, soft part, calcium; and its volume from the geometry. mm, HU.

Along a lesion the outer wall has the diameter `remodeled` gives, the plaque reaches from it to the lumen, and fades
out to the healthy lumen at both ends.
"""

from dataclasses import dataclass

import numpy as np

from ..curves import tangents, transported_side
from ..solids import Tube
from ..truth import LesionShape, VesselTruth

_UNDER_WALL_MM = 0.1  # of the outer wall that stays around the plaque
_RINGS, _RAYS = 48, 48  # of the polar grid on which volumes are counted


@dataclass(frozen=True, eq=False)
class PlaqueGeometry:
    """A lesion in detail, one entry every 0.25 mm along it.

    Parameters
    ----------
    distance_mm, center_ras, side : place along the vessel, point of its centerline, direction of the eccentricity.
    lumen_center_ras, lumen_radius_mm : the lumen.
    plaque_radius_mm, wall_radius_mm : outer border of the plaque and of the wall, around `center_ras`.
    calcium : rods and balls, clipped to outside the lumen by what is painted later.
    """

    lesion: LesionShape
    distance_mm: np.ndarray
    center_ras: np.ndarray
    side: np.ndarray
    lumen_center_ras: np.ndarray
    lumen_radius_mm: np.ndarray
    plaque_radius_mm: np.ndarray
    wall_radius_mm: np.ndarray
    calcium: tuple[Tube, ...]


def lesion_geometry(
    lesion: LesionShape, vessel: VesselTruth, wall_mm: float, generator: np.random.Generator
) -> PlaqueGeometry:
    """Return the geometry of a lesion; the side it bulges to and its calcium are drawn."""
    inside = (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
    distance = vessel.distance_mm[inside]
    center = vessel.points_ras[inside]
    healthy = vessel.healthy_diameter_mm[inside] / 2
    lumen = healthy * lesion.factor(distance)
    share = lesion.profile(distance)
    wall = (healthy + wall_mm) * (1 + (lesion.remodeling_index - 1) * share)
    wall = np.maximum(wall, lumen + 0.3)
    plaque = np.maximum(healthy + share * (wall - _UNDER_WALL_MM - healthy), lumen)
    along = tangents(center)
    first = transported_side(along)
    angle = float(generator.uniform(0, 2 * np.pi))
    side = np.cos(angle) * first + np.sin(angle) * np.cross(along, first)
    room = np.maximum(np.minimum(plaque, healthy) - lumen, 0)
    lumen_center = center + (lesion.eccentricity * room)[:, None] * side
    calcium = _calcium(lesion, center, -side, along, lumen, plaque, generator)
    return PlaqueGeometry(lesion, distance, center, side, lumen_center, lumen, plaque, wall, calcium)


def _calcium(
    lesion: LesionShape,
    center: np.ndarray,
    thick_side: np.ndarray,
    along: np.ndarray,
    lumen: np.ndarray,
    plaque: np.ndarray,
    generator: np.random.Generator,
) -> tuple[Tube, ...]:
    """Return spots, rods, arcs and nodules of calcium in the plaque, mostly where it is thick."""
    draw = generator.uniform
    if lesion.plaque == "noncalcified" or len(center) < 8:
        return ()
    across = np.cross(along, thick_side)
    count = int(generator.integers(1, 3)) if lesion.plaque == "mixed" else int(generator.integers(2, 5))
    solids = []
    for _ in range(count):
        kind = str(generator.choice(["spot", "rod", "arc", "nodule"], p=[0.3, 0.25, 0.3, 0.15]))
        middle = int(draw(0.25, 0.75) * len(center))
        angle = float(generator.normal(0, 0.8))
        thickness = max(plaque[middle] - 0.6 * lumen[middle], 0.5)
        radius = float(np.clip(draw(0.25, 0.5) * thickness, 0.25, 0.9))
        half = {"spot": 1, "nodule": 2}.get(kind, int(draw(4, 24)))
        if kind == "nodule":
            radius = float(draw(0.6, 1.3))
        span = np.arange(max(middle - half, 1), min(middle + half, len(center) - 2) + 1)
        spread = np.radians(draw(20, 130)) if kind == "arc" else 0.0
        for turn in np.arange(-spread, spread + 1e-9, radius / max(plaque[middle], 0.5)) if spread else (0.0,):
            way = np.cos(angle + turn) * thick_side[span] + np.sin(angle + turn) * across[span]
            place = np.maximum(plaque[span] - 0.9 * radius, 0.3)[:, None]
            solids.append(Tube(center[span] + place * way, np.full(len(span), radius)))
    return tuple(solids)


def plaque_volumes(geometry: PlaqueGeometry) -> tuple[float, float]:
    """Return the volume of plaque with its calcium, and of its calcium alone, in mm3.

    By sections normal to the centerline on a polar grid around it; calcium beyond the plaque's border counts as well.
    """
    from scipy.spatial import cKDTree

    along = tangents(geometry.center_ras)
    across = np.cross(along, geometry.side)
    widest = float(geometry.wall_radius_mm.max()) + 1.5
    radii = (np.arange(_RINGS) + 0.5) * widest / _RINGS
    angles = (np.arange(_RAYS) + 0.5) * 2 * np.pi / _RAYS
    cell = radii * (widest / _RINGS) * (2 * np.pi / _RAYS)
    area = np.broadcast_to(cell[None, :, None], (len(along), _RINGS, _RAYS))
    way = np.cos(angles)[None, :, None] * geometry.side[:, None] + np.sin(angles)[None, :, None] * across[:, None]
    points = geometry.center_ras[:, None, None] + radii[None, :, None, None] * way[:, None]
    offset = points - geometry.lumen_center_ras[:, None, None]
    outside_lumen = (offset**2).sum(axis=-1) > geometry.lumen_radius_mm[:, None, None] ** 2
    soft = radii[None, :, None] < geometry.plaque_radius_mm[:, None, None]
    calcium = np.zeros(points.shape[:-1], dtype=bool)
    for radius in {float(tube.radius_mm[0]) for tube in geometry.calcium}:
        line = np.concatenate([tube.points_ras for tube in geometry.calcium if float(tube.radius_mm[0]) == radius])
        tree = cKDTree(np.concatenate([line, (line[1:] + line[:-1]) / 2]))
        near = np.flatnonzero(tree.query(geometry.center_ras)[0] < widest + radius)
        inside = tree.query(points[near], distance_upper_bound=radius)[0] < radius
        calcium[near] |= inside
    step = np.gradient(geometry.distance_mm)[:, None, None]
    calcium &= outside_lumen
    total = (soft & outside_lumen) | calcium
    return float((area * step)[total].sum()), float((area * step)[calcium].sum())
