"""Gaps of the mask that hold lumen after all: a tree and its measured profiles come in, vessels without flag go out.

A segmentation has gaps where it saw too little; the voxels of the CT, in which the cross-sections are fitted, may show
the lumen there. Then there is nothing left to warn of. Lengths in mm, attenuation in HU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import transform_points
from ..lumen.fit import WALL_HU

if TYPE_CHECKING:
    from ..study import LumenProfile, LumenSegmentation, Vessel, VesselTree

BRIDGED = "bridged"

SEEN = ("ok", "bifurcation", "ostium", "end")
"""Words of the quality of a section in which the lumen was fitted to what the CT shows."""


def without_filled_gaps(
    tree: VesselTree, profiles: tuple[LumenProfile, ...], segmentation: LumenSegmentation
) -> VesselTree:
    """Return the tree without the flag `bridged` where the lumen was measured all along the gaps of a vessel.

    Parameters
    ----------
    profiles : in the order of `tree.vessels`.
    segmentation : that the tree was made from.
    """
    vessels = tuple(
        replace(vessel, flags=tuple(f for f in vessel.flags if f != BRIDGED))
        if BRIDGED in vessel.flags and _is_filled(vessel, profile, segmentation)
        else vessel
        for vessel, profile in zip(tree.vessels, profiles, strict=True)
    )
    return replace(tree, vessels=vessels)


def _is_filled(vessel: Vessel, profile: LumenProfile, segmentation: LumenSegmentation) -> bool:
    """Return whether the lumen shows at every point of a vessel that lies in no visible lumen of the mask."""
    gap = ~_in_mask(vessel.points_ras, segmentation)
    if not gap.any():  # the gap is shorter than a voxel
        return True
    fitted = np.isin(profile.quality, SEEN) & np.isfinite(profile.diameter_mm)
    if not fitted[gap].all():
        return False
    level = 0.5 * (float(np.nanmedian(profile.lumen_hu)) + WALL_HU)
    return bool((profile.lumen_hu[gap] >= level).all())


def _in_mask(points_ras: np.ndarray, segmentation: LumenSegmentation) -> np.ndarray:
    """Return which points (N, 3) lie in the aorta or in lumen that was not only put in to join parts."""
    seen = segmentation.lumen | segmentation.aorta
    if segmentation.bridged is not None:
        seen = seen & ~segmentation.bridged
    ijk = np.rint(transform_points(np.linalg.inv(segmentation.ijk_to_ras), points_ras)).astype(int)
    inside = ((ijk >= 0) & (ijk < np.array(seen.shape)[::-1])).all(axis=1)
    i, j, k = np.where(inside[:, None], ijk, 0).T
    return np.asarray(seen[k, j, i] & inside)
