"""Vessels of known course as masks on any grid: the truth of the centerline tests."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from StenosisDetectionLib.geometry import affine, transform_points
from StenosisDetectionLib.study import LumenSegmentation, ModelInfo

AORTA = (np.array([[0.0, 0.0, -14.0], [0.0, 0.0, 30.0]]), 13.0)
"""A straight aorta: its axis in RAS and its radius in mm."""


@dataclass(frozen=True)
class Tube:
    """A vessel through control points in RAS mm, with its radius at the start and at the end."""

    control: tuple[tuple[float, float, float], ...]
    start_radius: float = 1.5
    end_radius: float = 1.0

    def points(self, step: float = 0.2) -> np.ndarray:
        """Points every `step` mm along a smooth curve through the control points."""
        control = np.array(self.control, dtype=float)
        chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
        curve = PchipInterpolator(chord, control)(np.linspace(0, chord[-1], int(chord[-1] * 20) + 2))
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
        positions = np.arange(0, along[-1], step)
        return np.stack([np.interp(positions, along, x) for x in curve.T], axis=1)

    def radii(self, step: float = 0.2) -> np.ndarray:
        return np.linspace(self.start_radius, self.end_radius, len(self.points(step)))


HEART = {
    "LM": Tube(((-12, 4, 0), (-18, 5, -1), (-24, 6, -2)), 2.3, 2.1),
    "LAD": Tube(((-24, 6, -2), (-38, 25, -10), (-50, 45, -40), (-58, 55, -75), (-55, 50, -95)), 1.9, 0.9),
    "LCX": Tube(((-24, 6, -2), (-40, -8, -8), (-50, -30, -25), (-45, -48, -45)), 1.7, 1.0),
    "D1": Tube(((-38, 25, -10), (-60, 25, -30), (-68, 30, -55)), 1.2, 0.9),
    "S1": Tube(((-45, 36, -24), (-38, 22, -34), (-33, 16, -42)), 1.0, 0.9),
    "OM1": Tube(((-45, -19, -16), (-65, -20, -40), (-70, -5, -65)), 1.3, 0.9),
    "RCA": Tube(((8, 10, 0), (20, 28, -8), (36, 30, -35), (38, 12, -65), (22, -15, -75), (5, -35, -75)), 2.0, 1.5),
    "AM1": Tube(((36, 30, -35), (25, 48, -55), (5, 55, -70)), 1.2, 0.9),
    "PDA": Tube(((5, -35, -75), (-10, -10, -88), (-25, 15, -97)), 1.2, 0.9),
    "PLB": Tube(((5, -35, -75), (-15, -48, -70), (-32, -45, -65)), 1.2, 0.9),
}
"""A schematic right-dominant tree in RAS mm about the aortic root."""


def grid_around(points: np.ndarray, spacing: tuple[float, float, float], directions: np.ndarray | None = None):
    """Return shape [k, j, i] and affine of a grid with a margin of 4 mm around points in RAS."""
    directions = np.eye(3) if directions is None else directions
    local = points @ directions
    low, high = local.min(0) - 4, local.max(0) + 4
    size = np.ceil((high - low) / spacing).astype(int) + 1
    return tuple(int(n) for n in size[::-1]), affine(np.array(spacing), directions, directions @ low)


def paint(mask: np.ndarray, ijk_to_ras: np.ndarray, points: np.ndarray, radii: np.ndarray) -> None:
    """Set the voxels of a mask [k, j, i] whose centers lie within balls."""
    inverse = np.linalg.inv(ijk_to_ras)
    extent = np.linalg.norm(inverse[:3, :3], axis=1)
    for center, radius in zip(points, radii, strict=True):
        middle = transform_points(inverse, center)
        low = np.maximum(np.floor(middle - extent * radius).astype(int), 0)
        high = np.minimum(np.ceil(middle + extent * radius).astype(int) + 1, mask.shape[::-1])
        if np.any(low >= high):
            continue
        box = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), axis=-1)
        near = box[np.linalg.norm(transform_points(ijk_to_ras, box) - center, axis=-1) <= radius]
        mask[near[:, 2], near[:, 1], near[:, 0]] = True


def segmentation_of(
    tubes: list[Tube],
    spacing: tuple[float, float, float] = (0.5, 0.5, 0.5),
    directions: np.ndarray | None = None,
    aorta: bool = True,
) -> LumenSegmentation:
    """Return the masks of tubes, and of the aorta if asked for, on a grid of the given spacing and axes."""
    points = np.concatenate([t.points() for t in tubes])
    everything = np.concatenate([points, AORTA[0] + AORTA[1], AORTA[0] - AORTA[1]]) if aorta else points
    shape, matrix = grid_around(everything, spacing, directions)
    lumen, vessel = np.zeros(shape, bool), np.zeros(shape, bool)
    for tube in tubes:
        paint(lumen, matrix, tube.points()[::2], tube.radii()[::2])
    if aorta:
        (x, y, low), high = AORTA[0][0], AORTA[0][1][2]
        for k in range(shape[0]):
            slab = np.stack(np.broadcast_arrays(*np.ogrid[: shape[2], : shape[1]], k), axis=-1)
            ras = transform_points(matrix, slab).transpose(1, 0, 2)
            across = np.hypot(ras[..., 0] - x, ras[..., 1] - y) <= AORTA[1]
            vessel[k] = across & (ras[..., 2] >= low) & (ras[..., 2] <= high)
    return LumenSegmentation(lumen & ~vessel, vessel, matrix, ModelInfo("shapes", "1"))
