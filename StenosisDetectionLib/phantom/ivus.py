"""A real stenosed artery from intravascular ultrasound, rendered as a CT angiogram.

The contours are the user's own files; none are shipped. A folder holds `<phase>_contours.csv` with lines
`frame x y z` (mm, tab-separated), one closed contour of the lumen a frame, as the packages AIVUS-CAA and multimodars
write them.
"""

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..progress import StageReport, no_report
from .assembly import Physics, grid_around, render_study
from .cells import Painted
from .curves import resampled
from .mesh import TriangleMesh
from .solids import ClosedSurface
from .tree import ATTENUATION_HU
from .truth import LUMEN_LABEL, Phantom, VesselTruth

PHASES = ("diastolic", "systolic")
_WALL_MM = 0.5
_RING = 72  # points of a contour
_MARGIN_MM = 8.0


def ivus_study(
    folder: Path,
    phase: str = "diastolic",
    spacing_mm: tuple[float, float, float] = (0.4, 0.4, 0.5),
    psf_sigma_mm: tuple[float, float, float] = (0.35, 0.35, 0.45),
    noise_hu: float = 25.0,
    seed: int = 0,
    report: StageReport = no_report,
) -> Phantom:
    """Return the phantom of a pull-back: its lumen in a thin wall in fat.

    The truth is one vessel `LAD` along the middles of the contours. Its diameter is that of the area of the contour
    (2 sqrt(A / pi)); there is no healthy diameter to know, and no list of lesions.

    Raises
    ------
    InputError : no such phase or file, or no contours in it.
    """
    if phase not in PHASES:
        raise InputError(f"there is no phase '{phase}': choose one of {', '.join(PHASES)}")
    rings = _read_rings(folder / f"{phase}_contours.csv")
    middles = rings.mean(axis=1)
    outer = middles[:, None] + (rings - middles[:, None]) * (1 + _WALL_MM / _radii(rings))[..., None]
    scene = [
        Painted(ClosedSurface(_lofted(outer)), ATTENUATION_HU["vessel_wall"]),
        Painted(ClosedSurface(_lofted(rings)), ATTENUATION_HU["lumen"], LUMEN_LABEL),
    ]
    grid = grid_around(rings.min(axis=(0, 1)) - _MARGIN_MM, rings.max(axis=(0, 1)) + _MARGIN_MM, spacing_mm)
    physics = Physics(psf_sigma_mm, noise_hu, seed)
    vessel = _vessel(middles, _areas(rings))
    return render_study("ivus", scene, ATTENUATION_HU["fat"], (vessel,), (), grid, physics, ATTENUATION_HU, report)


def _read_rings(path: Path) -> np.ndarray:
    """Return the contours (frames, points, 3), in the order of z, evenly sampled and turned alike."""
    try:
        table = np.loadtxt(path, delimiter="\t", ndmin=2)
        frames = [table[table[:, 0] == number, 1:4] for number in np.unique(table[:, 0])]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"cannot read contours from '{path.name}': it needs lines 'frame x y z', in mm") from error
    if len(frames) < 2:
        raise InputError(f"'{path.name}' holds fewer than two contours: nothing to render")
    frames.sort(key=lambda ring: float(ring[:, 2].mean()))
    return np.stack([_even_ring(ring) for ring in frames])


def _even_ring(ring: np.ndarray) -> np.ndarray:
    """Return a contour by its radius at even angles around its middle, counterclockwise, in the plane of its mean z."""
    across = ring[:, :2] - ring[:, :2].mean(axis=0)
    angle = np.arctan2(across[:, 1], across[:, 0])
    order = np.argsort(angle)
    even = np.linspace(-np.pi, np.pi, _RING, endpoint=False)
    radius = np.interp(even, angle[order], np.linalg.norm(across, axis=1)[order], period=2 * np.pi)
    middle = ring.mean(axis=0)
    return middle + radius[:, None] * np.stack([np.cos(even), np.sin(even), np.zeros(_RING)], axis=1)


def _radii(rings: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rings - rings.mean(axis=1, keepdims=True), axis=2)


def _areas(rings: np.ndarray) -> np.ndarray:
    """Return the areas (frames,) by the shoelace formula."""
    x, y = rings[..., 0], rings[..., 1]
    return 0.5 * np.abs((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1))


def _lofted(rings: np.ndarray) -> TriangleMesh:
    """Return the closed mesh through contours that all have the same points, with flat ends."""
    count, points = rings.shape[:2]
    index = np.arange(count * points).reshape(count, points)
    a, b = index[:-1], np.roll(index, -1, axis=1)[:-1]
    c, d = index[1:], np.roll(index, -1, axis=1)[1:]
    sides = np.concatenate([np.stack([a, b, d], axis=-1).reshape(-1, 3), np.stack([a, d, c], axis=-1).reshape(-1, 3)])
    low, high = count * points, count * points + 1
    first, last = index[0], index[-1]
    ends = [
        np.stack([np.full(points, low), np.roll(first, -1), first], axis=-1),
        np.stack([np.full(points, high), last, np.roll(last, -1)], axis=-1),
    ]
    caps = np.stack([rings[0].mean(axis=0), rings[-1].mean(axis=0)])
    return TriangleMesh(np.concatenate([rings.reshape(-1, 3), caps]), np.concatenate([sides, *ends]))


def _vessel(middles: np.ndarray, areas: np.ndarray) -> VesselTruth:
    """Return the vessel along the middles of the contours."""
    points = resampled(middles)
    distance = np.arange(len(points)) * 0.25
    diameter = np.interp(points[:, 2], middles[:, 2], 2 * np.sqrt(areas / np.pi))
    return VesselTruth("LAD", None, None, points, distance, diameter, diameter.copy())
