"""What the place of a tree tells: a named tree and its surroundings come in, flags go out.

Whether both ostia lie in one sinus of the aortic root, whether an ostium that was not found, or the end of a vessel,
lies outside of the field of view. Lengths in mm, RAS.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..geometry import transform_points
from ..study import CTVolume, Vessel, VesselTree

ONE_SINUS_DEG = 60.0
"""Ostia nearer than this, seen from the middle of the root, lie in one sinus: those of two sinuses are 120 apart."""

RIGHT_FROM_LEFT_MM = (18.0, 10.0, -8.0)
"""Where the right ostium usually lies, seen from the left one."""

BORDER_MM = 3.0
"""An ostium expected this near to the border of the volume cannot be seen in it."""

END_MM = 1.5
"""A vessel that ends this near to the border of the volume is cut off by it."""

_ROOT_SLAB_MM, _ROOT_REACH_MM, _ROOT_STEP_MM = 2.0, 25.0, 6.0


def with_surroundings(tree: VesselTree, aorta: Any, volume: CTVolume | None) -> VesselTree:
    """Return the tree with the flags that its surroundings give.

    Flags of the tree: `one_sinus`; `left_not_imaged` and `right_not_imaged` take the place of `left_not_found` and
    `right_not_found`. Flag of a vessel: `leaves_field_of_view`.

    Parameters
    ----------
    aorta : scipy cKDTree of the surface of the aorta in RAS, None without aorta.
    volume : the CT, whose grid is the field of view; None when it is not known.
    """
    vessels, flags = tree.vessels, list(tree.flags)
    left = [v.points_ras[0] for v in vessels if v.parent is None and v.name in ("LM", "LAD", "LCX")]
    right = [v.points_ras[0] for v in vessels if v.parent is None and v.name == "RCA"]
    if left and right and aorta is not None:
        angle = _angle_between(aorta.data, left[0], right[0])
        if angle is not None and angle < ONE_SINUS_DEG:
            flags.append("one_sinus")
    if volume is None:
        return replace(tree, flags=tuple(flags))
    for side, ostia, offset in (("right", left, RIGHT_FROM_LEFT_MM), ("left", right, -np.array(RIGHT_FROM_LEFT_MM))):
        missing = f"{side}_not_found"
        if missing in flags and ostia and _depth_inside(volume, ostia[0] + offset) < BORDER_MM:
            flags[flags.index(missing)] = f"{side}_not_imaged"
    marked = tuple(_marked(v, volume) if tree.ends_free(v) else v for v in vessels)
    return replace(tree, vessels=marked, flags=tuple(flags))


def _marked(vessel: Vessel, volume: CTVolume) -> Vessel:
    """Return a vessel with a flag when the border of the volume cuts it off."""
    if _depth_inside(volume, vessel.points_ras[-1]) > END_MM:
        return vessel
    return replace(vessel, flags=(*vessel.flags, "leaves_field_of_view"))


def _depth_inside(volume: CTVolume, point_ras: np.ndarray) -> float:
    """Return how deep a point lies inside a volume, negative outside."""
    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), np.asarray(point_ras))
    spacing, last = np.array(volume.spacing_mm), np.array(volume.size_ijk) - 1
    return float(np.minimum(ijk * spacing, (last - ijk) * spacing).min())


def _angle_between(surface: np.ndarray, first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the angle in degrees between two ostia about the axis of the aortic root; None where it cannot be seen."""
    middle = 0.5 * (first + second)
    near = surface[np.linalg.norm(surface - middle, axis=1) < _ROOT_REACH_MM]
    centers = []
    for height in (-_ROOT_STEP_MM, 0.0, _ROOT_STEP_MM):
        slab = near[np.abs(near[:, 2] - middle[2] - height) < _ROOT_SLAB_MM]
        if len(slab) < 20:
            return None
        # The middle of the extent: the surface is seen more densely where it is cut obliquely.
        centers.append(0.5 * (slab.min(axis=0) + slab.max(axis=0)))
    axis = centers[2] - centers[0]
    axis /= np.linalg.norm(axis)
    rays = np.stack([first, second]) - centers[1]
    rays -= (rays @ axis)[:, None] * axis
    cosine = float(rays[0] @ rays[1]) / max(float(np.linalg.norm(rays[0]) * np.linalg.norm(rays[1])), 1e-6)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
