"""Labels of the lumen: a segmentation and its tree come in, one label per vessel on the same grid goes out."""

import numpy as np

from ..geometry import transform_points
from ..study import LabelMap, LumenSegmentation, VesselTree

REACH_SCALE, REACH_MARGIN_MM = 2.0, 2.0
"""Voxels farther than two radii plus 2 mm from every vessel belong to none."""


def label_vessels(segmentation: LumenSegmentation, tree: VesselTree) -> LabelMap:
    """Return the lumen with the number of its vessel, 1 to n in the order of the tree, in every voxel.

    A voxel belongs to the vessel whose tube surface (distance to the centerline less the radius there) is nearest; at
    equal distance, to the earlier one. The part of a branch inside its parent's lumen claims nothing.
    """
    from scipy.spatial import cKDTree

    labels = np.zeros(segmentation.lumen.shape, dtype=np.uint8 if len(tree.vessels) < 256 else np.uint16)
    names = {n: v.name for n, v in enumerate(tree.vessels, start=1)}
    flat = np.flatnonzero(segmentation.lumen)
    ijk = np.stack(np.unravel_index(flat, labels.shape)[::-1], axis=1)
    voxels = transform_points(segmentation.ijk_to_ras, ijk)
    best = np.full(len(flat), np.inf)
    owner = np.zeros(len(flat), dtype=labels.dtype)
    for number, vessel in enumerate(tree.vessels, start=1):
        points, radii = vessel.points_ras, vessel.radius_mm
        if vessel.parent is not None:
            outside = np.linalg.norm(points - points[0], axis=1) > radii[0]
            first = int(np.argmax(outside)) if outside.any() else 0
            points, radii = points[first:], radii[first:]
        reach = REACH_SCALE * float(radii.max()) + REACH_MARGIN_MM
        near = np.flatnonzero(np.all((voxels >= points.min(0) - reach) & (voxels <= points.max(0) + reach), axis=1))
        distance, nearest = cKDTree(points).query(voxels[near], distance_upper_bound=reach)
        found = np.isfinite(distance)
        near, distance, radius = near[found], distance[found], radii[nearest[found]]
        surface = distance - radius
        claimed = (distance <= REACH_SCALE * radius + REACH_MARGIN_MM) & (surface < best[near] - 1e-9)
        best[near[claimed]] = surface[claimed]
        owner[near[claimed]] = number
    labels.ravel()[flat] = owner
    return LabelMap(labels, np.array(segmentation.ijk_to_ras, dtype=np.float64), names)
