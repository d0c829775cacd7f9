"""Motion while scanning: each view sees the artery at another place.

By the Fourier slice theorem the view of angle theta gives the frequencies of that direction in the slice plane. A part
that moves along a way w while half a turn of views is taken is therefore imaged as itself, with each frequency k
multiplied by exp(-2 pi i k . w tau(theta)), where tau runs from -1/2 to 1/2: blurred along the way at frequencies
seen halfway, doubled and streaked at those seen first and last.
"""

from collections.abc import Sequence

import numpy as np

from ..geometry import spacing_of, transform_points
from .acquisition import Motion
from .assembly import Grid
from .cells import upsampled
from .truth import VesselTruth

_WHOLE_MM = 6.0  # up to this far from the line of an artery all moves
_NONE_MM = 13.0  # from here on nothing moves
_LATTICE_MM = 2.0
_SMALLEST_MM = 0.05


def moved(image: np.ndarray, grid: Grid, vessels: Sequence[VesselTruth], motions: Sequence[Motion]) -> None:
    """Move the surroundings of the vessels of each group in an image [k, j, i], in place."""
    for motion in motions:
        lines = [vessel.points_ras for vessel in vessels if vessel.motion == motion.group]
        if lines and np.linalg.norm(motion.way_ras) >= _SMALLEST_MM:
            _move_group(image, grid, np.concatenate(lines), motion)


def _move_group(image: np.ndarray, grid: Grid, points_ras: np.ndarray, motion: Motion) -> None:
    from scipy.fft import irfftn, next_fast_len, rfftn

    spacing = np.array(spacing_of(grid.ijk_to_ras))
    indices = transform_points(np.linalg.inv(grid.ijk_to_ras), points_ras)
    margin = _NONE_MM / spacing
    low = np.maximum(np.floor(indices.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(indices.max(axis=0) + margin) + 1, grid.size_ijk).astype(int)
    if (low >= high).any():
        return
    part = image[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    weight = _moving_part(indices - low, spacing, part.shape)
    if not weight.any():
        return
    content = weight * (part - np.float32(np.median(part[weight > 0.5]) if (weight > 0.5).any() else 0))
    # Room for what leaves the box, so that it does not come in on the other side.
    room = np.ceil(np.linalg.norm(motion.way_ras) / spacing).astype(int) + 4
    shape = [next_fast_len(n + int(r), real=True) for n, r in zip(part.shape, room[::-1], strict=True)]
    spectrum = rfftn(content, s=shape)
    spectrum *= _transfer(shape, grid, motion)
    part -= content
    part += irfftn(spectrum, s=shape)[tuple(slice(0, n) for n in part.shape)]


def _transfer(shape: Sequence[int], grid: Grid, motion: Motion) -> np.ndarray:
    """Return the factor (complex64) of each frequency of a half spectrum [k, j, i]."""
    spacing = spacing_of(grid.ijk_to_ras)
    directions = grid.ijk_to_ras[:3, :3] / np.array(spacing)
    way = directions.T @ np.array(motion.way_ras)  # along i, j, k
    fk = np.fft.fftfreq(shape[0], spacing[2])[:, None, None]
    fj = np.fft.fftfreq(shape[1], spacing[1])[:, None]
    fi = np.fft.rfftfreq(shape[2], spacing[0])
    time = _time(np.degrees(np.arctan2(fj, fi)), motion)
    mean = _mean_place(way[:2], motion)
    in_plane = (-2 * np.pi * ((fj * way[1] + fi * way[0]) * time - fj * mean[1] - fi * mean[0])).astype(np.float32)
    along = (-2 * np.pi * way[2] * fk).astype(np.float32)
    phase = along * time.astype(np.float32) + in_plane
    result = np.empty(phase.shape, dtype=np.complex64)
    np.cos(phase, out=result.real)
    np.sin(phase, out=result.imag)
    return result


def _time(angle_degrees: np.ndarray, motion: Motion) -> np.ndarray:
    """Return when the view of an angle is taken, -1/2 to 1/2."""
    return np.mod(angle_degrees - motion.first_view_degrees, 180.0) / 180.0 - 0.5


def _mean_place(way: np.ndarray, motion: Motion) -> np.ndarray:
    """Return where (i, j, mm) a part appears on average: a view shows a place along its own direction n only.

    That is twice the mean of n (n . w) tau over the views; the image is shifted back by it, to where the truth is.
    """
    degrees = np.arange(0.25, 180, 0.5)
    normal = np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)
    return np.asarray(2 * (normal * ((normal @ way) * _time(degrees, motion))[:, None]).mean(axis=0))


def _moving_part(indices: np.ndarray, spacing: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return how much of each voxel [k, j, i] moves, 0 to 1 (float32), by its distance from points (i, j, k)."""
    from scipy.spatial import cKDTree

    steps = [max(1, int(_LATTICE_MM / s)) for s in spacing[::-1]]
    nodes = [(n - 1) // step + 2 for n, step in zip(shape, steps, strict=True)]
    lattice = np.moveaxis(np.indices(nodes), 0, -1) * steps
    distance, _ = cKDTree(indices[::2] * spacing).query(
        (lattice[..., ::-1] * spacing).reshape(-1, 3), distance_upper_bound=_NONE_MM
    )
    u = np.clip((distance.reshape(nodes) - _WHOLE_MM) / (_NONE_MM - _WHOLE_MM), 0, 1)
    return upsampled((0.5 + 0.5 * np.cos(np.pi * u)).astype(np.float32), shape, steps)
