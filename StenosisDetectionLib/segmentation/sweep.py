"""The ascending aorta followed along its own axis, cross-section by cross-section, down to the annulus.

In: a RAS grid of about 0.8 mm and the disc track of the ascending aorta. Out: the cross-sections (RAS, mm) and the
mask they sweep. Each section is star-shaped around its center: the rays end at the wall, so coronary ostia and
touching chambers are cut off by the smoothness of the contour, and the left ventricle shows as open rays or a jump
of the area.
"""

from dataclasses import dataclass

import numpy as np

from ..progress import StageReport
from .discs import DiscTrack, ray_edges
from .grid import RasGrid

RAYS = 48
STEP_MM = 1.0
"""Distance between cross-sections."""

_RAY_STEP_MM = 0.5
_REACH_MM = 34.0
_LARGEST_OPENING = 0.2
_MAXIMUM_BELOW_MM = 120.0
_MAXIMUM_ABOVE_MM = 90.0


@dataclass(frozen=True, eq=False)
class AorticSections:
    """Cross-sections of the ascending aorta from its root upwards.

    Parameters
    ----------
    centers_ras : (N, 3) centers, about every millimeter.
    directions : (N, 3) unit vectors along the axis, towards the arch.
    contours_ras : (N, R, 3) points of the wall.
    area_mm2 : (N,) cross-sectional area.
    complete : whether the lower end is the end of the aorta and not that of the volume.
    """

    centers_ras: np.ndarray
    directions: np.ndarray
    contours_ras: np.ndarray
    area_mm2: np.ndarray
    complete: bool


@dataclass(frozen=True, eq=False)
class _Section:
    center: np.ndarray
    direction: np.ndarray
    axis: np.ndarray
    edges: np.ndarray
    radius: float
    open_fraction: float
    blood: float
    inside: bool


