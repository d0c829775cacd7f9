"""Round bright discs in axial slices, linked into tracks from head to foot: where the great vessels are.

In: a RAS grid of about 1.5 mm. Out: tracks, one disc (center, radius, attenuation, roundness) a slice, in mm and HU.
Candidates are maxima of the two-dimensional distance transform at several thresholds; each is judged by rays cast
from its center, so that a vessel which touches a chamber still counts as round.
"""

from dataclasses import dataclass

import numpy as np

from ..progress import StageReport
from .grid import RasGrid

THRESHOLDS_HU = (150.0, 220.0, 300.0, 400.0)
"""Contrast-filled blood is sought above each of these; the edges of a disc are found relative to its own blood."""

RADIUS_RANGE_MM = (7.0, 26.0)
"""Radii of the discs that are kept: from a small superior vena cava to an aneurysm."""

EDGE_FRACTION = 0.8
"""A ray has left the blood where the attenuation falls below this part of the blood's: also a thin wall does that."""

_RAYS = 32
_REACH_MM = 32.0
_STEP_MM = 0.75


@dataclass(frozen=True, eq=False)
class DiscTrack:
    """A vessel crossing the axial slices: arrays of N discs ordered from head to foot.

    Parameters
    ----------
    centers_ras : (N, 3) centers.
    radius_mm, attenuation_hu : (N,) radius and blood attenuation.
    roundness : (N,) fraction of the rays whose edge lies on the circle.
    slices : (N,) slice indices.
    """

    centers_ras: np.ndarray
    radius_mm: np.ndarray
    attenuation_hu: np.ndarray
    roundness: np.ndarray
    slices: np.ndarray

    @property
    def length_mm(self) -> float:
        """Extent along the superior-inferior axis."""
        return float(np.ptp(self.centers_ras[:, 2]))


def ray_edges(profiles: np.ndarray, blood: np.ndarray, step_mm: float) -> np.ndarray:
    """Return the distance in mm at which each ray leaves the blood; inf where it does not.

    Parameters
    ----------
    profiles : (..., S) attenuation along rays sampled every `step_mm` from their center.
    blood : attenuation of the blood, broadcastable to the rays (...).

    The edge is where the profile falls below half of the blood's attenuation, when that happens within 3 mm of
    the fall below `EDGE_FRACTION`; a thin wall between two vessels is only a dip, and there the first fall counts.
    """
    count = profiles.shape[-1]
    blood = np.asarray(blood)[..., None]

    def first_fall(level: np.ndarray) -> np.ndarray:
        below = profiles < level
        index = np.argmax(below, axis=-1)
        previous = np.maximum(index - 1, 0)
        high = np.take_along_axis(profiles, previous[..., None], -1)[..., 0]
        low = np.take_along_axis(profiles, index[..., None], -1)[..., 0]
        part = np.clip((high - level[..., 0]) / np.maximum(high - low, 1e-3), 0.0, 1.0)
        return np.where(below.any(axis=-1), (previous + part) * step_mm, np.inf)

    shape = (*profiles.shape[:-1], 1)
    near = first_fall(np.broadcast_to(EDGE_FRACTION * blood, shape))
    half = first_fall(np.broadcast_to(0.5 * blood, shape))
    edges = np.where(half <= near + 3.0, half, near + 0.5 * step_mm)
    return np.where(edges < (count - 1) * step_mm, edges, np.inf)


