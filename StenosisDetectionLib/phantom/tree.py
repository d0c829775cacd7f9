"""Phantoms of trees given as lines with radii: any list of vessels, straight ones, tapering ones, bifurcations.

The truth is exact: the lumen is the tube of the given radius normal to the line, narrowed by the lesions.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..geometry import arc_length
from ..progress import StageReport, no_report
from .assembly import AXIAL, Physics, grid_around, render_study
from .curves import resampled, tangents, transported_side
from .render import Field, Painted
from .solids import Tube
from .truth import LUMEN_LABEL, LesionShape, Phantom, VesselTruth, complete_diameter, lumen_factor
from .walls import WALL_MM, around, calcium_rods

ATTENUATION_HU = {"aorta": 400.0, "lumen": 400.0, "vessel_wall": 75.0, "plaque": 60.0, "calcium": 800.0, "fat": -90.0}
"""Attenuations painted, before blur and noise."""

SHARP = Physics((0.35, 0.35, 0.35), 0.0)
"""A narrow point spread without noise."""


def tree_vessel(
    name: str,
    points_ras: np.ndarray,
    diameter_mm: tuple[float, float],
    parent: VesselTruth | None = None,
) -> VesselTruth:
    """Return a healthy vessel along a line (N, 3) whose diameter changes evenly from its start to its end."""
    points = resampled(np.asarray(points_ras, dtype=np.float64))
    distance = arc_length(points)
    diameter = np.interp(distance, [0, distance[-1]], diameter_mm)
    parent_distance = None
    if parent is not None:
        nearest = int(np.argmin(np.linalg.norm(parent.points_ras - points[0], axis=1)))
        parent_distance = float(parent.distance_mm[nearest])
    return VesselTruth(
        name, parent.name if parent else None, parent_distance, points, distance, diameter, diameter.copy()
    )


def y_bifurcation(
    angle_degrees: float, diameters_mm: tuple[float, float, float], length_mm: float = 20.0
) -> tuple[VesselTruth, VesselTruth]:
    """Return a vessel along -y that bends by half the angle at the origin, and a branch that leaves it there.

    `diameters_mm` are those before the bifurcation, of the vessel behind it and of the branch.
    """
    half = np.radians(angle_degrees / 2)
    first, second = (length_mm * np.array([sign * np.sin(half), -np.cos(half), 0]) for sign in (-1, 1))
    before = np.array([0.0, length_mm, 0.0])
    mother, main, side = diameters_mm
    vessel = tree_vessel("LAD", np.stack([before, np.zeros(3), first]), (mother, mother))
    step = np.where(vessel.distance_mm <= length_mm, mother, main)
    vessel = replace(vessel, diameter_mm=step, healthy_diameter_mm=step.copy())
    branch = tree_vessel("D1", np.stack([np.zeros(3), second]), (side, side), parent=vessel)
    return vessel, branch


def mark_bifurcations(vessels: Sequence[VesselTruth]) -> tuple[VesselTruth, ...]:
    """Return the vessels without diameter (NaN) where a section also holds another vessel.

    That is so where a point lies inside another vessel, or another vessel's centerline inside this one.
    """
    from scipy.spatial import cKDTree

    marked = []
    for vessel in vessels:
        shared = np.zeros(len(vessel.points_ras), dtype=bool)
        for other in vessels:
            if other is not vessel:
                distance, nearest = cKDTree(other.points_ras).query(vessel.points_ras)
                widest = np.maximum(other.healthy_diameter_mm[nearest], vessel.healthy_diameter_mm) / 2
                shared |= distance < widest
        healthy = np.where(shared, np.nan, vessel.healthy_diameter_mm)
        marked.append(replace(vessel, diameter_mm=healthy, healthy_diameter_mm=healthy.copy()))
    return tuple(marked)


def tree_solids(
    vessels: Sequence[VesselTruth],
    lesions: Sequence[LesionShape],
    contrast_hu: float | Field = ATTENUATION_HU["lumen"],
    away_from_ras: np.ndarray | None = None,
) -> list[Painted]:
    """Return walls, plaque, calcium and lumen of a tree, back to front.

    Calcium lies on the side of the vessel that faces away from a point, by default from the middle of the tree.
    """
    if away_from_ras is None:
        away_from_ras = np.concatenate([vessel.points_ras for vessel in vessels]).mean(axis=0) + np.array(
            [0.1, 0.2, 0.3]
        )
    hu = ATTENUATION_HU
    by_name = {vessel.name: vessel for vessel in vessels}
    scene = [Painted(around(vessel, WALL_MM, spacing_mm=0.5), hu["vessel_wall"]) for vessel in vessels]
    for lesion in lesions:
        vessel = by_name[lesion.vessel]
        inside = (vessel.distance_mm >= lesion.start_mm) & (vessel.distance_mm <= lesion.end_mm)
        plaque = Tube(vessel.points_ras[inside], complete_diameter(vessel)[inside] / 2, flat_start=True, flat_end=True)
        scene.append(Painted(plaque, hu["plaque"]))
        scene += [Painted(rod, hu["calcium"]) for rod in calcium_rods(lesion, vessel, away_from_ras)]
    for vessel in vessels:
        line = vessel.points_ras.copy()
        radius = complete_diameter(vessel) / 2
        for lesion in lesions:
            if lesion.vessel == vessel.name and lesion.eccentricity > 0:
                side = transported_side(tangents(vessel.points_ras))
                room = (1 - lesion.factor(vessel.distance_mm)) * radius
                line += (lesion.eccentricity * room)[:, None] * side
        scene.append(Painted(Tube(line, radius * lumen_factor(vessel, lesions)), contrast_hu, LUMEN_LABEL))
    return scene


def tree_study(
    vessels: Sequence[VesselTruth],
    lesions: Sequence[LesionShape] = (),
    spacing_mm: tuple[float, float, float] = (0.4, 0.4, 0.4),
    physics: Physics = SHARP,
    directions: np.ndarray = AXIAL,
    margin_mm: float = 6.0,
    report: StageReport = no_report,
) -> Phantom:
    """Return the phantom of a tree alone in fat.

    Parameters
    ----------
    vessels : healthy vessels (`tree_vessel`, `y_bifurcation`).
    directions : columns are the directions of i, j, k in RAS.
    margin_mm : fat around the centerlines.
    """
    points = np.concatenate([vessel.points_ras for vessel in vessels])
    grid = grid_around(points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm, spacing_mm, directions)
    scene = tree_solids(vessels, lesions)
    fat = ATTENUATION_HU["fat"]
    known = mark_bifurcations(vessels)
    return render_study("tree", scene, fat, known, lesions, grid, physics, ATTENUATION_HU, report)