def follow_aorta(grid: RasGrid, track: DiscTrack, report: StageReport) -> AorticSections:
    """Follow the axis of the ascending aorta down to the annulus and up to the arch, from the middle of its track."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grid.voxels, 0.8 / grid.spacing_mm)
    start = _start_index(track)
    near = np.abs(track.centers_ras[:, 2] - track.centers_ras[start, 2]) <= 12.0
    points = track.centers_ras[near]
    direction = np.linalg.svd(points - points.mean(axis=0))[2][0]
    direction = direction * np.sign(direction[2])
    radius = float(np.median(track.radius_mm[near]))
    first = _section(smooth, grid, track.centers_ras[start], direction, np.array([1.0, 0.0, 0.0]), radius)
    report(0.3, "following the aorta to its root")
    below, complete = _march(smooth, grid, first, -1.0, _MAXIMUM_BELOW_MM)
    report(0.7, "following the aorta to its root")
    above, _ = _march(smooth, grid, first, 1.0, _MAXIMUM_ABOVE_MM)
    sections = [*below[::-1], first, *above]
    sections = sections[_annulus_index(sections[: len(below) + 1]) :]
    return _as_arrays(sections, complete)


def sweep_mask(sections: AorticSections, grid: RasGrid) -> np.ndarray:
    """Return the voxels of a grid between the first and the last cross-section, inside their contours."""
    from scipy import ndimage

    shape = np.array(grid.voxels.shape)
    mask = np.zeros(grid.voxels.shape, dtype=bool)
    fractions = np.linspace(0.0, 1.0, 1 + int(np.ceil(_REACH_MM / (0.7 * grid.spacing_mm))))
    between = np.linspace(0.0, 1.0, 1 + int(np.ceil(2.0 * STEP_MM / grid.spacing_mm)), endpoint=False)
    for index in range(len(sections.centers_ras) - 1):
        for part in between:
            center = (1 - part) * sections.centers_ras[index] + part * sections.centers_ras[index + 1]
            contour = (1 - part) * sections.contours_ras[index] + part * sections.contours_ras[index + 1]
            wall = np.concatenate([contour, 0.5 * (contour + np.roll(contour, 1, axis=0))])
            points = center + fractions[:, None, None] * (wall - center)
            kji = np.rint(grid.to_kji(points.reshape(-1, 3))).astype(int)
            kji = kji[((kji >= 0) & (kji < shape)).all(axis=1)]
            mask[tuple(kji.T)] = True
    return ndimage.binary_closing(mask, iterations=1) | mask


def _start_index(track: DiscTrack) -> int:
    """Return the disc to start from: the roundest stretch of the track, away from its ends."""
    from scipy import ndimage

    count = len(track.radius_mm)
    quality = ndimage.uniform_filter1d(track.roundness, min(9, count), mode="nearest")
    margin = count // 4
    return margin + int(np.argmax(quality[margin : count - margin]))


def _section(
    smooth: np.ndarray, grid: RasGrid, center: np.ndarray, direction: np.ndarray, axis: np.ndarray, expected: float
) -> _Section:
    """Measure the cross-section in the plane across `direction` near `center`; `axis` fixes the angle zero."""
    from scipy import ndimage

    axis = axis - (axis @ direction) * direction
    axis = axis / np.linalg.norm(axis)
    angles = 2.0 * np.pi * np.arange(RAYS) / RAYS
    cosine, sine = np.cos(angles), np.sin(angles)
    rays = cosine[:, None] * axis + sine[:, None] * np.cross(direction, axis)
    steps = np.arange(0.0, _REACH_MM, _RAY_STEP_MM)
    edges = np.full(RAYS, np.inf)
    blood = 0.0
    for _ in range(2):
        points = center + rays[:, None, :] * steps[None, :, None]
        profiles = ndimage.map_coordinates(smooth, np.moveaxis(grid.to_kji(points), -1, 0), order=1, cval=-1024.0)
        blood = float(np.median(profiles[:, : int(0.5 * expected / _RAY_STEP_MM) + 1]))
        edges = ray_edges(profiles, np.full(RAYS, max(blood, 1.0)), _RAY_STEP_MM)
        near = edges < 1.5 * expected
        if near.sum() >= RAYS // 2:
            basis = np.column_stack([np.ones(near.sum()), cosine[near], sine[near]])
            shift = np.linalg.lstsq(basis, edges[near], rcond=None)[0][1:]
            shift = shift * min(1.0, 1.0 / max(float(np.hypot(*shift)), 1e-6))
            center = center + shift[0] * rays[0] + shift[1] * rays[RAYS // 4]
    is_open = edges > 1.5 * expected
    radius = float(np.median(edges[~is_open])) if (~is_open).sum() >= 8 else expected
    kji = grid.to_kji(center)
    inside = bool(((kji > 1) & (kji < np.array(smooth.shape) - 2)).all())
    return _Section(center, direction, axis, edges, radius, float(is_open.mean()), blood, inside)


def _march(
    smooth: np.ndarray, grid: RasGrid, first: _Section, sign: float, limit_mm: float
) -> tuple[list[_Section], bool]:
    """Return the sections beyond `first` along the axis until they are no longer aorta, and whether that was seen."""
    sections = [first]
    strange = 0
    for _ in range(int(limit_mm / STEP_MM)):
        last = sections[-1]
        back = sections[max(len(sections) - 9, 0)]
        direction = last.direction
        if len(sections) > 5:
            heading = sign * (last.center - back.center)
            direction = 0.85 * last.direction + 0.15 * heading / np.linalg.norm(heading)
            direction = direction / np.linalg.norm(direction)
        expected = float(np.median([s.radius for s in sections[-8:]]))
        section = _section(smooth, grid, last.center + sign * STEP_MM * direction, direction, last.axis, expected)
        if not section.inside:
            return _without_strange(sections, strange), False
        reference = float(np.median([s.radius for s in sections[:12]]))
        blood = float(np.median([s.blood for s in sections[:12]]))
        if (
            section.open_fraction > 0.35
            or section.radius > 1.45 * reference
            or section.radius < 0.5 * reference
            or abs(section.blood - blood) > 0.2 * blood
        ):
            strange += 1
        else:
            strange = 0
        sections.append(section)
        if strange >= 4:
            return _without_strange(sections, strange), True
        if sign > 0 and direction[2] < 0.5:  # the arch turns away from the ascending aorta
            return sections[1:], True
    return _without_strange(sections, strange), True


def _without_strange(sections: list[_Section], strange: int) -> list[_Section]:
    return sections[1 : len(sections) - strange]


def _annulus_index(sections: list[_Section]) -> int:
    """Return the index of the annulus among sections ordered from below.

    Sections that open into the ventricle are left out; the annulus is then the waist under the sinuses: the place in
    the lowest 25 mm above which the aorta widens most. Without such a waist it is the lower end.
    """
    first = 0
    while first < len(sections) - 8 and sections[first].open_fraction > _LARGEST_OPENING:
        first += 1
    radius = np.array([s.radius for s in sections[first:]])
    if len(radius) < 8:
        return first
    smooth = np.convolve(np.pad(radius, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    best, annulus = 0.0, 0
    for waist in range(min(len(smooth), int(25.0 / STEP_MM))):
        widening = float(smooth[waist : waist + int(20.0 / STEP_MM)].max() - smooth[waist])
        if widening > max(best, 0.05 * float(smooth[waist])):
            best, annulus = widening, waist
    return first + annulus


def _as_arrays(sections: list[_Section], complete: bool) -> AorticSections:
    """Return sections as arrays, their contours made smooth around the circle and along the axis."""
    from scipy import ndimage

    radius = np.array([s.radius for s in sections])
    edges = np.array([s.edges for s in sections])
    limit = 1.35 * radius[:, None]
    edges = np.where(edges > limit, np.nan, edges)
    filled = np.where(np.isnan(edges), radius[:, None], edges)
    # a median over 60 degrees and 5 mm removes coronary ostia and rays that slipped through a thin wall
    filled = np.pad(filled, ((0, 0), (4, 4)), mode="wrap")
    filled = ndimage.median_filter(filled, size=(5, 9), mode="nearest")[:, 4:-4]
    filled = ndimage.uniform_filter1d(filled, 3, axis=1, mode="wrap")
    angles = 2.0 * np.pi * np.arange(RAYS) / RAYS
    centers = np.array([s.center for s in sections])
    directions = np.array([s.direction for s in sections])
    axes = np.array([s.axis for s in sections])
    second = np.cross(directions, axes)
    rays = np.cos(angles)[None, :, None] * axes[:, None] + np.sin(angles)[None, :, None] * second[:, None]
    area = 0.5 * np.sin(2.0 * np.pi / RAYS) * (filled * np.roll(filled, 1, axis=1)).sum(axis=1)
    return AorticSections(centers, directions, centers[:, None] + rays * filled[..., None], area, complete)