def find_tracks(grid: RasGrid, report: StageReport) -> list[DiscTrack]:
    """Return the tracks of round discs at least 8 mm long, longest first."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grid.voxels.astype(np.float32), 0.5)
    open_tracks: list[list[np.ndarray]] = []
    finished: list[list[np.ndarray]] = []
    count = len(smooth)
    for k in range(count - 1, -1, -1):
        if k % 16 == 0:
            report(1.0 - (k + 1) / count, "looking for the aorta")
        _link(open_tracks, finished, _discs_of_slice(smooth[k], grid.spacing_mm, k))
    finished += open_tracks
    tracks = [_track(np.array(discs), grid) for discs in finished if len(discs) > 2]
    tracks = [track for track in tracks if track.length_mm >= 8.0]
    return sorted(tracks, key=lambda track: -track.length_mm)


def _discs_of_slice(image: np.ndarray, spacing: float, k: int) -> np.ndarray:
    """Return the discs of one slice as rows (k, y, x, radius mm, HU, roundness), best first."""
    from scipy import ndimage

    seeds = []
    for threshold in THRESHOLDS_HU:
        bright = image > threshold
        if not bright.any():
            break
        depth = ndimage.distance_transform_edt(bright) * spacing
        peak = (depth == ndimage.maximum_filter(depth, size=5)) & (depth > 0.7 * RADIUS_RANGE_MM[0])
        seeds.append(np.argwhere(peak))
    centers = np.concatenate(seeds).astype(float) if seeds else np.zeros((0, 2))
    if not len(centers):
        return np.zeros((0, 6))
    for _ in range(3):
        centers, radius, blood, roundness = _fit_circles(image, centers, spacing)
    good = (roundness >= 0.6) & (radius > RADIUS_RANGE_MM[0]) & (radius < RADIUS_RANGE_MM[1])
    discs = np.column_stack([np.full(len(centers), k), centers, radius, blood, roundness])[good]
    discs = discs[np.lexsort((discs[:, 2], discs[:, 1], -discs[:, 5]))]
    kept: list[np.ndarray] = []
    for disc in discs:
        if all(np.hypot(*(disc[1:3] - other[1:3])) * spacing > 0.5 * other[3] for other in kept):
            kept.append(disc)
    return np.array(kept).reshape(-1, 6)


def _fit_circles(
    image: np.ndarray, centers: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return better centers (pixels), radii (mm), blood attenuation and roundness of circles around `centers`."""
    from scipy import ndimage

    angles = 2.0 * np.pi * np.arange(_RAYS) / _RAYS
    rays = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    steps = np.arange(0.0, _REACH_MM + _STEP_MM, _STEP_MM) / spacing
    points = centers[:, None, None, :] + rays[None, :, None, :] * steps[None, None, :, None]
    profiles = ndimage.map_coordinates(image, np.moveaxis(points, -1, 0), order=1, mode="nearest")
    blood = np.median(profiles[:, :, : int(4.0 / _STEP_MM) + 1], axis=(1, 2))
    edges = ray_edges(profiles, np.maximum(blood, 1.0)[:, None], _STEP_MM)
    radius = np.median(edges, axis=1)
    radius = np.where(np.isfinite(radius), radius, 0.0)
    on_circle = (edges > 0.8 * radius[:, None]) & (edges < 1.2 * radius[:, None])
    roundness = on_circle.mean(axis=1)
    # least-squares shift of the center: edge = radius + shift . direction on the rays that end near the circle
    near = np.isfinite(edges) & (edges < 1.6 * radius[:, None])
    moved = centers.copy()
    for index in range(len(centers)):
        if near[index].sum() >= _RAYS // 2:
            use = near[index]
            basis = np.column_stack([np.ones(use.sum()), rays[use]])
            solution = np.linalg.lstsq(basis, edges[index, use], rcond=None)[0]
            moved[index] += np.clip(solution[1:], -3.0, 3.0) / spacing
    return moved, radius, blood, roundness


def _link(open_tracks: list[list[np.ndarray]], finished: list[list[np.ndarray]], discs: np.ndarray) -> None:
    """Append the discs of the next slice to the tracks they continue; begin new tracks with the others."""
    pairs = []
    for t, track in enumerate(open_tracks):
        last = track[-1]
        for d, disc in enumerate(discs):
            gap = last[0] - disc[0]
            shift = float(np.hypot(*(disc[1:3] - last[1:3])))
            if (
                shift <= 2.5 * gap
                and abs(disc[3] - last[3]) <= 2.5 + 1.0 * gap
                and abs(disc[4] - last[4]) <= 0.15 * last[4]
            ):
                pairs.append((shift + abs(disc[3] - last[3]) + 2.0 * (gap - 1), t, d))
    used_tracks: set[int] = set()
    used_discs: set[int] = set()
    for _, t, d in sorted(pairs):
        if t not in used_tracks and d not in used_discs:
            open_tracks[t].append(discs[d])
            used_tracks.add(t)
            used_discs.add(d)
    if len(discs):
        k = discs[0, 0]
        closed = [track for track in open_tracks if track[-1][0] - k > 3]
        finished.extend(closed)
        open_tracks[:] = [track for track in open_tracks if track[-1][0] - k <= 3]
    open_tracks.extend([disc] for d, disc in enumerate(discs) if d not in used_discs)


def _track(discs: np.ndarray, grid: RasGrid) -> DiscTrack:
    """Return linked discs as a track in RAS."""
    return DiscTrack(
        centers_ras=grid.to_ras(discs[:, :3]),
        radius_mm=discs[:, 3],
        attenuation_hu=discs[:, 4],
        roundness=discs[:, 5],
        slices=discs[:, 0].astype(int),
    )
