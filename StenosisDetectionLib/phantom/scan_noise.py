"""Noise of a scan: correlated in the slice plane by its power spectrum, along k by a Gaussian, less off the middle."""

import numpy as np

from ..geometry import spacing_of, transform_points
from .acquisition import HELD_OUT_NOISE_SHAPES, NOISE_SHAPES, Acquisition, Noise
from .assembly import Grid

_BODY_OFFSET_RAS = (25.0, -35.0, 0.0)  # the middle of the body lies to the right of the heart and behind it
_BODY_RADIUS_MM = 120.0


def power(frequency_lp_mm: np.ndarray, noise: Noise) -> np.ndarray:
    """Return the noise power, up to a factor, at frequencies in the slice plane."""
    p, q = (NOISE_SHAPES | HELD_OUT_NOISE_SHAPES)[noise.shape]
    f0 = noise.peak_lp_mm * (q / p) ** (1 / q)
    return frequency_lp_mm**p * np.exp(-((frequency_lp_mm / f0) ** q))


def add_noise(image: np.ndarray, grid: Grid, acquisition: Acquisition, seed: int) -> None:
    """Add noise to an image [k, j, i] in place; slice after slice, so that it does not depend on threads."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    noise = acquisition.noise
    if noise.noise_hu == 0:
        return
    spacing = spacing_of(grid.ijk_to_ras)
    rows, columns = image.shape[1:]
    # Larger than the slice, so that its opposite borders are not alike.
    shape = tuple(next_fast_len(n + int(4 / s), real=True) for n, s in ((rows, spacing[1]), (columns, spacing[0])))
    fy, fx = np.fft.fftfreq(shape[0], spacing[1]), np.fft.rfftfreq(shape[1], spacing[0])
    amplitude = np.sqrt(power(np.hypot(fy[:, None], fx[None]), noise))
    weight = np.full(len(fx), 2.0)
    weight[0] = 1.0
    if shape[1] % 2 == 0:
        weight[-1] = 1.0
    amplitude /= np.sqrt((amplitude**2 * weight).sum() / (shape[0] * shape[1]))
    filter_ = amplitude.astype(np.float32)

    taps = _taps(noise.z_sigma_mm / spacing[2])
    reach = len(taps) // 2
    scale = _deviation(grid, acquisition)
    recent: list[np.ndarray] = []
    for k in range(-reach, len(image) + reach):
        white = np.random.default_rng([seed, 9, k + reach]).standard_normal(shape, dtype=np.float32)
        recent.append(irfft2(rfft2(white) * filter_, s=shape)[:rows, :columns])
        if len(recent) == len(taps):
            total = np.zeros((rows, columns), dtype=np.float32)
            for tap, plane in zip(taps, recent, strict=True):
                total += tap * plane
            image[k - reach] += total * scale
            recent.pop(0)


def _taps(sigma: float) -> np.ndarray:
    """Return a Gaussian (float32) over slices whose squares sum to 1."""
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    return (taps / np.sqrt((taps**2).sum())).astype(np.float32)


def _deviation(grid: Grid, acquisition: Acquisition) -> np.ndarray:
    """Return the standard deviation (float32, HU) over a slice [j, i]."""
    noise = acquisition.noise
    center = np.array(acquisition.center_ras)
    j, i = np.indices(grid.size_ijk[1::-1])
    middle = np.full_like(i, grid.size_ijk[2] // 2)
    points = transform_points(grid.ijk_to_ras, np.stack([i, j, middle], axis=-1)) - center
    normal = acquisition.directions[:, 2]

    def relative(points: np.ndarray) -> np.ndarray:
        across = points - _BODY_OFFSET_RAS
        across = across - (across @ normal)[..., None] * normal
        return 1 - noise.fall * np.minimum((across**2).sum(axis=-1) / _BODY_RADIUS_MM**2, 1)

    return (noise.noise_hu * relative(points) / relative(np.zeros((1, 3)))[0]).astype(np.float32)
