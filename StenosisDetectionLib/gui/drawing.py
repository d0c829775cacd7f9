"""What is drawn over a reformatted vessel: its lumen, its lesions, and the place that is looked at.

In: a `VesselPath` and, for the curved view, the image. Out: lines (N, 2) in mm of the image: x along the vessel from
the left edge of the image, y up from its middle. No Qt and no Slicer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..reformation import Reformation
from ..study import Lesion
from .browse import VesselPath

BAR_MM, TICK_MM = 6.4, 3.8
"""How far the bar of a lesion lies below the vessel, and where the ticks at its throat begin on both sides."""

_LEAST_ACROSS = 0.05
"""Sine of the angle between vessel and ruling direction below which the curved view shows no edge of the lumen."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A reformatted vessel in mm of its image.

    Parameters
    ----------
    length_mm, height_mm : size of the image.
    distance_mm : (N,) distance of each centerline point along the vessel.
    path : (N, 2) where each centerline point lies.
    edges : the two edges (N, 2) of the lumen, NaN where it was not measured.
    """

    length_mm: float
    height_mm: float
    distance_mm: np.ndarray
    path: np.ndarray
    edges: tuple[np.ndarray, np.ndarray]

    def place_line(self, distance_mm: float, half_mm: float) -> np.ndarray:
        """Return the line (2, 2) across the vessel at a distance along it."""
        x, y = self._at(distance_mm)
        return np.array([[x, y - half_mm], [x, y + half_mm]])

    def lesion_lines(self, lesions: Sequence[Lesion]) -> list[np.ndarray]:
        """Return, for each lesion, a bar below the vessel from its start to its end, and two ticks at its throat."""
        lines = []
        for lesion in lesions:
            inside = (self.distance_mm >= lesion.start_mm) & (self.distance_mm <= lesion.end_mm)
            ends = [self._at(lesion.start_mm)], self.path[inside], [self._at(lesion.end_mm)]
            lines.append(np.concatenate(ends) - [0.0, BAR_MM])
            x, y = self._at(lesion.throat_mm)
            lines += [np.array([[x, y + side * TICK_MM], [x, y + side * BAR_MM]]) for side in (-1.0, 1.0)]
        return lines

    def _at(self, distance_mm: float) -> tuple[float, float]:
        x, y = (float(np.interp(distance_mm, self.distance_mm, self.path[:, axis])) for axis in (0, 1))
        return x, y


def straightened_drawing(path: VesselPath, frames: np.ndarray, rotation_deg: float, half_width_mm: float) -> Drawing:
    """Return what is drawn over the straightened vessel that was turned by an angle about its path.

    `frames` (N, 3, 3) are the rotation minimizing frames of its points.
    """
    angle = np.radians(rotation_deg)
    across = np.cos(angle) * frames[:, 1] + np.sin(angle) * frames[:, 2]
    distance = path.vessel.distance_mm
    above, below = (np.stack([distance, edge], axis=1) for edge in path.edges_mm(across))
    points = np.stack([distance, np.zeros_like(distance)], axis=1)
    return Drawing(path.length_mm, 2.0 * half_width_mm, distance, points, (above, below))


def curved_drawing(path: VesselPath, image: Reformation) -> Drawing:
    """Return what is drawn over the curved image of a vessel: its lumen is cut where the image looks across it."""
    rows, columns = image.values.shape
    height = (columns - 1) * image.pixel_mm
    vessel = path.vessel
    at = np.interp(vessel.distance_mm, image.distance_mm, np.arange(rows, dtype=np.float64))
    row = np.round(at).astype(int)
    ruling = image.index_to_ras[row, :3, 0] / image.pixel_mm
    advance = image.index_to_ras[row, :3, 1] / image.pixel_mm
    offset = vessel.points_ras - image.index_to_ras[row, :3, 3]
    points = np.stack([at * image.pixel_mm, np.einsum("nd,nd->n", offset, ruling) - height / 2.0], axis=1)
    tangents = path.profile.frames[:, 0]
    across = ruling - np.einsum("nd,nd->n", ruling, tangents)[:, None] * tangents
    sine = np.linalg.norm(across, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        across = np.where((sine > _LEAST_ACROSS)[:, None], across / sine[:, None], np.nan)
    known = np.asarray(np.isfinite(across).all(axis=1))
    edges = []
    for edge in path.edges_mm(np.where(known[:, None], across, ruling)):
        reach = np.where(known, edge, np.nan)[:, None] * across
        steps = [np.einsum("nd,nd->n", reach, direction) for direction in (advance, ruling)]
        edges.append(points + np.stack(steps, axis=1))
    return Drawing((rows - 1) * image.pixel_mm, height, vessel.distance_mm, points, (edges[0], edges[1]))
