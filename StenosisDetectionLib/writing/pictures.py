"""The small pictures of a lesion: a cross-section at its throat and a straightened cut along the vessel.

Comes in: the CT volume and the measured frames of the vessel (RAS, mm, HU). Goes out: `Picture`s, gray PNG files in
memory (window -100 to 800 HU) with their size in mm, and the measured lumen outline in mm as SVG paths to lay over
them. The voxels are interpolated linearly, so a picture shows nothing that the scan does not hold.
"""

import base64
from dataclasses import dataclass

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkIOImage import vtkPNGWriter

from ..geometry import transform_points
from ..study import CENTERLINE_SPACING_MM, CTVolume, Lesion, LumenProfile, Vessel

WINDOW_HU = (-100.0, 800.0)
PIXEL_MM = 0.1
CROSS_SECTION_MM = 12.0
ALONG_MARGIN_MM = 10.0
ACROSS_MM = 10.0


@dataclass(frozen=True)
class Picture:
    """A gray picture of `width_mm` x `height_mm`: PNG as data URI, outline of the lumen as an SVG path in mm.

    `mark_x_mm` is the place of the throat along a straightened cut, None in a cross-section.
    """

    uri: str
    width_mm: float
    height_mm: float
    outline_path: str
    start_mm: float = 0.0
    mark_x_mm: float | None = None


def cross_section(volume: CTVolume, vessel: Vessel, profile: LumenProfile, lesion: Lesion) -> Picture:
    """Return the plane perpendicular to the vessel at the throat of the lesion, centered on the lumen."""
    index = _nearest(vessel, lesion.throat_mm)
    _, right, up = profile.frames[index]
    center = _center(vessel, profile, index)
    offsets = _offsets(CROSS_SECTION_MM)
    # Rows of a picture run downward.
    points = center + offsets[None, :, None] * right - offsets[:, None, None] * up
    radii = profile.contour_radius_mm[index]
    angles = 2.0 * np.pi * np.arange(len(radii)) / max(len(radii), 1)
    half = CROSS_SECTION_MM / 2.0
    outline = np.stack([half + radii * np.cos(angles), half - radii * np.sin(angles)], axis=1)
    return Picture(_png(_sample(volume, points)), CROSS_SECTION_MM, CROSS_SECTION_MM, _path(outline, closed=True))


def straightened(volume: CTVolume, vessel: Vessel, profile: LumenProfile, lesion: Lesion) -> Picture:
    """Return the straightened cut along the vessel through the smallest diameter at the throat.

    Columns follow the vessel from before to behind the lesion, rows lie across it.
    """
    throat = _nearest(vessel, lesion.throat_mm)
    first = _nearest(vessel, lesion.start_mm - ALONG_MARGIN_MM)
    last = _nearest(vessel, lesion.end_mm + ALONG_MARGIN_MM)
    direction, opposite = _narrowest(profile.contour_radius_mm[throat])
    count = profile.contour_radius_mm.shape[1]
    angle = 2.0 * np.pi * direction / max(count, 1)
    part = slice(first, last + 1)
    across = np.cos(angle) * profile.frames[part, 1] + np.sin(angle) * profile.frames[part, 2]
    centers = vessel.points_ras[part]
    offsets = _offsets(ACROSS_MM)
    points = centers[None] - offsets[:, None, None] * across[None]
    # A column is as wide as the distance of the centerline points and lies around its point.
    start = float(vessel.distance_mm[first]) - CENTERLINE_SPACING_MM / 2.0
    x = vessel.distance_mm[part] - start
    middle = ACROSS_MM / 2.0 - np.einsum("nd,nd->n", profile.contour_center_ras[part] - centers, across)
    upper = np.stack([x, middle - profile.contour_radius_mm[part, direction]], axis=1)
    lower = np.stack([x, middle + profile.contour_radius_mm[part, opposite]], axis=1)
    outline = f"{_path(upper)} {_path(lower)}".strip()
    return Picture(
        _png(_sample(volume, points)),
        len(centers) * CENTERLINE_SPACING_MM,
        ACROSS_MM,
        outline,
        start,
        float(vessel.distance_mm[throat]) - start,
    )


def _nearest(vessel: Vessel, distance_mm: float) -> int:
    return int(np.argmin(np.abs(vessel.distance_mm - distance_mm)))


def _center(vessel: Vessel, profile: LumenProfile, index: int) -> np.ndarray:
    center = profile.contour_center_ras[index]
    return center if np.isfinite(center).all() else vessel.points_ras[index]


def _narrowest(radii: np.ndarray) -> tuple[int, int]:
    """Return the direction of the smallest diameter through the center, and the direction opposite to it."""
    half = len(radii) // 2
    diameters = radii[:half] + radii[half : 2 * half]
    direction = int(np.nanargmin(diameters)) if np.isfinite(diameters).any() else 0
    return direction, direction + half


def _offsets(size_mm: float) -> np.ndarray:
    """Return the offsets of the pixel centers from the middle of a picture."""
    count = round(size_mm / PIXEL_MM)
    return (np.arange(count) - (count - 1) / 2.0) * PIXEL_MM


def _sample(volume: CTVolume, points_ras: np.ndarray) -> np.ndarray:
    """Return the HU at points (..., 3), NaN outside the volume."""
    from scipy.ndimage import map_coordinates

    ijk = transform_points(np.linalg.inv(volume.ijk_to_ras), points_ras)
    return map_coordinates(volume.voxels, np.moveaxis(ijk[..., ::-1], -1, 0), order=1, cval=np.nan)


def _png(hu: np.ndarray) -> str:
    """Return the HU as a gray PNG in a data URI; black outside the volume."""
    low, high = WINDOW_HU
    gray = np.clip((np.nan_to_num(hu, nan=low) - low) / (high - low), 0.0, 1.0)
    pixels = np.ascontiguousarray((255.0 * gray).round().astype(np.uint8)[::-1])  # VTK counts rows from below
    image = vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(pixels.ravel(), deep=True))
    writer = vtkPNGWriter()
    writer.SetInputData(image)
    writer.WriteToMemoryOn()
    writer.Write()
    return "data:image/png;base64," + base64.b64encode(vtk_to_numpy(writer.GetResult()).tobytes()).decode("ascii")


def _path(points_mm: np.ndarray, closed: bool = False) -> str:
    """Return an SVG path through points (N, 2), broken at unknown ones and closed only when all are known."""
    known = np.isfinite(points_mm).all(axis=1)
    commands = []
    for index in np.flatnonzero(known):
        move = index == 0 or not known[index - 1]
        commands.append(f"{'M' if move else 'L'}{points_mm[index, 0]:.2f} {points_mm[index, 1]:.2f}")
    if closed and known.all() and len(commands) > 1:
        commands.append("Z")
    return " ".join(commands)
