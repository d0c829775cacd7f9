"""Presses stenoses of exact degree into a closed vessel surface.

Every vertex near a lesion moves toward the centerline within the plane normal to it: v' = c + f(s) (v - c), where c is
the foot of the vertex on the centerline and s its distance along it. A section normal to the centerline thereby
shrinks by f(s) in diameter whatever its shape, so the true diameter is f(s) times that of the untouched surface.
"""

from collections.abc import Sequence

import numpy as np

from .curves import tangents, transported_side
from .mesh import TriangleMesh, split_long_edges
from .truth import LesionShape, VesselTruth

_LONGEST_EDGE_MM = 0.3
"""Edges inside a lesion: the chord error of a cosine lesion is below 0.005 mm with them."""

_FINE_STEP_MM = 0.02


def press_lesions(mesh: TriangleMesh, vessels: Sequence[VesselTruth], lesions: Sequence[LesionShape]) -> TriangleMesh:
    """Return the surface with the lesions pressed in.

    A vertex belongs to the vessel whose centerline is nearest, so a lesion leaves its neighbors alone; keep it away
    from bifurcations, where that border is a step.
    """
    from scipy.spatial import cKDTree

    by_name = {vessel.name: vessel for vessel in vessels}
    owner = np.concatenate([np.full(len(v.points_ras), n) for n, v in enumerate(vessels)])
    nearest_vessel = cKDTree(np.concatenate([v.points_ras for v in vessels]))

    for lesion in lesions:
        vessel = by_name[lesion.vessel]
        number = [v.name for v in vessels].index(lesion.vessel)
        fine = np.arange(lesion.start_mm - 1, lesion.end_mm + 1, _FINE_STEP_MM)
        line = np.stack([np.interp(fine, vessel.distance_mm, axis) for axis in vessel.points_ras.T], axis=1)
        foot_tree = cKDTree(line)
        reach = float(np.interp(lesion.throat_mm, vessel.distance_mm, vessel.healthy_diameter_mm))

        def selected(
            points: np.ndarray, tree: cKDTree = foot_tree, last: int = len(line) - 1, n: int = number, r: float = reach
        ) -> np.ndarray:
            distance, foot = tree.query(points)
            inside = (distance < r) & (foot > 0) & (foot < last)
            inside[inside] = owner[nearest_vessel.query(points[inside])[1]] == n
            return inside

        bounds = np.stack([line.min(axis=0) - reach, line.max(axis=0) + reach])
        mesh = split_long_edges(mesh, _LONGEST_EDGE_MM, bounds, selected)
        near = np.flatnonzero(((mesh.points >= bounds[0]) & (mesh.points <= bounds[1])).all(axis=1))
        moved = near[selected(mesh.points[near])]
        foot = foot_tree.query(mesh.points[moved])[1]
        factor = lesion.factor(fine[foot])[:, None]
        center = line[foot]
        points = mesh.points.copy()
        points[moved] = center + factor * (points[moved] - center)
        if lesion.eccentricity > 0:
            side = transported_side(tangents(line))[foot]
            room = 0.5 * np.interp(fine[foot], vessel.distance_mm, vessel.healthy_diameter_mm)[:, None]
            points[moved] += lesion.eccentricity * (1 - factor) * room * side
        mesh = TriangleMesh(points, mesh.triangles)
    return mesh
