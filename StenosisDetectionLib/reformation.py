"""Planar reformations of a vessel: a CT and a vessel go in, images in HU go out, each pixel with its place in RAS.

Straightened: planes along the vessel in the twist-free frame (Wang 2008). Curved: the stretched reformation (Kanitsar,
Fleischmann, Wegenkittl, Felkel, Groeller: CPR: curved planar reformation, IEEE Visualization 2002): a surface ruled by
one direction and unrolled, so that lengths on it are true. Cross-sections: a stack of planes normal to the path.
Every image row, or plane of a stack, has an affine of its own from pixel indices to RAS in mm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .centerline.frames import rotation_minimizing_frames, unit_tangents
from .geometry import arc_length, transform_points
from .study import CENTERLINE_SPACING_MM, CTVolume, Vessel, VesselTree

if TYPE_CHECKING:
    from .lumen import VolumeSampler

HALF_WIDTH_MM, PIXEL_MM = 10.0, 0.2
"""Default half width and pixel size of straightened images and cross-sections."""

CURVED_HALF_WIDTH_MM, CURVED_PIXEL_MM = 20.0, 0.25
"""Default margin beside the vessel, and pixel size, of curved images."""

_POINTS_A_BATCH = 300_000

_EDGE_VOXELS = 1e-6
"""Rounding that is still inside of the volume."""


@dataclass(frozen=True, eq=False)
class Reformation:
    """A vessel resampled in rows or planes, one per sample along it.

    Parameters
    ----------
    values : float32 in HU, NaN outside of the volume: (S, C) an image of S rows, or (S, R, C) a stack of S planes.
    index_to_ras : (S, 4, 4) affine of each sample from (column, row, 0, 1) to RAS; the row of an image is 0. The third
        column is the unit direction that completes the other two.
    distance_mm : (S,) distance of each sample along the vessel.
    center_column : (S,) column at which the vessel's path crosses each sample; in a stack the row is the same.
    pixel_mm : size of a pixel along a row; rows of straightened images are as far apart as the vessel's points.
    """

    values: np.ndarray
    index_to_ras: np.ndarray
    distance_mm: np.ndarray
    center_column: np.ndarray
    pixel_mm: float

    def to_ras(self, sample: float, column: float, row: float = 0.0) -> np.ndarray:
        """Return the RAS position (3,) of a pixel; between two samples the affines are interpolated linearly."""
        last = len(self.index_to_ras) - 1
        low = int(np.clip(np.floor(sample), 0, max(last - 1, 0)))
        share = float(np.clip(sample - low, 0.0, 1.0))
        matrix = (1.0 - share) * self.index_to_ras[low] + share * self.index_to_ras[min(low + 1, last)]
        position: np.ndarray = (matrix @ np.array([column, row, 0.0, 1.0]))[:3]
        return position


def straightened(
    volume: CTVolume | VolumeSampler,
    vessel: Vessel,
    angle_deg: float = 0.0,
    half_width_mm: float = HALF_WIDTH_MM,
    pixel_mm: float = PIXEL_MM,
) -> Reformation:
    """Return the straightened image of a vessel: a row per centerline point, cut at an angle about the path.

    Parameters
    ----------
    volume : the CT, or a `VolumeSampler` that already holds it on a device.
    angle_deg : turns the cut about the path, from the first to the second vector of the frame.
    half_width_mm, pixel_mm : half the width of the image and the size of a pixel along a row.
    """
    frames = rotation_minimizing_frames(vessel.points_ras)
    angle = np.radians(angle_deg)
    across = np.cos(angle) * frames[:, 1] + np.sin(angle) * frames[:, 2]
    half = _half_pixels(half_width_mm, pixel_mm)
    origin = vessel.points_ras - half * pixel_mm * across
    affines = _affines(origin, across * pixel_mm, frames[:, 0] * CENTERLINE_SPACING_MM)
    values = _sample(volume, affines, (1, 2 * half + 1))[:, 0]
    return Reformation(values, affines, vessel.distance_mm.copy(), np.full(len(origin), float(half)), pixel_mm)


def curved(
    volume: CTVolume | VolumeSampler,
    vessel: Vessel,
    angle_deg: float = 0.0,
    margin_mm: float = CURVED_HALF_WIDTH_MM,
    pixel_mm: float = CURVED_PIXEL_MM,
) -> Reformation:
    """Return the curved (stretched) image of a vessel, ruled by a direction normal to the vessel's main axis.

    Rows are `pixel_mm` apart on the surface and columns `pixel_mm` along the ruling direction: lengths in the image are
    lengths on the surface, and the vessel keeps its shape in the ruling direction.

    Parameters
    ----------
    angle_deg : turns the ruling direction about the main axis; 0 is the direction nearest to patient right, or to
        anterior for a vessel that runs right or left.
    margin_mm : kept beside the vessel on both sides.
    """
    direction = _ruling_direction(vessel.points_ras, np.radians(angle_deg))
    along_ruling = vessel.points_ras @ direction
    flat = vessel.points_ras - along_ruling[:, None] * direction
    height = arc_length(flat)
    # Where the vessel runs along the ruling direction the surface does not advance: such points share a row.
    kept = np.concatenate([[True], np.diff(height) > 1e-9])
    rows = np.arange(int(height[-1] / pixel_mm) + 1) * pixel_mm

    def at_rows(values: np.ndarray) -> np.ndarray:
        return np.interp(rows, height[kept], values[kept])

    base = np.stack([at_rows(flat[:, axis]) for axis in range(3)], axis=1)
    shift = at_rows(along_ruling)
    first = float(along_ruling.min()) - margin_mm
    columns = int(np.ceil((float(along_ruling.max()) + margin_mm - first) / pixel_mm)) + 1
    advance = unit_tangents(base) if len(base) > 1 else np.cross(direction, [[0.0, 0.0, 1.0]])
    across = np.broadcast_to(direction * pixel_mm, base.shape)
    affines = _affines(base + first * direction, across, advance * pixel_mm)
    values = _sample(volume, affines, (1, columns))[:, 0]
    return Reformation(values, affines, at_rows(vessel.distance_mm), (shift - first) / pixel_mm, pixel_mm)


def cross_sections(
    volume: CTVolume | VolumeSampler,
    vessel: Vessel,
    distances_mm: np.ndarray | None = None,
    half_width_mm: float = HALF_WIDTH_MM,
    pixel_mm: float = PIXEL_MM,
) -> Reformation:
    """Return planes normal to a vessel, at all its points or at those nearest to `distances_mm`.

    Columns run along the first and rows along the second vector of the frame; the path crosses the middle pixel.
    """
    chosen = np.arange(len(vessel.points_ras))
    if distances_mm is not None:
        wanted = np.atleast_1d(np.asarray(distances_mm, dtype=np.float64))
        chosen = np.abs(vessel.distance_mm[:, None] - wanted).argmin(axis=0)
    frames = rotation_minimizing_frames(vessel.points_ras)[chosen]
    half = _half_pixels(half_width_mm, pixel_mm)
    step = pixel_mm * frames[:, 1:]
    affines = _affines(vessel.points_ras[chosen] - half * step.sum(axis=1), step[:, 0], step[:, 1])
    values = _sample(volume, affines, (2 * half + 1, 2 * half + 1))
    return Reformation(values, affines, vessel.distance_mm[chosen], np.full(len(chosen), float(half)), pixel_mm)


def path_from_ostium(tree: VesselTree, name: str) -> Vessel:
    """Return a vessel with the way to it from the ostium in front, for example LM and LAD as one path.

    Its distances count from the ostium; it has neither segments nor a parent. KeyError when there is no such vessel.
    """
    vessel = tree.vessel(name)
    points, radii = vessel.points_ras, vessel.radius_mm
    current = vessel
    while current.parent is not None and current.parent_distance_mm is not None:
        parent = tree.vessel(current.parent)
        joint = int(np.argmin(np.abs(parent.distance_mm - current.parent_distance_mm)))
        points = np.concatenate([parent.points_ras[:joint], points])
        radii = np.concatenate([parent.radius_mm[:joint], radii])
        current = parent
    return replace(
        vessel,
        parent=None,
        parent_distance_mm=None,
        points_ras=points,
        distance_mm=np.arange(len(points)) * CENTERLINE_SPACING_MM,
        radius_mm=radii,
        segments=(),
    )


def _half_pixels(half_width_mm: float, pixel_mm: float) -> int:
    return max(round(half_width_mm / pixel_mm), 1)


def _affines(origin: np.ndarray, column_step: np.ndarray, row_step: np.ndarray) -> np.ndarray:
    """Return (S, 4, 4) affines with the given steps, whose third direction is the unit normal of both."""
    affines = np.zeros((len(origin), 4, 4))
    normal = np.cross(column_step, row_step)
    affines[:, :3, 0], affines[:, :3, 1], affines[:, :3, 3] = column_step, row_step, origin
    affines[:, :3, 2] = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    affines[:, 3, 3] = 1.0
    return affines


def _sample(volume: CTVolume | VolumeSampler, affines: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the values (S, rows, columns) at the pixels of all samples, NaN outside of the volume."""
    rows, columns = shape
    column, row = np.arange(columns)[:, None], np.arange(rows)[:, None, None]
    values = np.empty((len(affines), rows, columns), dtype=np.float32)
    batch = max(_POINTS_A_BATCH // (rows * columns), 1)
    for start in range(0, len(affines), batch):
        part = affines[start : start + batch, None, None, :3]
        points = part[..., 3] + column * part[..., 0] + row * part[..., 1]
        values[start : start + batch] = _values_at(volume, points)
    return values


def _values_at(volume: CTVolume | VolumeSampler, points_ras: np.ndarray) -> np.ndarray:
    """Return the trilinear values at points (..., 3), NaN outside of the volume; a `CTVolume` needs no PyTorch."""
    if not isinstance(volume, CTVolume):
        import torch

        sampled, inside = volume(torch.from_numpy(points_ras))
        values: np.ndarray = torch.where(inside, sampled, torch.nan).cpu().numpy()
        return values
    from scipy import ndimage

    kji = np.moveaxis(transform_points(np.linalg.inv(volume.ijk_to_ras), points_ras)[..., ::-1], -1, 0)
    last = np.array(volume.voxels.shape).reshape(3, *[1] * (kji.ndim - 1)) - 1
    values = ndimage.map_coordinates(volume.voxels, kji, order=1, mode="nearest", output=np.float32)
    outside = ((kji < -_EDGE_VOXELS) | (kji > last + _EDGE_VOXELS)).any(axis=0)
    values[outside] = np.nan
    return values


def _ruling_direction(points_ras: np.ndarray, angle: float) -> np.ndarray:
    """Return the unit direction normal to the main axis of a path, turned about that axis by an angle in radians."""
    axis = points_ras[-1] - points_ras[0]
    if np.linalg.norm(axis) < 1.0:
        axis = np.array([0.0, 0.0, -1.0])
    axis = axis / np.linalg.norm(axis)
    right = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = right - (right @ axis) * axis
    first /= np.linalg.norm(first)
    turned: np.ndarray = np.cos(angle) * first + np.sin(angle) * np.cross(axis, first)
    return turned
