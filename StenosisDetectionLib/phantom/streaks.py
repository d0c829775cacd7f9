"""Beam hardening, streaks and rings, from a coarse parallel projection of what is dense in each slice.

Dense matter hardens the beam, so its projection p reads too low, by a part that grows with p^2. Filtered back
projection of that error gives what is seen in images: dark shade between and beside dense bodies, bright streaks along
them. A calcification is small and round; what makes its shadow one-sided in practice (motion, an uneven beam) is drawn
as a smooth random weight of the views. The depths are those drawn for the acquisition, not computed from a spectrum.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..geometry import spacing_of, transform_points
from .acquisition import Acquisition
from .assembly import Grid
from .cells import upsampled

_VIEWS = 96
_CALCIUM_PIXEL_MM = 0.9
_IODINE_PIXEL_MM = 2.5
_DENSE_HU = 120.0  # above the blood of the aorta begins calcium or metal
_FULL_SHADOW = 3000.0  # HU mm through calcium that give the full shadow: 3 mm of 1000 HU
_IODINE_HU = 180.0
_IODINE_FULL = 12000.0  # HU mm: two chambers of 40 mm with 300 HU
_METAL_FULL_SHADOWS = 2.0


def add_streaks(image: np.ndarray, grid: Grid, acquisition: Acquisition, aorta_hu: float) -> None:
    """Add shadows of calcium and metal and the shade of iodine to an image [k, j, i], in place."""
    if acquisition.shadow_hu > 0:
        limit = max(aorta_hu, 300.0) + _DENSE_HU
        _add(image, grid, acquisition, limit, _CALCIUM_PIXEL_MM, 1.0, acquisition.shadow_hu, _FULL_SHADOW)
    if acquisition.iodine_shade_hu > 0:
        _add(image, grid, acquisition, _IODINE_HU, _IODINE_PIXEL_MM, 5.0, acquisition.iodine_shade_hu, _IODINE_FULL)


def _add(
    image: np.ndarray,
    grid: Grid,
    acquisition: Acquisition,
    limit_hu: float,
    pixel_mm: float,
    slice_mm: float,
    depth_hu: float,
    full: float,
) -> None:
    """Add the artifact of what is denser than a limit; `depth_hu` beside a body through which `full` HU mm lie."""
    spacing = spacing_of(grid.ijk_to_ras)
    steps = [max(1, round(size / s)) for size, s in zip((slice_mm, pixel_mm, pixel_mm), spacing[::-1], strict=True)]
    dense = _dense(image, limit_hu, steps)
    slices = np.flatnonzero(dense.any(axis=(1, 2)))
    if len(slices) == 0:
        return
    rows, columns = dense.shape[1:]
    matrix, bins = _projection(rows, columns, steps[1] * spacing[1], steps[2] * spacing[0])
    paths = (matrix @ dense[slices].reshape(len(slices), -1).T).reshape(_VIEWS, bins, len(slices))
    longest = paths.max(axis=(0, 1))
    error = -(paths**2) * _view_weights(acquisition.seed)[:, None, None]
    filtered = _ramp_filtered(error)
    artifact = (matrix.T @ filtered.reshape(_VIEWS * bins, -1)).T.reshape(len(slices), rows, columns)
    outside = dense[slices] == 0
    deepest = np.array([max(-float(a[o].min(initial=0)), 1e-9) for a, o in zip(artifact, outside, strict=True)])
    wanted = depth_hu * np.minimum(longest / full, _METAL_FULL_SHADOWS)
    # Rows of one body share one scale, so that its shadow is smooth along k.
    artifact *= (wanted / np.maximum(deepest, deepest.max() * 1e-3))[:, None, None].astype(np.float32)
    whole = np.zeros((dense.shape[0] + 2, rows + 2, columns + 2), dtype=np.float32)
    whole[slices + 1, 1:-1, 1:-1] = artifact
    whole[:, 0], whole[:, -1] = whole[:, 1], whole[:, -2]
    whole[:, :, 0], whole[:, :, -1] = whole[:, :, 1], whole[:, :, -2]
    # A block's value stands at its middle: half a step after its first voxel.
    first = [step // 2 for step in steps]
    padded = [step + n for step, n in zip(first, image.shape, strict=True)]
    for start in range(0, image.shape[0], 16):
        stop = min(start + 16, image.shape[0])
        nodes = slice((start + steps[0] - first[0]) // steps[0], None)
        offset = (start + steps[0] - first[0]) % steps[0]
        part = upsampled(
            whole[nodes],
            (offset + stop - start, padded[1] + steps[1] - 2 * first[1], padded[2] + steps[2] - 2 * first[2]),
            steps,
        )
        image[start:stop] += part[offset:, steps[1] - first[1] :, steps[2] - first[2] :][
            :, : image.shape[1], : image.shape[2]
        ]


def _dense(image: np.ndarray, limit_hu: float, steps: Sequence[int]) -> np.ndarray:
    """Return the mean HU above a limit of blocks of voxels, float32 [k, j, i]; a rest of the image is a block too."""
    blocks = [-(-n // step) for n, step in zip(image.shape, steps, strict=True)]
    result = np.zeros(blocks, dtype=np.float32)
    for number in range(blocks[0]):
        slab = np.maximum(image[number * steps[0] : (number + 1) * steps[0]] - np.float32(limit_hu), 0)
        plane = slab.mean(axis=0)
        if plane.any():
            for axis in (0, 1):
                starts = np.arange(0, plane.shape[axis], steps[axis + 1])
                plane = np.add.reduceat(plane, starts, axis=axis) / np.float32(steps[axis + 1])
            result[number] = plane
    return result


@lru_cache(maxsize=8)
def _projection(rows: int, columns: int, row_mm: float, column_mm: float) -> tuple[Any, int]:
    """Return the sparse matrix (views x bins, pixels) of path lengths in mm, and the number of bins.

    Each pixel is split between the two bins nearest to its projection; a bin is as wide as a pixel.
    """
    from scipy.sparse import csr_matrix

    width = (row_mm + column_mm) / 2
    row, column = np.indices((rows, columns)).reshape(2, -1)
    y, x = (row - (rows - 1) / 2) * row_mm, (column - (columns - 1) / 2) * column_mm
    bins = int(np.ceil(np.hypot(rows * row_mm, columns * column_mm) / width)) + 3
    area = row_mm * column_mm / width
    index, weights = [], []
    for view, angle in enumerate(np.arange(_VIEWS) * np.pi / _VIEWS):
        place = (x * np.cos(angle) + y * np.sin(angle)) / width + (bins - 1) / 2
        below = np.floor(place).astype(np.int32)
        part = (place - below).astype(np.float32)
        index += [view * bins + below, view * bins + below + 1]
        weights += [(1 - part) * area, part * area]
    pixels = np.tile(np.arange(rows * columns, dtype=np.int32), 2 * _VIEWS)
    shape = (_VIEWS * bins, rows * columns)
    return csr_matrix((np.concatenate(weights).astype(np.float32), (np.concatenate(index), pixels)), shape=shape), bins


def _ramp_filtered(projections: np.ndarray) -> np.ndarray:
    """Return projections (views, bins, slices) filtered along the bins by the ramp with a Hann window, float32."""
    from scipy.fft import irfft, next_fast_len, rfft

    bins = projections.shape[1]
    length = next_fast_len(2 * bins, real=True)
    frequency = np.fft.rfftfreq(length)
    ramp = (frequency * (0.5 + 0.5 * np.cos(2 * np.pi * frequency))).astype(np.float32)
    return irfft(rfft(projections, length, axis=1) * ramp[:, None], length, axis=1)[:, :bins].astype(np.float32)


def _view_weights(seed: int) -> np.ndarray:
    """Return smooth random weights (float32) of the views around 1."""
    draw = np.random.default_rng([seed, 5])
    angle = np.arange(_VIEWS) * 2 * np.pi / _VIEWS  # half a turn of the source is a whole turn here
    weights = 1 + 0.6 * np.cos(angle - draw.uniform(0, 2 * np.pi)) + 0.25 * np.cos(2 * angle - draw.uniform(0, 6.28))
    return (weights + draw.normal(0, 0.1, _VIEWS)).astype(np.float32)


def add_rings(image: np.ndarray, grid: Grid, acquisition: Acquisition, seed: int) -> None:
    """Add faint rings around the axis of rotation, which differ every few slices, in place."""
    from scipy.ndimage import gaussian_filter1d

    draw = np.random.default_rng([seed, 6])
    axis = np.array(acquisition.center_ras) + acquisition.directions[:, :2] @ draw.uniform(-20, 20, 2)
    center = transform_points(np.linalg.inv(grid.ijk_to_ras), axis)
    spacing = spacing_of(grid.ijk_to_ras)
    j, i = np.indices(image.shape[1:])
    radius = np.hypot((j - center[1]) * spacing[1], (i - center[0]) * spacing[0])
    every = 0.25
    number = (radius / every).astype(np.int32)
    height = len(image) * spacing[2]
    knots = [_ring_profile(draw, int(number.max()) + 1, every) for _ in range(int(height / 8) + 2)]
    for k, plane in enumerate(image):
        place = k * spacing[2] / 8
        part = place - int(place)
        profile = (1 - part) * knots[int(place)] + part * knots[int(place) + 1]
        profile = gaussian_filter1d(profile, acquisition.psf_sigma_mm[0] / every)
        plane += (acquisition.ring_hu * profile).astype(np.float32)[number]


def _ring_profile(draw: np.random.Generator, count: int, every_mm: float) -> np.ndarray:
    """Return the height of the rings by radius: a few bins off, fading outward."""
    profile = draw.normal(size=count) * (draw.random(count) < 0.15) / np.sqrt(0.15)
    return profile / np.sqrt(1 + np.arange(count) * every_mm / 30)
