"""The cross-sections of a tree: one plane normal to the path at every centerline point, vessel after vessel."""

from dataclasses import dataclass

import numpy as np

from ..centerline.frames import rotation_minimizing_frames
from ..study import VesselTree


@dataclass(frozen=True, eq=False)
class Sections:
    """All cross-sections of a tree, vessel after vessel.

    `centers` (S, 3) RAS; `frames` (S, 3, 3) tangent and plane vectors; `radius_mm` (S,) of the segmentation, within the
    range that coronary arteries have; `vessel_index` (S,) number of the vessel in the tree.
    """

    centers: np.ndarray
    frames: np.ndarray
    radius_mm: np.ndarray
    vessel_index: np.ndarray

    def chosen(self, rows: np.ndarray) -> "Sections":
        """Return the given rows, by index or as a mask."""
        return Sections(self.centers[rows], self.frames[rows], self.radius_mm[rows], self.vessel_index[rows])


def sections_of(tree: VesselTree) -> Sections:
    """Return the cross-sections of all vessels of a tree."""
    return Sections(
        np.concatenate([v.points_ras for v in tree.vessels]),
        np.concatenate([rotation_minimizing_frames(v.points_ras) for v in tree.vessels]),
        np.concatenate([np.clip(v.radius_mm, 0.4, 4.0) for v in tree.vessels]),
        np.concatenate([np.full(len(v.points_ras), n) for n, v in enumerate(tree.vessels)]),
    )
