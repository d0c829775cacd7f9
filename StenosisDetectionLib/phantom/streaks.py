"""Beam hardening, streaks and rings, from a coarse parallel projection of what is dense in each slice.

Dense matter hardens the beam, so its projection p reads too low, by a part that grows with p^2. Filtered back
projection of that error gives what is seen in images: dark shade between and beside dense bodies, bright streaks along
them. A calcification is small and round; what makes its shadow one-sided in practice (motion, an uneven beam) is drawn
as a smooth random weight of the views. The depths are those drawn for the acquisition, not computed from a spectrum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..geometry import spacing_of, transform_points
from .acquisition import Acquisition
from .assembly import Grid
from .cells import upsampled

_VIEWS = 96
_DENSE_HU = 120.0  # above the blood of the aorta begins calcium or metal
_IODINE_HU = 180.0
_LARGEST = 2.5  # no artifact is deeper than this many times the depth asked for


@dataclass(frozen=True)
class _Kind:
    """How coarse an artifact is computed (mm), and the round body beside which it has the depth asked for.

    `beside` is what the projection of that body gives there, as part of attenuation squared times radius.
    """

    pixel_mm: float
    slice_mm: float
    radius_mm: float
    hu: float
    beside: float


_CALCIUM = _Kind(0.9, 1.0, 1.5, 1000.0, 0.5)
_IODINE = _Kind(2.5, 5.0, 20.0, 300.0, 0.9)


def add_streaks(image: np.ndarray, grid: Grid, acquisition: Acquisition, aorta_hu: float) -> None:
    """Add shadows of calcium and metal and the shade of iodine to an image [k, j, i], in place."""
    if acquisition.shadow_hu > 0:
        _add(image, grid, acquisition.seed, max(aorta_hu, 300.0) + _DENSE_HU, acquisition.shadow_hu, _CALCIUM)
    if acquisition.iodine_shade_hu > 0:
        _add(image, grid, acquisition.seed, _IODINE_HU, acquisition.iodine_shade_hu, _IODINE)


def _add(image: np.ndarray, grid: Grid, seed: int, limit_hu: float, depth_hu: float, kind: _Kind) -> None:
    """Add the artifact of what is denser than a limit, in place."""
    spacing = spacing_of(grid.ijk_to_ras)
    sizes = (kind.slice_mm, kind.pixel_mm, kind.pixel_mm)
    steps = [max(1, round(size / s)) for size, s in zip(sizes, spacing[::-1], strict=True)]
    dense = _dense(image, limit_hu, steps)
    slices = np.flatnonzero(dense.any(axis=(1, 2)))
    if len(slices) == 0:
        return
    artifact = np.zeros(dense.shape, dtype=np.float32)
    scale = depth_hu / (kind.beside * kind.hu**2 * kind.radius_mm)
    artifact[slices] = scale * _hardened(dense[slices], steps[1] * spacing[1], steps[2] * spacing[0], kind, seed)
    np.clip(artifact, -_LARGEST * depth_hu, _LARGEST * depth_hu, out=artifact)
    _add_upsampled(image, artifact, steps)


def _hardened(dense: np.ndarray, row_mm: float, column_mm: float, kind: _Kind, seed: int) -> np.ndarray:
    """Return what filtered back projection makes of the error -p^2 of dense slices [k, j, i], in HU^2 mm."""
    count, rows, columns = dense.shape
    matrix, bins = _projection(rows, columns, row_mm, column_mm)
    paths = (matrix @ dense.reshape(count, -1).T).reshape(_VIEWS, bins, count)
    # Through much more than the body of reference the beam hardens no further.
    error = -(paths**2) / (1 + paths / (4 * kind.radius_mm * kind.hu)) * _view_weights(seed)[:, None, None]
    scale = np.float32(np.pi / _VIEWS / (row_mm * column_mm))
    back = matrix.T @ (scale * _ramp_filtered(error)).reshape(_VIEWS * bins, count)
    return back.T.reshape(dense.shape)


def _add_upsampled(image: np.ndarray, blocks: np.ndarray, steps: Sequence[int]) -> None:
    """Add to an image values of blocks of `steps` voxels, linear between the middles of the blocks, in place."""
    nodes = np.pad(blocks, 1, mode="edge")
    # A node stands `first` voxels before the image's first; then one every step.
    first = [step - (step - 1) // 2 for step in steps]
    for start in range(image.shape[0]):
        at = (start + first[0]) / steps[0]
        below = min(int(at), len(nodes) - 2)
        plane = nodes[below] + np.float32(at - below) * (nodes[below + 1] - nodes[below])
        if not plane.any():
            continue
        shape = [n + f for n, f in zip(image.shape[1:], first[1:], strict=True)]
        image[start] += upsampled(plane, shape, steps[1:])[first[1] :, first[2] :]


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
