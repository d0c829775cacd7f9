"""The attenuation of the fat around the coronary arteries: a research index, off by default.

In: CT, vessel tree and lumen profiles. Out: a `FatAttenuation` in HU per main vessel. Method: voxels of -190 to -30 HU
in a shell around the outer wall that is as thick as the vessel is wide, along 10 to 50 mm of the RCA and the first 40
mm of LAD and LCX (Antonopoulos 2017, Sci Transl Med 9:eaal2658; Oikonomou 2018, Lancet 392:929). The left main is left
out.

Limits: the value depends on tube voltage, reconstruction kernel and size of the patient, and where the wall does not
show against the fat it is assumed to be of healthy thickness. No cut-off is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..findings import FatAttenuation
from ..geometry import spacing_of, transform_points
from ..lumen.measure import NORMAL_WALL_MM
from ..study import CENTERLINE_SPACING_MM
from .plaque import wall_shown

if TYPE_CHECKING:
    from ..study import CTVolume, LumenProfile, Vessel, VesselTree

FAT_HU = (-190.0, -30.0)
"""Attenuation of fat."""

STRETCHES_MM: dict[str, tuple[float, float]] = {"LAD": (0.0, 40.0), "LCX": (0.0, 40.0), "RCA": (10.0, 50.0)}
"""Where along each vessel its fat is measured."""

SHORTEST_MM = 10.0
"""A vessel of which less lies in its stretch is left out."""

LEAST_FAT_PERCENT = 5.0
"""A shell with less fat has none to measure: what falls into the window is noise."""

INDEPENDENT_MM3 = 1.0
"""Voxels nearer than this volume share their noise."""


def fat_attenuation(
    volume: CTVolume, tree: VesselTree, profiles: tuple[LumenProfile, ...]
) -> tuple[FatAttenuation, ...]:
    """Return the attenuation of the fat around LAD, LCX and RCA, as far as they were found and are long enough."""
    found = []
    for vessel, profile in zip(tree.vessels, profiles, strict=True):
        if vessel.name in STRETCHES_MM:
            low, high = STRETCHES_MM[vessel.name]
            along = vessel.distance_mm
            inside = (along >= low) & (along <= high) & np.isfinite(profile.diameter_mm)
            if inside.sum() * CENTERLINE_SPACING_MM >= SHORTEST_MM:
                found.append(_around(volume, vessel, profile, low, min(high, vessel.length_mm)))
    return tuple(found)


def _around(volume: CTVolume, vessel: Vessel, profile: LumenProfile, low_mm: float, high_mm: float) -> FatAttenuation:
    along = vessel.distance_mm
    stretch = np.flatnonzero((along >= low_mm) & (along <= high_mm))
    outer, shown = _outer_radius(profile)
    thickness = 2.0 * float(outer[stretch].mean())
    hu, distance, nearest = _near(volume, vessel, profile.contour_center_ras, stretch, float(outer.max()) + thickness)
    beyond = distance - outer[nearest]
    # What is nearest to an end of the vessel lies beyond it.
    shell = (nearest >= max(stretch[0], 1)) & (nearest <= min(stretch[-1], len(along) - 2))
    shell &= (beyond > 0.0) & (beyond <= thickness)
    fat = hu[shell & (hu >= FAT_HU[0]) & (hu <= FAT_HU[1])].astype(np.float64)
    voxel_mm3 = float(np.prod(spacing_of(volume.ijk_to_ras)))
    percent = 100.0 * len(fat) / max(int(shell.sum()), 1)
    enough = percent >= LEAST_FAT_PERCENT
    independent = max(min(len(fat), len(fat) * voxel_mm3 / INDEPENDENT_MM3), 1.0)
    return FatAttenuation(
        vessel=vessel.name,
        start_mm=low_mm,
        end_mm=high_mm,
        thickness_mm=thickness,
        attenuation_hu=float(fat.mean()) if enough else None,
        error_hu=float(fat.std() / np.sqrt(independent)) if enough else None,
        volume_mm3=len(fat) * voxel_mm3,
        fat_percent=percent,
        wall_shown_percent=100.0 * float(shown[stretch].mean()),
    )


def _outer_radius(profile: LumenProfile) -> tuple[np.ndarray, np.ndarray]:
    """Return the radius (N,) of the outer wall in mm and where it was measured; it is never less than the lumen's."""
    number = np.arange(len(profile.diameter_mm))
    known = np.isfinite(profile.diameter_mm)
    lumen = np.interp(number, number[known], profile.diameter_mm[known])
    outer = np.full(len(number), np.nan) if profile.outer_diameter_mm is None else profile.outer_diameter_mm
    shown = np.isfinite(outer) & wall_shown(profile)
    return np.maximum(np.where(shown, outer, lumen + 2.0 * NORMAL_WALL_MM), lumen) / 2.0, shown


def _near(
    volume: CTVolume, vessel: Vessel, centers_ras: np.ndarray, stretch: np.ndarray, reach_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return HU, distance to the vessel and nearest point of the vessel of all voxels within reach of a stretch."""
    from scipy.spatial import cKDTree

    centers = np.where(np.isfinite(centers_ras), centers_ras, vessel.points_ras)
    tree = cKDTree(centers)
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), centers[stretch])
    margin = reach_mm / np.array(spacing_of(volume.ijk_to_ras))
    size = np.array(volume.size_ijk)
    first = np.clip(np.floor(ijk.min(axis=0) - margin), 0, size).astype(int)
    last = np.clip(np.ceil(ijk.max(axis=0) + margin) + 1, 0, size).astype(int)
    i, j = np.meshgrid(np.arange(first[0], last[0]), np.arange(first[1], last[1]), indexing="ij")
    parts = []
    for k in range(first[2], last[2]):  # slice by slice, so that a long vessel needs little memory
        points = transform_points(volume.ijk_to_ras, np.stack([i, j, np.full_like(i, k)], axis=-1).reshape(-1, 3))
        distance, nearest = tree.query(points, distance_upper_bound=reach_mm)
        near = np.isfinite(distance)
        hu = volume.voxels[k, j.ravel()[near], i.ravel()[near]]
        parts.append((hu, distance[near], nearest[near]))
    if not parts:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=int)
    hus, distances, indices = (np.concatenate(column) for column in zip(*parts, strict=True))
    return hus, distances, indices
